"""From the records of `effect` to rows: what each persona does to each category of tasks.

Every figure is a difference paired by task: its score under a persona less its score
without, each a mean over samples. Intervals are 95%, over tasks, as everywhere (`stats`).
The sentence takes one length and one place, fixed beforehand, since the best of many
looks better than it is.

This module knows records and tasks. It knows no models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.stats import Array, Resampler, mean, numbers
from holdfast.evals.tasks.tasks import Task

Scores = dict[tuple[int, str], dict[str, Array]]  # by model and category: (tasks, samples) of arms
SHOWN = 3  # pairs of replies that the page has for a cell


def key(arm: Mapping[str, Any]) -> str:
    """An arm's name among those of a task."""
    return "/".join(arm[n] for n in ("kind", "length", "place", "expert") if arm.get(n))


def summed(run: Run, tasks: Sequence[Task], models: Sequence[str]) -> Record:
    """`rows`, `overall`, `matrix`, and the `advice` for each model."""
    scores = _scores(run, tasks, len(models))
    categories = list(dict.fromkeys(task.category for task in tasks))
    rows = [
        {**row, "model": model, "category": category}
        for m, model in enumerate(models)
        for category in categories
        for row in _rows(scores[m, category])
    ]
    kept = [row for row in rows if row["persona"] != "each"]
    return {
        "rows": kept,
        "matrix": [row for row in rows if row["persona"] == "each"],
        "overall": [
            {**row, "model": model, "category": "all"}
            for m, model in enumerate(models)
            for row in _rows(_joined([scores[m, c] for c in categories]))
            if row["persona"] != "each"
        ],
        "advice": {model: advice([r for r in kept if r["model"] == model]) for model in models},
        "judge_failures": sum(verdict["failures"] for verdict in run.verdicts),
    }


def _scores(run: Run, tasks: Sequence[Task], models: int) -> Scores:
    """Scores of every arm; the expert is no part of an arm's name but in the matrix."""
    at, judged = {task.id: task for task in tasks}, _judged(run)
    samples = 1 + max((r["sample"] for r in run.records), default=0)
    places: dict[str, dict[str, int]] = {}  # by category, a task's row
    for task in tasks:
        rows = places.setdefault(task.category, {})
        rows[task.id] = len(rows)
    found: Scores = {(m, c): {} for m in range(models) for c in places}
    for record in run.records:
        task = at[record["task"]]
        arms, row = found[record["model"], task.category], places[task.category][task.id]
        for arm in record["arms"]:
            name = key(arm if arm["kind"] == "each" else {**arm, "expert": ""})
            held = arms.setdefault(name, np.full((len(places[task.category]), samples), np.nan))
            held[row, record["sample"]] = _score(record, arm, task, judged)
    return found


def _judged(run: Run) -> dict[tuple[Any, ...], float]:
    return {tuple(verdict["answer"]): verdict["value"] for verdict in run.verdicts}


def _score(
    record: Record, arm: Record, task: Task, judged: Mapping[tuple[Any, ...], float]
) -> float:
    """NaN for what did not fit the context, or could not be had."""
    if {"overflow", "error"} & set(arm["stops"]):
        return float("nan")
    score = task.score(arm["replies"])
    if score is None:
        score = judged.get((record["model"], record["task"], record["sample"], key(arm)))
    return float("nan") if score is None else score


def _joined(of: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The arms of several categories as one; an arm that a category lacks is NaN there."""
    names = dict.fromkeys(name for arms in of for name in arms)
    empty = [np.full_like(arms["none"], np.nan) for arms in of]
    return {
        name: np.concatenate([arms.get(name, gap) for arms, gap in zip(of, empty, strict=True)])
        for name in names
    }


def _rows(arms: Mapping[str, Array]) -> Iterator[Record]:
    """One row per arm but `none`'s."""
    base = mean(arms["none"], axis=1)
    sample = Resampler.of(range(len(base)))
    for name in (name for name in arms if name != "none"):
        kind, length, place, *expert = name.split("/", 3)
        with_ = mean(arms[name], axis=1)
        delta = with_ - base
        both = ~np.isnan(delta)
        yield {
            "model": "",
            "category": "",
            "length": length,
            "persona": kind,
            "placement": place,
            **({"expert": expert[0]} if expert else {}),
            "score": numbers(mean(with_[both])),
            "base": numbers(mean(base[both])),
            "delta": numbers(mean(delta)),
            "interval": numbers(sample.statistic(lambda v: v, delta)),
            "n": int(both.sum()),
        }


def sign(row: Mapping[str, Any]) -> int:
    """1 or -1 where a row's interval lies above or below 0, else 0."""
    low, high = row["interval"]
    return 0 if low is None else (low > 0) - (high < 0)


def advice(rows: Sequence[Record]) -> str:
    """What to use a persona for, from the matched personas at the longest length."""
    matched = [row for row in rows if row["persona"] == "matched"]
    if not matched:
        return "No persona is matched to any of the tasks."
    fixed = matched[-1]["length"], matched[0]["placement"]
    told = [row for row in matched if (row["length"], row["placement"]) == fixed]
    use, drop, open_ = ([row for row in told if sign(row) == s] for s in (1, -1, 0))
    parts = [f"use it for {_list(use)}"] if use else []
    parts += [f"drop it for {_list(drop)}"] if drop else []
    parts += [f"no effect is shown for {_list(open_, bare=True)}"] if open_ else []
    where = "in the system prompt" if fixed[1] == "system" else "before the user's message"
    return f"The matched persona, {fixed[0]} and {where}: {'; '.join(parts)}."


def _list(rows: Sequence[Record], bare: bool = False) -> str:
    told = [
        row["category"]
        if bare
        else f"{row['category']} ({_signed(row['delta'])} "
        f"[{_signed(row['interval'][0])}, {_signed(row['interval'][1])}])"
        for row in rows
    ]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def _signed(value: float | None) -> str:
    return "?" if value is None else f"{value:+.2f}".replace("-", "−")


def pairs(run: Run, tasks: Sequence[Task], models: Sequence[str]) -> dict[str, list[Record]]:
    """Replies behind every cell, with and without: the furthest apart first, `SHOWN` of them.

    By model, category and arm, joined with slashes.
    """
    at, judged = {task.id: task for task in tasks}, _judged(run)
    found: dict[str, list[Record]] = {}
    for record in run.records:
        task, none = at[record["task"]], record["arms"][0]
        base = _score(record, none, task, judged)
        for arm in record["arms"][1:]:
            name = key({**arm, "expert": ""})
            if arm["kind"] == "each":
                continue
            pair = {
                "task": task.id,
                "turns": task.turns,
                "expert": arm.get("expert", ""),
                "without": none["replies"],
                "with": arm["replies"],
                "scores": [base, _score(record, arm, task, judged)],
            }
            found.setdefault(f"{models[record['model']]}/{task.category}/{name}", []).append(pair)
    return {name: _furthest(held) for name, held in found.items()}


def _furthest(held: list[Record]) -> list[Record]:
    def apart(pair: Record) -> float:
        gap = abs(pair["scores"][1] - pair["scores"][0])
        return gap if gap == gap else -1.0

    once = {pair["task"]: pair for pair in sorted(held, key=apart)}  # a task's furthest
    return sorted(once.values(), key=apart, reverse=True)[:SHOWN]
