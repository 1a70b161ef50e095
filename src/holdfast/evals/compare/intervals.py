"""The numbers of a comparison with their intervals: means, paired differences, relative time.

All intervals of a comparison come from the same draws of conversations (`stats.Resampler`), so
that a difference of two controls is resampled jointly. Those of the relative time

    relative = (seconds / tokens) / (none's seconds / tokens)

resample the units (batch, round), in which the controls take turns.

This module knows arrays. NaN marks what was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from holdfast.core.stats import Array, Resampler, mean, numbers
from holdfast.results.compare import Interval

Statistic = Callable[[Array], Array]
"""A function of values over the last axis to one number."""


class Estimate(NamedTuple):
    """A mean, its difference from `none`, and their intervals; None where nothing was measured."""

    value: float | None
    interval: Interval | None
    delta: float | None
    delta_interval: Interval | None


def late_rounds(length: int) -> slice:
    """The last quarter of rounds 1…length, rounded up."""
    return slice(length - math.ceil(length / 4) + 1, length + 1)


def mean_over(part: slice) -> Statistic:
    """The mean over a part of the last axis."""
    return lambda values: mean(values[..., part], axis=-1)


def estimate(values: Array, none: Array, statistic: Statistic, sample: Resampler) -> Estimate:
    """A statistic of the means over conversations, and its paired difference from `none`.

    Args:
        values: one control's, (conversations, …).
        none: those of `none`, in the same shape.
        statistic: what is made of the means.
        sample: the draws of conversations.
    """
    if not values.size:
        return Estimate(None, None, None, None)
    value, interval = statistic(mean(values)), mean_interval(values, statistic, sample)
    delta, delta_interval = paired_difference(values, none, statistic, sample)
    return Estimate(_number(value), _interval(interval), _number(delta), _interval(delta_interval))


def mean_interval(values: Array, statistic: Statistic, sample: Resampler) -> Array:
    """The interval; Wilson's where every conversation is all right or all wrong (`stats`)."""
    by_conversation = statistic(values)
    if np.isin(by_conversation[~np.isnan(by_conversation)], (0.0, 1.0)).all():
        return sample.interval(by_conversation)
    return sample.statistic(statistic, values)


def paired_difference(
    values: Array, others: Array, statistic: Statistic, sample: Resampler
) -> tuple[Array, Array]:
    """The statistic less the other control's, and its interval, over what both measured."""
    missing = np.isnan(values) | np.isnan(others)
    a, b = np.where(missing, np.nan, values), np.where(missing, np.nan, others)
    interval = sample.statistic(lambda x, y: statistic(x) - statistic(y), a, b)
    return statistic(mean(a)) - statistic(mean(b)), interval


def relative_time(
    timing: Array, none: Array, sample: Resampler
) -> tuple[float | None, Interval | None]:
    """Time per token relative to `none`, over the units in which both were timed.

    Args:
        timing: seconds and tokens of one control, (batches, rounds, 2).
        none: those of `none`, in the same shape.
        sample: the draws of units.
    """
    missing = np.isnan(timing) | np.isnan(none)
    a, b = (np.where(missing, np.nan, times).reshape(-1, 2) for times in (timing, none))
    units = int((~np.isnan(a[:, 0])).sum())
    if not units:
        return None, None
    interval = sample.statistic(_ratio, a, b) if units > 1 else None  # one unit has no spread
    return _number(_ratio(mean(a), mean(b))), None if interval is None else _interval(interval)


def _ratio(timing: Array, none: Array) -> Array:
    return np.asarray((timing[..., 0] / timing[..., 1]) / (none[..., 0] / none[..., 1]))


def _number(value: Array) -> float | None:
    return None if np.isnan(value) else float(numbers(value))


def _interval(ends: Array) -> Interval | None:
    return None if np.isnan(ends).any() else (float(numbers(ends[0])), float(numbers(ends[1])))
