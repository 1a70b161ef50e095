"""Questions of every source, where they are planted, and what counts as right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, persona
from holdfast.backend import Ask, Reply
from holdfast.capability import LETTERS, Question, chat, from_row, load, right
from holdfast.conversation import Protocol, Stage, Talk
from holdfast.errors import HoldfastError
from holdfast.plan import Conversation

CHOICE = Question("choice", "Which is a tree?", "B", ("a stone", "an oak", "a cloud"))
TURNS = ["one", "two", "three", "four", "five", "six"]


def contents(question: Question, turns: list[str] = TURNS) -> list[str]:
    return [m["content"] for m in chat(question, "Be kind.", turns)]


def test_a_question_takes_the_place_of_the_next_user_message() -> None:
    said = chat(Question("sum", "What is 2 + 2?", "4"), "Be kind.", TURNS)
    assert [m["content"] for m in said] == ["Be kind.", *TURNS, "What is 2 + 2?"]
    assert said[-1]["role"] == "user"


def test_a_plant_joins_what_the_user_said_that_many_rounds_before() -> None:
    told = Question("recall", "What is my dog called?", "Rex", (), "By the way, Rex barks.", 2)
    assert contents(told)[1:] == [
        "one",
        "two",
        "three By the way, Rex barks.",
        *TURNS[3:],
        told.text,
    ]


def test_a_plant_that_was_all_the_user_said_takes_the_turns_place() -> None:
    told = Question("recall", "What is my dog called?", "Rex", (), "My dog is called Rex.", 1, True)
    assert contents(told)[1:] == [*TURNS[:4], "My dog is called Rex.", "six", told.text]


def test_a_plant_further_back_than_the_conversation_stands_in_its_first_round() -> None:
    told = Question("recall", "And?", "Rex", (), "Rex!", 9, True)
    assert contents(told)[1] == "Rex!"
    assert contents(told, [])[1:] == ["Rex! And?"]


def test_choices_are_shown_with_letters() -> None:
    assert contents(CHOICE, [])[1].split("\n")[1:4] == ["A. a stone", "B. an oak", "C. a cloud"]


@pytest.mark.parametrize("text", ["B", "(b)", "b.", "The answer is B.", "Answer: B", "Say B) so"])
def test_a_letter_is_found_however_it_is_put(text: str) -> None:
    assert right(CHOICE, text)


@pytest.mark.parametrize("text", ["", "A", "an oak and a stone", "Both A. and so on", "B or C? C."])
def test_another_letter_or_none_is_wrong(text: str) -> None:
    assert not right(CHOICE, text)


@pytest.mark.parametrize(
    ("answer", "text", "held"),
    [
        ("1234", "That makes 1,234.", True),
        ("1234", "1234 is more than 5", False),
        ("-3", "it is -3", True),
        ("12.5", "about 12.50", True),
        ("$40", "40 dollars", True),
        ("7", "seven", False),
    ],
)
def test_of_numbers_the_last_counts(answer: str, text: str, held: bool) -> None:
    assert right(Question("exact", "?", answer), text) is held


def test_an_answer_counts_as_whole_words() -> None:
    question = Question("recall", "?", "Rex")
    assert right(question, "It is REX!")
    assert not right(question, "It is Rexford.")


@given(st.text(), st.sampled_from([CHOICE, Question("e", "?", "12"), Question("r", "?", "Rex")]))
def test_any_text_is_right_or_wrong(text: str, question: Question) -> None:
    assert right(question, text) in (True, False)


@pytest.mark.parametrize("source", ["mini", "mini:hard", "core"])
def test_built_in_questions_are_drawn_by_their_seed_alone(source: str) -> None:
    drawn = load(source, n=5, seed=3, rounds=4)
    assert drawn == load(source, n=5, seed=3, rounds=4)
    assert drawn != load(source, n=5, seed=4, rounds=4)
    assert {q.kind for q in drawn} >= {"recall"}
    assert all(1 <= q.back <= 4 for q in drawn if q.plant)


@pytest.mark.parametrize("source", ["mini", "core"])
def test_a_right_answer_is_in_what_was_planted(source: str) -> None:
    planted = [q for q in load(source, n=60, seed=0, rounds=8) if q.plant]
    assert len({q.back for q in planted}) > 3
    assert all(right(q, q.plant) for q in planted)
    assert not any(right(q, "I do not know.") for q in planted)


def test_there_are_forty_facts_of_our_own_for_real_models() -> None:
    drawn = load("core", n=40, seed=0)
    assert len({q.plant for q in drawn}) == 40


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
    return path


def test_a_file_has_documented_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {"question": "2 + 2?", "answer": 4},
        {
            "question": "A tree?",
            "answer": "an oak",
            "choices": ["stone", "an oak"],
            "kind": "bio",
        },
        {"question": "My dog?", "answer": "Rex", "plant": "My dog is Rex.", "back": 3},
    )
    assert set(load(path, n=1)) == {
        Question("exact", "2 + 2?", "4", back=1),
        Question("bio", "A tree?", "B", ("stone", "an oak"), back=1),
        Question("recall", "My dog?", "Rex", (), "My dog is Rex.", 3),
    }


def test_fewer_questions_than_asked_for_are_asked_again(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "2 + 2?", "answer": 4})
    assert len(load(path, n=7)) == 7


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 1: not JSON"),
        ([1], "an object"),
        ({"question": "?"}, "no answer"),
        ({"question": "", "answer": "x"}, "question cannot be ''"),
        ({"question": "?", "answer": "x", "hint": "y"}, "unknown column 'hint'"),
        (
            {"question": "?", "answer": "D", "choices": ["a", "b"]},
            "neither a choice",
        ),
        ({"question": "?", "answer": "A", "choices": ["a"]}, "choices cannot be"),
        ({"question": "?", "answer": "x", "back": -1}, "back cannot be -1"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(HoldfastError, match=said):
        load(write(tmp_path / "q.jsonl", row), n=1)


def test_a_source_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="no questions"):
        load(tmp_path / "none.jsonl", n=1)
    with pytest.raises(HoldfastError, match="holds no questions"):
        load(write(tmp_path / "empty.jsonl"), n=1)
    with pytest.raises(HoldfastError, match="at least 1"):
        load("mini", n=0)


def test_rows_of_published_sets_become_questions() -> None:
    row = {"question": "Of?", "choices": ["w", "x", "y", "z"], "answer": 2, "subject": "algebra"}
    assert from_row("mmlu", row) == Question("mmlu", "Of?", "C", ("w", "x", "y", "z"))
    worked = "She has 3 + 4 = <<3+4=7>>7 eggs.\n#### 1,007"
    question = from_row("gsm8k", {"question": "How many?", "answer": worked})
    assert question == Question("gsm8k", "How many?", "1,007")
    assert right(question, "So 1007 eggs.")


def test_a_published_set_that_cannot_be_loaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `tasks` is not installed")

    def gone(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    with pytest.raises(HoldfastError, match=r"cais/mmlu .*no route.* network"):
        load("mmlu", n=1)


def test_a_published_set_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `tasks` is not installed")
    rows = [{"question": f"{i}?", "choices": ["a", "b"], "answer": i % 2} for i in range(9)]
    made = datasets.Dataset.from_list(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: made)
    drawn = load("mmlu", n=4, seed=1)
    assert len({q.text for q in drawn}) == 4
    assert {q.answer for q in drawn} <= set(LETTERS[:2])


def examined(stage: Stage) -> list[Any]:
    planned = Conversation(0, persona("amber"), persona("birch"), "Hello.", 5, control="window:3")
    (record,) = stage.round([Talk(planned)], 1)
    return list(record["questions"])


def test_questions_are_asked_after_their_round_under_the_control_and_not_kept() -> None:
    actor = Actor()
    asked = [Question("sum", "What is 2 + 2?", "4"), CHOICE]
    stage = Stage(actor, actor, Protocol(filler=False), (), {(0, 1): asked, (0, 2): asked[:1]})
    assert len(examined(stage)) == 2
    last = actor.calls[-1]
    assert [ask.chat[-1]["content"] for ask in last] == [q.asked for q in asked]
    assert {(ask.control, ask.keep) for ask in last} == {("window:3", False)}


def test_by_likelihood_the_likeliest_letter_answers() -> None:
    class Sure(Actor):
        def likelihoods(self, asks: list[Ask], options: list[str]) -> list[list[float]]:
            assert options == ["ABC"]
            return [[-3.0, -1.0, -2.0]]

    actor = Sure(lambda ask: Reply("4"))
    asked = [Question("sum", "What is 2 + 2?", "4"), CHOICE]
    stage = Stage(actor, actor, Protocol(filler=False), (), {(0, 1): asked})
    found = examined(replace(stage, likelihood=True))
    assert [answer["text"] for answer in found] == ["4", "B"]
