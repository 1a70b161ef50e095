"""The figures of a comparison: what stability costs, its course, and its course over length.

Each figure is drawn once for a wide and once for a narrow page. A control has one number, one
colour and one shape in all of them.

This module knows the summary of a comparison. Tables are in `tables`, words in `sentences`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from markupsafe import Markup

from holdfast.report.charts import chart, scatter
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.compare.entries import (
    CAPABILITY,
    FAMILIES,
    LATE,
    STABILITY,
    TOKENS,
    ControlEntry,
    Measure,
    control_entries,
    late_rounds,
    short,
)
from holdfast.report.drift.figures import X_NAME, Figure, line_figure, numbers
from holdfast.report.words import ends, number
from holdfast.results.compare import CompareSummary, ControlRow

WIDE = Frame(740, 500, 42, 14, 34, 44)
NARROW = Frame(360, 420, 34, 8, 32, 42)
Band = tuple[float, float] | None
"""The ends of an interval."""
SCALES = ((0.9, 0.02), (0.8, 0.05), (0.75, 0.05), (0.5, 0.1), (0.25, 0.25), (0.0, 0.25))
"""Lower ends of an axis to 1, the highest first, with the distance between ticks."""


@dataclass(frozen=True)
class LegendItem:
    """A family of controls in the legend."""

    family: str
    meaning: str
    drawing: Markup


def tradeoff(summary: CompareSummary) -> list[Figure]:
    """Stability, then late stability, against capability (tokens where nothing was asked)."""
    entries, length = control_entries(summary), summary.setting.rounds
    by_capability = any(entry.row.capability is not None for entry in entries)
    cost = CAPABILITY if by_capability else TOKENS
    return [
        _view(entries, key, measure, name, cost)
        for key, measure, name in (
            ("whole", STABILITY, f"stability, mean of rounds 1 to {length}"),
            ("late", LATE, f"late stability, {late_rounds(length)}"),
        )
    ]


def _view(
    entries: Sequence[ControlEntry], key: str, measure: Measure, name: str, cost: Measure
) -> Figure:
    values = ((entry.number, cost.value(entry.row), measure.value(entry.row)) for entry in entries)
    points = {n: (a, b) for n, a, b in values if a is not None and b is not None}
    visible = [entry for entry in entries if entry.number in points]
    by_capability = cost is CAPABILITY
    front = _front(points, 1 if by_capability else -1)
    if key == "whole" and by_capability:
        front = {entry.number for entry in visible if entry.row.pareto}
    x_name = (
        "capability, share of answers right"
        if by_capability
        else "tokens a reply (fewer to the left)"
    )
    if by_capability:
        x = scatter.axis(_extent(visible, cost), f"{x_name} →", _short, end=1.0)
    else:
        x = scatter.axis(_extent(visible, cost), f"{x_name} →", "{:,.0f}".format, least=1)
    y = scatter.axis(_extent(visible, measure), f"↑ {name}", _short, end=1.0)
    frontier = [points[number] for number in points if number in front] if by_capability else []
    names = ", ".join(entry.name for entry in visible if entry.number in front)

    def drawing(wide: bool) -> Markup:
        text = Text(
            f"tradeoff-{key}-{'wide' if wide else 'narrow'}",
            f"{name} against {x_name}",
            f"{len(visible)} controls with 95% intervals. On the front: {names}.",
        )
        marks = [
            _point(entry, points[entry.number], cost, measure, entry.number in front, wide)
            for entry in visible
        ]
        return scatter.scatter(marks, WIDE if wide else NARROW, text, x, y, frontier)

    return Figure(key, name, names, drawing(True), drawing(False))


def _front(points: Mapping[int, tuple[float, float]], sign: int) -> set[int]:
    """The points that no other beats in both directions; x counts by its sign."""

    def beats(other: tuple[float, float], own: tuple[float, float]) -> bool:
        return sign * other[0] >= sign * own[0] and other[1] >= own[1] and other != own

    return {n for n, own in points.items() if not any(beats(o, own) for o in points.values())}


def _extent(entries: Iterable[ControlEntry], measure: Measure) -> list[float | None]:
    """All values of a measure and the ends of its intervals."""
    return [v for e in entries for v in (measure.value(e.row), *(measure.interval(e.row) or ()))]


def _point(
    entry: ControlEntry,
    at: tuple[float, float],
    cost: Measure,
    measure: Measure,
    front: bool,
    wide: bool,
) -> scatter.Point:
    has_name = front or entry.recommended or entry.plain
    rank = 0 if entry.recommended else 1 if front else 2 if entry.plain else 3
    return scatter.Point(
        entry.number,
        *at,
        entry.family,
        entry.css + (" front" if front else " behind"),
        short(entry.name, 30 if wide else 25) if has_name else str(entry.number),
        entry.tooltip(),
        f"k{entry.number}",
        f"#k{entry.number}",
        cost.interval(entry.row),
        measure.interval(entry.row),
        rank,
    )


def _short(value: float) -> str:
    """A tick between 0 and 1: ".85", "1"."""
    text = f"{abs(value):.2f}"
    return "1" if text == "1.00" else "0" if text == "0.00" else text[1:] if value < 1 else text


def legend(summary: CompareSummary) -> list[LegendItem]:
    """The families that occur, with their shapes."""
    frame = Frame(18, 18, 0, 0, 0, 0)
    present = {entry.family for entry in control_entries(summary)}
    return [
        LegendItem(
            family,
            meaning,
            chart.svg(
                frame,
                Text(f"key-{family}", family, meaning),
                [scatter.mark(family, 9, 9, f"mark f-{family} front")],
                "key",
            ),
        )
        for family, meaning in FAMILIES.items()
        if family in present
    ]


def curves(summary: CompareSummary) -> Figure:
    """Every control's scores by round: the named in colour, the rest thin."""
    entries = _in_drawing_order(control_entries(summary))
    rounds = [str(r) for r in range(summary.setting.rounds + 1)]
    low, ticks = _scale((v for e in entries for v in e.row.curve), map(_band, entries))

    def series(wide: bool) -> list[Series]:
        return [
            Series(
                entry.css,
                numbers(entry.row.curve),
                _band(entry),
                _label(entry, entry.row.curve, wide) if entry.has_label else "",
                note=_course(entry),
                key=f"k{entry.number}",
            )
            for entry in entries
        ]

    courses = "; ".join(_course(entry) for entry in entries if entry.has_label)
    figure = line_figure(
        Text("curves", "Stability by round under every control", courses),
        f"Mean judge score of the probe’s answers.{_describe_lines(entries, map(_band, entries))}",
        series,
        ((1100, 440), (360, 360)),
        x=rounds,
        ticks=ticks,
        low=low,
        x_name=X_NAME,
    )
    return replace(figure, title="Stability by round")


def _describe_lines(entries: Sequence[ControlEntry], bands: Iterable[Sequence[Band]]) -> str:
    """Which curves have a name, and which a band."""
    names, text = "none", " The band is the 95% interval of none."
    if any(entry.recommended for entry in entries):
        names += ", the recommended control"
        text = " Bands are the 95% intervals of none and the recommended control."
    text = text if any(map(any, bands)) else ""
    if all(entry.has_label for entry in entries):
        return text
    best = f"Named are {names} and the best of each family by late stability; the others are thin."
    return f" {best}{text}"


def _in_drawing_order(entries: Sequence[ControlEntry]) -> list[ControlEntry]:
    """What matters is drawn last, on top."""
    return sorted(entries, key=lambda entry: (entry.recommended, entry.plain, entry.leads))


def _band(entry: ControlEntry) -> Sequence[Band]:
    """The intervals of a curve, where they are drawn."""
    return list(map(ends, entry.row.curve_interval)) if entry.stands_out else ()


def _course(entry: ControlEntry) -> str:
    return f"{entry.number} {entry.name}: {' '.join(number(v) for v in entry.row.curve)}"


def _label(entry: ControlEntry, values: Sequence[float | None], wide: bool) -> str:
    return f"{short(entry.name, 28 if wide else 17)} {number(values[-1])}"


def _scale(
    values: Iterable[float | None], bands: Iterable[Sequence[Band]]
) -> tuple[float, list[tuple[float, str]]]:
    """Where the axis starts, as high as the values and the bands allow, and its ticks."""
    lows = (span[0] for band in bands for span in band if span)
    least = min((v for v in (*values, *lows) if v is not None), default=0.0)
    low, step = next((low, step) for low, step in SCALES if low <= max(0.0, least - 0.005))
    ticks = [round(low + i * step, 2) for i in range(round((1 - low) / step) + 1)]
    return low, [(t, _short(t)) for t in ticks]


def by_length(summary: CompareSummary) -> list[Figure]:
    """Late stability, and capability, by the conversation's length; empty for one length."""
    lengths = sorted(summary.by_rounds, key=int)
    if len(lengths) < 2:
        return []
    entries = _in_drawing_order(control_entries(summary))
    rows = [{row.control: row for row in summary.by_rounds[length]} for length in lengths]
    lines = [(entry, [of_length.get(entry.name) for of_length in rows]) for entry in entries]
    figures = []
    for measure, title, caption in (
        (LATE, "Late stability by length", "Mean score over the last quarter of the rounds"),
        (CAPABILITY, "Capability by length", "Share of questions answered right"),
    ):
        if any(row and measure.value(row) is not None for _, line in lines for row in line):
            figures.append(_by_length(lines, lengths, measure, title, caption))
    return figures


def _by_length(
    lines: Sequence[tuple[ControlEntry, list[ControlRow | None]]],
    lengths: Sequence[str],
    measure: Measure,
    title: str,
    caption: str,
) -> Figure:
    values = [[measure.value(row) if row else None for row in line] for _, line in lines]
    bands = [
        [ends(measure.interval(row)) if row else None for row in line] if entry.stands_out else ()
        for entry, line in lines
    ]
    entries = [entry for entry, _ in lines]
    low, ticks = _scale(chain.from_iterable(values), bands)

    def series(wide: bool) -> list[Series]:
        return [
            Series(
                entry.css,
                line,
                band,
                _label(entry, line, wide) if entry.has_label else "",
                note=f"{entry.number} {entry.name}: {' '.join(map(number, line))}",
                key=f"k{entry.number}",
                dots=entry.stands_out,
            )
            for entry, line, band in zip(entries, values, bands, strict=True)
        ]

    caption += (
        f", had the conversations ended after so many rounds.{_describe_lines(entries, bands)}"
    )
    return line_figure(
        Text(f"{measure.name.replace(' ', '-')}-length", title, caption),
        caption,
        series,
        ((540, 400), (360, 340)),
        x=lengths,
        ticks=ticks,
        low=low,
        x_name="rounds",
    )
