"""95% intervals of means over conversations that share personas.

A plan pairs agents' personas with users'; a persona may recur, and categories have nearly
equal numbers. Score i of agent a(i), user u(i) and category c(i) is modelled as

    y_i = μ_c(i) + α_a(i) + β_u(i) + ε_i        α, β, ε independent, variances σ²_α, σ²_β, σ²_ε

The categories are fixed and their means taken out; personas, users and conversations are drawn
anew in another study, from personas like these. The variance of the mean is then

    V = Σ_B σ²_B Σ_g n_Bg² / n²                 B: agents, users, conversations (n_Bg = 1)

Variance components. With residuals r = Hy from the category means and the group sums of
squares S_B = Σ_g (Σ_{i in g} r_i)², E[S_B] = Σ_C σ²_C tr(H B H C) for incidence products
B, C; solving these equations gives unbiased σ² (MINQUE with equal weights; Rao 1971, and the
pigeonhole model of Owen 2007, Ann. Appl. Stat. 1). A negative persona component is dropped.
V is a quadratic form y'Qy, and its degrees of freedom are Satterthwaite's (1946),
2V² / Var(V) with Var(V) = 2 tr(QΣQΣ).

Mean of scores in [0, 1]: Wilson's interval at the effective sample size that V implies, with
Student's t in place of the normal quantile (Korn & Graubard 1998; Franco et al. 2019):

    n_eff = n / deff        deff = (nV + κ/n) / (m(1 - m) + κ/n)

where κ draws the design effect towards 1, so that scores which are all alike have a width. It
grows with the share of scores that are exactly 0 or 1: where most are, a failure not yet seen
is a whole one.

Difference of two means, paired: MOVER (Zou & Donner 2008; Newcombe 1998, method 10), which
joins the two means' limits by their correlation; Student's t where no difference is exactly
-1, 0 or 1. Ratio: the same for N - θD, solved for θ
(Donner & Zou 2012), which is Fieller's interval where the limits are symmetric.

This module knows arrays. It knows no personas and no rounds. Missing values are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from holdfast.core.stats import Array, mean

FEWEST = 3
"""Observations; from fewer there is no interval."""
GROUPS = 5
"""Groups that recur; fewer are taken as given."""
PRIOR, LEAST = 0.5, 0.03
"""κ = LEAST + PRIOR × the share of scores that are exactly 0 or 1."""


@dataclass(frozen=True)
class Moments:
    """A mean, its estimated variance and degrees of freedom, and the observations behind it."""

    mean: Array
    variance: Array
    df: Array
    n: Array
    ends: Array
    """Share of the observations that are exactly 0 or 1 (or -1, a difference)."""


class _Model:
    """One choice of variance components: the quadratic form of V and the variance of V."""

    def __init__(self, parts: Sequence[Array], centre: Array) -> None:
        # parts: incidence matrices (n, groups), the identity last. centre: H (n, n).
        n = len(centre)
        self.weights = np.array([(part.sum(axis=0) ** 2).sum() for part in parts]) / n**2
        centred = [centre @ part for part in parts]
        trace = np.array([[((a.T @ c) ** 2).sum() for a in parts] for c in centred])
        self.solve = np.linalg.pinv(trace)
        form = sum(k * (c @ c.T) for k, c in zip(self.weights @ self.solve, centred, strict=True))
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
        fixed: The same for groups that are taken as given, whose means are taken out.
    """

    def __init__(
        self, random: Sequence[NDArray[np.int_]], fixed: Sequence[NDArray[np.int_]], n: int
    ) -> None:
        self.n = n
        strata = np.zeros(n, int)
        for labels in fixed:
            joint = strata * (labels.max() + 1) + labels
            if all(_fits(joint, groups) for groups in (np.arange(n), *random)):
                strata = joint
        member = _incidence(strata)
        self.strata = member.shape[1]
        self.centre = np.eye(n) - (member / member.sum(axis=0)) @ member.T
        self.parts = [part for g in random if (part := _incidence(g)).shape[1] < n]

    @cached_property
    def _models(self) -> dict[tuple[int, ...], _Model]:
        each = range(len(self.parts))
        subsets = [tuple(each), *((k,) for k in each if len(self.parts) > 1), ()]
        one = np.eye(self.n)
        return {
            s: _Model([*(self.parts[k] for k in s), one], self.centre)
            for s in dict.fromkeys(subsets)
        }

    def moments(self, values: Array) -> tuple[Array, Array]:
        """V of the mean of (n, columns), and its degrees of freedom."""
        residuals = self.centre @ values
        free = self.n - self.strata
        within = (residuals**2).sum(axis=0)
        if not self.parts:
            return within / (self.n * free), np.full(within.shape, float(free))
        sums = np.array([*(((p.T @ residuals) ** 2).sum(axis=0) for p in self.parts), within])
        variance, df = np.zeros((2, len(within)))
        left = np.ones(len(within), bool)
        for subset, model in self._models.items():
            if not left.any():
                break
            some, found, freedom = model.fit(sums[[*subset, -1]][:, left])
            fits = (some[:-1] >= 0).all(axis=0) if subset else np.ones(left.sum(), bool)
            where = np.flatnonzero(left)[fits]
            variance[where], df[where] = found[fits], freedom[fits]
            left[where] = False
        return variance.clip(min=0), df


def _incidence(groups: NDArray[np.int_]) -> Array:
    member = np.eye(groups.max() + 1)[groups]
    return np.asarray(member[:, member.any(axis=0)])


def _fits(strata: NDArray[np.int_], groups: NDArray[np.int_]) -> bool:
    """Whether every stratum has two groups at least, so that its mean can be taken out."""
    pairs = np.unique(np.stack([strata, groups]), axis=1)[0]
    return bool(np.unique(pairs, return_counts=True)[1].min() >= 2)


class Sample:
    """What was sampled: observations, the groups that recur in them, and their categories."""

    def __init__(
        self,
        n: int,
        recurring: Sequence[Sequence[Hashable]] = (),
        strata: Sequence[Hashable] | None = None,
    ) -> None:
        """Describe `n` observations.

        Args:
            n: Observations.
            recurring: For each kind of group (agents' personas, users' personas) the group of
                each observation. A kind with fewer than five groups that recur is taken as
                given: the interval is then about these alone.
            strata: The category of each observation, whose number was fixed by the plan.
        """
        if n < 1:
            raise ValueError("a sample needs at least one observation")
        self.n = n
        self.recurring = [_codes(labels) for labels in recurring]
        self.strata = None if strata is None else _codes(strata)
        self._designs: dict[bytes, Design] = {}

    def part(self, rows: NDArray[np.bool_]) -> Sample:
        """The same of some observations only."""
        groups = [g[rows].tolist() for g in self.recurring]
        strata = None if self.strata is None else self.strata[rows].tolist()
        return Sample(int(rows.sum()), groups, strata)

    def moments(self, values: Array) -> Moments:
        """Means over the first axis of (observations, ...) and what their intervals need."""
        values = np.asarray(values, float)
        shape, flat = values.shape[1:], values.reshape(self.n, -1)
        there = ~np.isnan(flat)
        variance, df = np.full((2, flat.shape[1]), np.nan)
        patterns, which = np.unique(there, axis=1, return_inverse=True)
        for k, rows in enumerate(patterns.T):
            if rows.sum() >= 2:
                columns = which.reshape(-1) == k
                found = self._design(rows).moments(flat[np.ix_(rows, columns)])
                variance[columns], df[columns] = found
        n = there.sum(axis=0)
        ends = np.isin(flat, (-1.0, 0.0, 1.0)).sum(axis=0) / n.clip(min=1)
        arrays = (mean(flat), variance, df, n, ends)
        return Moments(*(np.asarray(a).reshape(shape) for a in arrays))

    def _design(self, rows: NDArray[np.bool_]) -> Design:
        key = rows.tobytes()
        if key not in self._designs:
            groups = [_codes(g[rows].tolist()) for g in self.recurring]
            several = [g for g in groups if g.max() + 1 < len(g)]
            given = [g for g in several if g.max() + 1 < GROUPS]
            given += [] if self.strata is None else [_codes(self.strata[rows].tolist())]
            random = [g for g in several if g.max() + 1 >= GROUPS]
            self._designs[key] = Design(random, given, int(rows.sum()))
        return self._designs[key]

    def score_interval(self, values: Array, level: float = 0.95) -> Array:
        """Intervals of the means of scores in [0, 1]: (observations, ...) to (..., 2)."""
        m = self.moments(values)
        return _enough(_wilson(m, quantile(m.df, level), outer=True), m.n)

    def mean_interval(self, values: Array, level: float = 0.95) -> Array:
        """Student's t interval of means of any values, symmetric and unbounded: (..., 2)."""
        m = self.moments(values)
        half = quantile(m.df, level) * np.sqrt(m.variance)
        return _enough(np.stack([m.mean - half, m.mean + half], axis=-1), m.n)

    def difference_interval(self, a: Array, b: Array, level: float = 0.95) -> Array:
        """Intervals of mean(a) - mean(b), scores in [0, 1], over what both have: (..., 2)."""
        one, other, apart = self._pair(a, b)
        return _enough(_difference(one, other, apart, quantile(apart.df, level)), apart.n)

    def difference_p(self, a: Array, b: Array) -> Array:
        """Two-sided p-values of mean(a) = mean(b): 1 less the level whose interval ends at 0.

        NaN where there is no interval.
        """
        one, other, apart = self._pair(a, b)
        low, high = np.zeros((2, *apart.mean.shape))
        high = high + 60.0
        for _ in range(40):
            middle = (low + high) / 2
            limits = _difference(one, other, apart, middle)
            outside = (limits[..., 0] > 0) | (limits[..., 1] < 0)
            low, high = np.where(outside, middle, low), np.where(outside, high, middle)
        return np.asarray(np.where(apart.n >= FEWEST, 2 * stdtr(apart.df, -low), np.nan))

    def _pair(self, a: Array, b: Array) -> tuple[Moments, Moments, Moments]:
        gap = np.isnan(a) | np.isnan(b)
        a, b = np.where(gap, np.nan, a), np.where(gap, np.nan, b)
        return self.moments(a), self.moments(b), self.moments(a - b)

    def ratio_interval(self, top: Array, low: Array, high: Array, level: float = 0.95) -> Array:
        """Intervals of (top - low) / (high - low) of means of scores in [0, 1]: (..., 2).

        NaN where the distance of `high` from `low` is not clearly above 0.
        """
        shape = np.broadcast_shapes(top.shape, low.shape, high.shape)
        top, low, high = (np.broadcast_to(v, shape) for v in (top, low, high))
        gap = np.isnan(top) | np.isnan(low) | np.isnan(high)
        top, low, high = (np.where(gap, np.nan, v) for v in (top, low, high))
        ceiling, score, floor = (self.moments(v) for v in (high, top, low))
        fall, room, rest = (self.moments(v) for v in (high - top, high - low, top - low))
        t = quantile(np.minimum(fall.df, room.df), level)
        above = _difference(ceiling, score, fall, t)
        room_limits = _difference(ceiling, floor, room, t)
        limits = 1 - _quotient(fall, above, room, room_limits, _correlation(fall, room, rest))
        return _enough(limits[..., ::-1], room.n)

    def quotient_interval(self, top: Array, bottom: Array, level: float = 0.95) -> Array:
        """Intervals of mean(top) / mean(bottom), both in [0, 1]: (..., 2)."""
        n, d, apart = (self.moments(v) for v in (top, bottom, top - bottom))
        t = quantile(np.minimum(n.df, d.df), level)
        limits = _quotient(n, _wilson(n, t), d, _wilson(d, t), _correlation(n, d, apart))
        return _enough(limits, apart.n)


def _quotient(
    top: Moments, top_limits: Array, bottom: Moments, bottom_limits: Array, rho: Array
) -> Array:
    """MOVER limits of top / bottom, with bottom above 0: the roots of N - θD at its limits."""
    n, d = top.mean, bottom.mean
    down, up = d - bottom_limits[..., 0], bottom_limits[..., 1] - d
    ends = []
    for side, sign in ((n - top_limits[..., 0], -1), (top_limits[..., 1] - n, 1)):
        # θ above 0 subtracts D: the lower limit of N - θD takes D's upper side.
        roots = [_root(n, d, side, other, rho, sign) for other in ((up, down)[::-sign])]
        ends.append(np.where(roots[0] >= 0, roots[0], roots[1]))
    limits = np.stack(ends, axis=-1)
    return np.where((bottom_limits[..., 0] > 0)[..., None], limits, np.nan)


def _root(n: Array, d: Array, a: Array, b: Array, rho: Array, sign: int) -> Array:
    """The smaller or larger root of θ²(d² - b²) - 2θ(nd - ρab) + n² - a²."""
    square = d**2 - b**2
    middle = n * d - rho * a * b
    room = (middle**2 - square * (n**2 - a**2)).clip(min=0)
    none = np.full(np.shape(n), np.nan)
    return np.asarray(np.divide(middle + sign * np.sqrt(room), square, out=none, where=square > 0))


def _difference(one: Moments, other: Moments, apart: Moments, t: Array) -> Array:
    low_a, high_a = np.moveaxis(_wilson(one, t), -1, 0)
    low_b, high_b = np.moveaxis(_wilson(other, t), -1, 0)
    rho = _correlation(one, other, apart)
    a, b = one.mean, other.mean
    down = _joined(a - low_a, high_b - b, rho)
    up = _joined(high_a - a, b - low_b, rho)
    # Differences of which none is exactly -1, 0 or 1 show their own spread: Student's t.
    half = t * np.sqrt(apart.variance)
    smooth = apart.ends == 0
    down, up = np.where(smooth, half, down), np.where(smooth, half, up)
    return np.stack([a - b - down, a - b + up], axis=-1)


def _joined(x: Array, y: Array, rho: Array) -> Array:
    return np.asarray(np.sqrt((x**2 - 2 * rho * x * y + y**2).clip(min=0)))


def _correlation(one: Moments, other: Moments, apart: Moments) -> Array:
    """Correlation of two means, drawn towards 0 where many pairs are exactly alike.

    Newcombe's (1998) correction for continuity in a simpler form: a pair that differs may not
    have been seen yet.
    """
    product = np.sqrt(one.variance * other.variance)
    top = (one.variance + other.variance - apart.variance) / 2
    rho = np.divide(top, product, out=np.zeros(np.shape(top)), where=product > 1e-12)
    return np.asarray(rho.clip(-1, 1) * (1 - apart.ends / apart.n.clip(min=1)))


def _wilson(m: Moments, t: Array, *, outer: bool = False) -> Array:
    """Wilson's interval at the effective sample size: (..., 2).

    With `outer` the limit towards the nearer end of [0, 1] is Agresti and Coull's (1998),
    since Wilson's misses means very near 0 or 1 from few observations.
    """
    p, n = m.mean.clip(0, 1), m.n.clip(min=1)
    prior = (LEAST + PRIOR * m.ends) / n
    design = (n * m.variance + prior) / (p * (1 - p) + prior)
    size = n / design.clip(min=1e-9)
    centre = (p + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t / (1 + t**2 / size) * np.sqrt(p * (1 - p) / size + t**2 / (4 * size**2))
    low, high = centre - half, centre + half
    if outer:
        wide = t * np.sqrt(centre * (1 - centre) / (size + t**2))
        low, high = np.where(p < 0.5, centre - wide, low), np.where(p > 0.5, centre + wide, high)
    return np.stack([low.clip(0, 1), high.clip(0, 1)], axis=-1)


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
    known = [value for value in p if value is not None]
    if not known:
        return list(p)
    ranks = np.argsort(np.argsort(known, kind="stable")) + 1
    scaled = np.array(known) * len(known) / ranks
    order = np.argsort(-ranks)
    adjusted = np.empty(len(known))
    adjusted[order] = np.minimum.accumulate(scaled[order]).clip(max=1)
    values = iter(adjusted.tolist())
    return [None if value is None else next(values) for value in p]


def quantile(df: Array, level: float) -> Array:
    """The two-sided quantile of Student's t."""
    return np.asarray(stdtrit(df, (1 + level) / 2))


def _enough(limits: Array, n: Array) -> Array:
    return np.asarray(np.where((n >= FEWEST)[..., None], limits, np.nan))


def _codes(labels: Sequence[Hashable]) -> NDArray[np.int_]:
    order = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([order[label] for label in labels], int)
