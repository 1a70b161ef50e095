"""The plan of a training run, which of its processes writes, and the file of its tasks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import RunError
from holdfast.core.folder import write_whole
from holdfast.core.records import dumps
from holdfast.evals.tasks.tasks import Task
from holdfast.results.robustness import PoolPersona
from holdfast.results.training.permix import TrainedItem
from holdfast.training.permix.mixing import PromptRow
from holdfast.training.permix.settings import TrainerSettings

MODEL, ADAPTER, CHECKPOINTS = "model", "adapter", "checkpoints"


@dataclass(frozen=True)
class TrainingPlan:
    """All that an arm trains on, in order."""

    arm: str
    """permix, rlvr, sft or rft."""
    rows: Sequence[PromptRow]
    """The prompts of training."""
    next_rows: Sequence[PromptRow]
    """Prompts that would come after them, on which an arm that imitates is measured."""
    tasks: Sequence[Task]
    """The tasks that rows number."""
    personas: Sequence[PoolPersona]
    """The personas that rows number."""
    mixing: str
    """What has a persona of its own: a prompt or a rollout."""
    steps: int
    """Steps of the optimiser."""
    seed: int
    """Decides everything that is drawn."""
    settings: TrainerSettings
    """The trainer's settings."""
    answers: Sequence[str] = ()
    """What an arm that imitates learns from, an answer for each row."""
    thoughts: Sequence[str] = ()
    """The thought before each answer, "" where there is none; none at all of answers without."""


def processes() -> int:
    """How many processes train together, as `accelerate launch` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main_process() -> bool:
    """True in the one process that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def write_items(path: Path, tasks: Sequence[Task]) -> None:
    """Write down what is trained on. Raises `RunError` where a run would go on with other tasks."""
    if not main_process():
        return
    items = (TrainedItem(task.id, task.history, task.turns) for task in tasks)
    text = "".join(dumps(item) + "\n" for item in items)
    if path.exists() and path.read_bytes() != text.encode():
        raise RunError(
            f"{path.parent} trains on other tasks, as its trial chose them: go on with or without "
            "a trial as it began, or choose another `out`."
        )
    write_whole(path, text)
