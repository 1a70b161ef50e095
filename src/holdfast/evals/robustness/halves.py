"""Extremes and spread of personas without the bias of picking on what is scored.

The least of many noisy accuracies is too low, even where the personas are equal. So the worst
persona is picked on one half of the items and scored on the other, over many random halves:

    worst = mean over halves of a_B(argmin_p a_A(p))        best: the same with argmax

which is without bias for the accuracy, on new items, of the persona that half of the items
show as the worst; where personas do not differ it is their mean. It is not below the truly
worst persona on average, and above it where personas differ by less than their noise. So the
outer limit of its interval moves out by half of how far it falls short of the extreme of the
accuracies drawn in towards their mean to their true spread (constrained empirical Bayes; Louis
1984, J. Am. Stat. Assoc. 79), which is the extreme itself on average. The spread between
personas has an unbiased estimate of its square,

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
ALLOWED = 0.5
"""Share of a shortfall by which a limit moves out; covers in `studies/coverage.py`."""


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
    ratio = float(worst / best) if best > 0 else 0.0
    quotient = sample.quotient_interval(*pseudo)
    low, high = _ensemble(matrix)
    return {
        "worst": Estimate(float(worst), _reaching(limits[0], float(worst), low)),
        "best": Estimate(float(best), _reaching(limits[1], float(best), high)),
        "ratio": Estimate(ratio, _reaching(quotient, ratio, low / high if high > 0 else ratio)),
    }


def _ensemble(matrix: Array) -> tuple[float, float]:
    """The least and greatest accuracy once their spread is drawn in to its unbiased estimate."""
    accuracy = matrix.mean(axis=1)
    measured = accuracy.std()
    share = min(1.0, spread(matrix).value / measured) if measured > 0 else 0.0
    drawn_in = accuracy.mean() + share * (accuracy - accuracy.mean())
    return float(drawn_in.min()), float(drawn_in.max())


def _reaching(limits: Array, value: float, extreme: float) -> Array:
    """`limits` moved out on one side by what `value` falls short of the extreme of all personas."""
    short = ALLOWED * (extreme - value)
    low, high = limits
    if value < 0 or np.isnan(low):
        return limits
    return np.array([max(low + min(short, 0.0), 0.0), min(high + max(short, 0.0), 1.0)])


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
