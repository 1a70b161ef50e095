"""Means and variances of arrays, shares, and areas under curves; missing observations are NaN.

This module knows arrays, not personas or rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]
LEAST_ROOM = 0.05  # between floor and ceiling
_Z = 1.959963984540054  # standard normal quantile of .975


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval for a share of n trials (n may be fractional)."""
    if n <= 0:
        return (0.0, 1.0)
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return (max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def mean(values: Array, axis: int = 0) -> Array:
    """Mean over `axis`, NaN left out; NaN where nothing is left."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0.0).sum(axis=axis)
    n = present.sum(axis=axis)
    return np.asarray(np.divide(total, n, out=np.full(np.shape(total), np.nan), where=n > 0))


def pseudo_values(function: Callable[..., Array], *values: Array) -> Array:
    """Jackknife pseudo-values of a function of means over the first axis: (observations, ...).

    Their mean is moved to the function's own value; their spread gives its variance
    (Miller 1974). An observation with a missing value has none.
    """
    whole = np.all([~np.isnan(v.reshape(len(v), -1)).any(axis=1) for v in values], axis=0)
    rows = [v[whole] for v in values]
    n = len(rows[0])
    value = function(*(v.mean(axis=0) for v in rows))
    left_out = function(*((v.sum(axis=0) - v) / (n - 1) for v in rows))
    result = np.full((len(whole), *np.shape(value)), np.nan)
    result[whole] = value + (n - 1) * (left_out.mean(axis=0) - left_out)
    return result


def false_discovery(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's (1995) adjusted p-values; None stays None and counts for nothing.

    Calling every value up to .05 a finding, at most 5% of runs without any effect have one.
    """
    from scipy.stats import false_discovery_control  # slow to import

    q_values = false_discovery_control([value for value in p if value is not None])
    values = iter(q_values.tolist())
    return [None if value is None else next(values) for value in p]


@dataclass(frozen=True)
class CrossedMean:
    """The mean of an array that crosses samples, as trainings by personas by questions."""

    mean: float
    interval: tuple[float, float]
    p: float | None
    """Two-sided, that the mean is 0; None where nothing varies."""

    @classmethod
    def of(cls, values: Array) -> CrossedMean:
        """Estimate the mean of an array each of whose axes is a sample (seeds, personas, items).

        The variance of the mean is Σ_x V_x, V_x being the variance of the means over the other
        axes divided by the levels of axis x, and t has Satterthwaite's degrees of freedom,
        V² / Σ V_x² / (n_x - 1). Interactions count more than once, so that the interval is rather
        too wide. An axis of one level is taken as given: one training speaks for itself alone.

        Args:
            values: the array, without gaps.
        """
        middle, variances, freedom = float(values.mean()), [], []
        for axis, levels in enumerate(values.shape):
            if levels > 1:
                others = tuple(i for i in range(values.ndim) if i != axis)
                variances.append(float(values.mean(axis=others).var(ddof=1)) / levels)
                freedom.append(levels - 1)
        total = sum(variances)
        if total == 0:
            return cls(middle, (middle, middle), None)
        df = total**2 / sum(v**2 / n for v, n in zip(variances, freedom, strict=True))
        half = float(stdtrit(df, 0.975)) * total**0.5
        p = 2 * float(stdtr(df, -abs(middle) / total**0.5))
        return cls(middle, (middle - half, middle + half), p)


def normalise(score: Array, floor: Array, ceiling: Array) -> Array:
    """(score - floor) / (ceiling - floor), NaN where ceiling - floor is below `LEAST_ROOM`."""
    room, part = np.asarray(ceiling - floor, float), np.asarray(score - floor, float)
    nothing = np.full(part.shape, np.nan)
    return np.asarray(np.divide(part, room, out=nothing, where=room >= LEAST_ROOM))


def auc(values: Sequence[float] | Array, labels: Sequence[bool]) -> float:
    """Probability that a true case scores above a false one; NaN with one kind only.

    Cases without a score (NaN) are left out.
    """
    there = ~np.isnan(np.asarray(values, float))
    scores, on = np.asarray(values, float)[there], np.asarray(labels, bool)[there]
    if on.all() or not on.any():
        return float("nan")
    true, false = scores[on], np.sort(scores[~on])
    # Twice the false cases below each true one, those at it once; without a matrix of all pairs.
    below = np.searchsorted(false, true, "left") + np.searchsorted(false, true, "right")
    return float(below.mean() / (2 * len(false)))


def numbers(values: ArrayLike) -> Any:
    """A number, or nested lists of numbers, to four places; NaN becomes None."""
    array = np.asarray(values, float)
    if array.ndim == 0:
        return None if np.isnan(array) else round(float(array), 4)
    return [numbers(item) for item in array]
