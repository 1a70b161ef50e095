"""Extremes and spread of personas without the bias of picking on what is scored.

The least of many noisy accuracies is too low, even where the personas are equal. So the worst
persona is picked on one half of the items and scored on the other, over many random halves:

    worst = mean over halves of a_B(argmin_p a_A(p))        best: the same with argmax

which is without bias for the accuracy, on new items, of the persona that half of the items
show as the worst; where personas do not differ it is their mean. It is not below the truly
worst persona on average. The spread between personas has an unbiased estimate of its square,

    σ² = (MS_personas - MS_residual) / items · (personas - 1) / personas

by the analysis of variance of personas × items, cut off at 0. Intervals are over items: Wilson's
and its quotient (`intervals`) with the jackknife's variance, from leaving out each item.

This module knows arrays. It knows no tasks and no texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array

SPLITS = 200


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval, NaN where there is none."""

    value: float
    interval: Array


def extremes(matrix: Array, seed: int = 0, splits: int = SPLITS) -> dict[str, Estimate]:
    """Worst, best and their ratio, of accuracies (personas, items)."""
    whole, left_out = _picked(matrix, seed, splits)
    items = matrix.shape[1]
    pseudo = items * whole[:, None] - (items - 1) * left_out
    pseudo += (whole - pseudo.mean(axis=1))[:, None]  # their spread counts, not their mean
    sample = Sample(items)
    worst, best = whole
    limits = [sample.score_interval(values) for values in pseudo]
    ratio = worst / best if best > 0 else 0.0
    found = sample.quotient_interval(*pseudo)
    return {
        "worst": Estimate(float(worst), limits[0]),
        "best": Estimate(float(best), limits[1]),
        "ratio": Estimate(float(ratio), found),
    }


def _picked(matrix: Array, seed: int, splits: int) -> tuple[Array, Array]:
    """Worst and best of all items (2,), and without each item (2, items): means over halves."""
    rng = np.random.default_rng(seed)
    items = matrix.shape[1]
    whole, left_out = np.zeros(2), np.zeros((2, items))
    half = items // 2
    for _ in range(splits):
        rows, order = rng.permutation(matrix), rng.permutation(items)  # ties favour nobody
        first, second = order[:half], order[half:]
        picks, scores = rows[:, first], rows[:, second]
        chosen, scored = picks.sum(axis=1), scores.sum(axis=1)
        without = chosen[:, None] - picks  # an item of the picking half left out
        for k, pick in enumerate((np.argmin, np.argmax)):
            one = pick(chosen)
            whole[k] += scored[one] / len(second)
            left_out[k, first] += scored[pick(without, axis=0)] / len(second)
            left_out[k, second] += (scored[one] - scores[one]) / max(1, len(second) - 1)
    return whole / splits, left_out / splits


def spread(matrix: Array) -> Estimate:
    """The standard deviation of true accuracies over the personas of (personas, items)."""
    personas, items = matrix.shape
    rows = matrix - matrix.mean(axis=0)
    total, own = rows.sum(axis=1), (rows**2).sum(axis=0)

    def square(sums: Array, squares: Array | float, n: int) -> Array:
        """The mean product of two items' deviations, which is σ² without bias."""
        return np.asarray(((sums**2).sum(axis=0) - squares) / (n * (n - 1) * personas))

    value = float(square(total, float(own.sum()), items))
    if items < 3:
        return Estimate(max(value, 0.0) ** 0.5, np.full(2, np.nan))
    left_out = square(total[:, None] - rows, float(own.sum()) - own, items - 1)
    pseudo = items * value - (items - 1) * left_out
    limits = Sample(items).mean_interval(pseudo)
    return Estimate(max(value, 0.0) ** 0.5, np.sqrt(limits.clip(min=0)))


def less(one: Estimate, other: Estimate) -> Array:
    """The interval of a difference of two estimates, taken as independent (MOVER)."""
    down = np.hypot(one.value - one.interval[0], other.interval[1] - other.value)
    up = np.hypot(one.interval[1] - one.value, other.value - other.interval[0])
    value = one.value - other.value
    return np.array([value - down, value + up])
