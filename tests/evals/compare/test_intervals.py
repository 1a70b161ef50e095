"""Scores by conversation are exact, so that intervals see which pairs are alike."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.intervals import Sample
from holdfast.evals.compare.intervals import by_conversation, paired_difference, relative_time


def test_conversations_that_score_alike_are_exactly_alike() -> None:
    scores = np.random.default_rng(0).binomial(2, 0.7, (24, 4)) / 2
    others = scores.copy()
    others[:3] = 0.0
    assert np.array_equal(by_conversation(scores), scores.mean(axis=1))
    assert np.array_equal(by_conversation(scores)[3:], by_conversation(others)[3:])


def test_a_paired_difference_has_the_interval_of_the_conversations_means() -> None:
    scores = np.random.default_rng(1).binomial(2, 0.7, (2, 24, 4)) / 2
    _, limits = paired_difference(scores[0], scores[1], slice(0, 4), Sample(24))
    means = scores.mean(axis=2)
    assert np.allclose(limits, Sample(24).difference_interval(means[0], means[1]), atol=1e-9)


def test_a_conversation_that_missed_points_leaves_the_mean_of_each_point_as_it_is() -> None:
    rng = np.random.default_rng(2)
    values = rng.random((20, 4))
    values[:12, 3] = values[4:6, 1] = values[7] = np.nan
    own = by_conversation(values)
    assert np.isnan(own[7]) and np.isfinite(np.delete(own, 7)).all()
    assert np.nanmean(own) == pytest.approx(np.nanmean(values, axis=0).mean())
    assert np.isnan(by_conversation(values[7:8])).all()


def test_relative_time_compares_the_units_in_which_both_were_timed() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(20, 60, (5, 4))
    none = np.stack([tokens * 0.01, tokens], axis=-1)
    slow = np.stack([2 * none[..., 0], tokens], axis=-1)
    slow[0, 0] = np.nan
    none[1, 1] = [np.nan, np.nan]
    none[0, 0, 0] = 99.0  # timed for `none` alone
    assert relative_time(slow, none) == (2.0, (2.0, 2.0))
    slow[..., 0] *= np.exp(rng.normal(0, 0.3, (5, 4)))
    value, interval = relative_time(slow, none)
    assert value and interval and interval[0] < value < interval[1]
    assert relative_time(slow[2:, :1], none[2:, :1])[1] is not None  # three units
    assert relative_time(slow[3:, :1], none[3:, :1])[1] is None  # two
    assert relative_time(none, None) == (1.0, (1.0, 1.0))
    assert relative_time(none * np.nan, None) == (None, None)
