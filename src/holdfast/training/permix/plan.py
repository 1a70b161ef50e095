"""The plan of a training run, and which of its processes writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.evals.tasks.tasks import Task
from holdfast.persona.pool import Member
from holdfast.training.permix.mixing import Row
from holdfast.training.permix.recipe import Recipe

MODEL, ADAPTER, CHECKPOINTS, ITEMS = "model", "adapter", "checkpoints", "items.jsonl"


@dataclass(frozen=True)
class Plan:
    """All that an arm trains on, in order; `ahead` are prompts that would come after."""

    arm: str
    rows: Sequence[Row]
    ahead: Sequence[Row]
    tasks: Sequence[Task]
    personas: Sequence[Member]
    per: str
    steps: int
    seed: int
    recipe: Recipe


def processes() -> int:
    """How many processes train together, as `accelerate launch` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main_process() -> bool:
    """True in the one process that writes."""
    return int(os.environ.get("RANK", "0")) == 0
