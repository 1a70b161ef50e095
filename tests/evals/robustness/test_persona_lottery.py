"""The lottery: its curve against every subset, its extremes against shuffled labels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from holdfast.evals.robustness.persona_lottery import (
    EXTREMES,
    NAMES,
    Lottery,
    expected_best,
    expected_pick,
    search,
    search_curve,
)
from holdfast.evals.robustness.settings import PSS

shares = st.floats(0, 1, allow_nan=False)


@given(st.lists(shares, min_size=1, max_size=7))
def test_the_expected_best_of_k_is_the_mean_over_every_subset(accuracies: list[float]) -> None:
    curve = expected_best(accuracies)
    for k, value in enumerate(curve, 1):
        every = [max(subset) for subset in combinations(accuracies, k)]
        assert value == pytest.approx(sum(every) / len(every))
    assert curve[0] == pytest.approx(sum(accuracies) / len(accuracies))
    assert curve[-1] == max(accuracies)


@given(st.lists(shares, min_size=2, max_size=40))
def test_the_curve_rises_and_is_concave(accuracies: list[float]) -> None:
    steps = np.diff(expected_best(accuracies))
    assert (steps >= -1e-12).all()
    assert (np.diff(steps) <= 1e-9).all()


def test_the_curve_of_seven_personas_is_that_of_the_note() -> None:
    curve = expected_best([0.42, 0.50, 0.31, 0.47, 0.55, 0.49, 0.28])
    by_hand = [0.431, 0.491, 0.515, 0.527, 0.535, 0.543, 0.550]
    assert curve == pytest.approx(by_hand, abs=5e-4)


def test_two_hundred_personas_need_no_monte_carlo() -> None:
    curve = expected_best(np.linspace(0, 1, 200))
    assert curve[0] == pytest.approx(0.5)
    assert curve[-1] == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), shares), min_size=1, max_size=6, unique_by=lambda x: x[0]
    )
)
def test_a_pick_is_the_mean_over_subsets_of_what_is_chosen(pairs: list[tuple[int, float]]) -> None:
    curve = expected_pick([a for a, _ in pairs], [b for _, b in pairs])
    for k, value in enumerate(curve, 1):
        every = [max(subset)[1] for subset in combinations(pairs, k)]
        assert value == pytest.approx(sum(every) / len(every))


MATRIX = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], float)


def test_values_are_those_of_the_definitions() -> None:
    values = Lottery(MATRIX).values()
    each = np.array([1, 0.5, 0.25])
    assert values["mean"] == pytest.approx(each.mean())
    assert (values["worst"], values["best"], values["ratio"]) == (0.25, 1, 0.25)
    assert values["std"] == pytest.approx(each.std())
    assert values["all_correct"] == 0.25


def test_every_definition_of_pss_is_made_of_the_estimates_without_bias() -> None:
    estimates = {name: one.value for name, one in Lottery(MATRIX).estimates().items()}
    assert {name: estimates[name] for name in PSS} == pytest.approx(
        {
            "worst/best": estimates["worst"] / estimates["best"],
            "worst": estimates["worst"],
            "mean-std": MATRIX.mean() - estimates["std"],
            "all-correct": 0.25,
        }
    )


def test_every_definition_of_pss_is_zero_where_nobody_is_ever_right() -> None:
    lottery = Lottery(np.zeros((3, 5)))
    estimates = lottery.estimates()
    assert [estimates[name].value for name in PSS] == [0] * len(PSS)
    assert (estimates["ratio"].value, lottery.null_distribution(draws=20)["ratio"].max()) == (0, 0)


@settings(max_examples=20, deadline=None)
@given(
    arrays(
        float, st.tuples(st.integers(2, 6), st.integers(2, 8)), elements=st.sampled_from([0.0, 1.0])
    )
)
@example(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]))
def test_intervals_are_ordered_and_shuffling_keeps_the_mean(matrix: np.ndarray) -> None:  # type: ignore[type-arg]
    lottery = Lottery(matrix)
    values, estimates, null = (
        lottery.values(),
        lottery.estimates(),
        lottery.null_distribution(draws=50),
    )
    for name in NAMES:
        low, high = estimates[name].interval
        assert low <= high or (np.isnan(low) and np.isnan(high))
    low, high = estimates["mean"].interval
    assert matrix.shape[1] < 5 or low <= values["mean"] <= high
    assert set(null) == set(EXTREMES)
    assert (null["worst"] <= values["mean"] + 1e-9).all()
    assert (null["best"] >= values["mean"] - 1e-9).all()


def test_personas_that_differ_in_nothing_look_different_and_the_null_says_so() -> None:
    rng = np.random.default_rng(1)
    same = Lottery((rng.random((20, 60)) < 0.6).astype(float))
    null, values = same.null_distribution(), same.values()
    assert values["worst"] < 0.55  # the bias of a minimum
    low, high = np.percentile(null["worst"], [2.5, 97.5])
    assert low <= values["worst"] <= high
    halves = same.estimates()
    assert halves["worst"].value > values["worst"] + 0.05  # picked on a half, an average persona
    assert halves["best"].value < values["best"] - 0.05
    for name, truth in (("worst", 0.6), ("best", 0.6), ("ratio", 1), ("std", 0)):
        low, high = halves[name].interval
        assert low <= truth <= high


def test_a_persona_that_is_worse_stays_worse_on_the_other_half() -> None:
    rng = np.random.default_rng(2)
    rates = np.array([0.2, *[0.8] * 9])[:, None]
    lottery = Lottery((rng.random((10, 80)) < rates).astype(float))
    assert lottery.estimates()["worst"].value == pytest.approx(0.2, abs=0.1)
    assert lottery.values()["worst"] < np.percentile(
        lottery.null_distribution(draws=200)["worst"], 2.5
    )


def test_a_search_is_scored_on_items_that_it_has_not_seen() -> None:
    matrix = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0]], float)
    pick = search(matrix, np.array([True, True, False, False]))
    assert (pick.persona, pick.development, pick.others, pick.oracle) == (0, 1, 0, 1)


def test_searching_among_equals_gains_nothing() -> None:
    rng = np.random.default_rng(3)
    matrix = (rng.random((12, 40)) < 0.5).astype(float)
    curve = search_curve(matrix)
    assert len(curve) == 12
    assert curve[0] == pytest.approx(matrix.mean(), abs=0.02)
    assert curve[-1] < expected_best(matrix.mean(axis=1))[-1]


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_one_persona_or_one_item_is_no_lottery(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least two personas and two items"):
        Lottery(np.zeros(shape))


def test_a_matrix_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="no gaps"):
        Lottery(np.array([[1, np.nan], [0, 1]]))


def test_the_curve_of_many_personas_takes_a_moment_and_is_exact() -> None:
    accuracies = np.random.default_rng(3).random(2000)
    curve = expected_best(accuracies)
    assert curve[0] == pytest.approx(accuracies.mean(), abs=1e-12)
    assert curve[-1] == pytest.approx(accuracies.max(), abs=1e-12)
    in_order = np.sort(accuracies)
    best_of_two = (in_order * np.arange(2000)).sum() / (2000 * 1999 / 2)
    assert curve[1] == pytest.approx(best_of_two, abs=1e-12)
    assert (np.diff(curve) >= -1e-12).all()
