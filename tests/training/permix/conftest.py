"""A random model in a folder, tasks that it solves sometimes, and a run of few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from holdfast.evals.tasks.tasks import Task
from holdfast.training.permix.settings import DataSettings
from holdfast.training.permix.train import PermixResult, train

SMALL: dict[str, Any] = {
    "prompts": 2,
    "rollouts": 4,
    "max_new_tokens": 4,
    "learning_rate": 1e-3,
    "save_every": 2,
    "trial": False,
}


def short(task: Task, reply: str) -> float:
    """A reward that a random model gets sometimes: few printable characters."""
    return float(len(reply.strip()) % 2 == 0)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Llama with its tokenizer, saved as transformers saves one."""
    path = tmp_path_factory.mktemp("model")
    tiny_models.model().save_pretrained(path)
    tiny_models.tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> DataSettings:
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(10, 17)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DataSettings(tasks=str(path), personas="mini")


@pytest.fixture
def train_small(folder: str, sources: DataSettings) -> Any:
    """Train the small model; the options of `train` and fields of its data may be changed."""

    def run(out: Path, **options: Any) -> PermixResult:
        changes = {name: options.pop(name) for name in ("bare", "mixing") if name in options}
        data = replace(sources, **changes)
        own = {"model": folder, "steps": 4, "data": data, "verify": short, **SMALL, **options}
        return train(out=out, **own)

    return run
