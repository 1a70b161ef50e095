"""Extremes and spread are without bias, and their intervals cover, with personas alike or not."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.evals.robustness.halves import extremes, spread

RUNS = 40


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_personas_without_an_effect_have_intervals_that_cover_the_mean(rate: float) -> None:
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(("worst", "best", "ratio", "std"), 0)
    truth = {"worst": rate, "best": rate, "ratio": 1.0, "std": 0.0}
    worst = []
    for run in range(RUNS):
        matrix = (rng.random((12, 40)) < rate).astype(float)
        found = extremes(matrix, run) | {"std": spread(matrix)}
        worst.append(found["worst"].value)
        for name, one in found.items():
            hits[name] += bool(one.interval[0] <= truth[name] <= one.interval[1])
    assert min(hits.values()) >= 0.85 * RUNS
    assert np.mean(worst) == pytest.approx(rate, abs=0.03)


def test_the_spread_of_personas_that_differ_is_found_without_the_noise_of_items() -> None:
    rng = np.random.default_rng(1)
    rates = np.linspace(0.4, 0.8, 12)
    matrices = [(rng.random((12, 60)) < rates[:, None]).astype(float) for _ in range(RUNS)]
    found = [spread(matrix) for matrix in matrices]
    measured = np.mean([matrix.mean(axis=1).std() for matrix in matrices])
    assert np.mean([one.value for one in found]) == pytest.approx(rates.std(), abs=0.01)
    assert measured > rates.std() + 0.01
    hits = [one.interval[0] <= rates.std() <= one.interval[1] for one in found]
    assert np.mean(hits) >= 0.85


def test_an_interval_reaches_out_to_the_extreme_that_halves_fall_short_of() -> None:
    rng = np.random.default_rng(3)
    truth = np.linspace(0.45, 0.75, 20)  # neighbours differ by less than the noise of 60 items
    matrix = (rng.random((20, 60)) < truth[:, None]).astype(float)
    worst = extremes(matrix)["worst"]
    accuracy = matrix.mean(axis=1)
    true_spread = spread(matrix).value / accuracy.std()
    low = accuracy.mean() + true_spread * (accuracy.min() - accuracy.mean())
    assert accuracy.min() < low < worst.value
    lower, upper = worst.value - worst.interval[0], worst.interval[1] - worst.value
    assert lower - upper > 0.4 * (worst.value - low)
