"""PRISM beside what it has to beat, on tasks with and without a persona.

    base        no system message             no system   an empty one
    matched     the persona meant for the task's category, as the system prompt
    other       another persona, drawn by task
    router      the matched persona's system prompt, where the prompt router says so
    always      the adapter, on for every query
    random      the adapter, on as often as the gate has it on, at random
    prism       the adapter where the gate says so
    oracle      for each task the better of base and always: what a perfect gate would reach

Scores and intervals are `effect`'s: means over samples, then over tasks, differences paired
by task with base.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.stats import Array, Resampler, mean, numbers
from holdfast.core.version import __version__
from holdfast.evals.tasks import tasks as tasks_
from holdfast.evals.tasks.asking import check_judge
from holdfast.evals.tasks.model_judge import judge_tasks
from holdfast.evals.tasks.near_duplicates import groups, overlapping, task_text
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import GatedAdapter, read_about
from holdfast.persona import experts as experts_
from holdfast.persona.experts import Expert

PROMPTED = ("base", "no system", "matched", "other", "router")
ADAPTED = ("always", "prism", "random")  # in this order: random takes prism's rate
MODES = ("gate", "always", "random", "never")
ARMS = (*PROMPTED, *ADAPTED, "oracle")


def evaluate(
    model: LocalBackend,
    adapter: Path | str,
    *,
    tasks: str | Path | None = None,
    n: int | None = None,
    samples: int = 3,
    seed: int = 0,
    sampling: Sampling | None = None,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Record:
    """Score every arm on the tasks; what `holdfast prism eval --json` prints.

    `tasks` is a source of `tasks.load`; those that only a model can judge need `judge_model`,
    another than the model, and are left out, and named, without it. Raises `ModelError` for an
    adapter of another model.
    """
    check_judge([model], judge_model)
    folder = Path(adapter)
    made = read_about(folder)
    people = tuple(_expert(one) for one in made["personas"])
    own = "mini" if model.name == "mini" else "core"
    whole = tasks_.load(tasks or own, n=n, seed=seed_of("prism eval", seed))
    kept, dropped = _usable(whole, made["trained_on"], judged=judge_model is not None)
    if not kept:
        raise HoldfastError(
            "no task is left that has an exact answer or a judge and was not trained on "
            f"({dropped_line(dropped)})."
        )
    draw, began = sampling or Sampling(max_new_tokens=512), time.monotonic()
    run = Run(out, {
        "command": "prism eval",
        "version": __version__,
        "model": model.describe(),
        "judge_model": judge_model.describe() if judge_model else None,
        "adapter": {name: made[name] for name in ("base", "seed", "wins", "kl_last")},
        "tasks": [asdict(task) for task in kept],
        "samples": samples,
        "seed": seed,
        "sampling": asdict(draw),
    })  # fmt: skip
    units = [(task, sample) for task in kept for sample in range(samples)]
    there = {record["arm"] for record in run.records}
    shown = progress or Progress(enabled=False)
    # A router needs two queries of either kind to be trained on, which there may not have been.
    kinds = [a for a in (*PROMPTED, *ADAPTED) if a != "router" or made["router"] is not None]
    adapted = GatedAdapter(model.engine, model.name, model.digest, folder)
    with adapted, shown.of(len(kinds)):
        for arm in kinds:
            if arm not in there:
                model.forget()
                rate = _rate(run.records)
                run.append(_asked(model, adapted, units, arm, people, draw, seed, rate))
            shown.advance(1, len(units))
    if judge_model is not None:
        replies = {_key(r): (r["task"], r["replies"]) for r in run.records}
        judge_tasks(run, kept, replies, judge_model)
    rows = _rows(run, kept, samples, (*kinds, "oracle"))
    summary: Record = {
        "model": model.name,
        "judge_model": judge_model.name if judge_model else None,
        "adapter": str(folder),
        "tasks": len(kept),
        "samples": samples,
        "seed": seed,
        "left_out": [task.id for task in whole if task not in kept],
        "dropped": dropped,
        "rows": rows,
        "gate": made["gate"],
        "command": command,
        "seconds": round(time.monotonic() - began, 1),
    }
    run.finish(summary)
    return summary


def _usable(
    tasks: Sequence[Task], trained_on: Sequence[str], *, judged: bool
) -> tuple[list[Task], dict[str, int]]:
    """The tasks to evaluate on, and how many were dropped for each reason.

    A task is dropped if only a model can judge it and none does, if its text is a near-duplicate
    of a training query, or if it repeats an earlier task, which would count one question twice.
    """
    able = [task for task in tasks if judged or not task.needs_model]
    seen = overlapping([task_text(task) for task in able], trained_on)
    new = [task for task, known in zip(able, seen, strict=True) if not known]
    first = groups([task_text(task) for task in new])
    kept = [task for i, task in enumerate(new) if first[i] == i]
    dropped = {
        "needs_judge": len(tasks) - len(able),
        "trained_on": len(able) - len(new),
        "repeated": len(new) - len(kept),
    }
    return kept, dropped


def dropped_line(dropped: Mapping[str, int]) -> str:
    """How many tasks were dropped, and why, as a sentence's end."""
    return (
        f"dropped {dropped['trained_on']} that were trained on, {dropped['repeated']} that repeat "
        f"another, {dropped['needs_judge']} that need a judge model"
    )


def _expert(told: Mapping[str, Any]) -> Expert:
    texts = (str(told[length]) for length in experts_.LENGTHS)
    minimal, half, full = texts
    return Expert(told["id"], tuple(told["for"]), minimal, half, full, tuple(told["ask"]))


def _rate(records: Sequence[Record]) -> float:
    routed = [on for r in records if r["arm"] == "prism" for on in r["routed"]]
    return float(np.mean(routed)) if routed else 0.0


def _asked(
    model: LocalBackend,
    adapter: GatedAdapter,
    units: Sequence[tuple[Task, int]],
    arm: str,
    people: Sequence[Expert],
    sampling: Sampling,
    seed: int,
    rate: float,
) -> list[Record]:
    """A record per task and sample under an arm: replies, and which were routed."""
    said: list[list[str]] = [[] for _ in units]
    routed: list[list[bool]] = [[] for _ in units]
    systems = [_system(arm, task, people, seed) for task, _ in units]
    control = parse(f"route:{adapter.name}" if arm == "router" else "none")
    mode = {"prism": "gate", "always": "always", "random": "random"}.get(arm, "never")
    for turn in range(max(len(task.turns) for task, _ in units)):
        live = [i for i, (task, _) in enumerate(units) if turn < len(task.turns)]
        asks = []
        for i in live:
            task, sample = units[i]
            drawn = seed_of("prism eval", seed, task.id, sample, turn)
            chat = task.chat(said[i], systems[i] or "")
            if systems[i] == "":
                chat = ({"role": "system", "content": ""}, *chat)
            asks.append(Ask(chat, drawn, control, keep=False))
        on = decide(model, adapter, asks, mode, rate)
        replies = model.reply(asks, sampling, [adapter.name if one else "" for one in on])
        for i, ask, adapted, reply in zip(live, asks, on, replies, strict=True):
            said[i].append(reply.text)
            routed[i].append(adapted or (arm == "router" and _prompted(ask)))
    return [
        {"arm": arm, "task": task.id, "sample": sample, "replies": said[i], "routed": routed[i]}
        for i, (task, sample) in enumerate(units)
    ]


def decide(
    model: LocalBackend,
    adapter: GatedAdapter,
    asks: Sequence[Ask],
    mode: str = "gate",
    rate: float = 0.0,
) -> list[bool]:
    """Say which asks are answered with the adapter.

    `mode` is "gate" (where the gate says so), "always", "never" (the base model) or "random"
    (a share `rate` of the asks, by their seeds).
    """
    if mode not in MODES:
        raise ValueError(f"there is no mode {mode!r}: {', '.join(MODES)}")
    if mode in ("always", "never"):
        return [mode == "always"] * len(asks)
    if mode == "random":
        draws = [np.random.default_rng(seed_of("random gate", ask.seed)).random() for ask in asks]
        return [bool(draw < rate) for draw in draws]
    return adapter.gated([model.ids(ask) for ask in asks])


def _prompted(ask: Ask) -> bool:
    """Whether the ask's router lets its system prompt through."""
    return any(m["role"] == "system" for m in rewrite(ask.chat, ask.control))


def _system(arm: str, task: Task, people: Sequence[Expert], seed: int) -> str | None:
    """The system prompt of an arm; None for no system message."""
    if arm == "no system":
        return ""
    cast = experts_.roles(people, task.category, seed_of("other persona", seed, task.id))
    who = "matched" if arm == "router" else arm
    return cast[who].full if who in cast else None


def _key(record: Record) -> tuple[str, str, int]:
    return record["arm"], record["task"], record["sample"]


def _rows(run: Run, tasks: Sequence[Task], samples: int, arms: Sequence[str]) -> list[Record]:
    """A row per arm: overall, by category, its difference from base, and how much was routed."""
    at = {task.id: i for i, task in enumerate(tasks)}
    shape = (len(tasks), samples)
    scores: dict[str, Array] = {arm: np.full(shape, np.nan) for arm in arms}
    routed: dict[str, Array] = {arm: np.zeros(shape) for arm in arms}
    judged = {tuple(verdict["answer"]): verdict["value"] for verdict in run.verdicts}
    for record in run.records:
        place = at[record["task"]], record["sample"]
        score = judged.get(_key(record), tasks[place[0]].score(record["replies"]))
        scores[record["arm"]][place] = np.nan if score is None else score
        routed[record["arm"]][place] = float(np.mean(record["routed"]))
    means = {arm: mean(scores[arm], axis=1) for arm in arms}
    means["oracle"] = np.fmax(means["base"], means["always"])
    routed["oracle"] = np.repeat((means["always"] > means["base"])[:, None], samples, 1).astype(
        float
    )
    sample = Resampler.of(range(len(tasks)))

    def apart(arm: str, other: str) -> Record:
        delta = means[arm] - means[other]
        interval = numbers(sample.statistic(lambda v: v, delta))
        return {"delta": numbers(mean(delta)), "interval": interval}

    categories = list(dict.fromkeys(task.category for task in tasks))
    where = {c: np.array([task.category == c for task in tasks]) for c in categories}
    return [
        {
            "arm": arm,
            "overall": numbers(mean(means[arm])),
            "interval": numbers(sample.interval(means[arm])),
            "against": {other: apart(arm, other) for other in ("base", "matched")},
            "by_category": {c: numbers(mean(means[arm][where[c]])) for c in categories},
            "routed": numbers(routed[arm].mean()),
            "routed_by_category": {c: numbers(routed[arm][where[c]].mean()) for c in categories},
        }
        for arm in arms
    ]
