"""The variance of a mean over observations that share groups, and its degrees of freedom.

`intervals` has the equations, and makes intervals of it. This module knows incidence matrices of
groups. It knows no personas and no intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holdfast.core.stats import Array


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
        n: How many rows there are.
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
