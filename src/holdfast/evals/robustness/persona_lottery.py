"""What an accuracy matrix says of personas: A[persona, item] to numbers.

With a_p the mean of A over items, p = 1…n, and a_(1) ≤ … ≤ a_(n):

    mean, worst, best, std    of a_p over the n personas (std with divisor n)
    ratio                     worst / best; 0 where nobody is ever right
    all_correct               share of items that are right under every persona
    lottery(k)                expected best of k personas drawn without replacement,
                              Σ_i a_(i) C(i-1, k-1) / C(n, k): exact, no Monte Carlo

Extremes of noisy accuracies are biased: among personas that differ in nothing the worst looks
worse than it is. They have no interval of their own; each is reported beside its value under
permuted labels (`null_distribution`: the personas' names shuffled within each item) and beside an
estimate without that bias, which has one (`halves`).

`settings.PSS` names the ways to make one number of the estimates without bias; the paper's own
formula is not known to us (arXiv:2604.08986), so none of them is the paper's.

This module knows arrays. It knows no tasks, no texts and no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array
from holdfast.evals.robustness.halves import Groups, IntervalEstimate, extremes, less, spread

NAMES = ("mean", "worst", "best", "ratio", "std", "all_correct")
EXTREMES = ("worst", "best", "ratio", "std")
DRAWS = 2000
HALVINGS = 200
PSS_VERSION = 2


def expected_best(accuracies: Sequence[float] | Array) -> list[float]:
    """Expected best of k personas, k = 1…n; the first is the mean, the last the best."""
    return expected_pick(accuracies, accuracies)


def expected_pick(
    chosen_by: Sequence[float] | Array, scores: Sequence[float] | Array
) -> list[float]:
    """Expected score of the persona that is chosen among k for the other figure, k = 1…n.

    Ties are broken in the order given. With one figure for both it is `expected_best`.
    """
    n = len(scores)
    in_order = np.asarray(scores, float)[np.argsort(np.asarray(chosen_by, float), kind="stable")]
    ranks, weights = np.arange(n), np.full(n, 1 / n)
    curve = []
    for k in range(1, n + 1):
        curve.append(float(in_order @ weights))
        # C(i, k) is C(i, k - 1) (i - k + 1) / k; the weights of all ranks add up to 1.
        weights = weights * np.maximum(ranks - k + 1, 0)
        weights /= weights.sum() or 1
    return curve


def statistics(accuracy: Array, all_correct: Array) -> dict[str, Array]:
    """`NAMES` of accuracies (..., personas) and the share of items all solve (...)."""
    worst, best = accuracy.min(axis=-1), accuracy.max(axis=-1)
    ratio = np.divide(worst, best, out=np.zeros(np.shape(best)), where=best > 0)
    mean, std = accuracy.mean(axis=-1), accuracy.std(axis=-1)
    figures = (mean, worst, best, ratio, std, all_correct)
    return {name: np.asarray(value) for name, value in zip(NAMES, figures, strict=True)}


@dataclass(frozen=True)
class Lottery:
    """An accuracy matrix (personas, items) of scores in [0, 1], at least two of each."""

    matrix: Array
    texts: Sequence[int] | None = None
    """For each item its group of near-duplicates, which are drawn together; None for no groups."""

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or min(self.matrix.shape) < 2:
            raise ValueError("a lottery needs at least two personas and two items")
        if np.isnan(self.matrix).any():
            raise ValueError("a lottery's matrix has no gaps: leave the item out for everybody")

    @property
    def accuracies(self) -> Array:
        """Accuracy of each persona."""
        return np.asarray(self.matrix.mean(axis=1))

    @property
    def _solved_by_all(self) -> Array:
        return np.asarray((self.matrix >= 1).all(axis=0), float)

    def values(self) -> dict[str, float]:
        """`NAMES` as measured: the extremes and the deviation are biased outwards."""
        figures = statistics(self.accuracies, np.asarray(self._solved_by_all.mean()))
        return {name: float(value) for name, value in figures.items()}

    def estimates(self, seed: int = 0) -> dict[str, IntervalEstimate]:
        """`NAMES` without that bias (`halves`), and each of `PSS` by its name."""
        sample = Sample(self.matrix.shape[1], clusters=self.texts)
        shares = {"mean": self.matrix.mean(axis=0), "all_correct": self._solved_by_all}
        numbers = {
            name: IntervalEstimate(float(share.mean()), sample.score_interval(share))
            for name, share in shares.items()
        }
        groups = Groups.of(self.matrix, self.texts)
        numbers |= extremes(groups, seed) | {"std": spread(groups)}
        return numbers | {
            "worst/best": numbers["ratio"],
            "mean-std": less(numbers["mean"], numbers["std"]),
            "all-correct": numbers["all_correct"],
        }

    def null_distribution(self, draws: int = DRAWS, seed: int = 0) -> dict[str, Array]:
        """`EXTREMES` where the personas' labels are shuffled within each item: (draws,).

        Near-duplicates are shuffled alike.
        """
        rng, groups = np.random.default_rng(seed), Groups.of(self.matrix, self.texts)
        sums = np.array([rng.permuted(groups.sums, axis=0).sum(axis=1) for _ in range(draws)])
        means = sums / groups.sizes.sum()
        figures = statistics(means, np.zeros(draws))
        return {name: figures[name] for name in EXTREMES}


@dataclass(frozen=True)
class Pick:
    """The persona that is best on development items, scored on the others.

    `persona` is its row. `oracle` is the best on those others, which nobody can choose.
    """

    persona: int
    development: float
    others: float
    oracle: float


def search(matrix: Array, development: NDArray[np.bool_]) -> Pick:
    """Choose a row of (personas, items) on the items that `development` (bool) marks."""
    chosen_by = matrix[:, development].mean(axis=1)
    test_scores = matrix[:, ~development].mean(axis=1)
    best = int(chosen_by.argmax())
    return Pick(best, float(chosen_by[best]), float(test_scores[best]), float(test_scores.max()))


def search_curve(matrix: Array, seed: int = 0, texts: Sequence[int] | None = None) -> list[float]:
    """Expected score of the best of k personas on one half of the items, on the other half.

    Exact in the personas drawn, a mean over `HALVINGS` of the items: with k = 1 it is the mean
    accuracy, and how far it stays below `expected_best` is what choosing on few items costs.
    Near-duplicates (`texts`) are never on both sides.
    """
    rng, groups = np.random.default_rng(seed), Groups.of(matrix, texts)
    curves = []
    for _ in range(HALVINGS):
        rows, order = rng.permutation(groups.sums), rng.permutation(len(groups.sizes))
        halves = np.split(order, [len(order) // 2])
        pick, score = (rows[:, h].sum(axis=1) / max(1, groups.sizes[h].sum()) for h in halves)
        curves.append(expected_pick(pick, score))
    return [float(v) for v in np.mean(curves, axis=0)]
