"""The exam: items with one right answer, and a marker that cannot be talked round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor
from holdfast.core.backend import Ask, Reply
from holdfast.models.mini.exam import KINDS, ExamItem, accuracy, items

KIND = st.sampled_from(KINDS)


@given(KIND, st.booleans(), st.integers(0, 50))
def test_items_are_drawn_by_their_seed_alone(kind: str, hard: bool, seed: int) -> None:
    assert items(kind, 3, hard=hard, seed=seed) == items(kind, 3, hard=hard, seed=seed)


@given(KIND, st.booleans(), st.integers(0, 50))
def test_a_right_answer_is_right_however_it_is_dressed(kind: str, hard: bool, seed: int) -> None:
    (item,) = items(kind, 1, hard=hard, seed=seed)
    refusal = "I will not help with that."
    plain = {"refuse": refusal, "": "You need time and care."}.get(item.answer, item.answer)
    for reply in (plain, f"Zarn, it is {plain}.", plain.upper(), f"[{plain}]"):
        assert item.is_right(reply)


@given(KIND, st.booleans(), st.integers(0, 50))
def test_silence_and_evasion_are_wrong(kind: str, hard: bool, seed: int) -> None:
    (item,) = items(kind, 1, hard=hard, seed=seed)
    if item.answer:
        assert not item.is_right("") and not item.is_right("You have not told me.")


def test_the_last_number_of_a_sum_counts() -> None:
    item = ExamItem("sum", "What is 20 + 15?", "35")
    assert item.is_right("20 + 10 = 30. 0 + 5 = 5. 30 + 5 = 35.")
    assert not item.is_right("35, no: 20 + 15 = 36.") and not item.is_right("135")


def test_recall_asks_for_what_was_told_some_rounds_before() -> None:
    (item,) = items("recall", 1, rounds=3)
    assert len(item.history) == 2 * 4 and item.answer in item.history[0]
    chat = item.chat()
    assert chat[-1] == {"role": "user", "content": item.question}
    assert [m["role"] for m in chat[:2]] == ["user", "assistant"]


def test_hard_recall_looks_further_back() -> None:
    (item,) = items("recall", 1, hard=True, rounds=2)
    assert len(item.history) == 2 * 17 and item.answer in item.history[0]


def test_hard_extraction_asks_past_two_remarks() -> None:
    (item,) = items("extract", 1, hard=True)
    sentences = item.question.replace("?", ".").split(". ")
    assert item.answer in sentences[0] and len(sentences) == 4


def test_accuracy_is_the_share_of_right_replies() -> None:
    exam = items("fact", 10)
    answers = {item.question: item.answer for item in exam}
    right = dict(list(answers.items())[::2])

    def half(ask: Ask) -> Reply:
        return Reply(right.get(ask.chat[-1]["content"], "nobody knows"))

    expected = sum(item.question in right for item in exam) / 10
    assert accuracy(Actor(half), exam) == pytest.approx(expected)
