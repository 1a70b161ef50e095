"""Tasks to train on: gold answers, and nothing in common with those for evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.evals.tasks.near_duplicates import task_text
from holdfast.evals.tasks.tasks import FORMS, Task, load_tasks
from holdfast.persona import pool
from holdfast.training.permix import dataset
from holdfast.training.permix.mixing import NOBODY, PromptRow
from holdfast.training.permix.settings import DataSettings, PermixSettings, TrainerSettings

POOL = """
[[persona]]
id = "{0}"
kind = "harmful"
split = "train"
text = "Write in capitals."

[[persona]]
id = "{1}"
kind = "helpful"
split = "held-out"
text = "{2}"
"""


def file(folder: Path, *rows: dict[str, object], name: str = "tasks.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


SUM = {"question": "What is 2 + 2?", "answer": "4"}
OTHER = {"question": "What is 2 + 3?", "answer": "5"}


@pytest.mark.parametrize("seed", [0, 1])
def test_mini_s_training_tasks_are_none_of_those_that_other_commands_draw(seed: int) -> None:
    data = dataset.load_data(DataSettings(), "mini", seed)
    evaluation = [t for n in (5, 20, 40) for t in load_tasks("mini", n=n)]
    texts = {(t.history, t.turns) for t in data.tasks}
    assert not texts & {(t.history, t.turns) for t in evaluation}
    assert {t.category for t in data.tasks} == set(dataset.SHORT)
    assert len(texts) == len(data.tasks) > 300


def test_every_gold_answer_of_mini_s_tasks_passes_their_own_verifier() -> None:
    tasks = dataset.training_tasks("mini", (), each=60, seed=0, categories=("math", *_REST))
    assert {t.category for t in tasks} == {"math", *_REST}
    assert all(t.score([dataset.gold_reply(t)]) == 1.0 for t in tasks)


_REST = ("recall", "extraction", "safety")


def test_a_task_without_a_gold_answer_is_refused_with_its_name(tmp_path: Path) -> None:
    row = {"category": "a", "id": "poem", "turns": ["A poem."], "rubric": "It rhymes."}
    with pytest.raises(HoldfastError, match=r"1 of 2 tasks have no gold answer .*poem"):
        dataset.training_tasks(file(tmp_path, SUM, row), (), each=9, seed=0)


def test_a_task_that_is_in_the_evaluation_set_too_is_refused(tmp_path: Path) -> None:
    evaluation = dataset.evaluation_tasks(file(tmp_path, SUM, name="e.jsonl"), each=9)
    respelling = {**SUM, "question": "what is  2 + 2?"}
    with pytest.raises(HoldfastError, match="1 of 2 tasks to train on are in the evaluation set"):
        dataset.training_tasks(file(tmp_path, respelling, OTHER), evaluation, each=9, seed=0)
    assert dataset.training_tasks(file(tmp_path, OTHER), evaluation, each=9, seed=0)


def test_a_task_whose_words_are_nearly_an_evaluation_task_s_is_refused(tmp_path: Path) -> None:
    question = {"question": "Which river runs through the old town of Ghent?", "answer": "Leie"}
    near = {**question, "question": "Please, which river runs through the old town of Ghent"}
    evaluation = dataset.evaluation_tasks(file(tmp_path, question, name="e.jsonl"), each=9)
    with pytest.raises(HoldfastError, match="1 of 2 tasks to train on are in the evaluation set"):
        dataset.training_tasks(file(tmp_path, near, OTHER), evaluation, each=9, seed=0)


@pytest.mark.parametrize("name", ["exercises", "exercises:train"])
def test_the_exercises_are_cleaned_and_known_by_either_name(name: str) -> None:
    data = dataset.load_data(DataSettings(tasks=name), "other", 0)
    texts = {task_text(task) for task in data.evaluation}
    assert data.exercises and texts and not texts & {task_text(task) for task in data.tasks}
    assert any(task.turns[0].endswith(FORMS["exercises"]) for task in data.tasks)
    settings = PermixSettings(data=DataSettings(tasks=name))
    assert TrainerSettings.of(settings, 3 * 10**9).max_new_tokens == 64


def test_questions_are_compared_without_the_form_that_only_some_sources_append(
    tmp_path: Path,
) -> None:
    """With it a file of the exercises' own questions had none in common with them."""
    exercises = [task.question for task in load_tasks("exercises", n=2) if task.question]
    rows = [{"question": one.prompt, "answer": one.answer} for one in exercises]
    others = [{"question": f"Where is {i} of the map?", "answer": "x"} for i in range(60)]
    own = file(tmp_path, *rows, *others)
    count = len({one.prompt for one in exercises})
    with pytest.raises(HoldfastError, match=f"{count} of {len(rows) + 60} tasks to train on"):
        dataset.load_data(
            DataSettings(tasks=own, eval_tasks="exercises", eval_tasks_per_category=2), "other", 0
        )


def test_a_form_of_the_users_own_hides_no_question_either(tmp_path: Path) -> None:
    row = {"category": "a", "turns": ["Which sea is saltiest?"], "answers": ["Red Sea"]}
    question = {"question": "Which sea is saltiest?", "answer": "Red Sea"}
    evaluation = dataset.evaluation_tasks(file(tmp_path, row, name="e.jsonl"), each=9)
    with pytest.raises(HoldfastError, match="1 of 1 tasks to train on are in the evaluation set"):
        dataset.training_tasks(
            file(tmp_path, question), evaluation, each=9, seed=0, form="Say it in Latin, in verse."
        )


def test_exercises_of_ones_own_evaluation_file_are_left_out(tmp_path: Path) -> None:
    """The reward would otherwise train on the very questions that are kept for evaluation."""
    training = dataset.load_data(DataSettings(tasks="exercises", tasks_per_category=3), "x", 0)
    kept = training.tasks[: len(training.tasks) // 2]
    rows = [{"question": t.question.prompt, "answer": "x"} for t in kept if t.question]
    settings = DataSettings(
        tasks="exercises", tasks_per_category=3, eval_tasks=file(tmp_path, *rows)
    )
    data = dataset.load_data(settings, "x", 0)
    assert data.tasks and not {t.id for t in data.tasks} & {t.id for t in kept}


def test_a_test_set_is_not_trained_on() -> None:
    with pytest.raises(HoldfastError, match="gsm8k is a test set"):
        dataset.training_tasks("gsm8k", (), each=9, seed=0)


def test_a_category_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="no category 'music'"):
        dataset.training_tasks("mini", (), each=9, seed=0, categories=("music",))


def test_a_pool_that_overlaps_the_held_out_one_is_refused(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.toml", tmp_path / "theirs.toml"
    mine.write_text(POOL.format("a", "b", "You help."), encoding="utf-8")
    held_out = '[[persona]]\nid = "c"\nkind = "harmful"\ntext = "Write in  CAPITALS."\n'
    theirs.write_text(held_out, encoding="utf-8")
    with pytest.raises(PersonaError, match="1 of 1 personas to train with are held-out ones too"):
        dataset.load_data(DataSettings(personas=str(mine), held_out=str(theirs)), "mini", 0)
    theirs.write_text(POOL.format("c", "a", "You are kind."), encoding="utf-8")
    with pytest.raises(PersonaError, match="a is the first"):
        dataset.load_data(DataSettings(personas=str(mine), held_out=str(theirs)), "mini", 0)


def test_a_row_s_chat_has_its_persona_as_the_system_prompt_or_none() -> None:
    task = Task("t", "a", ("And now?",), ("Hello.", "Hi."), ("now",))
    people = pool.load("mini", split="train")
    with_, without = dataset.chats([PromptRow(0, 0, 3), PromptRow(0, 0, NOBODY)], [task], people)
    assert [m["role"] for m in with_] == ["system", "user", "assistant", "user"]
    assert with_[0]["content"] == people[3].text
    assert with_[1:] == without


def test_a_file_s_gold_answer_is_imitated_as_it_is_given(tmp_path: Path) -> None:
    choice = {"question": "Which?", "answer": "red", "choices": ["red", "blue"]}
    tasks = dataset.training_tasks(file(tmp_path, SUM, choice), (), each=9, seed=0)
    assert [dataset.gold_reply(task) for task in tasks] == ["4", "A"]
