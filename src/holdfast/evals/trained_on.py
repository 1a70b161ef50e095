"""Whether a model of `holdfast permix train` is asked what it was trained on.

The training lists its tasks in the folder of the run, beside the model's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.core.errors import RunError
from holdfast.core.records import read_record
from holdfast.core.settings import expand_home
from holdfast.evals.tasks.near_duplicates import repeated_tasks
from holdfast.evals.tasks.tasks import Task
from holdfast.models.load import VLLM
from holdfast.results.training.permix import ITEMS, TrainedItem


def describe_trained(model: str, tasks: Sequence[Task]) -> str | None:
    """A sentence about the tasks that a model was trained on; None where it was on none of them.

    Args:
        model: its name; a model of `permix train` is the folder `model` or `adapter` of a run.
        tasks: what it is asked.
    """
    path = expand_home(model.removeprefix(VLLM)).parent / ITEMS
    try:
        trained = list(_read_texts(path))
    except (OSError, ValueError, RunError):  # no such run, or a file of somebody else's
        return None
    count = sum(repeated_tasks(tasks, trained))
    if not count:
        return None
    return (
        f"{count} of {len(tasks)} tasks are among those that {model} was trained on, which it may"
        " know by heart: ask others (training leaves out those of seed 0, of each category 40)."
    )


def _read_texts(path: Path) -> Iterator[str]:
    """What each task said to the model."""
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            item = read_record(TrainedItem, json.loads(line), str(path))
            yield "\n".join([*item.history, *item.turns])
