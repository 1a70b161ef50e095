"""The page of a robustness run: sorted accuracies, the lottery's curve, and the matrix.

The matrix is a table of personas by categories; a cell's shade is how far its accuracy is from
that without a persona, and the sign its colour.

This module knows the summary. It knows no charts but `chart.lines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor
from pathlib import Path
from typing import Any

from markupsafe import Markup

from holdfast.report import html as shell
from holdfast.report.charts import chart
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.drift.figures import SCORES, Figure, Table
from holdfast.report.transcript import said
from holdfast.report.words import between, ends, number, percent, quantity, signed, signed_span

Summary = Mapping[str, Any]
_SHADES = (0.02, 0.1, 0.2, 0.4)  # differences from which on a cell is a shade darker
_BESIDE = {"worst": "worst", "best": "best", "ratio": "worst/best", "std": "standard deviation"}


def write_robustness(summary: Summary, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    shell.save(render(summary), path)


def render(summary: Summary) -> str:
    """The page as text."""
    return shell.fill(
        "robustness.html.j2",
        s=summary,
        remarks=remarks(summary),
        figures=[_accuracies(summary), _lottery(summary)],
        numbers=_numbers(summary),
        rows=_rows(summary),
        categories=[row["category"] for row in summary["categories"]],
        lost=[
            {
                "name": one["category"],
                "turns": [said(text) for text in one["turns"]],
                "gold": " · ".join(one["gold"]),
                "without": [said(text) for text in one["without"]],
                "with": [said(text) for text in one["with"]],
            }
            for one in summary["lost"]
        ],
    )


def headline(summary: Mapping[str, Any]) -> str:
    """What was found, in one sentence without a full stop."""
    rows = sorted(summary["rows"], key=lambda row: row["accuracy"])
    halves = summary["halves"]["ratio"]
    return (
        f"Accuracy is {number(rows[0]['accuracy'])} under the worst of {summary['personas']} "
        f"personas ({rows[0]['id']}) and {number(rows[-1]['accuracy'])} under the best "
        f"({rows[-1]['id']}); "
        f"worst/best is {number(summary['ratio'])}, "
        f"{number(summary['permuted']['ratio']['value'])} where labels are shuffled, and without "
        "the bias of extremes "
        f"{number(halves['value'])} ({between(halves['interval'])})"
    )


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """The sentences under the headline: halves, form, the search, and what was left out."""
    halves, strict = summary["halves"], summary["strict"]
    told = [
        f"Picked on one half of the items and scored on the other, the worst has "
        f"{number(halves['worst']['value'])} and the best {number(halves['best']['value'])} "
        f"({number(halves['ratio']['value'])} [{between(halves['ratio']['interval'])}])."
    ]
    none = summary["none"]
    told += [
        f"Without a persona {number(none['accuracy'])} are right ({between(none['interval'])}, "
        f"n = {summary['items']})."
    ]
    if summary["reading"] == "lenient" and strict["mean"] < summary["mean"]:
        lost = max(summary["rows"], key=lambda row: row["strict_failures"])
        told += [
            f"Read strictly, where an answer was to stand, the mean is {number(strict['mean'])} "
            f"instead of {number(summary['mean'])}: {lost['id']} loses the form of "
            f"{percent(lost['strict_failures'])} of its answers."
        ]
    if found := summary.get("search"):
        told += [
            f"Searching: {found['persona']} is the best on {found['development_items']} items and "
            f"has {number(found['accuracy'])} on the {found['items']} others, where no persona has "
            f"{number(found['none'])} ({signed(found['gain'])}, "
            f"{signed_span(found['gain_interval'])})."
        ]
    for count, what in (
        (len(summary["left_out"]), "that only a model can judge were left out"),
        (len(summary["missing"]), "without a reply under every persona were left out"),
    ):
        told += [f"{quantity(count, 'task')} {what}."] if count else []
    if summary["verifier_errors"]:
        told += [
            f"{quantity(summary['verifier_errors'], 'answer')} could not be compared in time, or "
            "at all, and count as wrong."
        ]
    return told


def _drawing(
    key: str, title: str, told: str, series: Sequence[Series], x: Sequence[str], **more: Any
) -> tuple[Markup, Markup]:
    """A line chart in both widths."""
    frames = (
        ("wide", Frame(740, 330, 34, 150, 14, 40)),
        ("narrow", Frame(360, 300, 28, 100, 12, 40)),
    )
    wide, narrow = (
        chart.lines(series, frame, Text(f"{key}-{width}", title, told), x=x, **more)
        for width, frame in frames
    )
    return wide, narrow


def _accuracies(summary: Summary) -> Figure:
    """Every persona's accuracy, from the worst to the best, with its interval."""
    rows = sorted(summary["rows"], key=lambda row: row["accuracy"])
    without = summary["none"]["accuracy"]
    series = [
        Series("floor", [without] * len(rows), label=f"no persona {number(without)}"),
        Series(
            "own",
            [row["accuracy"] for row in rows],
            [ends(row["interval"]) for row in rows],
            f"best {number(rows[-1]['accuracy'])}",
            dots=True,
        ),
    ]
    title = "Accuracy under each persona"
    notes = [
        f"{row['id']} ({row['kind']})\n{number(row['accuracy'])}, {between(row['interval'])}"
        for row in rows
    ]
    drawn = _drawing(
        "accuracies",
        title,
        f"From {number(rows[0]['accuracy'])} to {number(rows[-1]['accuracy'])}.",
        series,
        [str(i) for i in range(1, len(rows) + 1)],
        ticks=SCORES,
        notes=notes,
        x_name="personas, from the worst to the best",
    )
    caption = "Share of items answered right. The band joins the 95% intervals over items."
    return Figure("accuracies", title, caption, *drawn)


def _lottery(summary: Summary) -> Figure:
    """Expected best of k personas, and what the best of k on half of the items is worth."""
    best, x = summary["lottery"], [str(k) for k in range(1, len(summary["lottery"]) + 1)]
    series = [Series("own", best, label=f"best of k {number(best[-1])}", dots=len(x) <= 17)]
    curve = summary.get("search", {}).get("curve")
    caption = (
        "Expected accuracy of the best of k personas drawn without replacement; it is known which "
        "is the best only afterwards."
    )
    if curve:
        series.insert(0, Series("user", curve, label=f"chosen {number(curve[-1])}"))
        caption += (
            " Beside it what one gets who chooses on one half of the items and is scored on the "
            "other, over many halves."
        )
    title = "The persona lottery"
    header = ("k", "expected best", *(("chosen on one half",) if curve else ()))
    rows = [(k, number(v, 3), *((number(curve[i], 3),) if curve else ()))
            for i, (k, v) in enumerate(zip(x, best, strict=True))]  # fmt: skip
    drawn = _drawing(
        "lottery",
        title,
        f"From {number(best[0])} for one persona to {number(best[-1])} for all.",
        series,
        x,
        **_axis([*best, *(curve or ())]),
        notes=[": ".join(row[:2]) for row in rows],
        x_name="personas tried",
    )
    return Figure("lottery", title, caption, *drawn, Table(header, tuple(rows)))


def _axis(values: Sequence[float]) -> dict[str, Any]:
    """An axis that the values fill: the curve is flat where it starts from 0."""
    low, top = floor(min(values) * 20) / 20, ceil(max(values) * 20) / 20
    top = top if top > low else low + 0.05
    step = 0.05 if top - low <= 0.3 else 0.1 if top - low <= 0.6 else 0.2
    ticks = [low + i * step for i in range(round((top - low) / step) + 1)]
    return {"low": low, "top": top, "ticks": [(t, number(t)) for t in ticks]}


def _numbers(summary: Summary) -> Table:
    """The extremes with what stands beside them."""
    spans, shuffled = summary["intervals"], summary["permuted"]
    unbiased = {**summary["halves"], **summary["spread"]}

    def beside(of: Summary, name: str) -> str:
        held = of.get(name)
        return f"{number(held['value'])} ({between(held['interval'])})" if held else "–"

    names = {"mean": "mean", **_BESIDE, "all_correct": "right under every persona"}
    return Table(
        ("", "measured", "read strictly", "labels shuffled", "without the bias of extremes"),
        tuple(
            (
                told,
                number(summary[name]) + (f" ({between(spans[name])})" if spans[name] else ""),
                number(summary["strict"][name]),
                beside(shuffled, name),
                beside(unbiased, name),
            )
            for name, told in names.items()
        ),
    )


def _rows(summary: Summary) -> list[dict[str, Any]]:
    """The matrix: no persona first, then from the worst to the best."""
    base = summary["none"]["by_category"]
    ordered = sorted(summary["rows"], key=lambda row: row["accuracy"])
    found = []
    for row in ({**summary["none"], "id": "no persona", "kind": "", "text": ""}, *ordered):
        cells = [
            {"value": number(value), "shade": _shade(value - base[category])}
            for category, value in row["by_category"].items()
        ]
        low, high = row["delta_interval"]
        found.append(
            {
                "id": row["id"],
                "kind": row["kind"],
                "text": row["text"],
                "cells": cells,
                "accuracy": number(row["accuracy"]),
                "interval": between(row["interval"]),
                "delta": signed(row["delta"]) if row["text"] else "–",
                "delta_interval": signed_span(row["delta_interval"]) if row["text"] else "",
                "told": low > 0 or high < 0,
                "shade": _shade(row["delta"]),
                "failures": number(row["strict_failures"]),
                "lenient_failures": number(row["lenient_failures"]),
            }
        )
    return found


def _shade(delta: float) -> str:
    shade = sum(abs(delta) >= least - 1e-9 for least in _SHADES)
    return f"{'up' if delta > 0 else 'down'}-{shade}" if shade else "level"
