"""The page of a training run: reward by kind of persona, zero variance, KL, and some rollouts.

A step has few prompts of each kind, so curves go through means over some steps.

This module knows a summary and the metrics of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from holdfast.report import html as shell
from holdfast.report.charts.chart import Series, Text, round_step
from holdfast.report.drift.figures import SCORES, Figure, Table, line_figure
from holdfast.report.transcript import average, fold_text
from holdfast.report.words import describe_checks, first_of, notes, number, quantity
from holdfast.results.training.permix import (
    IMITATIONS,
    GroupMetrics,
    PermixSummary,
    Rollout,
    StepMetrics,
)

StepSequence = Sequence[StepMetrics]
# Kinds of persona, their names on the page, and the class that draws them.
KINDS = {
    "none": ("no persona", "history"),
    "helpful": ("helpful", "user"),
    "irrelevant": ("irrelevant", "filler"),
    "harmful": ("harmful", "own"),
}
POINTS = 12  # of a curve at most
MOST_SAMPLES = 4  # rollouts shown from either end


def write_permix(summary: PermixSummary, steps: StepSequence, path: Path) -> None:
    """Write the page of a training run. Raises `RunError` where it cannot be written."""
    shell.save(render(summary, steps), path)


def render(summary: PermixSummary, steps: StepSequence) -> str:
    """The page as text."""
    parts = list(_parts(steps))
    if summary.arm in IMITATIONS:
        figures = [_losses(parts)]
    else:
        figures = [
            _by_kind(parts, "accuracy", "n", "Reward by kind of persona", _REWARD),
            _by_kind(parts, "zero_variance", "groups", "Groups that teach nothing", _FLAT),
        ]
        if summary.beta:
            figures.append(_kl(parts, summary.beta))
    return shell.fill(
        "permix.html.j2",
        s=summary,
        headline=headline(summary),
        means=notes(describe_means(summary), describe_checks(summary.verifier_errors)),
        figures=figures,
        personas=list(_personas(steps)),
        samples=[(name, [_sample(one) for one in some]) for name, some in _samples(steps)],
    )


def headline(summary: PermixSummary) -> str:
    """What training did to the reward, in one line."""
    how = {
        "permix": "Under mixed personas",
        "rlvr": "Without personas",
        "sft": "By imitating gold answers",
        "rft": "By imitating its own right answers",
    }[summary.arm]
    first, last = summary.means.reward_first, summary.means.reward_last
    return (
        f"{how} the reward goes from {number(first)} to {number(last)} "
        f"in {quantity(summary.steps, 'step')}"
    )


def describe_means(summary: PermixSummary) -> str:
    """What the headline's two rewards are means of."""
    if summary.arm in IMITATIONS:
        return "The first is the mean reward before training, the second after it."
    means = summary.means
    steps = "step" if means.window == 1 else quantity(means.window, "step")
    text = f"The first is the mean reward of the first {steps}, the second of the last."
    if means.rollouts:
        text += (
            f" Each is over {quantity(means.rollouts, 'rollout')}. Their prompts differ, "
            "and part of the difference comes from that."
        )
    return text


_REWARD = (
    "Share of rollouts that are right. Tasks differ from step to step, so a rise over many points "
    "is the model’s."
)
_FLAT = (
    "Share of groups whose rollouts are all right or all wrong: without variance none has an "
    "advantage over the others."
)


def _parts(steps: StepSequence) -> Iterator[StepSequence]:
    """The steps in at most `POINTS` groups."""
    size = max(1, -(-len(steps) // POINTS))
    return (steps[i : i + size] for i in range(0, len(steps), size))


def _labels(parts: Sequence[StepSequence]) -> list[str]:
    return [str(part[-1].step) for part in parts]


Value = Literal["accuracy", "zero_variance"]
Weight = Literal["n", "groups"]


def _weighted_mean(metrics: Sequence[GroupMetrics], value: Value, weight: Weight) -> float | None:
    """The mean of a value over groups or rollouts; None without any."""
    total = sum(getattr(one, weight) for one in metrics)
    if not total:
        return None
    return float(sum(getattr(one, value) * getattr(one, weight) for one in metrics) / total)


def _of_kind(part: StepSequence, kind: str) -> list[GroupMetrics]:
    return [one.by_kind[kind] for one in part if one.by_kind and kind in one.by_kind]


def _by_kind(
    parts: Sequence[StepSequence], value: Value, weight: Weight, title: str, caption: str
) -> Figure:
    curves = {
        kind: [_weighted_mean(_of_kind(part, kind), value, weight) for part in parts]
        for kind in KINDS
    }
    series = [
        Series(KINDS[kind][1], values, label=f"{KINDS[kind][0]} {number(first_of(values[::-1]))}")
        for kind, values in curves.items()
        if any(one is not None for one in values)
    ]
    rows = [
        (label, *(
            f"{number(values[i])}, n = {sum(getattr(one, weight) for one in _of_kind(part, kind))}"
            for kind, values in curves.items()
        ))
        for i, (label, part) in enumerate(zip(_labels(parts), parts, strict=True))
    ]  # fmt: skip
    names = [KINDS[kind][0] for kind in curves]
    notes = [
        "\n".join([f"to step {label}", *map(": ".join, zip(names, cells, strict=True))])
        for label, *cells in rows
    ]
    summary = ", ".join(one.label for one in series)
    table = Table(("to step", *names), tuple(rows))
    return _figure(value.replace("_", "-"), title, caption, summary, series, parts,
                   table=table, ticks=SCORES, notes=notes)  # fmt: skip


def _kl(parts: Sequence[StepSequence], beta: float) -> Figure:
    values = [average(one.kl for one in part) for part in parts]
    caption = f"KL divergence, mean per token; the loss weighs it by {beta:g}."
    return _curve("kl", "Distance from the model before training", caption, values, parts)


def _losses(parts: Sequence[StepSequence]) -> Figure:
    values = [average(one.loss for one in part) for part in parts]
    return _curve("loss", "Loss", "Mean over the tokens of the gold answers.", values, parts)


def _curve(
    key: str,
    title: str,
    caption: str,
    values: Sequence[float | None],
    parts: Sequence[StepSequence],
) -> Figure:
    most = max((one for one in values if one is not None), default=0.0)
    step = round_step(most, 5, least=0.0002)
    ticks = [(i * step, f"{i * step:g}") for i in range(6)]
    places = max(3, 1 - math.floor(math.log10(step)))  # a digit more than the ticks have
    last = number(first_of(values[::-1]), places)
    series = [Series("own", values, label=last)]
    points = zip(_labels(parts), values, strict=True)
    notes = [f"to step {x}: {number(value, places + 1)}" for x, value in points]
    summary = f"It ends at {last}."
    return _figure(key, title, caption, summary, series, parts,
                   ticks=ticks, top=5 * step, notes=notes)  # fmt: skip


def _figure(
    key: str,
    title: str,
    caption: str,
    summary: str,
    series: Sequence[Series],
    parts: Sequence[StepSequence],
    **more: Any,
) -> Figure:
    """A line chart in both widths."""
    text, sizes = Text(key, title, summary), ((740, 300), (360, 280))
    size = len(parts[0])
    each = "one step" if size == 1 else f"the mean of {quantity(size, 'step')}"
    caption = f"{caption} Each point is {each}."
    return line_figure(text, caption, series, sizes, x=_labels(parts), x_name="step", **more)


class PersonaRow(NamedTuple):
    """A row of the table of personas."""

    id: str
    cells: list[str]
    """Accuracy, share without variance and rollouts, of the first half of steps and the second."""


def _personas(steps: StepSequence) -> Iterator[PersonaRow]:
    """Every persona's accuracy in the first half of the steps and in the second."""
    half = len(steps) // 2
    for persona in sorted({one for step in steps for one in step.by_persona or {}}):
        cells = []
        for part in (steps[:half], steps[half:]):
            metrics = [
                step.by_persona[persona]
                for step in part
                if step.by_persona and persona in step.by_persona
            ]
            cells += [
                number(_weighted_mean(metrics, "accuracy", "n")),
                number(_weighted_mean(metrics, "zero_variance", "groups")),
                str(sum(one.n for one in metrics)),
            ]
        yield PersonaRow("no persona" if persona == "none" else persona, cells)


def _samples(steps: StepSequence) -> list[tuple[str, list[Rollout]]]:
    first, last = ([one for step in part for one in step.samples] for part in (steps, steps[::-1]))
    if not first:
        return []
    return [
        ("Replies in the first steps", first[:MOST_SAMPLES]),
        ("Replies in the last steps", last[:MOST_SAMPLES]),
    ]


def _sample(rollout: Rollout) -> dict[str, Any]:
    return {
        "persona": rollout.persona or "no persona",
        "asked": fold_text(rollout.asked),
        "reply": fold_text(rollout.reply),
        "reward": number(rollout.reward),
    }
