"""Means and shares are right where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from holdfast.core.stats import CrossedMean, auc, mean, normalise, numbers, pseudo_values, wilson


def test_wilson_agrees_with_a_published_table() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.floats(0, 1), st.integers(1, 5000))
def test_wilson_stays_in_the_unit_interval_and_holds_the_share(share: float, n: int) -> None:
    low, high = wilson(share, n)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1


def test_missing_observations_are_left_out_of_means() -> None:
    values = np.array([[1.0, np.nan], [0.5, 0.25], [0.0, 0.75]])
    assert mean(values) == pytest.approx([0.5, 0.5])
    assert mean(values[:1, :1]) == pytest.approx([1.0])


def test_a_mean_of_nothing_is_nan() -> None:
    assert np.isnan(mean(np.full((3, 1), np.nan))[0])


@given(
    st.floats(0, 1, allow_subnormal=False),
    st.floats(0, 0.4, allow_subnormal=False),
    st.floats(0.5, 1, allow_subnormal=False),
)
def test_normalised_is_zero_at_the_floor_and_one_at_the_ceiling(
    score: float, floor: float, ceiling: float
) -> None:
    low, high = np.array(floor), np.array(ceiling)
    assert normalise(low, low, high) == pytest.approx(0)
    assert normalise(high, low, high) == pytest.approx(1)
    value = float(normalise(np.array(score), low, high))
    assert value * (ceiling - floor) + floor == pytest.approx(score)


def test_normalised_is_undefined_without_room_between_floor_and_ceiling() -> None:
    assert np.isnan(normalise(np.array(0.5), np.array(0.5), np.array(0.52)))


def test_a_mean_over_crossed_samples_covers_what_items_alone_do_not() -> None:
    """With three seeds, thirteen personas and eighty items."""
    rng = np.random.default_rng(0)
    hits, narrow, rejections = 0, 0, 0
    for _ in range(300):
        seeds, personas = rng.normal(0, 0.02, (3, 1, 1)), rng.normal(0, 0.03, (1, 13, 1))
        delta = seeds + personas + rng.normal(0, 0.1, (1, 1, 80)) + rng.normal(0, 0.4, (3, 13, 80))
        low, high = (estimate := CrossedMean.of(delta)).interval
        hits += low <= 0 <= high
        low, high = CrossedMean.of(delta.mean(axis=(0, 1))).interval
        narrow += low <= 0 <= high
        assert estimate.p is not None
        rejections += estimate.p < 0.05
    assert hits / 300 >= 0.93 > narrow / 300
    assert rejections == 300 - hits


def test_where_nothing_varies_a_crossed_mean_is_what_it_is() -> None:
    estimate = CrossedMean.of(np.full((1, 3, 4), 0.25))
    assert (estimate.mean, estimate.interval, estimate.p) == (0.25, (0.25, 0.25), None)


def test_auc_counts_ties_as_halves_and_leaves_out_what_has_no_score() -> None:
    scores, labels = [0.9, 0.5, 0.5, 0.1, np.nan], [True, True, False, False, True]
    assert auc(scores, labels) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert np.isnan(auc([0.1, 0.2], [True, True]))


def test_a_crossed_mean_of_effects_that_add_up_is_welchs_test() -> None:
    rng = np.random.default_rng(1)
    seeds, items = rng.normal(0.3, 1, 2), rng.normal(0, 2, 9)
    for values, expected in (
        (seeds[:, None] + items, stats.ttest_ind(seeds, -items, equal_var=False)),
        (items[None, :], stats.ttest_1samp(items, 0)),
    ):
        estimate = CrossedMean.of(values)
        assert estimate.mean == pytest.approx(values.mean())
        assert estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
        assert estimate.p == pytest.approx(expected.pvalue)


def test_pseudo_values_of_a_mean_are_the_observations_and_of_a_ratio_have_its_variance() -> None:
    rng = np.random.default_rng(2)
    top, bottom = rng.normal(2, 0.2, (2, 200, 3))
    top[3, 1] = bottom[5, 0] = np.nan
    gone = [3, 5]
    a, b = np.delete(top, gone, axis=0), np.delete(bottom, gone, axis=0)
    same = pseudo_values(lambda x, y: x + y, top, bottom)
    assert np.isnan(same[gone]).all()
    assert np.delete(same, gone, axis=0) == pytest.approx(a + b)
    ratio = a.mean(axis=0) / b.mean(axis=0)
    values = np.delete(pseudo_values(lambda x, y: x / y, top, bottom), gone, axis=0)
    assert values.mean(axis=0) == pytest.approx(ratio)
    influence = (a - ratio * b) / b.mean(axis=0)
    assert values.std(axis=0) == pytest.approx(influence.std(axis=0), rel=0.01)


def test_numbers_have_four_places_in_nested_lists_and_nothing_for_nan() -> None:
    assert numbers(np.float64(2 / 3)) == 0.6667 and numbers(np.nan) is None
    assert numbers([[0.123456, np.nan], [1, -0.5]]) == [[0.1235, None], [1.0, -0.5]]
