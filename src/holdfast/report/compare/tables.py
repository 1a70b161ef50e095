"""The tables of a comparison: every number of every control, and where each helps or hurts.

A cell carries the value it sorts by beside its text, so that the script can order rows
without reading words. In the second table shades stand for the difference from `none`.

This module knows rows and entries. It draws no charts but the small interval in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from holdfast.report.charts.chart import path, tag
from holdfast.report.charts.scatter import mark
from holdfast.report.compare.entries import (
    CAPABILITY,
    LATE,
    STABILITY,
    ControlEntry,
    Measure,
    control_entries,
    counterpart,
)
from holdfast.report.words import (
    FAILURES,
    between,
    count_failures,
    list_failures,
    number,
    signed_number,
    signed_span,
)
from holdfast.results.compare import CompareSummary, ControlRow

STEP = 0.1
"""Of difference from none, for one shade more."""
SHADES = 4


@dataclass(frozen=True)
class Cell:
    """A number as text."""

    text: str
    small: str = ""
    """Its interval."""
    sort: float | None = None
    """The value that the table sorts by."""
    css: str = ""


@dataclass(frozen=True)
class Column:
    """A heading."""

    name: str
    group: str = ""
    """A heading above several columns."""
    up: bool = True
    """Whether more is better."""


@dataclass(frozen=True)
class ControlCells:
    """One control's cells."""

    entry: ControlEntry
    cells: tuple[Cell, ...]
    drawing: Markup
    """Its late stability as a small drawing."""
    shape: Markup
    """Its family's shape."""


@dataclass(frozen=True)
class SortableTable:
    """A table of controls that the reader can sort."""

    columns: tuple[Column, ...]
    lines: tuple[ControlCells, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The headings above the columns, and over how many of them each stands."""
        return [(name, len(list(run))) for name, run in groupby(c.group for c in self.columns)]


@dataclass(frozen=True)
class MeasurePair:
    """One measure under none and under another control, and the difference."""

    name: str
    none: Cell
    other: Cell
    change: Cell


def controls_table(summary: CompareSummary) -> SortableTable:
    """Every control with its measures and their paired differences from none."""
    entries = control_entries(summary)
    rows = [entry.row for entry in entries]
    values = [v for row in rows for v in (row.late_stability, *(row.late_interval or ()))]
    least = min((v for v in values if v is not None), default=0.0)
    base = rows[0].late_stability
    columns = (
        Column("stability"), Column("late stability"), Column("late against none"),
        Column("capability"), Column("capability against none"),
        Column("tokens a reply", up=False), Column("time a token", up=False),
        Column("on the front"),
    )  # fmt: skip
    return SortableTable(
        columns,
        tuple(ControlCells(e, _measures(e), interval(e, least, base), shape(e)) for e in entries),
    )


def _measures(entry: ControlEntry) -> tuple[Cell, ...]:
    front = entry.row.pareto
    return (
        _value(entry.row, STABILITY),
        _value(entry.row, LATE),
        _change(entry, LATE),
        _value(entry.row, CAPABILITY),
        _change(entry, CAPABILITY),
        _tokens(entry.row.tokens_per_reply),
        _time(entry),
        Cell("yes" if front else "–", "", float(front)),
    )


def _value(row: ControlRow, measure: Measure) -> Cell:
    value, span = measure.value(row), measure.interval(row)
    return Cell(number(value), between(span) if span else "", value)


def _change(entry: ControlEntry, measure: Measure) -> Cell:
    value, span = measure.delta(entry.row), measure.delta_interval(entry.row)
    if entry.plain or value is None:
        return Cell("–", "", 0.0 if entry.plain and value is not None else None)
    css = "" if span is None else "better" if span[0] > 0 else "worse" if span[1] < 0 else ""
    return Cell(signed_number(value, span), signed_span(span) if span else "", value, css)


def _tokens(value: float | None) -> Cell:
    return Cell("–") if value is None else Cell(f"{value:,.0f}", "", value)


def _time(entry: ControlEntry) -> Cell:
    value, span = entry.row.relative_ms_per_token, entry.row.relative_ms_interval
    if value is None:
        return Cell("–")
    return Cell(f"{value:.2f} ×", between(span) if span and not entry.plain else "", value)


def interval(entry: ControlEntry, least: float, base: float | None) -> Markup:
    """Late stability with its interval on a scale from `least` to 1, with none's as a rule."""
    width, height, low = 120.0, 22.0, max(0.0, least - 0.02)

    def x(value: float) -> float:
        return 6 + (width - 12) * (value - low) / ((1 - low) or 1.0)

    value, span, parts = entry.row.late_stability, entry.row.late_interval, list[Markup]()
    if base is not None:
        parts.append(tag("path", class_="base", d=path([(x(base), 0), (x(base), height)])))
    if span:
        bar = path([(x(span[0]), height / 2), (x(span[1]), height / 2)])
        parts.append(tag("path", class_=f"bar {entry.css}", d=bar))
    if value is not None:
        front = "front" if entry.row.pareto else "behind"
        parts.append(mark(entry.family, x(value), height / 2, f"mark {entry.css} {front}", 0.8))
    return tag("svg", *parts, class_="interval", viewBox=f"0 0 {width:g} {height:g}",
               width=f"{width:g}", height=f"{height:g}", aria_hidden="true")  # fmt: skip


def shape(entry: ControlEntry) -> Markup:
    """The family's shape beside a name."""
    drawing = mark(entry.family, 8, 8, f"mark f-{entry.family} front", 0.8)
    return tag("svg", drawing, class_="shape", viewBox="0 0 16 16", width="16", height="16",
               aria_hidden="true")  # fmt: skip


def parts_table(summary: CompareSummary) -> SortableTable:
    """Stability by category and capability by kind, shaded by the difference from none."""
    entries = control_entries(summary)
    columns, cells = list[Column](), list[list[Cell]]()
    for group, parts in (
        ("stability by category", [entry.row.by_category for entry in entries]),
        ("capability by kind", [entry.row.capability_by_kind for entry in entries]),
    ):
        for name in dict.fromkeys(name for of_row in parts for name in of_row):
            columns.append(Column(name, group))
            base = parts[0].get(name)
            values = [of_row.get(name) for of_row in parts]
            cells.append([_shade_cell(v, None if e.plain else base)
                          for e, v in zip(entries, values, strict=True)])  # fmt: skip
    return SortableTable(
        tuple(columns),
        tuple(
            ControlCells(entry, tuple(column[i] for column in cells), Markup(""), shape(entry))
            for i, entry in enumerate(entries)
        ),
    )


def _shade_cell(value: float | None, base: float | None) -> Cell:
    if value is None:
        return Cell("–")
    step = 0 if base is None else min(SHADES, int((abs(value - base) + 0.05) / STEP))
    css = f"{'up' if value > (base or 0.0) else 'down'}-{step}" if step else ""
    return Cell(number(value), "", value, css)


def beside_none(summary: CompareSummary) -> tuple[str, list[MeasurePair]]:
    """The name of the recommended control (or the best other), and its measures beside none's."""
    entries = control_entries(summary)
    other = counterpart(entries)
    if other is None:
        return "", []
    none = entries[0].row
    pairs = [
        MeasurePair(m.name, _value(none, m), _value(other.row, m), _change(other, m))
        for m in (LATE, STABILITY, CAPABILITY)
        if m.value(other.row) is not None
    ]
    plain, tokens = none.tokens_per_reply, other.row.tokens_per_reply
    if other.row.relative_tokens is not None:
        ratio = Cell(f"{other.row.relative_tokens:.2f} ×")
        pairs.append(MeasurePair("tokens a reply", _tokens(plain), _tokens(tokens), ratio))
    time = _time(other)
    if time.sort is not None:
        span = Cell(time.small or "–")
        pairs.append(MeasurePair("time a token", Cell("1.00 ×"), Cell(time.text), span))
    return other.name, pairs


def failures(rows: Sequence[ControlRow]) -> str:
    """The replies that failed, in all and under the control with the most of them."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.failures)
    text = count_failures(total)
    worst = max(rows, key=lambda row: sum(row.failures.get(kind, 0) for kind in FAILURES))
    if len(rows) == 1 or not list_failures(total):
        return text
    return f"{text}; the most under {worst.control}: {list_failures(worst.failures)}"
