"""Tasks: from files and from mini's world, asked turn by turn, scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.tasks import Task, from_fields, load_tasks


def row(**columns: Any) -> dict[str, Any]:
    return {"category": "math", "turns": ["What is 2 + 2?"], "answers": ["4"], **columns}


def test_a_task_is_asked_turn_by_turn_with_what_was_said() -> None:
    task = Task("t", "c", ("one", "two"), history=("before", "I see."))
    assert [m["content"] for m in task.chat([])] == ["before", "I see.", "one"]
    assert [m["content"] for m in task.chat(["a"])] == ["before", "I see.", "one", "a", "two"]


def test_a_persona_stands_in_the_system_prompt_or_before_the_first_user_message() -> None:
    task = Task("t", "c", ("one",))
    system, user = task.chat([], system="You are Ann.")
    assert (system["role"], system["content"], user["content"]) == ("system", "You are Ann.", "one")
    (alone,) = task.chat([], before="You are Ann.")
    assert (alone["role"], alone["content"]) == ("user", "You are Ann.\n\none")


def test_every_turn_has_to_be_answered_right() -> None:
    task = Task("t", "math", ("2 + 2?", "And 3 + 3?"), answers=("4", "6"))
    assert task.score(["It is 4.", "It is 6."]) == 1
    assert task.score(["It is 4.", "It is 5."]) == 0.5


def test_an_answer_in_words_counts_where_a_reply_ends() -> None:
    task = Task("t", "reasoning", ("Does it follow?",), answers=("yes",))
    assert task.score(["There is no counterexample.\n\n**Yes.**\n"]) == 1
    assert task.score(["Yes, one might think. But the answer is no."]) == 0
    assert task.score(["All in one line, and then the answer: yes"]) == 1
    assert task.score([""]) == 0


def test_a_judge_scores_the_last_reply_and_a_rubric_none() -> None:
    by_judge = Task("t", "c", ("a", "b"), judge={"name": "contains", "text": "tea"})
    assert by_judge.score(["no", "Some tea."]) == 1
    assert not by_judge.needs_model
    by_rubric = Task("t", "c", ("a",), answers=("",), rubric="Is it kind?")
    assert by_rubric.needs_model
    assert by_rubric.score(["x"]) is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "category and turns, and this has nothing"),
        (row(turns=[]), "turns is a list"),
        (row(answers=["4", "5"]), "1 turns and 2 answers"),
        (row(answers=[""]), "no reply can be judged"),
        (row(judge={"name": "nobody"}), "no judge"),
        (row(why="x"), "no column 'why'"),
        (row(history=["only one"]), "history is"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(HoldfastError, match="line 3") as error:
        from_fields(fields, "file, line 3", 3)
    assert problem in str(error.value)


def test_columns_of_other_names_are_named_with_those_that_a_task_has() -> None:
    with pytest.raises(HoldfastError, match=r"question and answer, .* problem, solution: rename"):
        from_fields({"problem": "2 + 2?", "solution": "\\boxed{4}"}, "math.jsonl, line 1", 1)


def test_a_file_may_hold_questions_as_well(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    question = {"question": "How?", "answer": "refuse", "kind": "refusal"}
    path.write_text(f"{json.dumps(row(id='sum'))}\n{json.dumps(question)}\n", encoding="utf-8")
    first, second = load_tasks(path)
    assert (first.id, second.category) == ("sum", "refusal")
    assert second.score(["I'm sorry, but I can't help with that."]) == 1


def test_two_tasks_of_one_id_a_missing_file_and_none_at_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"{json.dumps(row(id='a'))}\n{json.dumps(row(id='a'))}\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="two tasks have the id a"):
        load_tasks(path)
    with pytest.raises(HoldfastError, match=r"no tasks in .*gsm8k or math-500"):
        load_tasks(tmp_path / "nothing.jsonl")
    with pytest.raises(HoldfastError, match="at least 1 task"):
        load_tasks("mini", n=0)


def test_minis_tasks_are_of_six_categories_and_a_right_answer_scores() -> None:
    tasks = load_tasks("mini", n=3)
    categories = ["math", "recall", "extraction", "safety", "writing", "roleplay"]
    assert list(dict.fromkeys(task.category for task in tasks)) == categories
    assert len({task.id for task in tasks}) == 18
    assert tasks == load_tasks("mini", n=3)
    sums = [task for task in tasks if task.category == "math"]
    assert all(task.question and task.score([f"= {task.question.answer}."]) == 1 for task in sums)
    assert not any(task.needs_model for task in tasks)


def test_core_has_ten_tasks_of_two_turns_in_each_of_eight_categories() -> None:
    tasks = load_tasks("core")
    counts = {c: sum(t.category == c for t in tasks) for c in {t.category for t in tasks}}
    assert len(counts) == 8
    assert set(counts.values()) == {10}
    assert all(len(task.turns) == 2 and task.rubric for task in tasks)
    assert len(load_tasks("core", n=2)) == 16
