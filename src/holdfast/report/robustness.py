"""The page of a robustness run: sorted accuracies, the lottery's curve, and the matrix.

The matrix is a table of personas by categories; a cell's shade is how far its accuracy is from
that without a persona, and the sign its colour.

This module knows the summary. It knows no charts but `chart.lines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import ceil, floor
from pathlib import Path
from typing import Any

from holdfast.core.intervals import FEWEST
from holdfast.report import html as shell
from holdfast.report.charts.chart import Series, Text
from holdfast.report.drift.figures import SCORES, Figure, Table, line_figure
from holdfast.report.transcript import fold_text
from holdfast.report.words import (
    between,
    ends,
    near_duplicates,
    number,
    percent,
    quantity,
    signed_number,
    signed_span,
    with_interval,
)
from holdfast.results.robustness import (
    Accuracy,
    PersonaAccuracy,
    RobustnessNumbers,
    RobustnessSummary,
    ValueWithInterval,
)

_SHADES = (0.02, 0.1, 0.2, 0.4)  # differences from which on a cell is a shade darker
_BESIDE = {"worst": "worst", "best": "best", "ratio": "worst/best", "std": "standard deviation"}


def write_robustness(summary: RobustnessSummary, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    shell.save(render(summary), path)


def render(summary: RobustnessSummary) -> str:
    """The page as text."""
    numbers = summary.numbers
    return shell.fill(
        "robustness.html.j2",
        s=summary,
        n=numbers,
        remarks=remarks(summary),
        figures=[_accuracies(numbers), _lottery(numbers)],
        numbers=_numbers(numbers),
        rows=_rows(numbers),
        categories=[row.category for row in numbers.categories],
        lost=[
            {
                "name": one.category,
                "turns": [fold_text(text) for text in one.turns],
                "gold": " · ".join(one.gold),
                "without": [fold_text(text) for text in one.without],
                "with": [fold_text(text) for text in one.with_persona],
            }
            for one in summary.lost
        ],
    )


def headline(numbers: RobustnessNumbers) -> str:
    """The result in one sentence, without a full stop."""
    ratio = numbers.halves["ratio"]
    kept = number(ratio.value)
    return (
        f"The worst of {numbers.personas} personas keeps {kept} of the best one’s accuracy "
        f"(95% interval {between(ratio.interval)})"
    )


def _why_capped(numbers: RobustnessNumbers) -> str:
    """Why worst/best of the halves is 1 where the worst has more than the best."""
    if numbers.halves["worst"].value <= numbers.halves["best"].value:
        return ""
    return ", as happens where personas do not differ: their worst/best is then taken as 1"


def _any_persona(numbers: RobustnessNumbers) -> str:
    """What a persona changes on average."""
    every = numbers.kinds[-1]
    change = signed_number(every.delta, every.delta_interval)
    return f"; a persona changes that by {change} on average ({signed_span(every.delta_interval)})"


def remarks(summary: RobustnessSummary) -> list[str]:
    """The sentences under the headline: halves, form, the search, and what was left out."""
    numbers = summary.numbers
    halves, strict, none = numbers.halves, numbers.strict, numbers.none
    rows = sorted(numbers.rows, key=lambda row: row.accuracy)
    worst, best = rows[0], rows[-1]
    sentences = [
        f"Without a persona {number(none.accuracy)} of the answers are right "
        f"({between(none.interval)}, n = {numbers.items}){_any_persona(numbers)}.",
        f"Chosen on one half of the items and scored on the other, the worst has "
        f"{number(halves['worst'].value)} and the best {number(halves['best'].value)}"
        f"{_why_capped(numbers)}.",
        f"On all items they have {number(worst.accuracy)} ({worst.id}) and "
        f"{number(best.accuracy)} ({best.id}). That is a ratio of {number(numbers.ratio)}, and "
        f"{number(numbers.permuted['ratio'].value)} where the personas’ labels are shuffled: "
        "extremes look more extreme than they are.",
    ]
    if numbers.texts < numbers.items:
        sentences += [near_duplicates(numbers.texts, numbers.items, "item")]
    if numbers.texts < FEWEST:
        sentences += [numbers.interval_note]
    if numbers.reading == "lenient" and strict.mean < numbers.mean:
        formless = max(numbers.rows, key=lambda row: row.strict_failures)
        sentences += [
            "If an answer counts only where the question asks for it, the mean is "
            f"{number(strict.mean)} instead of {number(numbers.mean)}: {formless.id} has "
            f"{percent(formless.strict_failures)} of its answers elsewhere."
        ]
    if search := numbers.search:
        sentences += [
            f"Searching: {search.persona} is the best on {search.development_items} items and "
            f"has {number(search.accuracy)} on the {search.items} others, where no persona has "
            f"{number(search.none)} ({signed_number(search.gain, search.gain_interval)}, "
            f"{signed_span(search.gain_interval)})."
        ]
    for count, what in (
        (len(summary.left_out), "that only a model can judge were left out"),
        (len(numbers.missing), "without a reply under every persona were left out"),
    ):
        sentences += [f"{quantity(count, 'task')} {what}."] if count else []
    if numbers.verifier_errors:
        sentences += [
            f"{quantity(numbers.verifier_errors, 'answer')} could not be compared in time, or "
            "at all, and count as wrong."
        ]
    return sentences


_SIZES = (740, 330), (360, 300)


def _accuracies(numbers: RobustnessNumbers) -> Figure:
    """Every persona's accuracy, from the worst to the best, with its interval."""
    rows = sorted(numbers.rows, key=lambda row: row.accuracy)
    without = numbers.none.accuracy
    series = [
        Series("floor", [without] * len(rows), label=f"no persona {number(without)}"),
        Series(
            "own",
            [row.accuracy for row in rows],
            [ends(row.interval) for row in rows],
            f"best {number(rows[-1].accuracy)}",
            dots=True,
        ),
    ]
    course = f"From {number(rows[0].accuracy)} to {number(rows[-1].accuracy)}."
    return line_figure(
        Text("accuracies", "Accuracy under each persona", course),
        "Share of items answered right. The band joins the 95% intervals over items.",
        series,
        _SIZES,
        x=[str(i) for i in range(1, len(rows) + 1)],
        ticks=SCORES,
        notes=[
            f"{row.id} ({row.kind})\n{number(row.accuracy)}, {between(row.interval)}"
            for row in rows
        ],
        x_name="personas, from the worst to the best",
    )


def _lottery(numbers: RobustnessNumbers) -> Figure:
    """Expected best of k personas, and what the best of k on half of the items is worth."""
    best, x = numbers.lottery, [str(k) for k in range(1, len(numbers.lottery) + 1)]
    series = [Series("own", best, label=f"best of k {number(best[-1])}", dots=len(x) <= 17)]
    curve = numbers.search.curve if numbers.search else None
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
    header = ("k", "expected best", *(("chosen on one half",) if curve else ()))
    rows = [(k, number(v, 3), *((number(curve[i], 3),) if curve else ()))
            for i, (k, v) in enumerate(zip(x, best, strict=True))]  # fmt: skip
    course = f"From {number(best[0])} for one persona to {number(best[-1])} for all."
    return line_figure(
        Text("lottery", "The persona lottery", course),
        caption,
        series,
        _SIZES,
        Table(header, tuple(rows)),
        x=x,
        **_axis([*best, *(curve or ())]),
        notes=[": ".join(row[:2]) for row in rows],
        x_name="personas tried",
    )


def _axis(values: Sequence[float]) -> dict[str, Any]:
    """An axis that the values fill: the curve is flat where it starts from 0."""
    low, top = floor(min(values) * 20) / 20, ceil(max(values) * 20) / 20
    top = top if top > low else low + 0.05
    step = 0.05 if top - low <= 0.3 else 0.1 if top - low <= 0.6 else 0.2
    ticks = [low + i * step for i in range(round((top - low) / step) + 1)]
    return {"low": low, "top": top, "ticks": [(t, number(t)) for t in ticks]}


def _numbers(numbers: RobustnessNumbers) -> Table:
    """The extremes and their controls: read strictly, labels shuffled, unbiased."""
    fair_estimates = {**numbers.halves, **numbers.spread}

    def beside(estimates: Mapping[str, ValueWithInterval], name: str) -> str:
        one = estimates.get(name)
        return with_interval(one.value, one.interval) if one else "–"

    names = {"mean": "mean", **_BESIDE, "all_correct": "right under every persona"}
    return Table(
        ("", "measured", "read strictly", "labels shuffled", "without the bias of extremes"),
        tuple(
            (
                title,
                number(value) if span is None else with_interval(value, span),
                number(getattr(numbers.strict, name)),
                beside(numbers.permuted, name),
                beside(fair_estimates, name),
            )
            for name, title in names.items()
            for value, span in [(getattr(numbers, name), numbers.intervals[name])]
        ),
    )


def _rows(numbers: RobustnessNumbers) -> list[dict[str, Any]]:
    """The matrix: no persona first, then from the worst to the best."""
    base = numbers.none.by_category
    by_accuracy = sorted(numbers.rows, key=lambda row: row.accuracy)
    rows = []
    accuracy = (getattr(numbers.none, one.name) for one in fields(Accuracy))
    none = PersonaAccuracy("no persona", "", "", "", *accuracy)
    for row in (none, *by_accuracy):
        cells = [
            {"value": number(value), "shade": _shade(value - base[category])}
            for category, value in row.by_category.items()
        ]
        rows.append(
            {
                "id": row.id,
                "kind": row.kind,
                "text": row.text,
                "cells": cells,
                "accuracy": number(row.accuracy),
                "interval": between(row.interval),
                "delta": signed_number(row.delta, row.delta_interval) if row.text else "–",
                "delta_interval": signed_span(row.delta_interval) if row.text else "",
                "significant": row.sign != 0,
                "shade": _shade(row.delta),
                "failures": number(row.strict_failures),
                "lenient_failures": number(row.lenient_failures),
            }
        )
    return rows


def _shade(delta: float) -> str:
    shade = sum(abs(delta) >= least - 1e-9 for least in _SHADES)
    return f"{'up' if delta > 0 else 'down'}-{shade}" if shade else "level"
