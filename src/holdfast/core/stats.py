"""Means with intervals that respect what was sampled together.

Every interval is a 95% percentile bootstrap over clusters. A draw gives each cluster
of each labelling (conversations, and personas where they recur) a multinomial count,
and an observation the product of its counts: the pigeonhole bootstrap (Owen 2007,
"The pigeonhole bootstrap", Ann. Appl. Stat. 1), which is the ordinary cluster
bootstrap where there is one labelling. The same draws serve every statistic of a run,
so that differences and ratios are resampled jointly.

Where all scores of a point are 0 or 1 the bootstrap is poor (all ones give no width at
all), and Wilson's score interval is used instead, at the effective sample size that
the bootstrap's variance implies; where that variance is zero, at the number of clusters
of the coarsest labelling.

This module knows arrays, not personas or rounds. Missing observations are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    counted = ~np.isnan(values)
    total = np.where(counted, values, 0.0).sum(axis=axis)
    n = counted.sum(axis=axis)
    return np.asarray(np.divide(total, n, out=np.full(np.shape(total), np.nan), where=n > 0))


@dataclass(frozen=True)
class Resampler:
    """Fixed bootstrap weights (draws, observations), and how many clusters the coarsest has."""

    weights: Array
    clusters: int

    @classmethod
    def of(cls, *labels: Sequence[Hashable], draws: int = 2000, seed: int = 0) -> Resampler:
        """Weights for observations labelled in one or more ways (all of one length)."""
        if not labels or not len(labels[0]):
            raise ValueError("a resampler needs at least one observation")
        rng = np.random.default_rng(seed)
        weights = np.ones((draws, len(labels[0])))
        clusters = len(labels[0])
        for labelling in labels:
            order = {label: i for i, label in enumerate(dict.fromkeys(labelling))}
            counts = rng.multinomial(len(order), np.full(len(order), 1 / len(order)), size=draws)
            weights *= counts[:, [order[label] for label in labelling]]
            clusters = min(clusters, len(order))
        return cls(weights, clusters)

    def means(self, values: Array, where: NDArray[np.bool_] | None = None) -> Array:
        """Weighted means over the first axis: (observations, ...) to (draws, ...).

        `where` keeps some observations only (a category): the draws stay the same.
        A draw in which nothing is left is NaN.
        """
        values = np.asarray(values, float)
        counted = ~np.isnan(values)
        if where is not None:
            counted &= where.reshape(-1, *[1] * (values.ndim - 1))
        flat = np.where(counted, values, 0.0).reshape(len(values), -1)
        top = self.weights @ flat
        bottom = self.weights @ counted.reshape(len(values), -1).astype(float)
        result = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
        return np.asarray(result.reshape(len(self.weights), *values.shape[1:]))

    def interval(self, values: Array, where: NDArray[np.bool_] | None = None) -> Array:
        """95% intervals of the means of scores in [0, 1]: (observations, ...) to (..., 2)."""
        values = np.asarray(values, float)
        drawn = self.means(values, where)
        result = percentiles(drawn)
        kept = values if where is None else values[where]
        for point in np.ndindex(values.shape[1:]):
            column = kept[(slice(None), *point)]
            column = column[~np.isnan(column)]
            if len(column) and np.isin(column, (0.0, 1.0)).all():
                result[point] = self._binary(column, drawn[(slice(None), *point)])
        return result

    def _binary(self, column: Array, drawn: Array) -> tuple[float, float]:
        share = float(column.mean())
        variance = float(np.nanvar(drawn))
        if 0 < share < 1 and variance > 0:
            effective = min(float(len(column)), share * (1 - share) / variance)
        else:
            effective = float(min(len(column), self.clusters))
        return wilson(share, effective)

    def statistic(self, function: Callable[..., Array], *values: Array) -> Array:
        """95% interval of a function of several means, all from the same draws: (..., 2)."""
        return percentiles(function(*(self.means(v) for v in values)))


def percentiles(drawn: Array) -> Array:
    """The 2.5 and 97.5 percentiles over draws: (draws, ...) to (..., 2), NaN left out."""
    result = np.full((*drawn.shape[1:], 2), np.nan)
    for point in np.ndindex(drawn.shape[1:]):
        column = drawn[(slice(None), *point)]
        column = column[~np.isnan(column)]
        if len(column):
            result[point] = np.percentile(column, [2.5, 97.5])
    return result


def normalised(score: Array, floor: Array, ceiling: Array, least: float = 0.05) -> Array:
    """(score - floor) / (ceiling - floor), NaN where ceiling - floor is below `least`."""
    room = np.asarray(ceiling - floor, float)
    return np.asarray(
        np.divide(
            score - floor, room, out=np.full(np.shape(score - floor), np.nan), where=room >= least
        )
    )


def auc(found: Sequence[float] | Array, labels: Sequence[bool]) -> float:
    """Probability that a true case scores above a false one; NaN with one kind only.

    Cases without a score (NaN) are left out.
    """
    there = ~np.isnan(np.asarray(found, float))
    scores, on = np.asarray(found, float)[there], np.asarray(labels, bool)[there]
    if on.all() or not on.any():
        return float("nan")
    apart = scores[on][:, None] - scores[~on][None]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def numbers(values: Array) -> Any:
    """Nested lists of numbers to four places; NaN becomes None."""
    if np.ndim(values) == 0:
        return None if np.isnan(values) else round(float(values), 4)
    return [numbers(item) for item in values]
