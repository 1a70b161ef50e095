"""Extremes and spread are without bias, and their intervals cover, with personas alike or not."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.intervals import Sample
from holdfast.evals.robustness.halves import Groups, IntervalEstimate, extremes, less, spread

RUNS = 40


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_personas_without_an_effect_have_intervals_that_cover_the_mean(rate: float) -> None:
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(("worst", "best", "ratio", "std"), 0)
    truth = {"worst": rate, "best": rate, "ratio": 1.0, "std": 0.0}
    worst = []
    for run in range(RUNS):
        matrix = (rng.random((12, 40)) < rate).astype(float)
        groups = Groups.of(matrix)
        estimates = extremes(groups, run) | {"std": spread(groups)}
        worst.append(estimates["worst"].value)
        assert estimates["ratio"].value <= 1.0
        for name, one in estimates.items():
            hits[name] += bool(one.interval[0] <= truth[name] <= one.interval[1])
    assert min(hits.values()) >= 0.85 * RUNS
    assert np.mean(worst) == pytest.approx(rate, abs=0.03)


def test_the_spread_of_personas_that_differ_is_found_without_the_noise_of_items() -> None:
    rng = np.random.default_rng(1)
    rates = np.linspace(0.4, 0.8, 12)
    matrices = [(rng.random((12, 60)) < rates[:, None]).astype(float) for _ in range(RUNS)]
    estimates = [spread(Groups.of(matrix)) for matrix in matrices]
    raw_spread = np.mean([matrix.mean(axis=1).std() for matrix in matrices])
    assert np.mean([one.value for one in estimates]) == pytest.approx(rates.std(), abs=0.01)
    assert raw_spread > rates.std() + 0.01
    hits = [one.interval[0] <= rates.std() <= one.interval[1] for one in estimates]
    assert np.mean(hits) >= 0.85


def test_an_interval_reaches_out_to_the_extreme_that_halves_fall_short_of() -> None:
    rng = np.random.default_rng(3)
    truth = np.linspace(0.45, 0.75, 20)  # neighbours differ by less than the noise of 60 items
    matrix = (rng.random((20, 60)) < truth[:, None]).astype(float)
    worst = extremes(Groups.of(matrix))["worst"]
    accuracy = matrix.mean(axis=1)
    true_spread = spread(Groups.of(matrix)).value / accuracy.std()
    low = accuracy.mean() + true_spread * (accuracy.min() - accuracy.mean())
    assert accuracy.min() < low < worst.value
    lower, upper = worst.value - worst.interval[0], worst.interval[1] - worst.value
    assert lower - upper > 0.4 * (worst.value - low)


def test_items_said_three_times_are_as_good_as_once_and_no_better() -> None:
    rng = np.random.default_rng(4)
    matrix = (rng.random((12, 40)) < np.linspace(0.4, 0.8, 12)[:, None]).astype(float)
    texts = np.repeat(np.arange(40), 3).tolist()
    often = np.repeat(matrix, 3, axis=1)
    once, grouped = Groups.of(matrix), Groups.of(often, texts)
    alone = Groups.of(often)
    for name, one in (extremes(once) | {"std": spread(once)}).items():
        same = (extremes(grouped) | {"std": spread(grouped)})[name]
        naive = (extremes(alone) | {"std": spread(alone)})[name]
        assert same.value == pytest.approx(one.value)
        assert same.interval == pytest.approx(one.interval)
        assert np.ptp(naive.interval) < 0.8 * np.ptp(same.interval), name


def test_intervals_over_near_duplicates_of_unequal_number_cover() -> None:
    rng = np.random.default_rng(5)
    texts = [text for text in range(45) for _ in range(1 + text % 3)]  # 1 to 3 of each
    hits = {"grouped": 0, "alone": 0}
    for run in range(RUNS):
        matrix = (rng.random((8, 45)) < 0.6).astype(float)[:, texts]
        for name, groups in (
            ("grouped", Groups.of(matrix, texts)),
            ("alone", Groups.of(matrix)),
        ):
            low, high = extremes(groups, run, splits=40)["worst"].interval
            hits[name] += bool(low <= 0.6 <= high)
    assert hits["grouped"] >= 0.88 * RUNS
    assert hits["alone"] < hits["grouped"]


def test_two_different_items_have_no_interval() -> None:
    matrix = np.array([[1.0, 1, 0], [0, 0, 1]])
    groups = Groups.of(matrix, [0, 0, 1])
    for one in (*extremes(groups).values(), spread(groups)):
        assert np.isnan(one.interval).all() and not np.isnan(one.value)


def test_a_large_group_counts_as_one_observation_in_the_jackknife() -> None:
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(60), [7 if i % 6 == 5 else 1 for i in range(60)])
    right = (rng.random((1, 60)) < 0.7)[:, texts].astype(float)  # copies get the same answer
    groups = Groups.of(right, texts.tolist())
    mean, sizes = groups.accuracies, groups.sizes
    left_out = (groups.sums.sum() - groups.sums[0]) / (sizes.sum() - sizes)
    values = groups.pseudo_values(mean, left_out[None, :])[0]
    # The variance of a mean over clusters (the sandwich).
    residuals = groups.sums[0] - mean[0] * sizes
    expected = (residuals**2).sum() / sizes.sum() ** 2
    assert values.var(ddof=1) / len(sizes) == pytest.approx(expected, rel=0.2)


def test_the_interval_of_the_spread_is_the_jackknifes_over_groups() -> None:
    rng = np.random.default_rng(6)
    texts = np.repeat(np.arange(20), rng.integers(1, 4, 20))
    matrix = (rng.random((12, 20)) < np.linspace(0.2, 0.9, 12)[:, None]).astype(float)[:, texts]
    whole = spread(Groups.of(matrix, texts.tolist()))
    without = [Groups.of(matrix[:, texts != g], texts[texts != g].tolist()) for g in range(20)]
    squares = np.array([spread(one).value ** 2 for one in without])
    pseudo = whole.value**2 + 19 * (squares.mean() - squares)
    assert whole.interval == pytest.approx(np.sqrt(Sample(20).mean_interval(pseudo)))


def test_the_limits_of_a_difference_are_those_of_two_independent_estimates() -> None:
    one = IntervalEstimate(0.8, np.array([0.7, 0.84]))
    other = IntervalEstimate(0.1, np.array([0.07, 0.34]))
    difference = less(one, other)
    assert difference.value == pytest.approx(0.7)
    assert difference.interval == pytest.approx([0.7 - 0.26, 0.7 + 0.05])
