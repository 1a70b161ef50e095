"""Tasks asked in batches, with a persona and without, and recorded as they are answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

from holdfast.core.backend import Ask, Backend, Reply, Sampling, tokens_drawn
from holdfast.core.chat import Chat
from holdfast.core.progress import Progress
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Units, Where, share_out
from holdfast.evals.estimate import RunEstimate, estimate_asks
from holdfast.evals.fixed_batches import ask_missing
from holdfast.evals.tasks.tasks import Task
from holdfast.results.tasks import ArmReplies, TaskArm, TaskRecord

ROWS = 384
"""Replies that are asked for side by side."""
UnitKey = tuple[int, str, int]
"""Position of the model, id of the task, and number of the sample."""


class TaskUnit(NamedTuple):
    """A task that is asked once under each of its arms."""

    task: Task
    sample: int
    arms: tuple[TaskArm, ...]


class TaskBatch(NamedTuple):
    """Units that a model is asked side by side."""

    model: int
    """The model's position among those that are measured."""
    units: Sequence[TaskUnit]

    @property
    def keys(self) -> list[UnitKey]:
        """The keys of the records that the batch gives."""
        return [(self.model, unit.task.id, unit.sample) for unit in self.units]


def batches(model: int, units: Iterable[TaskUnit]) -> Iterator[TaskBatch]:
    """Units in order, about `ROWS` replies at a time."""
    batch: list[TaskUnit] = []
    for unit in units:
        if batch and sum(len(one.arms) for one in batch) + len(unit.arms) > ROWS:
            yield TaskBatch(model, batch)
            batch = []
        batch.append(unit)
    if batch:
        yield TaskBatch(model, batch)


def ask(
    run: Run[TaskRecord, Any],
    batches: Sequence[TaskBatch],
    models: Sequence[Backend],
    sampling: Sampling,
    seed: int,
    progress: Progress,
    where: Where = None,
) -> None:
    """Append the records of all batches that the run does not have, asked here or elsewhere.

    Args:
        run: the records so far.
        batches: what is asked.
        models: the models that are measured.
        sampling: how replies are drawn.
        seed: decides everything that is drawn.
        progress: shows how far the run is.
        where: a shard or a cluster that asks the batches.
    """
    position = {key: i for i, batch in enumerate(batches) for key in batch.keys}
    units = Units(
        batches,
        unit_of=lambda record: position[record.key],
        is_done=_is_done,
        steps=lambda batch: len(batch.units),
        work=partial(_ask_batch, sampling, seed),
    )
    steps = units.total_steps(where)
    with progress.of(steps, "items", tokens=lambda: sum(map(tokens_drawn, models))):
        share_out(units, run, models, progress, where)


def estimate_batches(
    batches: Sequence[TaskBatch], models: Sequence[Backend], sampling: Sampling, seed: int
) -> RunEstimate:
    """Measure a step of each model and say what all batches will take; the arguments of `ask`."""
    parts = []
    for m, model in enumerate(models):
        units = [unit for batch in batches if batch.model == m for unit in batch.units]
        replies = sum(len(unit.arms) * len(unit.task.turns) for unit in units)
        asks = [_ask(unit.task, unit.sample, arm, (), seed) for unit in units for arm in unit.arms]
        parts.append(estimate_asks(model, asks, sampling, replies, partial(_later_chats, units)))
    return reduce(RunEstimate.plus, parts)


def _later_chats(units: Sequence[TaskUnit], reply: str) -> Iterator[Chat]:
    """What is asked after the first turn of each task, if every reply is the given one."""
    for unit in units:
        for arm in unit.arms:
            for turn in range(1, len(unit.task.turns)):
                yield _ask(unit.task, unit.sample, arm, [reply] * turn, 0).chat


def _is_done(batch: TaskBatch, records: Sequence[TaskRecord]) -> bool:
    return set(batch.keys) <= {record.key for record in records}


def _ask_batch(
    sampling: Sampling,
    seed: int,
    models: Sequence[Backend],
    batch: TaskBatch,
    run: Run[TaskRecord, Any],
    progress: Progress,
) -> None:
    """Ask a batch of its model."""
    ask_missing(
        [dict(zip(batch.keys, batch.units, strict=True))],
        run.record_file,
        models[batch.model],
        partial(_records, models[batch.model], sampling, seed),
        progress=progress,
        replies_of=lambda unit: len(unit.arms),
    )


def _records(
    model: Backend, sampling: Sampling, seed: int, units: Mapping[UnitKey, TaskUnit]
) -> Iterator[TaskRecord]:
    """A record for each unit: the replies under every arm, asked turn by turn."""
    rows = [(unit.task, unit.sample, arm) for unit in units.values() for arm in unit.arms]
    replies: list[list[Reply]] = [[] for _ in rows]
    for turn in range(max(len(unit.task.turns) for unit in units.values())):
        live = [i for i, (task, _, _) in enumerate(rows) if turn < len(task.turns)]
        asks = [_ask(*rows[i], [one.text for one in replies[i]], seed) for i in live]
        for i, reply in zip(live, model.reply(asks, sampling), strict=True):
            replies[i].append(reply)
    answers = iter(replies)
    for (position, *_), unit in units.items():
        arms = tuple(_with_replies(arm, next(answers)) for arm in unit.arms)
        yield TaskRecord(position, unit.task.id, unit.sample, arms)


def _ask(task: Task, sample: int, arm: TaskArm, replies: Sequence[str], seed: int) -> Ask:
    """The next turn under an arm; all arms of a task have the same seed."""
    text = arm.text or ""
    system, before = ("", text) if arm.place == "user" else (text, "")
    is_last = len(replies) + 1 == len(task.turns)
    seed = seed_of("effect", seed, task.id, sample, len(replies))
    return Ask(task.chat(replies, system, before), seed, keep=not is_last)


def _with_replies(arm: TaskArm, replies: Sequence[Reply]) -> ArmReplies:
    """The arm in a record; its text is in the manifest unless it is random."""
    text = arm.text if arm.kind == "random" else None
    thoughts = tuple(reply.thought for reply in replies)
    return ArmReplies(
        **{**vars(arm), "text": text},
        replies=tuple(reply.text for reply in replies),
        stops=tuple(reply.stop for reply in replies),
        thoughts=thoughts if any(thoughts) else None,
    )
