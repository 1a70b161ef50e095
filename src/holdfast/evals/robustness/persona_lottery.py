"""What an accuracy matrix says of personas: A[persona, item] to numbers.

With a_p the mean of A over items, p = 1…n, and a_(1) ≤ … ≤ a_(n):

    mean, worst, best, std    of a_p over the n personas (std with divisor n)
    ratio                     worst / best; 0 where nobody is ever right
    all_correct               share of items that are right under every persona
    lottery(k)                expected best of k personas drawn without replacement,
                              Σ_i a_(i) C(i-1, k-1) / C(n, k): exact, no Monte Carlo

Extremes of noisy accuracies are biased: among personas that differ in nothing the worst looks
worse than it is. So beside each stands what it is where labels mean nothing (`permuted`: the
personas' names shuffled within each item), and the worst and best picked on one half of the
items are scored on the other (`halves`). Intervals are bootstraps over items, in which the worst
persona of each draw is the worst of that draw.

`PSS` names the ways to make one number of it; the paper's own formula is not known to us
(arXiv:2604.08986), so none of them is the paper's.

This module knows arrays. It knows no tasks, no texts and no models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.core.stats import Array, Resampler, percentiles

NAMES = ("mean", "worst", "best", "ratio", "std", "all_correct")
EXTREMES = ("worst", "best", "ratio", "std")
DRAWS = 2000
PSS_VERSION = 1
# From (mean, worst, best, ratio, std, all_correct) to one number, higher for more robust.
PSS: Mapping[str, Callable[[Mapping[str, Array]], Array]] = {
    "worst/best": lambda s: s["ratio"],
    "worst": lambda s: s["worst"],
    "mean-std": lambda s: s["mean"] - s["std"],
    "all-correct": lambda s: s["all_correct"],
}


def expected_best(accuracies: Sequence[float] | Array) -> list[float]:
    """Expected best of k personas, k = 1…n; the first is the mean, the last the best."""
    return expected_pick(accuracies, accuracies)


def expected_pick(
    chosen_by: Sequence[float] | Array, scored: Sequence[float] | Array
) -> list[float]:
    """Expected score of the persona that is chosen among k for the other figure, k = 1…n.

    Ties are broken in the order given. With one figure for both it is `expected_best`.
    """
    n = len(scored)
    ranked = np.asarray(scored, float)[np.argsort(np.asarray(chosen_by, float), kind="stable")]
    ranks, weights = np.arange(n), np.full(n, 1 / n)
    expected = []
    for k in range(1, n + 1):
        expected.append(float(ranked @ weights))
        # C(i, k) is C(i, k - 1) (i - k + 1) / k; the weights of all ranks add up to 1.
        weights = weights * np.maximum(ranks - k + 1, 0)
        weights /= weights.sum() or 1
    return expected


def statistics(accuracy: Array, all_correct: Array) -> dict[str, Array]:
    """`NAMES` of accuracies (..., personas) and the share of items all solve (...)."""
    worst, best = accuracy.min(axis=-1), accuracy.max(axis=-1)
    ratio = np.divide(worst, best, out=np.zeros(np.shape(best)), where=best > 0)
    mean, std = accuracy.mean(axis=-1), accuracy.std(axis=-1)
    found = (mean, worst, best, ratio, std, all_correct)
    return {name: np.asarray(value) for name, value in zip(NAMES, found, strict=True)}


@dataclass(frozen=True)
class Lottery:
    """An accuracy matrix (personas, items) of scores in [0, 1], at least two of each."""

    matrix: Array

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
    def _solved(self) -> Array:
        return np.asarray((self.matrix >= 1).all(axis=0), float)

    def values(self) -> dict[str, float]:
        """`NAMES`, and each of `PSS` by its name."""
        found = statistics(self.accuracies, np.asarray(self._solved.mean()))
        return {name: float(v) for name, v in _with_pss(found).items()}

    def intervals(self, seed: int = 0) -> dict[str, Array]:
        """95% intervals over items of `NAMES` and of `PSS`, all from the same draws."""
        sample = Resampler.of(range(self.matrix.shape[1]), draws=DRAWS, seed=seed)
        drawn = _with_pss(statistics(sample.means(self.matrix.T), sample.means(self._solved)))
        found = {name: percentiles(values) for name, values in drawn.items()}
        # Zeros and ones have Wilson's interval, which is not empty where all are alike.
        found["all_correct"] = found["all-correct"] = sample.interval(self._solved)
        return found

    def each(self, seed: int = 0) -> Array:
        """A 95% interval over items for each persona's accuracy: (personas, 2)."""
        sample = Resampler.of(range(self.matrix.shape[1]), draws=DRAWS, seed=seed)
        return sample.interval(self.matrix.T)

    def permuted(self, draws: int = DRAWS, seed: int = 0) -> dict[str, Array]:
        """`EXTREMES` where the labels of the personas are shuffled within each item: (draws,)."""
        rng = np.random.default_rng(seed)
        means = np.array([rng.permuted(self.matrix, axis=0).mean(axis=1) for _ in range(draws)])
        found = statistics(means, np.zeros(draws))
        return {name: found[name] for name in EXTREMES}

    def halves(self, draws: int = DRAWS, seed: int = 0) -> dict[str, tuple[float, Array]]:
        """Worst, best and ratio picked on one half of the items and scored on the other.

        A value is the mean over `draws` random halves; its interval resamples each half too.
        """
        rng = np.random.default_rng(seed)
        items = self.matrix.shape[1]
        picked = np.zeros((2, draws, 2))  # resampled or not, draw, worst and best
        for d in range(draws):
            matrix = rng.permutation(self.matrix)  # of equals, none is favoured by its place
            order = rng.permutation(items)
            parts = order[: items // 2], order[items // 2 :]
            again = [rng.choice(part, len(part)) for part in parts]
            for i, (pick, score) in enumerate((parts, again)):
                chosen, scored = (matrix[:, held].mean(axis=1) for held in (pick, score))
                picked[i, d] = scored[chosen.argmin()], scored[chosen.argmax()]
        whole, resampled = (_of_pair(one) for one in picked)
        # The mean of the pairs first: a ratio of means, as it is without halves.
        middle = _of_pair(picked[0].mean(axis=0))
        return {name: (float(middle[name]), percentiles(resampled[name])) for name in whole}


def _of_pair(pair: Array) -> dict[str, Array]:
    """Worst, best and ratio of (..., 2) accuracies."""
    worst, best = pair[..., 0], pair[..., 1]
    ratio = np.divide(worst, best, out=np.zeros(np.shape(best)), where=best > 0)
    return {"worst": np.asarray(worst), "best": np.asarray(best), "ratio": np.asarray(ratio)}


def _with_pss(found: Mapping[str, Array]) -> dict[str, Array]:
    return {**found, **{name: np.asarray(of(found)) for name, of in PSS.items()}}


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
    scored = matrix[:, ~development].mean(axis=1)
    best = int(chosen_by.argmax())
    return Pick(best, float(chosen_by[best]), float(scored[best]), float(scored.max()))


def search_curve(matrix: Array, halvings: int = 200, seed: int = 0) -> list[float]:
    """Expected score of the best of k personas on one half of the items, on the other half.

    Exact in the personas drawn, a mean over `halvings` of the items: with k = 1 it is the mean
    accuracy, and how far it stays below `expected_best` is what choosing on few items costs.
    """
    rng, items = np.random.default_rng(seed), matrix.shape[1]
    curves = []
    for _ in range(halvings):
        rows, order = rng.permutation(matrix), rng.permutation(items)
        pick, score = (rows[:, held].mean(axis=1) for held in np.split(order, [items // 2]))
        curves.append(expected_pick(pick, score))
    return [float(v) for v in np.mean(curves, axis=0)]
