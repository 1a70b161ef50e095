"""The variance of a mean is that of its equations, whatever groups observations share."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.stats import Array
from holdfast.core.variance_components import Design


def incidence(groups: Array) -> Array:
    return np.asarray(groups[:, None] == np.unique(groups), float)


def by_equations(kinds: list[Array], strata: Array, y: Array) -> tuple[Array, float, float]:
    """Components, V and its degrees of freedom from dense matrices, as `intervals` states them."""
    n = len(y)
    means = incidence(strata)
    centre = np.eye(n) - means @ np.linalg.pinv(means)
    outer = [part @ part.T for part in (*map(incidence, kinds), np.eye(n))]
    expected = [[np.trace(centre @ b @ centre @ c) for c in outer] for b in outer]
    weights = np.array([one.sum() for one in outer]) / n**2
    share = np.linalg.solve(np.array(expected), weights)
    form = centre @ sum(k * b for k, b in zip(share, outer, strict=True)) @ centre
    components = np.linalg.solve(np.array(expected), [y @ centre @ b @ centre @ y for b in outer])
    kept = components.clip(min=0)
    sigma = sum(k * b for k, b in zip(kept, outer, strict=True))
    df = 2 * (weights @ kept) ** 2 / (2 * np.trace(form @ sigma @ form @ sigma))
    return components, float(y @ form @ y), max(1.0, float(df))


def test_a_variance_is_that_of_the_equations_with_the_components_that_are_not_negative() -> None:
    rng, n, columns = np.random.default_rng(0), 36, 60
    agents, users = np.arange(n) % 12, rng.integers(0, 9, n)
    category, source = agents % 3 // 2, np.arange(n) // 24  # of unequal size, crossed
    strata = 2 * category + source
    values = strata[:, None] + rng.normal(0, 1, (n, columns))
    for groups in (agents, users):
        values += (rng.normal(0, 1, (12, columns)) * rng.choice([0, 0.7], columns))[groups]
    variances, freedom = Design([agents, users], [category, source], n).moments(values)
    fitted = set()
    for k in range(columns):
        for kinds in ([agents, users], [agents], [users], []):
            components, variance, df = by_equations(kinds, strata, values[:, k])
            if (components[:-1] >= 0).all():
                break
        fitted.add(tuple(len(set(kind)) for kind in kinds))
        assert variances[k] == pytest.approx(variance)
        assert freedom[k] == pytest.approx(df)
    assert len(fitted) == 4


def test_a_category_of_one_persona_is_joined_with_the_smallest_and_no_other() -> None:
    personas, category = (
        np.array([0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 3]),
        np.repeat([0, 1, 2], [2, 6, 4]),
    )
    joined = np.where(category == 0, 2, category)  # four rows are fewer than six
    values = np.random.default_rng(1).normal(category, 1.0)
    variance, df = Design([personas], [category], 12).moments(values[:, None])
    components, *expected = by_equations([personas], joined, values)
    assert components[0] > 0
    assert (variance[0], df[0]) == pytest.approx(expected)
