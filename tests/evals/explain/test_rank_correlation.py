"""Rank correlation, against cases where it is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.stats import Resampler
from holdfast.evals.explain.rank_correlation import correlation, pooled

few = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=15)


def sample(n: int) -> Resampler:
    return Resampler.of(range(n), draws=300)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    return float(pd.Series(x).rank().corr(pd.Series(y).rank()))


@settings(max_examples=40)
@given(few)
def test_rho_is_spearmans_ties_and_all(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    found = correlation(x, y, sample(len(pairs)))
    assert found.rho == pytest.approx(spearman(x, y), nan_ok=True) and found.n == len(pairs)
    low, high = found.interval
    assert np.isnan(low) or -1 - 1e-9 <= low <= high <= 1 + 1e-9


@settings(max_examples=40)
@given(few, st.integers(0, 99))
def test_an_observation_drawn_twice_counts_as_two(pairs: list[tuple[int, int]], seed: int) -> None:
    x, y = np.array(pairs, float).T
    counts = np.random.default_rng(seed).integers(0, 3, len(pairs))
    drawn = Resampler(counts[None].astype(float), len(pairs))
    low, high = correlation(x, y, drawn).interval
    assert low == high or np.isnan(low)
    again = spearman(x.repeat(counts), y.repeat(counts)) if counts.any() else np.nan
    assert low == pytest.approx(again, nan_ok=True, abs=1e-6)


def test_what_goes_together_has_an_interval_above_zero_and_what_does_not_around_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    close, far = x + 0.3 * rng.normal(size=80), rng.normal(size=80)
    assert correlation(x, np.exp(close), sample(80)).interval[0] > 0.8
    low, high = correlation(x, far, sample(80)).interval
    assert low < 0 < high


def test_missing_observations_are_left_out() -> None:
    x = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    y = np.array([1.0, 2.0, 0.0, np.nan, 3.0])
    found = correlation(x, y, sample(5))
    assert found.rho == pytest.approx(1.0) and found.n == 3


def test_where_nothing_varies_there_is_no_correlation() -> None:
    found = correlation(np.ones(6), np.arange(6.0), sample(6))
    assert np.isnan(found.rho) and np.isnan(found.interval).all()
    assert np.isnan(pooled(np.ones((6, 3)), np.ones((6, 3)), sample(6)).rho)


def test_a_trend_that_both_follow_is_no_association_within_the_points() -> None:
    rng = np.random.default_rng(1)
    trend = np.linspace(1, 0, 8)
    x, y = (trend + 0.1 * rng.normal(size=(60, 8)) for _ in range(2))
    assert correlation(x.ravel(), y.ravel(), sample(480)).rho > 0.8
    found = pooled(x, y, sample(60))
    assert abs(found.rho) < 0.15 and found.interval[0] < 0.05 and found.n == 60


def test_what_a_third_measurement_explains_is_gone_once_it_is_held_fixed() -> None:
    rng = np.random.default_rng(2)
    length = rng.normal(size=200)
    x, y = (length + 0.5 * rng.normal(size=200) for _ in range(2))
    assert correlation(x, y, sample(200)).interval[0] > 0.5
    assert abs(correlation(x, y, sample(200), given=length).rho) < 0.2
    same = correlation(x, y, sample(200), given=np.ones(200))
    assert same == correlation(x, y, sample(200))
