"""In how many directions a set of vectors spreads: its intrinsic dimension, counted two ways.

With λ the eigenvalues of the vectors' covariance,

    participation = (Σλ)² / Σλ²        components = least k whose largest λ hold 95% of Σλ

Participation is 1 for points on a line and D where all D directions vary alike; both
are at most one less than the number of vectors. Both are biased by that number: few
vectors of a high-dimensional cloud seem to have few dimensions, and more of them more.
So sets are only comparable at an equal number of vectors, which `subsampled_dimension` draws,
without replacement, several times.

This module knows arrays. It does not know whose vectors they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from holdfast.core.stats import Array

PART = 0.95
"""Share of the variance that `components` hold."""
_LEAST = 1e-12  # of the largest eigenvalue; below it an eigenvalue is a zero that was rounded


class Dimension(NamedTuple):
    """The two counts; both are NaN for fewer than three vectors, or for equal ones."""

    participation: float
    """(Σλ)² / Σλ²."""
    components: float
    """Least number of eigenvalues that hold 95% of Σλ."""


def spectrum(vectors: Array) -> Array:
    """Eigenvalues of the covariance, largest first: (…, n, D) to (…, min(n, D))."""
    centred = np.asarray(vectors, float)
    centred = centred - centred.mean(axis=-2, keepdims=True)
    wide = centred.shape[-2] < centred.shape[-1]
    across = np.swapaxes(centred, -1, -2)
    # Both products have the same eigenvalues but for zeros; the smaller is faster.
    product = centred @ across if wide else across @ centred
    eigenvalues = np.linalg.eigvalsh(product)[..., ::-1].clip(min=0.0) / centred.shape[-2]
    return np.asarray(np.where(eigenvalues > _LEAST * eigenvalues[..., :1], eigenvalues, 0.0))


def participation(eigenvalues: Array) -> Array:
    """(Σλ)² / Σλ² over the last axis; NaN where all are 0."""
    square_of_sum, sum_of_squares = eigenvalues.sum(-1) ** 2, (eigenvalues**2).sum(-1)
    none = np.full(np.shape(square_of_sum), np.nan)
    return np.asarray(np.divide(square_of_sum, sum_of_squares, out=none, where=sum_of_squares > 0))


def components(eigenvalues: Array, part: float = PART) -> Array:
    """Least number of the largest eigenvalues that hold a part of their sum.

    Args:
        eigenvalues: largest first, over the last axis.
        part: the part of the sum.

    Returns:
        The number; NaN where all eigenvalues are 0.
    """
    total = eigenvalues.sum(-1)
    reached = eigenvalues.cumsum(-1) >= (part - 1e-9) * total[..., None]
    return np.asarray(np.where(total > 0, 1.0 + reached.argmax(-1), np.nan))


def dimension(vectors: Array) -> Dimension:
    """Both counts of all vectors (n, D)."""
    return _mean(vectors[None])


def subsampled_dimension(
    vectors: Array, count: int, draws: int, rng: np.random.Generator
) -> Dimension:
    """Both counts at an equal number of vectors.

    Args:
        vectors: the set, (n, D).
        count: vectors of each draw, without replacement.
        draws: draws that the counts are averaged over.
        rng: of the draws.

    Returns:
        The counts; NaN where there are fewer than `count` vectors.
    """
    if count > len(vectors):
        return Dimension(np.nan, np.nan)
    if count == len(vectors):
        return dimension(vectors)
    samples = rng.permuted(np.tile(np.arange(len(vectors)), (draws, 1)), axis=1)[:, :count]
    return _mean(vectors[samples])


def _mean(sets: Array) -> Dimension:
    """Both counts averaged over sets (sets, n, D)."""
    if sets.shape[1] < 3:
        return Dimension(np.nan, np.nan)
    eigenvalues = spectrum(sets)
    return Dimension(
        float(participation(eigenvalues).mean()), float(components(eigenvalues).mean())
    )
