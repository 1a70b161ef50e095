"""Means and variances of arrays, shares, and areas under curves; missing observations are NaN.

This module knows arrays, not personas or rounds. `intervals` has the equations of the variance
components, and what follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]
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
    pseudo = n * value - (n - 1) * left_out
    result = np.full((len(whole), *np.shape(value)), np.nan)
    result[whole] = pseudo + (value - pseudo.mean(axis=0))
    return result


def false_discovery(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's (1995) adjusted p-values; None stays None and counts for nothing.

    Calling every value up to .05 a finding, at most 5% of runs without any effect have one.
    """
    from scipy.stats import false_discovery_control  # slow to import

    p_values = [value for value in p if value is not None]
    q_values = false_discovery_control(p_values) if p_values else np.empty(0)
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


def normalise(score: Array, floor: Array, ceiling: Array, least: float = 0.05) -> Array:
    """(score - floor) / (ceiling - floor), NaN where ceiling - floor is below `least`."""
    room = np.asarray(ceiling - floor, float)
    return np.asarray(
        np.divide(
            score - floor, room, out=np.full(np.shape(score - floor), np.nan), where=room >= least
        )
    )


def auc(values: Sequence[float] | Array, labels: Sequence[bool]) -> float:
    """Probability that a true case scores above a false one; NaN with one kind only.

    Cases without a score (NaN) are left out.
    """
    there = ~np.isnan(np.asarray(values, float))
    scores, on = np.asarray(values, float)[there], np.asarray(labels, bool)[there]
    if on.all() or not on.any():
        return float("nan")
    apart = scores[on][:, None] - scores[~on][None]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def numbers(values: Array) -> Any:
    """Nested lists of numbers to four places; NaN becomes None."""
    if np.ndim(values) == 0:
        return None if np.isnan(values) else round(float(values), 4)
    return [numbers(item) for item in values]


class _VarianceModel:
    """One choice of variance components: the quadratic form of V and the variance of V."""

    def __init__(self, parts: Sequence[Array], centre: Array) -> None:
        # parts: incidence matrices (n, groups), the identity last. centre: H (n, n).
        n = len(centre)
        self.weights = np.array([(part.sum(axis=0) ** 2).sum() for part in parts]) / n**2
        projections = [centre @ part for part in parts]
        trace = np.array([[((a.T @ c) ** 2).sum() for a in parts] for c in projections])
        self.solve = np.linalg.pinv(trace)
        form = sum(
            k * (c @ c.T) for k, c in zip(self.weights @ self.solve, projections, strict=True)
        )
        sides = [part.T @ form for part in parts]
        self.spread = np.array([[((s @ part) ** 2).sum() for part in parts] for s in sides])

    def fit(self, sums: Array) -> tuple[Array, Array, Array]:
        """Components, V and its degrees of freedom, from sums of squares (parts, columns)."""
        components = self.solve @ sums
        variance = self.weights @ components
        total = components.clip(min=0)
        noise = np.einsum("ac,ab,bc->c", total, self.spread, total)
        plain = self.weights @ total
        df = np.divide(plain**2, noise, out=np.full(len(noise), np.inf), where=noise > 0)
        return components, variance, df.clip(min=1.0)


class Design:
    """The rows of a sample that were observed together, and how they share groups.

    Args:
        random: For each kind of group drawn anew in another study, the group of each row.
        fixed_effects: The same for groups that are taken as given, whose means are taken out.
    """

    def __init__(
        self, random: Sequence[NDArray[np.int_]], fixed_effects: Sequence[NDArray[np.int_]], n: int
    ) -> None:
        self.n = n
        strata = np.zeros(n, int)
        for labels in fixed_effects:
            strata = _collapse(strata * (labels.max() + 1) + labels, (np.arange(n), *random))
        self.member = _incidence(strata)
        self.strata = self.member.shape[1]
        self.parts = [part for g in random if (part := _incidence(g)).shape[1] < n]
        self.recurrence = max((((p.sum(axis=0) / n) ** 2).sum() for p in self.parts), default=0.0)

    @cached_property
    def _models(self) -> dict[tuple[int, ...], _VarianceModel]:
        each = range(len(self.parts))
        subsets = [tuple(each), *((k,) for k in each if len(self.parts) > 1), ()]
        one = np.eye(self.n)
        centre = one - (self.member / self.member.sum(axis=0)) @ self.member.T
        return {
            s: _VarianceModel([*(self.parts[k] for k in s), one], centre)
            for s in dict.fromkeys(subsets)
        }

    def moments(self, values: Array) -> tuple[Array, Array]:
        """V of the mean of (n, columns), and its degrees of freedom."""
        # Without a matrix of all rows by all rows, of which a long log has too many.
        means = self.member.T @ values / self.member.sum(axis=0)[:, None]
        residuals = values - self.member @ means
        free = self.n - self.strata
        within = (residuals**2).sum(axis=0)
        if not self.parts:
            return within / (self.n * free), np.full(within.shape, float(free))
        sums = np.array([*(((p.T @ residuals) ** 2).sum(axis=0) for p in self.parts), within])
        variance, df = np.zeros((2, len(within)))
        rest = np.ones(len(within), bool)
        # A component that is only rounding counts as 0, whatever its sign, and so fits.
        least = -1e-9 * within / self.n
        for subset, model in self._models.items():
            if not rest.any():
                break
            some, estimates, freedom = model.fit(sums[[*subset, -1]][:, rest])
            fits = (some[:-1] >= least[rest]).all(axis=0)
            where = np.flatnonzero(rest)[fits]
            variance[where], df[where] = estimates[fits], freedom[fits]
            rest[where] = False
        return variance.clip(min=0), df


def _incidence(groups: NDArray[np.int_]) -> Array:
    member = np.eye(groups.max() + 1)[groups]
    return np.asarray(member[:, member.any(axis=0)])


def _collapse(strata: NDArray[np.int_], kinds: Sequence[NDArray[np.int_]]) -> NDArray[np.int_]:
    """Join strata that have one group only, so that every mean can be taken out.

    The difference between joined strata counts as noise (collapsed strata: Cochran 1977, 5A.12).
    """
    while len(alone := _of_one_group(strata, kinds)) and np.ptp(strata):
        group = set(alone)
        if len(group) == 1:  # and the smallest of the others
            names, sizes = np.unique(strata[strata != alone[0]], return_counts=True)
            group.add(names[sizes.argmin()])
        strata = np.where(np.isin(strata, list(group)), min(group), strata)
    return strata


def _of_one_group(strata: NDArray[np.int_], kinds: Sequence[NDArray[np.int_]]) -> NDArray[np.int_]:
    """The strata with a single group of any kind."""
    alone = []
    for groups in kinds:
        pairs = np.unique(np.stack([strata, groups]), axis=1)[0]
        names, counts = np.unique(pairs, return_counts=True)
        alone.append(names[counts < 2])
    return np.unique(np.concatenate(alone))
