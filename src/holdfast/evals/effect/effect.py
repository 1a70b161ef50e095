"""When does a persona help? The same tasks with and without it, in every length and place.

For each task the score with a persona less that without it, everything else equal: chat
template, sampling and seeds. A persona stands in the system prompt or before the user's
first message; beside the one matched to the task are another, the safety monitor, and
random text as long as the full persona (`expert`). In a category with tasks T,

    effect = mean over T of (mean over seeds of score(with) - mean over seeds of score(without))

with a 95% bootstrap interval over tasks. Scores come from exact answers and deterministic
judges, or from a judge model that is none of the models measured (arXiv:2603.18507 is the
study that this controls for what it mixed; notes in docs/guide/effect.md).

This module plans and runs. `effects` makes rows of the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast import report
from holdfast.core.backend import Backend, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Where, opened
from holdfast.core.version import __version__
from holdfast.evals.effect import summary as effects
from holdfast.evals.tasks import tasks as tasks_
from holdfast.evals.tasks.asking import PLACES, Arm, ask, batches, check_judge
from holdfast.evals.tasks.model_judge import judge_tasks
from holdfast.evals.tasks.tasks import Task
from holdfast.models.notes import NOTES
from holdfast.persona import experts as experts_
from holdfast.persona.experts import LENGTHS, Expert
from holdfast.persona.suite import load_suite


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
