"""What every judge's score is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.judge.score import EMPTY, Score, guard, score_within, share


@given(st.integers(1, 50), st.floats(0, 0.9))
def test_a_share_runs_from_0_at_its_floor_to_1(whole: int, floor: float) -> None:
    values = [share(part, whole, "words", floor).value for part in range(whole + 1)]
    assert values[0] == 0 and values[-1] == pytest.approx(1)
    for part, value in enumerate(values):
        assert value == pytest.approx(max(0.0, (part / whole - floor) / (1 - floor)))
    assert share(0, 0, "words", floor).value == 0


def test_a_count_outside_of_its_bounds_loses_what_it_is_off_by_relative_to_the_bound() -> None:
    assert [score_within(n, 10, 20) for n in (10, 15, 20)] == [1, 1, 1]
    assert [score_within(n, 10, 20) for n in (9, 5, 0, -5)] == pytest.approx([0.9, 0.5, 0, 0])
    assert [score_within(n, 10, 20) for n in (21, 30, 40, 60)] == pytest.approx([0.95, 0.5, 0, 0])
    assert score_within(10**6, 10, None) == score_within(-5, None, 20) == 1
    assert score_within(2, None, 0) == 0 and score_within(0.5, None, 0) == 0.5


def test_a_guarded_judge_is_not_asked_about_nothing_and_stays_on_the_scale() -> None:
    texts: list[str] = []

    def judge(text: str) -> Score:
        texts.append(text)
        return Score(float(text), "as it says")

    guarded = guard(judge)
    assert guarded("") == guarded(" \n") == EMPTY and texts == []
    assert [guarded(text).value for text in ("-3", "0.4", "7")] == [0, 0.4, 1]
    assert guard(lambda text: Score(1, text))("a\ud800") == Score(1, "a?")
