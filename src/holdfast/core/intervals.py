"""95% intervals of means over conversations that share personas.

A plan pairs agents' personas with users'; a persona may recur, and categories have nearly
equal numbers. Score i of agent a(i), user u(i) and category c(i) is modelled as

    y_i = μ_c(i) + α_a(i) + β_u(i) + ε_i        α, β, ε independent, variances σ²_α, σ²_β, σ²_ε

The categories are fixed and their means taken out (those of one persona are joined, and what
is between them counts as noise: collapsed strata, Cochran 1977, 5A.12); personas, users and
conversations are drawn anew in another study, from personas like these. The variance of the mean
is then

    V = Σ_B σ²_B Σ_g n_Bg² / n²                 B: agents, users, conversations (n_Bg = 1)

Variance components. With residuals r = Hy from the category means and the group sums of
squares S_B = Σ_g (Σ_{i in g} r_i)², E[S_B] = Σ_C σ²_C tr(H B H C) for incidence products
B, C; solving these equations gives unbiased σ² (MINQUE with equal weights; Rao 1971, and the
pigeonhole model of Owen 2007, Ann. Appl. Stat. 1). A negative persona component is dropped.
V is a quadratic form y'Qy, and its degrees of freedom are Satterthwaite's (1946),
2V² / Var(V) with Var(V) = 2 tr(QΣQΣ).

Mean of scores in [0, 1]: Wilson's interval at the effective sample size that V implies, with
Student's t in place of the normal quantile (Korn & Graubard 1998; Franco et al. 2019):

    n_eff = (m(1 - m) + κ/n + λw) / (V + κ/n² + λw²)        w = max_B Σ_g n_Bg² / n²

where κ draws n_eff towards n, so that scores which are all alike have a width. It grows with the
share of scores that are exactly 0 or 1: where most are, a failure not yet seen is a whole one.
λ does the same for personas that recur (1/w of them) where the mean is near 0 or 1, since one
that fails may not have been met.

Difference of two means, paired: MOVER (Zou & Donner 2008; Newcombe 1998, method 10), which
joins the limits of two means by their correlation. The two are the means themselves; where no
difference is exactly -1, 0 or 1 they are the mean gain and the mean loss, since these show the
differences' own spread and skewness. The interval holds Student's too, as MOVER's never reaches
0 where all differences have one sign, with an error of at least |mean| w. Ratio: the same for
N - θD, solved for θ (Donner & Zou 2012), Fieller's interval where the limits are symmetric.

This module knows arrays. It knows no personas and no rounds. Missing values are NaN.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from holdfast.core.stats import Array, mean
from holdfast.core.variance_components import Design

FEWEST = 3
"""Observations; from fewer there is no interval."""
GROUPS = 5
"""Groups that recur; fewer are taken as given."""
PRIOR, LEAST = 0.5, 0.03
"""κ = LEAST + PRIOR × the share of scores that are exactly 0 or 1; λ = LEAST (1 - 2m)²."""


@dataclass(frozen=True)
class Moments:
    """A mean, its estimated variance and degrees of freedom, and the observations behind it."""

    mean: Array
    variance: Array
    df: Array
    n: Array
    ends: Array
    """Share of the observations that are exactly 0 or 1 (or -1, a difference)."""
    recurrence: Array
    """w, a persona's share of the observations where personas recur; 0 where none does."""


class Sample:
    """What was sampled: observations, the groups that recur in them, and their categories."""

    def __init__(
        self,
        n: int,
        recurring: Sequence[Sequence[Hashable]] = (),
        strata: Sequence[Hashable] | None = None,
        clusters: Sequence[Hashable] | None = None,
    ) -> None:
        """Describe `n` observations.

        Args:
            n: Observations.
            recurring: For each kind of group (agents' personas, users' personas) the group of
                each observation. A kind with fewer than five groups that recur is taken as
                given: the interval is then about these alone.
            strata: The category of each observation, whose number was fixed by the plan.
            clusters: For each observation the one that it nearly repeats (a text in nearly the
                same words). Never taken as given; of fewer than three there is no interval.
        """
        if n < 1:
            raise ValueError("a sample needs at least one observation")
        self.n = n
        self.recurring = [_codes(labels) for labels in recurring]
        self.strata = None if strata is None else _codes(strata)
        self.clusters = None if clusters is None else _codes(clusters)
        self._designs: dict[bytes, Design] = {}

    def part(self, rows: NDArray[np.bool_]) -> Sample:
        """The sample of some of its observations."""
        groups = [g[rows].tolist() for g in self.recurring]
        strata = None if self.strata is None else self.strata[rows].tolist()
        clusters = None if self.clusters is None else self.clusters[rows].tolist()
        return Sample(int(rows.sum()), groups, strata, clusters)

    def moments(self, values: Array) -> Moments:
        """Means over the first axis of (observations, ...) and what their intervals need."""
        values = np.asarray(values, float)
        shape, flat = values.shape[1:], values.reshape(self.n, -1)
        there = ~np.isnan(flat)
        variance, df, recurrence = np.full((3, flat.shape[1]), np.nan)
        patterns, which = _patterns(there)
        for k, rows in enumerate(patterns.T):
            few = self.clusters is not None and len(np.unique(self.clusters[rows])) < FEWEST
            if rows.sum() >= 2 and not few:
                columns = which == k
                design = self._design(rows)
                variance[columns], df[columns] = design.moments(flat[np.ix_(rows, columns)])
                recurrence[columns] = design.recurrence
        n = there.sum(axis=0)
        ends = np.isin(flat, (-1.0, 0.0, 1.0)).sum(axis=0) / n.clip(min=1)
        arrays = (mean(flat), variance, df, n, ends, recurrence)
        return Moments(*(np.asarray(a).reshape(shape) for a in arrays))

    def _design(self, rows: NDArray[np.bool_]) -> Design:
        key = rows.tobytes()
        if key not in self._designs:
            groups = [_codes(g[rows].tolist()) for g in self.recurring]
            several = [g for g in groups if g.max() + 1 < len(g)]
            fixed_effects = [g for g in several if g.max() + 1 < GROUPS]
            fixed_effects += [] if self.strata is None else [_codes(self.strata[rows].tolist())]
            random = [g for g in several if g.max() + 1 >= GROUPS]
            random += [] if self.clusters is None else [_codes(self.clusters[rows].tolist())]
            self._designs[key] = Design(random, fixed_effects, int(rows.sum()))
        return self._designs[key]

    def score_interval(self, values: Array) -> Array:
        """Intervals of the means of scores in [0, 1]: (observations, ...) to (..., 2)."""
        m = self.moments(values)
        return _enough(_wilson(m, quantile(m.df), outer=True), m)

    def share_interval(self, values: Array) -> Array:
        """Intervals of the means of shares of attention, which are in [0, 1]: (..., 2).

        Wilson's without κ and λ: shares vary by degrees, so no share not yet seen is far off.
        """
        m = self.moments(values)
        return _enough(_wilson(m, quantile(m.df), kappa=0.0, lam=0.0, outer=True), m)

    def share_difference_interval(self, a: Array, b: Array) -> Array:
        """Intervals of mean(a) - mean(b) of shares of attention, over what both have: (..., 2)."""
        _, _, gain, loss, apart = self._pair(a, b)
        t = quantile(apart.df)
        parts = (_wilson(part, t, kappa=0.0, lam=0.0) for part in (gain, loss))
        limits = _mover_limits(gain, loss, apart, *parts)
        return _enough(_at_least_students(limits, apart, t), apart)

    def mean_interval(self, values: Array) -> Array:
        """Student's t interval of means of any values, symmetric and unbounded: (..., 2)."""
        m = self.moments(values)
        half = quantile(m.df) * np.sqrt(m.variance)
        return _enough(np.stack([m.mean - half, m.mean + half], axis=-1), m)

    def difference_interval(self, a: Array, b: Array, level: float = 0.95) -> Array:
        """Intervals of mean(a) - mean(b), scores in [0, 1], over what both have: (..., 2)."""
        pair = self._pair(a, b)
        apart = pair[-1]
        return _enough(_difference_limits(*pair, quantile(apart.df, level)), apart)

    def difference_p(self, a: Array, b: Array) -> Array:
        """Two-sided p-values of mean(a) = mean(b): 1 less the level whose interval ends at 0.

        NaN where there is no interval.
        """
        pair = self._pair(a, b)
        apart = pair[-1]
        low, high = np.zeros(apart.mean.shape), np.full(apart.mean.shape, 60.0)
        for _ in range(40):
            middle = (low + high) / 2
            limits = _difference_limits(*pair, middle)
            outside = (limits[..., 0] > 0) | (limits[..., 1] < 0)
            low, high = np.where(outside, middle, low), np.where(outside, high, middle)
        there = (apart.n >= FEWEST) & ~np.isnan(apart.variance)
        return np.asarray(np.where(there, 2 * stdtr(apart.df, -low), np.nan))

    def _pair(self, a: Array, b: Array) -> tuple[Moments, Moments, Moments, Moments, Moments]:
        """Moments of both, of the gains and the losses from b to a, and of the differences."""
        gap = np.isnan(a) | np.isnan(b)
        a, b = np.where(gap, np.nan, a), np.where(gap, np.nan, b)
        change = a - b
        parts = (a, b, change.clip(min=0), (-change).clip(min=0), change)
        one, other, gain, loss, apart = (self.moments(part) for part in parts)
        return one, other, gain, loss, apart

    def ratio_interval(self, top: Array, low: Array, high: Array) -> Array:
        """Intervals of (top - low) / (high - low) of means of scores in [0, 1]: (..., 2).

        NaN where the distance of `high` from `low` is not clearly above 0.
        """
        shape = np.broadcast_shapes(top.shape, low.shape, high.shape)
        top, low, high = (np.broadcast_to(v, shape) for v in (top, low, high))
        gap = np.isnan(top) | np.isnan(low) | np.isnan(high)
        top, low, high = (np.where(gap, np.nan, v) for v in (top, low, high))
        falls, rooms = self._pair(high, top), self._pair(high, low)
        fall, room, rest = falls[-1], rooms[-1], self.moments(top - low)
        t = quantile(np.minimum(fall.df, room.df))
        above, room_limits = _difference_limits(*falls, t), _difference_limits(*rooms, t)
        limits = 1 - _quotient(fall, above, room, room_limits, _correlation(fall, room, rest))
        return _enough(limits[..., ::-1], room)

    def quotient_interval(self, top: Array, bottom: Array) -> Array:
        """Intervals of mean(top) / mean(bottom), both in [0, 1]: (..., 2)."""
        n, d, apart = (self.moments(v) for v in (top, bottom, top - bottom))
        t = quantile(np.minimum(n.df, d.df))
        limits = _quotient(n, _wilson(n, t), d, _wilson(d, t), _correlation(n, d, apart))
        return _enough(limits, apart)


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


def _difference_limits(
    one: Moments, other: Moments, gain: Moments, loss: Moments, apart: Moments, t: Array
) -> Array:
    whole = _mover_limits(one, other, apart, _wilson(one, t), _wilson(other, t))
    # Here no gain or loss is a whole one (no κ). Personas not yet seen are like those seen:
    # λ is larger the more uneven the changes are, and 0 where all are alike.
    total = np.where(gain.mean + loss.mean > 0, gain.mean + loss.mean, 1.0)

    def limits(part: Moments) -> Array:
        uneven = part.n * part.variance / np.maximum(part.mean**2, 1e-15)
        lam = 4 * LEAST * part.mean / total * uneven.clip(max=1)
        return _wilson(part, t, kappa=0.0, lam=lam)

    parts = (limits(gain), limits(loss))
    smooth = _mover_limits(gain, loss, apart, *parts)
    return _at_least_students(np.where((apart.ends == 0)[..., None], smooth, whole), apart, t)


def _at_least_students(limits: Array, apart: Moments, t: Array) -> Array:
    """The limits or Student's, whichever is farther; its standard error is at least |mean| w."""
    w = np.maximum(apart.recurrence, 1 / apart.n.clip(min=1))
    half = t * np.maximum(np.sqrt(apart.variance), np.abs(apart.mean) * w)
    ends = np.fmin(limits[..., 0], apart.mean - half), np.fmax(limits[..., 1], apart.mean + half)
    return np.asarray(np.stack(ends, axis=-1).clip(-1, 1))


def _mover_limits(one: Moments, other: Moments, apart: Moments, a: Array, b: Array) -> Array:
    """MOVER limits of one mean less another, from the limits of both."""
    rho = _correlation(one, other, apart)
    down = _mover_distance(one.mean - a[..., 0], b[..., 1] - other.mean, rho)
    up = _mover_distance(a[..., 1] - one.mean, other.mean - b[..., 0], rho)
    difference = one.mean - other.mean
    return np.stack([difference - down, difference + up], axis=-1)


def _mover_distance(x: Array, y: Array, rho: Array) -> Array:
    return np.asarray(np.sqrt((x**2 - 2 * rho * x * y + y**2).clip(min=0)))


def _correlation(one: Moments, other: Moments, apart: Moments) -> Array:
    """Correlation of two means, drawn towards 0 where many pairs are exactly alike.

    As Newcombe's (1998) correction for continuity: a pair that differs may not be seen yet.
    """
    product = np.sqrt(one.variance * other.variance)
    top = (one.variance + other.variance - apart.variance) / 2
    rho = np.divide(top, product, out=np.zeros(np.shape(top)), where=product > 1e-12)
    return np.asarray(rho.clip(-1, 1) * (1 - apart.ends / apart.n.clip(min=1)))


def _wilson(
    m: Moments,
    t: Array,
    *,
    kappa: Array | float | None = None,
    lam: Array | float = LEAST,
    outer: bool = False,
) -> Array:
    """Wilson's interval at the effective sample size: (..., 2).

    With `outer` the limit towards the nearer end of [0, 1] is Agresti and Coull's (1998),
    since Wilson's misses means very near 0 or 1 from few observations.
    """
    p, n = m.mean.clip(0, 1), m.n.clip(min=1)
    prior = (LEAST + PRIOR * m.ends if kappa is None else kappa) / n
    lam = lam * (1 - 2 * p) ** 2
    room = p * (1 - p) + prior + lam * m.recurrence
    noise = m.variance + prior / n + lam * m.recurrence**2
    size = np.divide(room, noise, out=np.full(np.shape(room), np.inf), where=noise > 1e-15)
    size = size.clip(min=1e-9)
    centre = (p + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t / (1 + t**2 / size) * np.sqrt(p * (1 - p) / size + t**2 / (4 * size**2))
    low, high = centre - half, centre + half
    if outer:
        wide = t * np.sqrt(centre * (1 - centre) / (size + t**2))
        low, high = np.where(p < 0.5, centre - wide, low), np.where(p > 0.5, centre + wide, high)
    return np.stack([low.clip(0, 1), high.clip(0, 1)], axis=-1)


def quantile(df: Array, level: float = 0.95) -> Array:
    """The two-sided quantile of Student's t."""
    return np.asarray(stdtrit(df, (1 + level) / 2))


def _enough(limits: Array, m: Moments) -> Array:
    """The limits where the mean has enough observations and a variance, else NaN."""
    there = (m.n >= FEWEST) & ~np.isnan(m.variance)
    return np.asarray(np.where(there[..., None], limits, np.nan))


def _patterns(there: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int_]]:
    """The different columns, and for each column its number among them."""
    if there.all():  # sorting thousands of columns would take longer than all else
        return there[:, :1], np.zeros(there.shape[1], int)
    patterns, which = np.unique(there, axis=1, return_inverse=True)
    return patterns, which.reshape(-1)


def _codes(labels: Sequence[Hashable]) -> NDArray[np.int_]:
    # By name, since of equally small strata the first is joined: rows may come in any order.
    order = {label: i for i, label in enumerate(sorted(set(labels), key=repr))}
    return np.array([order[label] for label in labels], int)
