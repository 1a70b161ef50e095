"""From scores of answers to one score: PersonaScore, with intervals over personas.

With s(p, t) the mean score of persona p's answers in task t (over questions, samples, judges),

    score(p) = mean over p's tasks of s(p, t)        score = mean over personas of score(p)

which is PersonaGym's (arXiv:2407.18416), where every persona has the same five tasks. Means of
tasks are over the personas that have the task. Intervals are over personas, for these are what
a score is meant to generalise over; questions of one persona go together.

This module knows scores by persona and task. It knows no texts and no models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array, mean, numbers
from holdfast.results.fidelity import PersonaFidelity, PersonaScores, WeakestAnswer


@dataclass(frozen=True)
class Graded:
    """The score of one answer."""

    persona: str
    task: str
    score: float


def table(grades: Sequence[Graded]) -> tuple[list[str], list[str], Array]:
    """Personas, tasks, and s(p, t) as (personas, tasks), NaN where a persona lacks a task."""
    personas = list(dict.fromkeys(one.persona for one in grades))
    tasks = list(dict.fromkeys(one.task for one in grades))
    total, count = np.zeros((2, len(personas), len(tasks)))
    at = {name: i for i, name in enumerate(personas)}, {name: i for i, name in enumerate(tasks)}
    for one in grades:
        place = at[0][one.persona], at[1][one.task]
        total[place] += one.score
        count[place] += 1
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return personas, tasks, means


def persona_scores(grades: Sequence[Graded], scale: tuple[float, float]) -> PersonaScores:
    """The score, by task and by persona, with intervals over personas.

    Args:
        grades: the scores of the answers.
        scale: the lowest and the highest score that an answer can have.
    """
    personas, tasks, means = table(grades)
    each, by_task = mean(means, axis=1), mean(means, axis=0)
    sample = Sample(len(personas))
    intervals = _intervals(sample, means, scale)
    return PersonaScores(
        score=numbers(mean(each)),
        interval=tuple(numbers(_intervals(sample, each, scale))),
        std=numbers(each.std(ddof=1) if len(each) > 1 else np.asarray(np.nan)),
        by_task={task: numbers(by_task[t]) for t, task in enumerate(tasks)},
        by_task_interval={task: tuple(numbers(intervals[t])) for t, task in enumerate(tasks)},
        by_task_personas={
            task: int((~np.isnan(means[:, t])).sum()) for t, task in enumerate(tasks)
        },
        personas=len(personas),
        answers=len(grades),
        rows=tuple(
            PersonaFidelity(
                persona=persona,
                score=numbers(each[p]),
                by_task={
                    task: numbers(means[p, t])
                    for t, task in enumerate(tasks)
                    if not np.isnan(means[p, t])
                },
            )
            for p, persona in enumerate(personas)
        ),
    )


def with_weakest(
    scores: PersonaScores, answers: Iterable[tuple[str, WeakestAnswer]]
) -> PersonaScores:
    """The scores with each persona's answer of the lowest score, the first of several.

    Args:
        scores: the scores by persona.
        answers: a persona and an answer of it, for every answer.
    """
    weakest: dict[str, WeakestAnswer] = {}
    for persona, answer in answers:
        if persona not in weakest or answer.score < weakest[persona].score:
            weakest[persona] = answer
    rows = tuple(
        replace(row, answer=replace(answer, score=round(answer.score, 4)))
        for row in scores.rows
        for answer in [weakest[row.persona]]
    )
    return replace(scores, rows=rows)


def _intervals(sample: Sample, values: Array, scale: tuple[float, float]) -> Array:
    """Intervals of means of scores on a scale: those of scores from 0 to 1, stretched to it."""
    low, high = scale
    return low + (high - low) * sample.score_interval((values - low) / (high - low))
