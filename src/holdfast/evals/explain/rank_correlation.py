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

TIE = 1.5e-5
"""What two values may differ by and still be equal. Shares are recorded to five decimals, so that
the last bits of arithmetic move them by a step of 1e-5, and means of scores by far less; two judge
scores that do differ are further apart. Values that lie densely chain no further than this."""


class Correlation(NamedTuple):
    """A rank correlation with its interval; NaN where there is none."""

    rho: float
    """Spearman's ρ."""
    interval: tuple[float, float]
    n: int
    """Conversations that enter."""


def correlation(x: Array, y: Array, sample: Sample) -> Correlation:
    """The rank correlation of two measurements.

    Args:
        x: one measurement, (observations,).
        y: the other.
        sample: the personas that observations share.
    """
    complete = _complete(x, y)
    rho = _rho(x, y, _weights(complete) * complete)
    return _with_interval(rho, complete, sample)


def pooled_correlation(
    x: Array, y: Array, sample: Sample, covariate: Array | None = None
) -> Correlation:
    """The rank correlation within each point, averaged over points.

    A trend over the points that both follow does not enter it. `n` counts the observations
    that enter at any point.

    Args:
        x: one measurement, (observations, points).
        y: the other.
        sample: the personas that observations share.
        covariate: a third measurement that is held fixed, if any.
    """
    points = range(x.shape[1])
    thirds = [None if covariate is None else covariate[:, r] for r in points]
    complete = np.stack([_complete(x[:, r], y[:, r], thirds[r]) for r in points], 1)
    weights = _weights(np.asarray(complete.any(axis=1)))
    rho = np.stack([_rho(x[:, r], y[:, r], weights * complete[:, r], thirds[r]) for r in points], 1)
    # Only points with a ρ of the whole sample: leaving an observation out adds no others.
    there = ~np.isnan(rho[0])
    if not there.any():
        return Correlation(np.nan, (np.nan, np.nan), 0)
    means = np.ma.masked_invalid(rho[:, there]).mean(1).filled(np.nan)
    return _with_interval(means, np.asarray(complete.any(axis=1)), sample)


def _weights(entering: NDArray[np.bool_]) -> Array:
    """Weights of the whole sample, then of the sample without each observation that enters."""
    without = (1 - np.eye(len(entering)))[entering]
    return np.concatenate([np.ones((1, len(entering))), without])


def _with_interval(rho: Array, entering: NDArray[np.bool_], sample: Sample) -> Correlation:
    """The interval from ρ of the whole sample (first) and without each observation."""
    value, n = float(rho[0]), int(entering.sum())
    pseudo = np.full(len(entering), np.nan)
    pseudo[entering] = n * value - (n - 1) * rho[1:]
    moments = sample.moments(pseudo)
    room = 1 - value**2
    # Where the scores of all others are alike, one conversation makes ρ: nothing tells its noise.
    hangs_on_one = bool(np.isnan(rho).any())
    if hangs_on_one or np.isnan(moments.variance) or moments.n < FEWEST or room < 1e-9:
        return Correlation(value, (np.nan, np.nan), n)
    half = float(quantile(moments.df, 0.95)) * float(moments.variance) ** 0.5 / room
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Correlation(value, (float(low), float(high)), n)


def _complete(*values: Array | None) -> NDArray[np.bool_]:
    """Observations in which nothing is missing."""
    return np.asarray(np.all([~np.isnan(v) for v in values if v is not None], axis=0))


def _rho(x: Array, y: Array, weights: Array, covariate: Array | None = None) -> Array:
    """ρ under each row of weights (rows, observations): (rows,), NaN where there is none."""
    a, b = _midranks(x, weights), _midranks(y, weights)
    plain = _pearson(a, b, weights)
    if covariate is None:
        return plain
    c = _midranks(covariate, weights)
    ac, bc = _pearson(a, c, weights), _pearson(b, c, weights)
    room = (1 - ac**2) * (1 - bc**2)
    # Where the third does not vary there is nothing to hold fixed.
    partial = np.divide(
        plain - ac * bc,
        np.sqrt(room.clip(min=0)),
        out=np.full_like(plain, np.nan),
        where=room > 1e-9,
    )
    return np.asarray(np.where(np.isnan(ac) | np.isnan(bc), plain, partial))


def _midranks(values: Array, weights: Array) -> Array:
    """Midranks in a sample that holds observation i weights[:, i] times: (rows, n)."""
    group = _groups(np.nan_to_num(values))
    member = np.eye(group.max() + 1)[group]  # (n, groups)
    size = weights @ member
    return np.asarray((size.cumsum(1) - size / 2 + 0.5)[:, group])


def _groups(values: Array) -> NDArray[np.intp]:
    """The number of each value's rank; values within `TIE` of the least of a rank share it."""
    group, least, count = np.zeros(len(values), np.intp), -np.inf, -1
    for i in np.argsort(values):
        if values[i] - least > TIE:
            least, count = values[i], count + 1
        group[i] = count
    return group


def _pearson(a: Array, b: Array, weights: Array) -> Array:
    total = weights.sum(1, keepdims=True)
    share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    a = a - (share * a).sum(1, keepdims=True)
    b = b - (share * b).sum(1, keepdims=True)
    spread = np.sqrt((share * a**2).sum(1) * (share * b**2).sum(1))
    none = np.full(len(weights), np.nan)
    product = np.asarray((share * a * b).sum(1))
    return np.asarray(np.divide(product, spread, out=none, where=spread > 1e-9))
