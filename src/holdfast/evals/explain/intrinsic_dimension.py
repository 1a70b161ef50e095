"""In how many directions a set of vectors spreads: its intrinsic dimension, counted two ways.

With λ the eigenvalues of the vectors' covariance,

    participation = (Σλ)² / Σλ²        components = least k whose largest λ hold 95% of Σλ

Participation is 1 for points on a line and D where all D directions vary alike; both
are at most one less than the number of vectors. Both are biased by that number: few
vectors of a high-dimensional cloud seem to have few dimensions, and more of them more.
So sets are only comparable at an equal number of vectors, which `equal` draws, without
replacement, several times over.

This module knows arrays. It does not know whose vectors they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from holdfast.core.stats import Array

PART = 0.95
_LEAST = 1e-12  # of the largest eigenvalue: what rounding leaves of a zero


class Dimension(NamedTuple):
    """The two counts; both NaN where fewer than three vectors, or none that differ, were given."""

    participation: float
    components: float


def spectrum(vectors: Array) -> Array:
    """Eigenvalues of the covariance, largest first: (…, n, D) to (…, min(n, D))."""
    centred = np.asarray(vectors, float)
    centred = centred - centred.mean(axis=-2, keepdims=True)
    wide = centred.shape[-2] < centred.shape[-1]
    across = np.swapaxes(centred, -1, -2)
    # The smaller of the two products: their eigenvalues differ by zeros alone.
    product = centred @ across if wide else across @ centred
    found = np.linalg.eigvalsh(product)[..., ::-1].clip(min=0.0) / centred.shape[-2]
    return np.asarray(np.where(found > _LEAST * found[..., :1], found, 0.0))


def participation(eigenvalues: Array) -> Array:
    """(Σλ)² / Σλ² over the last axis; NaN where all are 0."""
    squared, sum_of_squares = eigenvalues.sum(-1) ** 2, (eigenvalues**2).sum(-1)
    none = np.full(np.shape(squared), np.nan)
    return np.asarray(np.divide(squared, sum_of_squares, out=none, where=sum_of_squares > 0))


def components(eigenvalues: Array, part: float = PART) -> Array:
    """How many of the largest eigenvalues hold `part` of their sum; NaN where all are 0."""
    total = eigenvalues.sum(-1)
    reached = eigenvalues.cumsum(-1) >= (part - 1e-9) * total[..., None]
    return np.asarray(np.where(total > 0, 1.0 + reached.argmax(-1), np.nan))


def dimension(vectors: Array) -> Dimension:
    """Both counts of all vectors (n, D)."""
    return _mean(vectors[None])


def equal(vectors: Array, count: int, draws: int, rng: np.random.Generator) -> Dimension:
    """Both counts at `count` vectors, averaged over `draws` draws; NaN where there are fewer."""
    if count > len(vectors):
        return Dimension(np.nan, np.nan)
    if count == len(vectors):
        return dimension(vectors)
    chosen = rng.permuted(np.tile(np.arange(len(vectors)), (draws, 1)), axis=1)[:, :count]
    return _mean(vectors[chosen])


def _mean(sets: Array) -> Dimension:
    """Both counts averaged over sets (sets, n, D)."""
    if sets.shape[1] < 3:
        return Dimension(np.nan, np.nan)
    found = spectrum(sets)
    return Dimension(float(participation(found).mean()), float(components(found).mean()))
