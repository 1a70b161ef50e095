"""Scores by conversation are exact, so that intervals see which pairs are alike."""

from __future__ import annotations

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.evals.compare.intervals import by_conversation, paired_difference


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
