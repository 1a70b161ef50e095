"""The page of a training run: reward by kind of persona, zero variance, KL, and some rollouts.

A step has few prompts of each kind, so curves go through means over some steps.

This module knows the summary and the lines of metrics.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from holdfast.report import html as shell
from holdfast.report.charts import chart
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.drift.figures import SCORES, Figure
from holdfast.report.transcript import said
from holdfast.report.words import number, quantity

Summary = Mapping[str, Any]
Lines = Sequence[Mapping[str, Any]]
# Kinds of persona, what they are called here, and the class that draws them.
KINDS = {
    "none": ("no persona", "history"),
    "helpful": ("helpful", "user"),
    "irrelevant": ("irrelevant", "filler"),
    "harmful": ("harmful", "own"),
}
POINTS = 12  # of a curve at most
SHOWN = 4  # rollouts shown from either end


def write_permix(summary: Summary, lines: Lines, path: Path) -> None:
    """Write the page of a training run. Raises `RunError` where it cannot be written."""
    shell.save(render(summary, lines), path)


def render(summary: Summary, lines: Lines) -> str:
    """The page as text."""
    parts = list(_parts(lines))
    figures = [_losses(parts)]
    if summary["arm"] != "sft":
        figures = [
            _by_kind(parts, "accuracy", "n", "Reward by kind of persona", _REWARD),
            _by_kind(parts, "zero_variance", "groups", "Groups without variance", _FLAT),
        ]
        if summary["beta"]:
            figures.append(_kl(parts, summary["beta"]))
    return shell.fill(
        "permix.html.j2",
        s=summary,
        headline=headline(summary),
        figures=figures,
        personas=list(_personas(lines)),
        samples=[(name, [_sample(one) for one in some]) for name, some in _samples(lines)],
    )


def headline(summary: Summary) -> str:
    """What training did to the reward, in one line."""
    first, last = summary["reward_first"], summary["reward_last"]
    how = {
        "permix": "Under mixed personas",
        "rlvr": "Without personas",
        "sft": "By imitating gold answers",
    }[summary["arm"]]
    return (
        f"{how} the reward goes from {number(first)} to {number(last)} "
        f"in {quantity(summary['steps'], 'step')}"
    )


_REWARD = (
    "Share of rollouts that are right. Each point is the mean of {each}; tasks differ from step to "
    "step, so that what rises over many points is the model."
)
_FLAT = (
    "Share of groups whose rollouts are all right or all wrong: they have no advantage and teach "
    "nothing. Each point is the mean of {each}."
)


def _parts(lines: Lines) -> Iterator[Lines]:
    """The steps, some together."""
    size = max(1, -(-len(lines) // POINTS))
    return (lines[i : i + size] for i in range(0, len(lines), size))


def _labels(parts: Sequence[Lines]) -> list[str]:
    return [str(part[-1]["step"]) for part in parts]


def _weighed(part: Lines, kind: str, value: str, weight: str) -> float | None:
    held = [line["by_kind"][kind] for line in part if kind in line.get("by_kind", {})]
    total = sum(one[weight] for one in held)
    return sum(one[value] * one[weight] for one in held) / total if total else None


def _by_kind(parts: Sequence[Lines], value: str, weight: str, title: str, caption: str) -> Figure:
    curves = {kind: [_weighed(part, kind, value, weight) for part in parts] for kind in KINDS}
    series = [
        Series(KINDS[kind][1], values, label=f"{KINDS[kind][0]} {number(_last(values))}")
        for kind, values in curves.items()
        if any(one is not None for one in values)
    ]
    notes = [
        "\n".join(
            [f"to step {label}"]
            + [f"{KINDS[k][0]}: {number(values[i])}" for k, values in curves.items()]
        )
        for i, label in enumerate(_labels(parts))
    ]
    each = quantity(len(parts[0]), "step")
    told = ", ".join(one.label for one in series)
    return _figure(value.replace("_", "-"), title, caption.format(each=each), told, series, parts,
                   ticks=SCORES, notes=notes)  # fmt: skip


def _mean(part: Lines, name: str) -> float | None:
    values = [line[name] for line in part if line.get(name) is not None]
    return sum(values) / len(values) if values else None


def _kl(parts: Sequence[Lines], beta: float) -> Figure:
    values = [_mean(part, "kl") for part in parts]
    caption = f"Mean per token to the model before training, which the loss weighs by {beta:g}."
    return _curve("kl", "KL", caption, values, parts)


def _losses(parts: Sequence[Lines]) -> Figure:
    values = [_mean(part, "loss") for part in parts]
    return _curve("loss", "Loss", "Mean over the tokens of the gold answers.", values, parts)


def _curve(
    key: str, title: str, caption: str, values: Sequence[float | None], parts: Sequence[Lines]
) -> Figure:
    most = max((one for one in values if one is not None), default=0.0)
    step = next((s for s in _STEPS if 5 * s >= most), max(most / 5, 0.001))
    ticks = [(i * step, f"{i * step:g}") for i in range(6)]
    series = [Series("own", values, label=number(_last(values), 3))]
    notes = [f"to step {x}: {number(v, 4)}" for x, v in zip(_labels(parts), values, strict=True)]
    told = f"It ends at {number(_last(values), 3)}."
    return _figure(key, title, caption, told, series, parts, ticks=ticks, top=5 * step, notes=notes)


_STEPS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def _figure(
    key: str,
    title: str,
    caption: str,
    told: str,
    series: Sequence[Series],
    parts: Sequence[Lines],
    **more: Any,
) -> Figure:
    """A line chart in both widths."""

    def drawn(width: str, frame: Frame) -> Markup:
        text = Text(f"{key}-{width}", title, told)
        return chart.lines(series, frame, text, x=_labels(parts), x_name="step", **more)

    wide = drawn("wide", Frame(740, 300, 40, 150, 14, 40))
    return Figure(key, title, caption, wide, drawn("narrow", Frame(360, 280, 36, 112, 12, 40)))


def _last(values: Sequence[float | None]) -> float | None:
    return next((one for one in reversed(values) if one is not None), None)


def _personas(lines: Lines) -> Iterator[dict[str, Any]]:
    """Accuracy of every persona in the first half of the steps and in the second."""
    half = len(lines) // 2
    ids = sorted({one for line in lines for one in line.get("by_persona", {})})
    for one in ids:
        cells = []
        for part in (lines[:half], lines[half:]):
            held = [line["by_persona"][one] for line in part if one in line["by_persona"]]
            n = sum(x["n"] for x in held)
            groups = sum(x["groups"] for x in held)
            right = sum(x["n"] * x["accuracy"] for x in held)
            flat = sum(x["groups"] * x["zero_variance"] for x in held)
            cells += [
                number(right / n if n else None),
                number(flat / groups if groups else None),
                str(n),
            ]
        yield {"id": "no persona" if one == "none" else one, "cells": cells}


def _samples(lines: Lines) -> list[tuple[str, list[Mapping[str, Any]]]]:
    ordered = [[one for line in part for one in line["samples"]] for part in (lines, lines[::-1])]
    if not ordered[0]:
        return []
    names = ("In the first steps", "In the last steps")
    return [(name, some[:SHOWN]) for name, some in zip(names, ordered, strict=True)]


def _sample(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "persona": one["persona"] or "no persona",
        "asked": said(one["asked"]),
        "reply": said(one["reply"]),
        "reward": number(one["reward"]),
    }
