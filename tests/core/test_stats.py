"""Intervals are right where the truth is known, and never narrower than the sample allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.stats import Resampler, mean, normalised, percentiles, wilson


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


def test_all_ones_still_have_a_width() -> None:
    low, high = Resampler.of(range(24)).interval(np.ones(24))
    assert high == pytest.approx(1.0) and 0.8 < low < 0.9


def test_binary_scores_of_single_observations_get_nearly_wilsons_interval() -> None:
    values = np.array([1.0] * 30 + [0.0] * 10)
    found = Resampler.of(range(40)).interval(values)
    assert found == pytest.approx(wilson(0.75, 40), abs=0.01)


def test_binary_scores_that_repeat_within_clusters_get_a_wider_interval() -> None:
    values = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0], 5)
    alone = Resampler.of(range(50)).interval(values)
    clustered = Resampler.of(np.repeat(range(10), 5).tolist()).interval(values)
    assert np.ptp(clustered) > 1.5 * np.ptp(alone)


def test_two_labellings_give_a_wider_interval_than_either() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(range(8), 8).tolist(), np.tile(range(8), 8).tolist()
    values = (rng.random(8)[rows] + rng.random(8)[columns]) / 2
    both = np.ptp(Resampler.of(rows, columns).interval(values))
    assert both > np.ptp(Resampler.of(rows).interval(values))
    assert both > np.ptp(Resampler.of(columns).interval(values))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        values = rng.beta(2, 3, 40)
        low, high = Resampler.of(range(40), draws=400, seed=trial).interval(values)
        hits += bool(low <= 0.4 <= high)
    assert 178 <= hits <= 200


def test_missing_observations_are_left_out_of_means_and_intervals() -> None:
    values = np.array([[1.0, np.nan], [0.5, 0.25], [0.0, 0.75]])
    assert mean(values) == pytest.approx([0.5, 0.5])
    low, high = Resampler.of(range(3)).interval(values)[1]
    assert 0.25 <= low <= high <= 0.75


def test_a_mean_of_nothing_is_nan() -> None:
    assert np.isnan(mean(np.full((3, 1), np.nan))[0])
    assert np.isnan(percentiles(np.full((10, 1), np.nan))).all()


def test_differences_are_paired_by_the_shared_draws() -> None:
    rng = np.random.default_rng(2)
    before = rng.random(50)
    after = before - 0.1
    sample = Resampler.of(range(50))
    low, high = sample.statistic(lambda a, b: b - a, before, after)
    assert low == pytest.approx(-0.1) and high == pytest.approx(-0.1)


def test_a_subset_uses_the_same_draws() -> None:
    values = np.arange(10) / 10
    where = np.arange(10) < 4
    found = Resampler.of(range(10)).means(values, where)
    assert np.nanmax(found) <= 0.3


@given(
    st.floats(0, 1, allow_subnormal=False),
    st.floats(0, 0.4, allow_subnormal=False),
    st.floats(0.5, 1, allow_subnormal=False),
)
def test_normalised_is_zero_at_the_floor_and_one_at_the_ceiling(
    score: float, floor: float, ceiling: float
) -> None:
    low, high = np.array(floor), np.array(ceiling)
    assert normalised(low, low, high) == pytest.approx(0)
    assert normalised(high, low, high) == pytest.approx(1)
    found = float(normalised(np.array(score), low, high))
    assert found * (ceiling - floor) + floor == pytest.approx(score)


def test_normalised_is_undefined_without_room_between_floor_and_ceiling() -> None:
    assert np.isnan(normalised(np.array(0.5), np.array(0.5), np.array(0.52)))


def test_no_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Resampler.of([])
