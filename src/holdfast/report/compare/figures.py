"""The figures of a comparison: what stability costs, its course, and its course over length.

Every figure is drawn for a wide and for a narrow page, as in `figures`. A control has
one number, one colour and one shape in all of them.

This module knows the summary of a comparison. Tables are `scores`'s, words `advice`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from holdfast.report.charts import chart, scatter
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.compare.contender import FAMILIES, Contender, contenders, late_rounds, short
from holdfast.report.drift.figures import X_NAME, Figure, numbers
from holdfast.report.words import ends, known, number

WIDE = Frame(740, 500, 42, 14, 34, 44)
SCALES = ((0.9, 0.02), (0.8, 0.05), (0.75, 0.05), (0.5, 0.1), (0.25, 0.25), (0.0, 0.25))
NARROW = Frame(360, 420, 34, 8, 32, 42)


@dataclass(frozen=True)
class Mark:
    """A family in the key: its shape and what it stands for."""

    family: str
    said: str
    drawing: Markup


def tradeoff(summary: Mapping[str, Any]) -> list[Figure]:
    """Stability, then late stability, against capability (or tokens where none was asked)."""
    found, length = contenders(summary), summary["rounds"]
    asked = any(c.value("capability") is not None for c in found)
    views = (
        ("whole", "stability", "interval", f"stability, mean of rounds 1 to {length}"),
        ("late", "late_stability", "late_interval", f"late stability, {late_rounds(length)}"),
    )
    return [
        _view(found, key, field, band, name, length, asked=asked)
        for key, field, band, name in views
    ]


def _view(
    found: Sequence[Contender],
    key: str,
    field: str,
    band: str,
    name: str,
    length: int,
    *,
    asked: bool,
) -> Figure:
    across, across_band = ("capability", "capability_interval") if asked else _TOKENS
    shown = [c for c in found if c.value(field) is not None and c.value(across) is not None]
    sign = 1 if asked else -1
    spots = {c.number: (sign * (c.value(across) or 0.0), c.value(field) or 0.0) for c in shown}
    best = {c.number for c in shown if not any(_beats(o, spots[c.number]) for o in spots.values())}
    if key == "whole" and asked:
        best = {c.number for c in shown if c.row["pareto"]}
    x_name = "capability, share of answers right" if asked else "tokens a reply (fewer to the left)"
    reach = _extent(shown, across, across_band)
    write, end = (_short, 1.0) if asked else (_whole, math.inf)
    x = scatter.axis(reach, f"{x_name} →", write, end=end)
    y = scatter.axis(_extent(shown, field, band), f"↑ {name}", _short, end=1.0)
    front = [(c.value(across) or 0.0, c.value(field) or 0.0) for c in shown if c.number in best]
    told = ", ".join(c.name for c in shown if c.number in best)

    def drawing(wide: bool) -> Markup:
        return scatter.scatter(
            [_point(c, across, across_band, field, band, c.number in best, wide) for c in shown],
            WIDE if wide else NARROW,
            Text(
                f"tradeoff-{key}-{'wide' if wide else 'narrow'}",
                f"{name} against {x_name}",
                f"{len(shown)} controls with 95% intervals. On the front: {told}.",
            ),
            x,
            y,
            front if asked else (),
        )

    return Figure(key, name, told, drawing(True), drawing(False))


_TOKENS = ("tokens_per_reply", "")


def _beats(other: tuple[float, float], mine: tuple[float, float]) -> bool:
    return other[0] >= mine[0] and other[1] >= mine[1] and other != mine


def _extent(found: Iterable[Contender], field: str, band: str) -> list[float | None]:
    return [v for c in found for v in (c.value(field), *(c.span(band) or ()))]


def _point(
    one: Contender, across: str, across_band: str, field: str, band: str, front: bool, wide: bool
) -> scatter.Point:
    named = front or one.recommended or one.plain
    rank = 0 if one.recommended else 1 if front else 2 if one.plain else 3
    return scatter.Point(
        one.number,
        one.value(across) or 0.0,
        one.value(field) or 0.0,
        one.family,
        one.kind + (" front" if front else " behind"),
        short(one.name, 30 if wide else 25) if named else str(one.number),
        one.note(),
        f"k{one.number}",
        f"#k{one.number}",
        one.span(across_band),
        one.span(band),
        rank,
    )


def _short(value: float) -> str:
    """A tick between 0 and 1: ".85", "1"."""
    text = f"{abs(value):.2f}"
    return "1" if text == "1.00" else "0" if text == "0.00" else text[1:] if value < 1 else text


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def key(summary: Mapping[str, Any]) -> list[Mark]:
    """The families that occur, with their shapes."""
    frame = Frame(18, 18, 0, 0, 0, 0)
    there = {c.family for c in contenders(summary)}
    return [
        Mark(
            of,
            said,
            chart.svg(
                frame,
                Text(f"key-{of}", of, said),
                [scatter.mark(of, 9, 9, f"mark f-{of} front")],
                "key",
            ),
        )
        for of, said in FAMILIES.items()
        if of in there
    ]


def curves(summary: Mapping[str, Any]) -> Figure:
    """Every control's scores by round: the named in colour, the rest thin."""
    found = _ordered(contenders(summary))
    x = [str(r) for r in range(summary["rounds"] + 1)]
    low, ticks = _scale(
        [v for c in found for v in c.row["curve"]]
        + [v for c in found if c.plain or c.recommended for v in _flat(c.row["curve_interval"])]
    )

    def drawing(wide: bool) -> Markup:
        series = [
            Series(
                c.kind,
                numbers(c.row["curve"]),
                [ends(b) for b in c.row["curve_interval"]] if c.plain or c.recommended else (),
                _ending(c, c.row["curve"], wide) if c.named else "",
                note=_course(c),
                key=f"k{c.number}",
            )
            for c in found
        ]
        size = "wide" if wide else "narrow"
        said = "; ".join(_course(c) for c in found if c.named)
        return chart.lines(
            series,
            _frame(series, 1100, 440) if wide else _frame(series, 360, 360),
            Text(f"curves-{size}", "Stability by round under every control", said),
            x=x,
            ticks=ticks,
            low=low,
            x_name=X_NAME,
        )

    return Figure(
        "curves",
        "Stability by round",
        "Mean judge score of the probe’s answers. Named are none, the recommended control and the "
        "best of each family by late stability; the others are thin. Bands are 95% intervals of "
        "none and the recommended control.",
        drawing(True),
        drawing(False),
    )


def _ordered(found: Sequence[Contender]) -> list[Contender]:
    """In drawing order, what matters last."""
    return sorted(found, key=lambda c: (c.recommended, c.plain, c.leads))


def _flat(bands: Sequence[Any]) -> list[float | None]:
    return [v for band in bands for v in ends(band) or ()]


def _course(one: Contender) -> str:
    return f"{one.number} {one.name}: {' '.join(number(v) for v in one.row['curve'])}"


def _ending(one: Contender, values: Sequence[Any], wide: bool) -> str:
    if not wide:
        return short(one.name, 20)
    return f"{short(one.name, 28)} {number(values[-1])}"


def _frame(series: Sequence[Series], width: float, height: float) -> Frame:
    """Room on the right for the longest name."""
    longest = max((len(one.label) for one in series), default=0)
    return Frame(width, height, 32, 22 + 6.7 * longest, 14, 40)


def _scale(values: Sequence[float | None]) -> tuple[float, list[tuple[float, str]]]:
    """Where the axis starts, as high as the values allow, and its ticks."""
    least = min((v for v in values if v is not None and not math.isnan(v)), default=0.0)
    low, step = next((low, step) for low, step in SCALES if low <= max(0.0, least - 0.005))
    ticks = [round(low + i * step, 2) for i in range(round((1 - low) / step) + 1)]
    return low, [(t, _short(t)) for t in ticks]


def lengths(summary: Mapping[str, Any]) -> list[Figure]:
    """Late stability, and capability, by the conversation's length; empty for one length."""
    by_rounds = summary.get("by_rounds") or {}
    at = sorted(by_rounds, key=int)
    if len(at) < 2:
        return []
    found = _ordered(contenders(summary))
    rows = {length: {row["control"]: row for row in by_rounds[length]} for length in at}

    def values(one: Contender, field: str) -> list[float | None]:
        return [known(rows[n].get(one.name, {}).get(field)) for n in at]

    return [
        _by_length(found, at, {c.number: values(c, field) for c in found}, field, title, caption)
        for field, title, caption in (
            ("late_stability", "Late stability by length",
             "Mean score over the last quarter of the rounds, by how many rounds there were."),
            ("capability", "Capability by length",
             "Share of questions answered right, by how many rounds there were."),
        )
        if any(v is not None for c in found for v in values(c, field))
    ]  # fmt: skip


def _by_length(
    found: Sequence[Contender],
    at: Sequence[str],
    values: Mapping[int, list[float | None]],
    field: str,
    title: str,
    caption: str,
) -> Figure:
    low, ticks = _scale([v for line in values.values() for v in line])

    def drawing(wide: bool) -> Markup:
        series = [
            Series(
                c.kind,
                values[c.number],
                (),
                _ending(c, [values[c.number][-1]], wide) if c.named else "",
                note=f"{c.number} {c.name}: {' '.join(number(v) for v in values[c.number])}",
                key=f"k{c.number}",
                dots=c.plain or c.recommended,
            )
            for c in found
        ]
        size = "wide" if wide else "narrow"
        return chart.lines(
            series,
            _frame(series, 540, 400) if wide else _frame(series, 360, 340),
            Text(f"{field}-length-{size}", title, caption),
            x=at,
            ticks=ticks,
            low=low,
            x_name="rounds",
        )

    return Figure(f"{field}-length", title, caption, drawing(True), drawing(False))
