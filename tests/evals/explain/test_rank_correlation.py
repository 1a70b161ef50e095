"""Rank correlation, against cases where it is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.intervals import Sample
from holdfast.evals.explain.rank_correlation import _rho, correlation, pooled_correlation

few = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=15)


def sample(n: int) -> Sample:
    return Sample(n)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    return float(pd.Series(x).rank().corr(pd.Series(y).rank()))


@settings(max_examples=40)
@given(few)
def test_rho_is_spearmans_ties_and_all(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    result = correlation(x, y, sample(len(pairs)))
    assert result.rho == pytest.approx(spearman(x, y), nan_ok=True) and result.n == len(pairs)
    low, high = result.interval
    assert np.isnan(low) or -1 - 1e-9 <= low <= high <= 1 + 1e-9


@settings(max_examples=40)
@given(few, st.integers(0, 99))
def test_an_observation_with_weight_two_counts_as_two(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    x, y = np.array(pairs, float).T
    counts = np.random.default_rng(seed).integers(0, 3, len(pairs))
    (rho,) = _rho(x, y, counts[None].astype(float), None)
    again = spearman(x.repeat(counts), y.repeat(counts)) if counts.any() else np.nan
    assert rho == pytest.approx(again, nan_ok=True, abs=1e-6)


def test_the_interval_covers_a_correlation_where_conversations_stand_alone() -> None:
    rng, truth = np.random.default_rng(3), 6 / np.pi * np.arcsin(0.6 / 2)
    hits = 0
    for _ in range(200):
        x = rng.normal(size=30)
        low, high = correlation(x, 0.6 * x + 0.8 * rng.normal(size=30), sample(30)).interval
        hits += bool(low <= truth <= high)
    assert 0.9 <= hits / 200 <= 0.99


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
    result = correlation(x, y, sample(5))
    assert result.rho == pytest.approx(1.0) and result.n == 3


def test_a_correlation_that_hangs_on_one_conversation_has_no_interval() -> None:
    share, score = np.array([1.0, 2, 3, 4, 5]), np.array([0.5, 1, 1, 1, 1])
    alone = correlation(share, score, sample(5))
    assert alone.rho > 0.7 and np.isnan(alone.interval).all()
    together = pooled_correlation(np.stack([share] * 2, 1), np.stack([score] * 2, 1), sample(5))
    assert together.rho == alone.rho and np.isnan(together.interval).all()


def test_where_nothing_varies_there_is_no_correlation() -> None:
    result = correlation(np.ones(6), np.arange(6.0), sample(6))
    assert np.isnan(result.rho) and np.isnan(result.interval).all()
    assert np.isnan(pooled_correlation(np.ones((6, 3)), np.ones((6, 3)), sample(6)).rho)


def test_values_that_are_equal_up_to_rounding_are_ties() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 4, 40) / 4, rng.integers(0, 3, 40) / 3
    noise = rng.choice([-5e-6, 0, 5e-6], size=(2, 40))
    assert correlation(x + noise[0], y + noise[1], sample(40)) == correlation(x, y, sample(40))
    alike = correlation(x, 1 + noise[0], sample(40))
    assert np.isnan(alike.rho) and np.isnan(alike.interval).all()


def test_values_that_lie_densely_are_no_tie_of_all() -> None:
    x = np.arange(400) * 1e-5
    assert correlation(x, x, sample(400)).rho == pytest.approx(1.0, abs=1e-4)


def test_a_trend_that_both_follow_is_no_association_within_the_points() -> None:
    rng = np.random.default_rng(1)
    trend = np.linspace(1, 0, 8)
    x, y = (trend + 0.1 * rng.normal(size=(60, 8)) for _ in range(2))
    assert correlation(x.ravel(), y.ravel(), sample(480)).rho > 0.8
    result = pooled_correlation(x, y, sample(60))
    assert abs(result.rho) < 0.15 and result.interval[0] < 0.05 and result.n == 60


def test_what_a_third_measurement_explains_is_gone_once_it_is_held_fixed() -> None:
    rng = np.random.default_rng(2)
    length = rng.normal(size=200)
    x, y = (length + 0.5 * rng.normal(size=200) for _ in range(2))
    assert correlation(x, y, sample(200)).interval[0] > 0.5
    x, y = x[:, None], y[:, None]
    assert abs(pooled_correlation(x, y, sample(200), length[:, None]).rho) < 0.2
    same = pooled_correlation(x, y, sample(200), np.ones((200, 1)))
    assert same == pooled_correlation(x, y, sample(200))
