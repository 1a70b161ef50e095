"""Rows of measurements whose numbers are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import suite
from holdfast.core.control import NONE, parse
from holdfast.core.stats import Array
from holdfast.evals.compare.by_control import Measurements
from holdfast.evals.compare.intervals import late_rounds
from holdfast.evals.compare.tradeoff import control_rows
from holdfast.evals.conversation.plan import plan
from holdfast.results.compare import ControlRow

SMALL = suite()
BASE = plan(SMALL.personas, SMALL.personas, SMALL, pairs=8, seed=2)
ROUNDS = 8


def lane(
    control: str,
    own: Array,
    right: Mapping[str, float] | None = None,
    seconds: float = 1.0,
    tokens: float = 100.0,
) -> Measurements:
    """Measurements of 8 conversations, with one share of right answers for each kind."""
    n, points = own.shape
    return Measurements(
        parse(control),
        own,
        {kind: np.full((n, points), share) for kind, share in (right or {}).items()},
        np.full((n, points), tokens),
        np.stack([np.full((2, points), seconds), np.full((2, points), 10.0)], axis=-1),
        {"error": np.arange(points)},
    )


def flat(value: float) -> Array:
    return np.full((len(BASE), ROUNDS + 1), value)


def by_name(rows: list[ControlRow]) -> dict[str, ControlRow]:
    return {row.control: row for row in rows}


@given(st.integers(1, 100))
def test_late_is_the_last_quarter_rounded_up(length: int) -> None:
    rounds = range(length + 1)[late_rounds(length)]
    assert rounds[-1] == length and rounds[0] >= 1 and len(rounds) == -(-length // 4)


def test_stability_leaves_out_round_zero_and_late_takes_the_last_quarter() -> None:
    own = np.tile(np.array([0.0, *(1 - r / 8 for r in range(1, 9))]), (8, 1))
    row = control_rows([lane("none", own)], BASE, ROUNDS)[0]
    assert row.stability == pytest.approx(np.mean(own[0, 1:]), abs=1e-4)
    assert row.late_stability == pytest.approx((0.125 + 0) / 2, abs=1e-4)
    assert row.curve == own[0].round(4).tolist() and len(row.curve_interval) == 9
    assert set(row.by_category) == {c.agent.category for c in BASE}


def test_a_shorter_length_is_the_first_rounds_of_the_same_run() -> None:
    own = flat(1.0)
    own[:, 3:] = 0
    row, same = control_rows([lane("none", own), lane("anchor", flat(1.0))], BASE, 2)
    assert row.stability == 1 and row.curve == [1, 1, 1]
    assert same.delta == same.late_delta == 0
    assert row.failures == {"error": 0 + 1 + 2}


def test_a_control_without_any_score_is_not_on_the_front() -> None:
    lanes = [lane("none", flat(0.05)), lane("anchor", flat(np.nan))]
    assert [row.pareto for row in control_rows(lanes, BASE, ROUNDS)] == [True, False]


def test_conversations_and_tokens_are_counted_over_what_both_measured() -> None:
    none, short = (lane(name, flat(1.0)) for name in ("none", "anchor"))
    none.tokens[:] = short.tokens[:] = np.arange(100, 109)  # a chat grows
    for values in (short.scores, short.tokens):
        values[:2, 1:] = np.nan  # ended after round 0, which counts for nothing
        values[2:5, 7:] = np.nan  # ended before the last quarter
    row = by_name(control_rows([none, short], BASE, ROUNDS))["anchor"]
    assert (row.n, row.late_n) == (len(BASE) - 2, len(BASE) - 5)
    assert row.relative_tokens == 1 and row.tokens_per_reply < 104.5


def test_none_differs_from_itself_by_exactly_nothing() -> None:
    own = np.random.default_rng(0).uniform(size=(8, ROUNDS + 1))
    row = control_rows([lane("none", own, {"sum": 0.5})], BASE, ROUNDS)[0]
    for name in ("delta", "late_delta", "capability_delta"):
        assert getattr(row, name) == 0 and getattr(row, f"{name}_interval") == (0, 0)
    assert row.relative_ms_per_token == 1 and row.relative_ms_interval == (1, 1)


def test_a_difference_is_paired_conversation_by_conversation() -> None:
    own = np.random.default_rng(1).uniform(0, 0.8, size=(8, ROUNDS + 1))
    rows = by_name(control_rows([lane("none", own), lane("anchor", own + 0.2)], BASE, ROUNDS))
    row = rows["anchor"]
    assert row.delta == pytest.approx(0.2, abs=1e-4)
    low, high = row.delta_interval
    assert 0 < low < 0.2 < high < 0.4  # alike in all, and a few conversations nevertheless


def test_a_conversation_that_one_control_could_not_hold_is_left_out_of_the_difference() -> None:
    plain, better = flat(0.5), flat(0.5)
    better[0, 1:] = 1.0
    plain[0, 5:] = np.nan  # overflowed without control only
    better[0, 1:5] = 0.5
    row = by_name(control_rows([lane("none", plain), lane("window:1", better)], BASE, ROUNDS))[
        "window:1"
    ]
    assert row.late_stability > 0.5 and row.late_delta == 0


def test_a_control_that_always_holds_has_an_interval_with_width() -> None:
    row = control_rows([lane("none", flat(1.0), {"sum": 1.0})], BASE, ROUNDS)[0]
    assert row.interval[0] < 1 == row.interval[1]
    assert row.capability_interval[0] < 1 == row.capability_interval[1]


def test_capability_is_the_mean_over_kinds_after_the_rounds_asked() -> None:
    mine = lane("none", flat(1.0), {"sum": 1.0, "recall": 0.5})
    mine.correct["recall"][:, 4] = 0.0
    assert control_rows([mine], BASE, ROUNDS)[0].capability == 0.75
    row = control_rows([mine], BASE, ROUNDS, (4, 8))[0]
    assert row.capability_by_kind == {"sum": 1.0, "recall": 0.25}
    assert row.capability == 0.625


def test_without_questions_capability_is_null() -> None:
    row = control_rows([lane("none", flat(1.0))], BASE, ROUNDS)[0]
    assert row.capability is row.capability_delta_interval is None
    assert row.capability_by_kind == {} and row.pareto is True
    other = control_rows([lane("none", flat(1.0), {"sum": 1.0})], BASE, ROUNDS, ())[0]
    assert other.capability is None and other.capability_by_kind == {}


def test_time_is_relative_to_none_and_null_where_it_was_not_measured() -> None:
    slow = lane("guidance:2", flat(1.0), seconds=2.0)
    slow.timing[:, :, 0] += np.random.default_rng(0).uniform(0, 0.5, size=(2, ROUNDS + 1))
    rows = control_rows([lane("none", flat(1.0)), slow], BASE, ROUNDS)
    low, high = rows[1].relative_ms_interval
    assert 2 < low < rows[1].relative_ms_per_token < high < 2.5
    without_times = Measurements(NONE, flat(1.0), {}, flat(1.0), np.empty((0, ROUNDS + 1, 2)), {})
    assert control_rows([without_times], BASE, ROUNDS)[0].relative_ms_per_token is None


def test_the_front_holds_what_nothing_else_matches_in_both() -> None:
    def of(control: str, stability: float, capability: float) -> Measurements:
        return lane(control, flat(stability), {"sum": capability})

    rows = by_name(
        control_rows(
            [
                of("none", 0.5, 1.0),
                of("anchor", 0.9, 1.0),
                of("window:1", 1.0, 0.5),
                of("boost:2", 0.9, 0.9),
                of("boost:4", 0.9, 1.0),
                of("boost:10", 0.4, 0.4),
            ],
            BASE,
            ROUNDS,
        )
    )
    front = {name for name, row in rows.items() if row.pareto}
    assert front == {"anchor", "boost:4", "window:1"}


def test_nothing_reached_is_null_and_not_zero() -> None:
    own = flat(1.0)
    own[:, 6:] = np.nan
    row = control_rows([lane("none", own)], BASE, ROUNDS)[0]
    assert row.late_stability is row.late_interval is row.late_delta is None
    assert row.stability == 1 and row.curve[-1] is None
