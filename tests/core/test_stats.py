"""Means and shares are right where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.stats import CrossedMean, auc, mean, normalise, wilson


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
