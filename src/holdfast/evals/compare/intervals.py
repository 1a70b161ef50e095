"""The numbers of a comparison with their intervals: means, paired differences, relative time.

Intervals are those of `core.intervals`; differences are paired by conversation. That of the
relative time

    relative = (seconds / tokens) / (none's seconds / tokens)

is Student's on its logarithm, with the jackknife over units (batch, round), in which the
controls take turns.

This module knows arrays. NaN marks what was not measured.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from holdfast.core.intervals import FEWEST, Sample
from holdfast.core.stats import Array, mean, numbers, pseudo_values
from holdfast.results.compare import Interval


class MeanAndDifference(NamedTuple):
    """A mean, its difference from `none`, and their intervals; None where nothing was measured."""

    value: float | None
    interval: Interval | None
    delta: float | None
    delta_interval: Interval | None


def late_rounds(length: int) -> slice:
    """The last quarter of rounds 1…length, rounded up."""
    return slice(length - math.ceil(length / 4) + 1, length + 1)


def estimate(values: Array, none: Array | None, part: slice, sample: Sample) -> MeanAndDifference:
    """The mean over a part of the last axis, and its paired difference from `none`.

    Args:
        values: one control's, (conversations, points).
        none: those of `none`, in the same shape; None for `none` itself.
        part: the points that count.
        sample: what the conversations share.
    """
    if not values.size:
        return MeanAndDifference(None, None, None, None)
    own = by_conversation(values[:, part])
    value, interval = mean(own), sample.score_interval(own)
    if none is None:
        delta = mean(own) * 0
        zero = None if np.isnan(delta).any() else (0.0, 0.0)  # from itself
        return MeanAndDifference(numbers(value), _interval(interval), numbers(delta), zero)
    delta, delta_interval = paired_difference(values, none, part, sample)
    return MeanAndDifference(
        numbers(value), _interval(interval), numbers(delta), _interval(delta_interval)
    )


def by_conversation(values: Array) -> Array:
    """Values of conversations whose mean is the mean over points of the mean by point.

    (conversations, points) to (conversations,). A conversation that missed some points enters
    by what it adds to the mean of each (linearisation), and one that missed all is NaN.
    """
    there = ~np.isnan(values)
    observed = there.any(axis=1)
    middle = mean(values)
    points = ~np.isnan(middle)
    if not points.any():
        return np.full(len(values), np.nan)
    residuals = np.where(there, values - middle, 0.0)[:, points] / there.sum(axis=0)[points]
    linear = middle[points].mean() + observed.sum() * residuals.mean(axis=1)
    # Scores of exactly 0 or 1, and pairs that are exactly alike, count as such in an interval.
    linear = linear.round(12)
    return np.asarray(np.where(observed, linear, np.nan))


def paired_difference(
    values: Array, others: Array, part: slice, sample: Sample
) -> tuple[Array, Array]:
    """The mean less the other control's, and its interval, over what both measured."""
    a, b = pair_values(values, others, part)
    return mean(a) - mean(b), sample.difference_interval(a, b)


def pair_values(values: Array, others: Array, part: slice) -> tuple[Array, Array]:
    """Two controls' values by conversation, over what both measured."""
    missing = np.isnan(values) | np.isnan(others)
    a, b = (by_conversation(np.where(missing, np.nan, v)[:, part]) for v in (values, others))
    return a, b


def relative_time(timing: Array, none: Array | None) -> tuple[float | None, Interval | None]:
    """Time per token relative to `none`, over the units in which both were timed.

    Args:
        timing: seconds and tokens of one control, (batches, rounds, 2).
        none: those of `none`, in the same shape; None for `none` itself.
    """
    if not timing.size:
        return None, None
    plain = timing if none is None else none
    missing = np.isnan(timing) | np.isnan(plain)
    a, b = (np.where(missing, np.nan, times).reshape(-1, 2) for times in (timing, plain))
    units = int((~np.isnan(a[:, 0])).sum())
    if not units:
        return None, None
    value = _ratio(mean(a), mean(b))
    if none is None or units < FEWEST:
        return numbers(value), (1.0, 1.0) if none is None and units > 1 else None
    logarithms = pseudo_values(lambda x, y: np.log(_ratio(x, y)), a, b)
    return numbers(value), _interval(np.exp(Sample(len(a)).mean_interval(logarithms)))


def _ratio(timing: Array, none: Array) -> Array:
    return np.asarray((timing[..., 0] / timing[..., 1]) / (none[..., 0] / none[..., 1]))


def _interval(ends: Array) -> Interval | None:
    low, high = numbers(ends)
    return None if low is None or high is None else (low, high)
