"""From scores of answers to one score: PersonaScore, with intervals over personas.

With s(p, t) the mean score of persona p's answers in task t (over questions, samples, judges),

    score(p) = mean over p's tasks of s(p, t)        score = mean over personas of score(p)

which is PersonaGym's (arXiv:2407.18416), where every persona has the same five tasks. Means of
tasks are over the personas that have the task. Intervals resample personas, for these are what
a score is meant to generalise over; questions of one persona go together.

This module knows scores by persona and task. It knows no texts and no models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.core.records import Record
from holdfast.core.stats import Array, Resampler, mean, numbers


@dataclass(frozen=True)
class Graded:
    """The score of one answer."""

    persona: str
    task: str
    score: float


def table(graded: Sequence[Graded]) -> tuple[list[str], list[str], Array]:
    """Personas, tasks, and s(p, t) as (personas, tasks), NaN where a persona lacks a task."""
    personas = list(dict.fromkeys(one.persona for one in graded))
    tasks = list(dict.fromkeys(one.task for one in graded))
    total, count = np.zeros((2, len(personas), len(tasks)))
    at = {name: i for i, name in enumerate(personas)}, {name: i for i, name in enumerate(tasks)}
    for one in graded:
        place = at[0][one.persona], at[1][one.task]
        total[place] += one.score
        count[place] += 1
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return personas, tasks, means


def summed(graded: Sequence[Graded], seed: int = 0) -> Record:
    """`score`, `by_task`, their intervals, the deviation over personas, and a row for each."""
    personas, tasks, means = table(graded)
    each = mean(means, axis=1)
    sample = Resampler.of(personas, seed=seed)
    spans = _intervals(sample, means)
    found = mean(means, axis=0)
    return {
        "score": numbers(mean(each)),
        "interval": numbers(_intervals(sample, each)),
        "std": numbers(each.std(ddof=1) if len(each) > 1 else np.asarray(np.nan)),
        "by_task": {task: numbers(found[t]) for t, task in enumerate(tasks)},
        "by_task_interval": {task: numbers(spans[t]) for t, task in enumerate(tasks)},
        "by_task_personas": {
            task: int((~np.isnan(means[:, t])).sum()) for t, task in enumerate(tasks)
        },
        "personas": len(personas),
        "answers": len(graded),
        "rows": [_row(who, each[p], tasks, means[p]) for p, who in enumerate(personas)],
    }


def _intervals(sample: Resampler, values: Array) -> Array:
    """Zeros and ones have Wilson's interval; grades to 5 are resampled; one persona has none."""
    if sample.clusters == 1:
        return np.full((*values.shape[1:], 2), np.nan)
    held = values[~np.isnan(values)]
    if held.size and held.min() >= 0 and held.max() <= 1:
        return sample.interval(values)
    return sample.statistic(lambda v: v, values)


def _row(who: str, score: Any, tasks: Sequence[str], scores: Array) -> Record:
    there = [t for t in range(len(tasks)) if not np.isnan(scores[t])]
    by_task: Mapping[str, Any] = {tasks[t]: numbers(scores[t]) for t in there}
    return {"persona": who, "score": numbers(score), "by_task": by_task}
