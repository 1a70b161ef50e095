"""The page of a fidelity run: scores by task and by persona, and each persona's weakest answer.

This module knows the summary. What a score is, `evals.fidelity.score` says.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.report import html as shell
from holdfast.report.charts.chart import Series, Text
from holdfast.report.drift.figures import Figure, Table, line_figure
from holdfast.report.transcript import fold_text
from holdfast.report.words import between, ends, number, quantity, with_interval
from holdfast.results.fidelity import (
    FidelitySummary,
    PersonaFidelity,
    PersonaScores,
    SuiteDetails,
)

LOWEST = 10
"""Personas that the page lists with their weakest answers; the others are folded."""


def write_fidelity(summary: FidelitySummary, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    shell.save(render(summary), path)


def render(summary: FidelitySummary) -> str:
    """The page as text."""
    rows = sorted(summary.scores.rows, key=_score)
    return shell.fill(
        "fidelity.html.j2",
        s=summary,
        headline=headline(summary),
        remarks=remarks(summary),
        part=_part(summary),
        tasks=_tasks(summary),
        figure_=_personas(summary),
        judges=_judges(summary),
        lowest=LOWEST,
        rows=[
            {
                "persona": row.persona,
                "score": number(row.score),
                "by_task": [f"{task} {number(score)}" for task, score in row.by_task.items()],
                "prompt": fold_text(row.answer.prompt),
                "question": fold_text(row.answer.question),
                "text": fold_text(row.answer.text),
                "grade": number(row.answer.score),
                "why": row.answer.why,
            }
            for row in rows
            if row.answer
        ],
    )


def _score(row: PersonaFidelity) -> float:
    return row.score or 0.0


def headline(summary: FidelitySummary) -> str:
    """The result, in one sentence without a full stop."""
    scores, details = summary.scores, summary.details
    low, high = details.scale
    beside, known = "", f"95% interval {between(scores.interval)}; "
    if isinstance(details, SuiteDetails) and details.floor is not None:
        beside = f", and {number(details.floor)} without the personas’ prompts"
        spans = between(scores.interval), between(details.floor_interval)
        known = f"95% intervals {' and '.join(spans)}; "
    personas = quantity(scores.personas, "persona")
    detail = f"{known}{personas}" if ends(scores.interval) else f"{personas}, without an interval"
    return f"Fidelity is {number(scores.score)} on a scale from {low} to {high}{beside} ({detail})"


def remarks(summary: FidelitySummary) -> list[str]:
    """The sentences under the headline: the weakest task, and what failed."""
    sentences = [_extremes(summary.scores)] if len(summary.scores.by_task) > 1 else []
    if failures := summary.details.parse_failures:
        sentences.append(
            f"{failures} of {quantity(summary.details.judge_calls, 'call')} of the "
            "judges gave no grade and count as the lowest one."
        )
    for key, what in (
        ("failed_replies", "could not be had and count as the lowest score"),
        ("empty_replies", "were empty and count as the lowest score"),
        ("cut_replies", "were cut at the token limit and are judged as they stand"),
    ):
        if count := getattr(summary.details, key):
            of = f"{count:,} of {quantity(summary.details.replies, 'reply')}"
            sentences.append(f"{of} {what}.")
    for key, what in (
        ("question_failures", "request for questions failed"),
        ("example_failures", "request for example answers failed"),
    ):
        if count := getattr(summary.details, key, 0):
            sentences.append(f"{count} × {what} twice; what it was for went without.")
    return sentences


def _extremes(scores: PersonaScores) -> str:
    """The lowest and the highest task, and whether chance alone may have set them apart."""
    by_task, spans = scores.by_task, scores.by_task_interval
    low, high = min(by_task, key=by_task.__getitem__), max(by_task, key=by_task.__getitem__)
    sentence = (
        f"The lowest score is that of {low}, {with_interval(by_task[low], spans[low])}, and the "
        f"highest that of {high}, {with_interval(by_task[high], spans[high])}"
    )
    below, above = ends(spans[low]), ends(spans[high])
    if below is None or above is None:
        return f"{sentence}; personas are too few to say whether the order is chance."
    if below[1] >= above[0]:
        return f"{sentence}; their intervals overlap, so that the order may be chance."
    return f"{sentence}."


def _part(summary: FidelitySummary) -> str:
    """What scores are split by: categories of a suite, or the questionnaire's tasks."""
    return "category" if isinstance(summary.details, SuiteDetails) else "task"


def _tasks(summary: FidelitySummary) -> Table:
    floors = getattr(summary.details, "floor_by_task", None)
    header = (_part(summary), "personas", "score", *(("without the prompt",) if floors else ()))
    return Table(
        header,
        tuple(
            (
                task,
                str(summary.scores.by_task_personas[task]),
                with_interval(score, summary.scores.by_task_interval[task]),
                *((number(floors[task]),) if floors else ()),
            )
            for task, score in summary.scores.by_task.items()
        ),
    )


def _judges(summary: FidelitySummary) -> Table | None:
    by_judge = getattr(summary.details, "by_judge", {})
    if len(by_judge) < 2:
        return None
    tasks = list(summary.scores.by_task)
    return Table(
        ("judge", "score", *tasks),
        tuple(
            (
                name,
                with_interval(one.score, one.interval),
                *(number(one.by_task.get(task)) for task in tasks),
            )
            for name, one in by_judge.items()
        ),
    )


def _personas(summary: FidelitySummary) -> Figure:
    """Every persona's score, from the lowest to the highest."""
    rows = sorted(summary.scores.rows, key=_score)
    low, high = summary.details.scale
    series = [
        Series(
            "floor",
            [summary.scores.score] * len(rows),
            label=f"mean {number(summary.scores.score)}",
        ),
        Series("own", [row.score for row in rows], dots=len(rows) <= 100),
    ]
    ticks = [(v, number(v)) for v in (low + (high - low) * i / 4 for i in range(5))]
    course = f"From {number(rows[0].score)} to {number(rows[-1].score)}."
    return line_figure(
        Text("personas", "Score of each persona", course),
        f"Mean over the persona’s {'answers' if _part(summary) == 'category' else 'tasks'}.",
        series,
        ((740, 300), (360, 280)),
        x=[str(i) for i in range(1, len(rows) + 1)],
        ticks=ticks,
        low=low,
        top=high,
        notes=[f"{row.persona}: {number(row.score)}" for row in rows],
        x_name="personas, from the lowest to the highest",
    )
