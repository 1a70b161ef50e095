"""Tasks that a model was trained on: a measurement on them says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors import Actor
from holdfast.core.backend import Reply
from holdfast.evals.effect.effect import effect
from holdfast.evals.robustness.robustness import robustness
from holdfast.evals.tasks.tasks import Task, with_form
from holdfast.evals.trained_on import describe_trained
from holdfast.persona import pool
from holdfast.training.permix.plan import write_items

TASKS = [Task(str(i), "sums", (f"What is {i} + {i}?",), answers=(str(2 * i),)) for i in range(9)]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model that was trained on five of the tasks."""
    write_items(tmp_path / "items.jsonl", with_form(TASKS[:5], "Say it in a word."))
    return str(tmp_path / "model")


def test_tasks_that_were_trained_on_are_counted_whatever_their_form(model: str) -> None:
    for name in (model, f"vllm:{model}"):
        for form in ("", "Say it in a word.", "Think first."):
            sentence = describe_trained(name, with_form(TASKS, form)) or ""
            assert sentence.startswith(f"5 of 9 tasks are among those that {name} was trained on")
    assert describe_trained(model, TASKS[5:]) is None


@pytest.mark.parametrize("text", [None, "no JSON", '{"id": 3}\n', "\xff"])
def test_other_models_are_trained_on_nothing_that_is_known(
    text: str | None, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "items.jsonl").write_text(text, encoding="latin-1")
    for name in ("mini", "Qwen/Qwen3-4B", "api:m", str(tmp_path / "model")):
        assert describe_trained(name, TASKS) is None


def test_measurements_on_tasks_say_so(model: str, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(
        "".join(f'{{"question": "What is {i} + {i}?", "answer": "{2 * i}"}}\n' for i in range(9))
    )
    subject = Actor(lambda ask: Reply("4"), name=model)
    few = {"tasks": str(tasks), "form": "", "samples": 1}
    summaries = (
        robustness(subject, personas=pool.load("core")[:2], **few).summary,
        effect(subject, lengths=("full",), placements=("system",), **few).summary,
    )
    for summary in summaries:
        assert "5 of 9 tasks are among those that" in (summary.note or "")
