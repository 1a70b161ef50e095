"""When does a persona help? The same tasks with and without it, in every length and place.

For each task the score with a persona less that without it, everything else equal: chat
template, sampling and seeds. A persona stands in the system prompt or before the user's
first message; beside the one matched to the task are another, the safety monitor, and
random text as long as the full persona (`expert`). In a category with tasks T,

    effect = mean over T of (mean over seeds of score(with) - mean over seeds of score(without))

with a 95% bootstrap interval over tasks. Scores come from exact answers and deterministic
judges, or from a judge model that is none of the models measured (arXiv:2603.18507 is the
study that this controls for what it mixed; notes in docs/effect.md).

This module plans and runs. `effects` makes rows of the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from holdfast import __version__, effects, report
from holdfast import expert as experts_
from holdfast import tasks as tasks_
from holdfast.backend import Ask, Backend, Sampling
from holdfast.cluster import Where, opened, spread
from holdfast.drift import NOTES
from holdfast.errors import HoldfastError
from holdfast.expert import LENGTHS, Expert
from holdfast.persona import load_suite
from holdfast.progress import Progress
from holdfast.run import Record, Run, seed_of
from holdfast.tasks import Task
from holdfast.verdict import judge_tasks

PLACES = ("system", "user")
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


@dataclass(frozen=True)
class Effect:
    """What was found. `summary` is the object that `holdfast effect --json` prints."""

    summary: Record

    @property
    def rows(self) -> list[Record]:
        """One row per model, category, kind of persona, length and place."""
        return list(self.summary["rows"])


def effect(
    models: Backend | Sequence[Backend],
    *,
    tasks: str | Path | None = None,
    personas: str | Path | Sequence[Expert] | None = None,
    lengths: Sequence[str] = LENGTHS,
    places: Sequence[str] = PLACES,
    n: int | None = None,
    samples: int = 3,
    seed: int = 0,
    sampling: Sampling | None = None,
    matrix: bool = False,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
) -> Effect:
    """Measure what personas do to tasks; what the command `holdfast effect` does.

    `tasks` is a source of `tasks.load` and `personas` one of `expert.load`, `mini` for the
    embedded model and `core` for others; `n` bounds the tasks of each category. Each task is
    asked `samples` times. `matrix` asks every task under every persona too, at full length.
    Tasks that only a model can judge need `judge_model`, which may be none of the models; without
    it they are left out, and named in the summary. Raises HoldfastError for what the user can
    mend.
    """
    measured = [models] if not isinstance(models, Sequence) else list(models)
    _check(measured, judge_model, lengths, places, samples)
    own = "mini" if all(m.name == "mini" for m in measured) else "core"
    people = experts_.load(personas or own)
    whole = tasks_.load(tasks or own, n=n, seed=seed)
    kept = [t for t in whole if judge_model is not None or not t.needs_model]
    if not kept:
        raise HoldfastError(
            "none of the tasks has an exact answer or a judge: name a model with --judge-model."
        )
    drawn = sampling or Sampling(max_new_tokens=512)
    words = sorted({w for line in load_suite(own).fillers for w in line.split()})
    described: Record = {
        "command": "effect",
        "version": __version__,
        "models": [model.describe() for model in measured],
        "judge_model": judge_model.describe() if judge_model else None,
        "tasks": [asdict(task) for task in kept],
        "personas": list(experts_.described(people)),
        "lengths": list(lengths),
        "places": list(places),
        "samples": samples,
        "seed": seed,
        "sampling": asdict(drawn),
        "matrix": matrix,
    }
    run, began = opened(out, described, where), time.monotonic()
    shown = progress or Progress(enabled=False)
    asked = [
        (m, batch)
        for m, model in enumerate(measured)
        for batch in batches(
            (task, sample, of)
            for task in kept
            for of in [tuple(arms(task, people, lengths, places, words, model, seed, matrix))]
            for sample in range(samples)
        )
    ]
    ask(run, asked, measured, drawn, seed, shown, where)
    if judge_model is not None:
        replies = {
            (r["model"], r["task"], r["sample"], effects.key(arm)): (r["task"], arm["replies"])
            for r in run.records
            for arm in r["arms"]
        }
        judge_tasks(run, kept, replies, judge_model)
    page = run.folder / "report.html" if run.folder else None
    summary: Record = {
        "models": [model.name for model in measured],
        "tasks": len(kept),
        "samples": samples,
        "seed": seed,
        "judge_model": judge_model.name if judge_model else None,
        "left_out": [t.id for t in whole if t not in kept],
        "command": command,
        **effects.summed(run, kept, [m.name for m in measured]),
        "seconds": round(time.monotonic() - began, 1),
        "note": NOTES.get(measured[0].name),
        "report": str(page) if page else None,
    }
    run.finish(summary)
    if page:
        report.write_effect(summary, effects.pairs(run, kept, [m.name for m in measured]), page)
    return Effect(summary)


def _check(
    models: Sequence[Backend],
    judge: Backend | None,
    lengths: Sequence[str],
    places: Sequence[str],
    samples: int,
) -> None:
    if not models:
        raise HoldfastError("name a model with --model.")
    check_judge(models, judge)
    for given, known, what in ((lengths, LENGTHS, "length"), (places, PLACES, "placement")):
        for one in given:
            if one not in known:
                raise HoldfastError(f"there is no {what} {one!r}: use {', '.join(known)}.")
        if not given:
            raise HoldfastError(f"at least one {what} is needed: {', '.join(known)}.")
    if samples < 1:
        raise HoldfastError(f"at least 1 sample of each task is needed, not {samples}")


def check_judge(models: Sequence[Backend], judge: Backend | None) -> None:
    """Refuse a judge model that is one of those whose replies it would judge."""
    if judge is not None and judge.name in [model.name for model in models]:
        raise HoldfastError(
            f"{judge.name} cannot judge its own replies: name another model with --judge-model."
        )


def arms(
    task: Task,
    people: Sequence[Expert],
    lengths: Sequence[str],
    places: Sequence[str],
    words: Sequence[str],
    model: Backend,
    seed: int,
    matrix: bool = False,
) -> Iterator[Arm]:
    """Every way that a task is asked, the one without a persona first."""
    drawn = seed_of("other persona", seed, task.id)
    cast = experts_.roles(people, task.category, drawn)
    yield Arm()
    for kind, who in cast.items():
        for length in lengths:
            for place in places:
                yield Arm(kind, length, place, who.id, who.prompt(length))
    longest = lengths[-1] if "full" not in lengths else "full"
    like = cast.get("matched") or next(iter(cast.values()))
    text = experts_.random_text(words, model.count(like.prompt(longest)), model.count, drawn)
    for place in places:
        yield Arm("random", longest, place, "", text)
    if matrix:
        for who in people:
            yield Arm("each", longest, places[0], who.id, who.prompt(longest))


Key = tuple[int, str, int]  # model, task, sample: a record


def _key(record: Record) -> Key:
    return record["model"], record["task"], record["sample"]


def _keys(batch: Batch) -> list[Key]:
    m, units = batch
    return [(m, unit.task.id, unit.sample) for unit in units]


def ask(
    run: Run,
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
        spread(
            run,
            batches,
            lambda record: unit_of[_key(record)],
            _finished,
            partial(_do, sampling, seed),
            models,
            progress,
            steps=lambda batch: len(batch[1]),
            where=where,
        )


def _finished(batch: Batch, records: Sequence[Record]) -> bool:
    """Whether a batch has all its records."""
    return set(_keys(batch)) <= set(map(_key, records))


def _do(
    sampling: Sampling,
    seed: int,
    models: Sequence[Backend],
    batch: Batch,
    run: Run,
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
