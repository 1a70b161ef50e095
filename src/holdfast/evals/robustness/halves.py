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

Items that nearly repeat each other are one group: both halves have whole groups, the products of
σ² are of different groups, and the jackknife leaves out groups, each of which counts once whatever
its size: what repeats itself does not make more of what it says.

This module knows arrays. It knows no tasks and no texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array

SPLITS = 200
ALLOWED_SHARE = 0.5
"""Share of a shortfall by which a limit moves out; covers in `studies/coverage.py`."""


@dataclass(frozen=True)
class IntervalEstimate:
    """A value and its 95% interval, NaN where there is none."""

    value: float
    interval: Array


@dataclass(frozen=True)
class Groups:
    """Scores of personas, items that nearly repeat each other taken together."""

    sums: Array
    """Sum of the scores over the items of each group: (personas, groups)."""
    sizes: Array
    """Items of each group: (groups,)."""

    @classmethod
    def of(cls, matrix: Array, texts: Sequence[int] | None = None) -> Groups:
        """The groups of (personas, items), by the group of each item; None for items alone."""
        if texts is None or len(set(texts)) == len(texts):
            return cls(np.asarray(matrix, float), np.ones(matrix.shape[1]))
        _, codes = np.unique(np.asarray(texts), return_inverse=True)
        member = np.eye(codes.max() + 1)[codes]
        return cls(matrix @ member, member.sum(axis=0))

    @property
    def accuracies(self) -> Array:
        """Accuracy of each persona."""
        return np.asarray(self.sums.sum(axis=1) / self.sizes.sum())

    def pseudo_values(self, whole: Array, left_out: Array) -> Array:
        """The jackknife's pseudo-values of an estimate (...,) from those without each group.

        Their variance over the groups, divided by their number, is that of the estimate.
        """
        apart = left_out.mean(axis=-1, keepdims=True) - left_out
        return np.asarray(whole[..., None] + (len(self.sizes) - 1) * apart)


def extremes(groups: Groups, seed: int = 0, splits: int = SPLITS) -> dict[str, IntervalEstimate]:
    """Worst, best and their ratio, of accuracies."""
    whole, left_out = _pick_extremes(groups, seed, splits)
    pseudo = groups.pseudo_values(whole, left_out)  # their spread counts, not their mean
    sample = Sample(len(groups.sizes))
    worst, best = whole
    limits = [sample.score_interval(values) for values in pseudo]
    ratio = float(worst / best) if best > 0 else 0.0
    quotient = sample.quotient_interval(*pseudo)
    low, high = _ensemble(groups)
    reach = _reaching(quotient, ratio, low / high if high > 0 else ratio)
    return {
        "worst": IntervalEstimate(float(worst), _reaching(limits[0], float(worst), low)),
        "best": IntervalEstimate(float(best), _reaching(limits[1], float(best), high)),
        # Where personas differ in nothing, the worst of one half may be the better in the other.
        "ratio": IntervalEstimate(min(1.0, ratio), reach),
    }


def _ensemble(groups: Groups) -> tuple[float, float]:
    """The least and greatest accuracy once their spread is drawn in to its unbiased estimate."""
    accuracy = groups.accuracies
    raw_spread = accuracy.std()
    share = min(1.0, spread(groups).value / raw_spread) if raw_spread > 0 else 0.0
    drawn_in = accuracy.mean() + share * (accuracy - accuracy.mean())
    return float(drawn_in.min()), float(drawn_in.max())


def _reaching(limits: Array, value: float, extreme: float) -> Array:
    """`limits` moved out on one side by what `value` falls short of the extreme of all personas."""
    short = ALLOWED_SHARE * (extreme - value)
    low, high = limits
    # The quotient of two noisy halves may lie above 1, where no ratio of worst to best does.
    return np.asarray(np.clip([low + min(short, 0.0), high + max(short, 0.0)], 0.0, 1.0))


def _pick_extremes(groups: Groups, seed: int, splits: int) -> tuple[Array, Array]:
    """Worst and best (2,), and without each group (2, groups): means over halves of the groups."""
    rng, sizes = np.random.default_rng(seed), groups.sizes
    whole, left_out = np.zeros(2), np.zeros((2, len(sizes)))
    half = len(sizes) // 2
    for _ in range(splits):
        # Ties favour nobody: the personas' order is drawn too.
        rows, order = rng.permutation(groups.sums), rng.permutation(len(sizes))
        first, second = order[:half], order[half:]
        picks, scores, items = rows[:, first], rows[:, second], sizes[second].sum()
        pick_scores, test_scores = picks.sum(axis=1), scores.sum(axis=1)
        without = pick_scores[:, None] - picks  # a group of the picking half left out
        for k, pick in enumerate((np.argmin, np.argmax)):
            one = pick(pick_scores)
            whole[k] += test_scores[one] / items
            left_out[k, first] += test_scores[pick(without, axis=0)] / items
            left_out[k, second] += (test_scores[one] - scores[one]) / np.maximum(
                1, items - sizes[second]
            )
    return whole / splits, left_out / splits


def spread(groups: Groups) -> IntervalEstimate:
    """The standard deviation of true accuracies over the personas."""
    sizes, personas = groups.sizes, len(groups.sums)
    rows = groups.sums - groups.sums.mean(axis=0)
    total, own = rows.sum(axis=1), (rows**2).sum(axis=0)

    def square(sums: Array, squares: Array | float, pairs: Array | float) -> Array:
        """The mean product of two items' deviations, of different groups: σ² without bias."""
        return np.asarray(((sums**2).sum(axis=0) - squares) / (pairs * personas))

    items, same = sizes.sum(), (sizes**2).sum()
    value = square(total, float(own.sum()), max(items**2 - same, 1))  # one group has no pair
    if len(sizes) < 3:
        return IntervalEstimate(max(float(value), 0.0) ** 0.5, np.full(2, np.nan))
    rest = (items - sizes) ** 2 - (same - sizes**2)
    left_out = square(total[:, None] - rows, float(own.sum()) - own, rest)
    limits = Sample(len(sizes)).mean_interval(groups.pseudo_values(value, left_out))
    return IntervalEstimate(max(float(value), 0.0) ** 0.5, np.sqrt(limits.clip(min=0)))


def less(one: IntervalEstimate, other: IntervalEstimate) -> IntervalEstimate:
    """The difference of two estimates, which are taken as independent (MOVER)."""
    down = np.hypot(one.value - one.interval[0], other.interval[1] - other.value)
    up = np.hypot(one.interval[1] - one.value, other.value - other.interval[0])
    value = one.value - other.value
    return IntervalEstimate(value, np.array([value - down, value + up]))
