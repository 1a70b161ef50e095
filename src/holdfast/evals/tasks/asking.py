"""Tasks asked in batches, with a persona and without, and recorded as they are answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Units, Where, share_out
from holdfast.evals.tasks.tasks import Task

ROWS = 384  # replies asked for side by side


@dataclass(frozen=True)
class Arm:
    """One way to ask a task: who is meant to help, in which length, and where it stands.

    `none` has no persona; `each` is an expert of the matrix, whoever it is matched to.
    """

    kind: str = "none"
    length: str = ""
    place: str = ""
    expert: str = ""
    text: str = ""


def check_judge(models: Sequence[Backend], judge: Backend | None) -> None:
    """Refuse a judge model that is one of those whose replies it would judge."""
    if judge is not None and judge.name in [model.name for model in models]:
        raise HoldfastError(
            f"{judge.name} cannot judge its own replies: name another model with --judge-model."
        )


Key = tuple[int, str, int]  # model, task, sample: a record


def _key(record: Record) -> Key:
    return record["model"], record["task"], record["sample"]


def _keys(batch: Batch) -> list[Key]:
    m, units = batch
    return [(m, unit.task.id, unit.sample) for unit in units]


def ask(
    run: Run[Record, Any],
    batches: Sequence[Batch],
    models: Sequence[Backend],
    sampling: Sampling,
    seed: int,
    progress: Progress,
    where: Where = None,
) -> None:
    """Append the records of all batches that the run does not have, asked here or elsewhere."""
    unit_of = {key: i for i, batch in enumerate(batches) for key in _keys(batch)}
    with progress.of(len(unit_of)):
        units = Units(
            batches,
            unit_of=lambda record: unit_of[_key(record)],
            is_done=_finished,
            steps=lambda batch: len(batch[1]),
            work=partial(_do, sampling, seed),
        )
        share_out(units, run, models, progress, where)


def _finished(batch: Batch, records: Sequence[Record]) -> bool:
    """Whether a batch has all its records."""
    return set(_keys(batch)) <= set(map(_key, records))


def _do(
    sampling: Sampling,
    seed: int,
    models: Sequence[Backend],
    batch: Batch,
    run: Run[Record, Any],
    progress: Progress,
) -> None:
    """Ask one batch of the model it is for; what was recorded of a part of it is dropped."""
    (m, units), keys = batch, set(_keys(batch))
    if not _finished(batch, run.records):
        if any(_key(record) in keys for record in run.records):
            run.keep([record for record in run.records if _key(record) not in keys])
        models[m].forget()
        run.append({"model": m, **one} for one in answered(models[m], units, sampling, seed))
        progress.advance(len(units), sum(len(unit.arms) for unit in units))
    else:
        progress.advance(len(units), 0)


class Unit(NamedTuple):
    """A task that is asked once under each of its arms."""

    task: Task
    sample: int
    arms: tuple[Arm, ...]


Batch = tuple[int, Sequence[Unit]]  # the model's place among those measured, and its units


def batches(units: Iterable[tuple[Task, int, tuple[Arm, ...]]]) -> Iterator[list[Unit]]:
    """Units in order, some `ROWS` replies at a time."""
    batch: list[Unit] = []
    rows = 0
    for unit in map(Unit._make, units):
        if batch and rows + len(unit.arms) > ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(unit)
        rows += len(unit.arms)
    if batch:
        yield batch


def answered(
    model: Backend, asked: Sequence[Unit], sampling: Sampling, seed: int
) -> Iterator[Record]:
    """A record per task and sample: the replies under every arm, turn by turn."""
    rows = [(unit.task, unit.sample, arm) for unit in asked for arm in unit.arms]
    said: list[list[str]] = [[] for _ in rows]
    stops: list[list[str]] = [[] for _ in rows]
    for turn in range(max(len(unit.task.turns) for unit in asked)):
        live = [i for i, (task, _, _) in enumerate(rows) if turn < len(task.turns)]
        asks = [_ask(*rows[i], said[i], seed) for i in live]
        for i, reply in zip(live, model.reply(asks, sampling), strict=True):
            said[i].append(reply.text)
            stops[i].append(reply.stop)
    at = iter(range(len(rows)))
    for unit in asked:
        mine = [(arm, next(at)) for arm in unit.arms]
        held = [{**_told(arm), "replies": said[i], "stops": stops[i]} for arm, i in mine]
        yield {"task": unit.task.id, "sample": unit.sample, "arms": held}


def _ask(task: Task, sample: int, arm: Arm, said: Sequence[str], seed: int) -> Ask:
    """The next turn under an arm; all arms of a task draw from the same seed."""
    system, before = ("", arm.text) if arm.place == "user" else (arm.text, "")
    last = len(said) + 1 == len(task.turns)
    drawn = seed_of("effect", seed, task.id, sample, len(said))
    return Ask(task.chat(said, system, before), drawn, keep=not last)


def _told(arm: Arm) -> Record:
    """An arm in a record; what it says is in the manifest but for random text."""
    told = {name: value for name, value in asdict(arm).items() if value}
    return told if arm.kind == "random" else {n: v for n, v in told.items() if n != "text"}
