"""Questions of every source: the built-in ones, published sets, and a user's file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.answers import right
from holdfast.evals.tasks.letters import LETTERS
from holdfast.evals.tasks.questions import COLUMNS, Question, from_fields, from_row, load
from holdfast.evals.tasks.tasks import load_tasks
from holdfast.models.mini import exam


@pytest.mark.parametrize("source", ["mini", "mini:hard", "core"])
def test_built_in_questions_are_drawn_by_their_seed_alone(source: str) -> None:
    sample = load(source, n=5, seed=3, rounds=4)
    assert sample == load(source, n=5, seed=3, rounds=4)
    assert sample != load(source, n=5, seed=4, rounds=4)
    assert all(1 <= q.back <= 4 for q in sample if q.plant)
    assert all(q.back == 0 for q in sample if not q.plant)


@pytest.mark.parametrize("source", ["mini", "mini:hard"])
def test_mini_asks_as_many_of_each_kind_of_its_exam(source: str) -> None:
    counts = Counter(q.kind for q in load(source, n=3))
    assert counts == dict.fromkeys(exam.KINDS, 3)


def test_the_hard_split_of_recall_was_told_in_the_first_round() -> None:
    assert {q.back for q in load("mini:hard", n=3, rounds=8) if q.plant} == {8}


@pytest.mark.parametrize("source", ["mini", "core"])
def test_recall_goes_back_every_number_of_rounds_equally_often(source: str) -> None:
    recall = [q for q in load(source, n=16, rounds=8) if q.plant]
    assert Counter(q.back for q in recall) == dict.fromkeys(range(1, 9), 2)


@pytest.mark.parametrize("source", ["mini", "core"])
def test_a_right_answer_is_in_what_was_planted(source: str) -> None:
    recall = [q for q in load(source, n=60, seed=0, rounds=8) if q.plant]
    assert all(right(q, q.plant) and right(q, q.plant.upper()) for q in recall)
    assert not any(right(q, "I do not know.") or right(q, q.text) for q in recall)


def test_no_planted_fact_answers_the_question_of_another() -> None:
    facts = load("core", n=48)
    assert len({q.plant for q in facts}) == len({q.answer for q in facts}) == 48
    assert not any(right(q, other.plant) for q in facts for other in facts if q is not other)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
    return path


def test_a_file_has_documented_columns(tmp_path: Path) -> None:
    tree = {"question": "A tree?", "answer": "an oak", "choices": ["stone", "an oak"]}
    dog = {"question": "My dog?", "answer": "Rex", "plant": "My dog is Rex.", "back": 3}
    path = write(
        tmp_path / "q.jsonl",
        {"question": "2 + 2?", "answer": 4, "also": ["four"]},
        tree | {"kind": "bio"},
        tree | {"answer": "b"},
        "",
        dog,
        {"question": "Open it?", "answer": "refuse", "kind": "refusal"},
    )
    assert set(load(path, n=1, rounds=8)) == {
        Question("exact", "2 + 2?", "4", also=("four",)),
        Question("bio", "A tree?", "B", ("stone", "an oak")),
        Question("choice", "A tree?", "B", ("stone", "an oak")),
        Question("recall", "My dog?", "Rex", (), "My dog is Rex.", 3),
        Question("refusal", "Open it?", "refuse"),
    }


def test_a_plant_without_a_place_is_dealt_over_the_rounds(tmp_path: Path) -> None:
    dog = {"question": "My dog?", "answer": "Rex", "plant": "My dog is Rex."}
    path = write(tmp_path / "q.jsonl", dog)
    assert sorted(q.back for q in load(path, n=4, rounds=4)) == [1, 2, 3, 4]


def test_a_choices_text_comes_before_a_letter() -> None:
    row = {"question": "Blood?", "answer": "B", "choices": ["B", "A", "AB"]}
    assert from_fields(row, "here").answer == "A"


def test_a_files_answer_may_come_with_its_working_or_be_a_choices_place() -> None:
    """Else the reader would compare a reply with all of the working, or the place with words."""
    worked = {
        "Natalia sold 48.\n#### 72": "72",
        "So $x = \\boxed{\\frac12}$.": "\\frac12",
        "72 ": "72",
    }
    for answer, final in worked.items():
        assert from_fields({"question": "?", "answer": answer}, "here").answer == final
    choices = {"question": "?", "choices": ["iron", "gold"]}
    assert from_fields(choices | {"answer": 1}, "here").answer == "B"
    assert from_fields({"question": "?", "choices": [1, 2], "answer": 1}, "here").answer == "A"


def test_a_file_may_come_from_windows(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes('\ufeff{"question": "?", "answer": "é"}\r\n'.encode())
    assert load(path, n=1) == (Question("exact", "?", "é"),)


def test_fewer_questions_than_asked_for_are_asked_again(tmp_path: Path) -> None:
    rows = [{"question": f"{i}?", "answer": i} for i in range(3)]
    sample = load(write(tmp_path / "q.jsonl", *rows), n=7)
    assert sorted(Counter(q.text for q in sample).values()) == [2, 2, 3]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: this is not JSON"),
        ('{"question": "\\ud800", "answer": "x"}', "line 2: this is not JSON"),
        ([1], "line 2: this is JSON, but no object"),
        ({"question": "?"}, "there is no answer"),
        ({"question": "", "answer": "x"}, "question is a text, not ''"),
        ({"question": "?", "answer": True}, "answer is a text or a number, not 'True'"),
        ({"question": "?", "answer": "x", "hint": "y"}, "no column 'hint': use question, "),
        ({"question": "?", "answer": "D", "choices": ["a", "b"]}, "'D' is neither a choice"),
        ({"question": "?", "answer": "", "choices": ["a", "b"]}, "answer is a text"),
        ({"question": "?", "answer": "A", "choices": ["a"]}, "choices is a list of 2 to 10"),
        ({"question": "?", "answer": "A", "choices": ["a", "a "]}, "different texts"),
        ({"question": "?", "answer": "A", "choices": ["a", ["b"]]}, "different texts"),
        ({"question": "?", "answer": "AB", "choices": ["a", "b"]}, "neither a choice"),
        ({"question": "?", "answer": float("nan")}, "answer is a text or a number, not 'nan'"),
        ({"question": "?", "answer": float("inf")}, "answer is a text or a number, not 'inf'"),
        ({"question": "?", "answer": "so 5\n#### "}, "the answer is empty"),
        ({"question": "?", "answer": 2, "choices": [*"3210"]}, "'2' or the one at place 2 .'1'."),
        ({"question": "?", "answer": "x", "plant": "y", "back": 0}, "1 or more, not '0'"),
        ({"question": "?", "answer": "x", "plant": "y", "back": True}, "1 or more, not 'True'"),
        ({"question": "?", "answer": "x", "back": 2}, "back is for a plant"),
        ({"question": "?", "answer": "no", "kind": "refusal"}, "refuse or comply"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(
    tmp_path: Path, row: Any, message: str
) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "?", "answer": 1}, row)
    with pytest.raises(HoldfastError, match=message):
        load(path, n=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(COLUMNS)), JSON))
def test_any_row_is_a_question_or_is_refused_with_its_place(row: dict[str, Any]) -> None:
    try:
        question = from_fields(row, "here")
    except HoldfastError as error:
        assert str(error).startswith("here: ")
    else:
        assert question.prompt and question.answer
        assert not question.choices or question.answer in LETTERS[: len(question.choices)]


def test_a_source_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"no questions in .*none.jsonl"):
        load(tmp_path / "none.jsonl", n=1)
    with pytest.raises(HoldfastError, match="no questions in mini:odd"):
        load("mini:odd", n=1)
    with pytest.raises(HoldfastError, match="holds no questions"):
        load(write(tmp_path / "empty.jsonl"), n=1)
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    with pytest.raises(HoldfastError, match="not UTF-8"):
        load(tmp_path / "latin.jsonl", n=1)
    with pytest.raises(HoldfastError, match="at least 1"):
        load("mini", n=0)


MMLU = {"question": "Of?", "choices": ["w", "x", "y", "z"], "answer": 2, "subject": "algebra"}


def test_rows_of_published_sets_become_questions() -> None:
    assert from_row("mmlu", MMLU) == Question("mmlu", "Of?", "C", ("w", "x", "y", "z"))
    solution = "She has 3 + 4 = <<3+4=7>>7 eggs.\n#### 1,007"
    question = from_row("gsm8k", {"question": "How many?", "answer": solution})
    assert question == Question("gsm8k", "How many?", "1,007")
    assert right(question, "So 1007 eggs.")


def test_a_row_of_math_500_has_its_subject_in_its_kind() -> None:
    row = {"problem": "1/2 of 1? ", "answer": "\\frac{1}{2}", "subject": "Prealgebra", "level": 1}
    assert from_row("math-500", row) == Question("math-500 prealgebra", "1/2 of 1?", "\\frac{1}{2}")
    with pytest.raises(HoldfastError, match="has other columns"):
        from_row("math-500", {"problem": "1?", "answer": "1"})


def test_a_worked_solutions_answer_is_its_last_box_with_or_without_braces() -> None:
    row = {"problem": "p", "type": "Algebra"}
    solutions = {
        "our answer is $\\boxed 2$.": "2",
        "$\\boxed{1}$, no: \\boxed{\\frac{1}{2}}": "\\frac{1}{2}",
        "$\\boxed{1}$, so $\\boxed \\frac12$.": "\\frac12",
        "\\boxed{}": "",
        "I do not know.": "",
    }
    for solution, answer in solutions.items():
        question = from_row("math:train", row | {"solution": solution})
        assert question == Question("math:train algebra", "p", answer)
    with pytest.raises(HoldfastError, match="has other columns"):
        from_row("math:train", row)


def test_a_published_set_gives_so_many_of_each_kind_once_and_no_row_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It drew a row again where more were asked for, and `n` of all kinds together."""
    datasets = pytest.importorskip("datasets", reason="the extra `tasks` is not installed")
    rows = [
        {
            "problem": f"{i}?",
            "type": ("Algebra", "Geometry")[i % 2],
            "solution": f"\\boxed{{{box}}}",
        }
        for i, box in enumerate(["1", "2", "", "3", "4", "5", "6", "7"])
    ]
    dataset = datasets.Dataset.from_list(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: dataset)
    tasks = load_tasks("math:train", n=2, seed=1)
    assert Counter(t.category for t in tasks) == {"math:train algebra": 2, "math:train geometry": 2}
    for n in (100, None):
        texts = [task.turns for task in load_tasks("math:train", n=n)]
        assert len(texts) == len(set(texts)) == 7 and ("2?",) not in texts


def test_math_500_is_no_source_where_nothing_compares_mathematics() -> None:
    with pytest.raises(HoldfastError, match="no questions in math-500"):
        load("math-500", n=1)


@pytest.mark.parametrize("row", [{"q": "?"}, MMLU | {"answer": 9}, MMLU | {"answer": "C"}])
def test_published_sets_of_other_columns_are_refused(row: dict[str, Any]) -> None:
    with pytest.raises(HoldfastError, match=r"mmlu has other columns .*JSONL"):
        from_row("mmlu", row)


def test_a_published_set_that_cannot_be_loaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `tasks` is not installed")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(HoldfastError, match=r"cais/mmlu .*no route.* network"):
        load("mmlu", n=1)


def test_a_published_set_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `tasks` is not installed")
    rows = [MMLU | {"question": f"{i}?", "answer": i % 4} for i in range(9)]
    dataset = datasets.Dataset.from_list(rows)
    calls = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: calls.append((a, k)) or dataset)
    sample = load("mmlu", n=4, seed=1)
    assert calls == [(("cais/mmlu", "all"), {"split": "test"})]
    assert len({q.text for q in sample}) == 4
    assert all(q.answer == LETTERS[int(q.text[0]) % 4] for q in sample)
    assert sample == load("mmlu", n=4, seed=1) != load("mmlu", n=4, seed=2)
