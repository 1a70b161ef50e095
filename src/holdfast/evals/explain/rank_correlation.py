"""Do two measurements go together across conversations? Rank correlation, with an interval.

Spearman's ρ is Pearson's correlation of midranks. Its interval is Student's on Fisher's
z = artanh ρ, with the jackknife's variance (leave out each conversation, rank again), in which
conversations share personas as in every mean (`core.intervals`). With a third z held fixed,

    ρ_xy|z = (ρ_xy - ρ_xz ρ_yz) / √((1 - ρ_xz²)(1 - ρ_yz²))

Where one of the two does not vary (all scores are 1) there is no ρ. This module knows
arrays, (observations,) or (observations, points) with NaN for what is missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.core.intervals import FEWEST, Sample, quantile
from holdfast.core.stats import Array


class Correlation(NamedTuple):
    """ρ, its 95% interval, and over how many conversations; NaN where there is none."""

    rho: float
    interval: tuple[float, float]
    n: int


def correlation(x: Array, y: Array, sample: Sample, given: Array | None = None) -> Correlation:
    """ρ of x and y, (observations,); with `given`, what is left of it at equal `given`."""
    kept = _whole(x, y, given)
    rho = _rho(x, y, _weights(kept) * kept, given)
    return _with_interval(rho, kept, sample)


def pooled(x: Array, y: Array, sample: Sample, given: Array | None = None) -> Correlation:
    """ρ within each point, averaged over points: x and y are (observations, points).

    A trend over the points that both follow does not enter it. `n` counts the observations
    that enter at any point.
    """
    points = range(x.shape[1])
    thirds = [None if given is None else given[:, r] for r in points]
    kept = np.stack([_whole(x[:, r], y[:, r], thirds[r]) for r in points], 1)
    weights = _weights(np.asarray(kept.any(axis=1)))
    rho = np.stack([_rho(x[:, r], y[:, r], weights * kept[:, r], thirds[r]) for r in points], 1)
    # The points where there is a ρ for the whole sample: leaving one out may not bring in others.
    there = ~np.isnan(rho[0])
    if not there.any():
        return Correlation(np.nan, (np.nan, np.nan), 0)
    means = np.ma.masked_invalid(rho[:, there]).mean(1).filled(np.nan)
    return _with_interval(means, np.asarray(kept.any(axis=1)), sample)


def _weights(kept: NDArray[np.bool_]) -> Array:
    """Weights of the whole sample, then of the sample without each kept observation."""
    without = (1 - np.eye(len(kept)))[kept]
    return np.concatenate([np.ones((1, len(kept))), without])


def _with_interval(rho: Array, kept: NDArray[np.bool_], sample: Sample) -> Correlation:
    """The interval from ρ of the whole (first) and without each kept observation."""
    value, n = float(rho[0]), int(kept.sum())
    pseudo = np.full(len(kept), np.nan)
    pseudo[kept] = n * value - (n - 1) * rho[1:]
    found = sample.moments(pseudo)
    room = 1 - value**2
    if np.isnan(value) or np.isnan(found.variance) or found.n < FEWEST or room < 1e-9:
        return Correlation(value, (np.nan, np.nan), n)
    half = float(quantile(found.df, 0.95)) * float(found.variance) ** 0.5 / room
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Correlation(value, (float(low), float(high)), n)


def _whole(*values: Array | None) -> NDArray[np.bool_]:
    """Observations in which nothing is missing."""
    return np.asarray(np.all([~np.isnan(v) for v in values if v is not None], axis=0))


def _rho(x: Array, y: Array, weights: Array, given: Array | None) -> Array:
    """ρ under each draw's weights (draws, observations): (draws,), NaN where there is none."""
    a, b = _midranks(x, weights), _midranks(y, weights)
    plain = _pearson(a, b, weights)
    if given is None:
        return plain
    c = _midranks(given, weights)
    ac, bc = _pearson(a, c, weights), _pearson(b, c, weights)
    room = (1 - ac**2) * (1 - bc**2)
    # Where z does not vary there is nothing to hold fixed.
    partial = np.divide(
        plain - ac * bc,
        np.sqrt(room.clip(min=0)),
        out=np.full_like(plain, np.nan),
        where=room > 1e-9,
    )
    return np.asarray(np.where(np.isnan(ac) | np.isnan(bc), plain, partial))


def _midranks(values: Array, weights: Array) -> Array:
    """Ranks in the sample in which observation i stands weights[:, i] times: (draws, n)."""
    _, group = np.unique(np.nan_to_num(values), return_inverse=True)
    member = np.eye(group.max() + 1)[group]  # (n, groups)
    size = weights @ member
    return np.asarray((size.cumsum(1) - size / 2 + 0.5)[:, group])


def _pearson(a: Array, b: Array, weights: Array) -> Array:
    total = weights.sum(1, keepdims=True)
    share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    a = a - (share * a).sum(1, keepdims=True)
    b = b - (share * b).sum(1, keepdims=True)
    spread = np.sqrt((share * a**2).sum(1) * (share * b**2).sum(1))
    none = np.full(len(weights), np.nan)
    product = np.asarray((share * a * b).sum(1))
    return np.asarray(np.divide(product, spread, out=none, where=spread > 1e-9))
