"""The tables of a comparison: every number of every control, and where each helps or hurts.

A cell carries the value it sorts by beside its text, so that the script can order rows
without reading words. In the second table shades stand for the difference from `none`.

This module knows rows and contenders. It draws no charts but the small interval in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from holdfast.report.charts.chart import path, tag
from holdfast.report.charts.scatter import mark
from holdfast.report.compare.contender import Contender, contenders, rival
from holdfast.report.words import between, number, signed, signed_span

STEP = 0.1  # of difference from none, for one shade more
SHADES = 4
FAILURES = {
    "empty": "empty",
    "length": "cut at the token limit",
    "overflow": "that did not fit the context",
    "error": "that could not be had",
}


@dataclass(frozen=True)
class Cell:
    """A number as text, its interval, what it sorts by, and a CSS class."""

    text: str
    small: str = ""
    sort: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """A heading; `group` is said above it, `up` says that more is better."""

    name: str
    group: str = ""
    up: bool = True


@dataclass(frozen=True)
class Line:
    """One control's cells, and its late stability as a small drawing."""

    contender: Contender
    cells: tuple[Cell, ...]
    drawing: Markup
    shape: Markup


@dataclass(frozen=True)
class Board:
    """A table that can be sorted."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """What is said above the headings, and over how many of them."""
        return [(name, len(list(run))) for name, run in groupby(c.group for c in self.columns)]


@dataclass(frozen=True)
class Pair:
    """One measure under none and under another control, and the difference."""

    name: str
    none: Cell
    other: Cell
    change: Cell


def table(summary: Mapping[str, Any]) -> Board:
    """Every control with its measures and their paired differences from none."""
    found = contenders(summary)
    least = min((c.span("late_interval") or (1.0, 1.0))[0] for c in found) if found else 0.0
    base = found[0].value("late_stability") if found else None
    columns = (
        Column("stability"), Column("late stability"), Column("late against none"),
        Column("capability"), Column("capability against none"),
        Column("tokens a reply", up=False), Column("time a token", up=False),
        Column("on the front"),
    )  # fmt: skip
    return Board(
        columns,
        tuple(Line(c, _measures(c), interval(c, least, base), shape(c)) for c in found),
    )


def _measures(one: Contender) -> tuple[Cell, ...]:
    front = bool(one.row["pareto"])
    return (
        _score(one, "stability", "interval"),
        _score(one, "late_stability", "late_interval"),
        _change(one, "late_delta", "late_delta_interval"),
        _score(one, "capability", "capability_interval"),
        _change(one, "capability_delta", "capability_delta_interval"),
        _plain(one.value("tokens_per_reply"), "{:,.0f}"),
        _time(one),
        Cell("yes" if front else "–", "", float(front)),
    )


def _score(one: Contender, field: str, band: str) -> Cell:
    span = between(one.row.get(band)) if one.span(band) else ""
    return Cell(number(one.row.get(field)), span, one.value(field))


def _change(one: Contender, field: str, band: str) -> Cell:
    value, there = one.value(field), one.span(band)
    if one.plain or value is None:
        return Cell("–", "", 0.0 if one.plain and value is not None else None)
    told = "" if there is None else "better" if there[0] > 0 else "worse" if there[1] < 0 else ""
    return Cell(signed(value), signed_span(one.row.get(band)) if there else "", value, told)


def _plain(value: float | None, form: str) -> Cell:
    return Cell("–") if value is None else Cell(form.format(value), "", value)


def _time(one: Contender) -> Cell:
    value, there = one.value("relative_ms_per_token"), one.span("relative_ms_interval")
    if value is None:
        return Cell("–")
    return Cell(f"{value:.2f} ×", between(there) if there and not one.plain else "", value)


def interval(one: Contender, least: float, base: float | None) -> Markup:
    """Late stability with its interval on a scale from `least` to 1, none's as a rule."""
    wide, high, low = 120.0, 22.0, max(0.0, least - 0.02)

    def at(value: float) -> float:
        return 6 + (wide - 12) * (value - low) / ((1 - low) or 1.0)

    value, there, drawn = one.value("late_stability"), one.span("late_interval"), list[Markup]()
    if base is not None:
        drawn.append(tag("path", class_="base", d=path([(at(base), 0), (at(base), high)])))
    if there:
        bar = [(at(there[0]), high / 2), (at(there[1]), high / 2)]
        drawn.append(tag("path", class_=f"bar {one.kind}", d=path(bar)))
    if value is not None:
        front = "front" if one.row["pareto"] else "behind"
        drawn.append(mark(one.family, at(value), high / 2, f"mark {one.kind} {front}", 0.8))
    return tag("svg", *drawn, class_="interval", viewBox=f"0 0 {wide:g} {high:g}",
               width=f"{wide:g}", height=f"{high:g}", aria_hidden="true")  # fmt: skip


def shape(one: Contender) -> Markup:
    """The family's shape beside a name."""
    drawing = mark(one.family, 8, 8, f"mark f-{one.family} front", 0.8)
    return tag("svg", drawing, class_="shape", viewBox="0 0 16 16", width="16", height="16",
               aria_hidden="true")  # fmt: skip


def grid(summary: Mapping[str, Any]) -> Board:
    """Stability by category and capability by kind, shaded by the difference from none."""
    found = contenders(summary)
    parts = [
        (field, group, name)
        for field, group in (
            ("by_category", "stability by category"),
            ("capability_by_kind", "capability by kind"),
        )
        for name in dict.fromkeys(name for c in found for name in c.row.get(field) or {})
    ]
    return Board(
        tuple(Column(name, group) for _, group, name in parts),
        tuple(
            Line(c, tuple(_part(c, found[0], field, name) for field, _, name in parts),
                 Markup(""), shape(c))
            for c in found
        ),
    )  # fmt: skip


def _part(one: Contender, none: Contender, field: str, name: str) -> Cell:
    value, base = ((c.row.get(field) or {}).get(name) for c in (one, none))
    if value is None:
        return Cell("–")
    step = 0 if base is None or one.plain else min(SHADES, int((abs(value - base) + 0.05) / STEP))
    kind = f"{'up' if value > (base or 0.0) else 'down'}-{step}" if step else ""
    return Cell(number(value), "", value, kind)


def ledger(summary: Mapping[str, Any]) -> tuple[str, list[Pair]]:
    """None beside the recommended control (or its best rival), measure by measure."""
    found = contenders(summary)
    other = rival(found)
    if other is None:
        return "", []
    none, pairs = found[0], list[Pair]()
    for name, field, band, delta in (
        ("late stability", "late_stability", "late_interval", "late_delta"),
        ("stability", "stability", "interval", "delta"),
        ("capability", "capability", "capability_interval", "capability_delta"),
    ):
        if other.value(field) is not None:
            left, right = (_score(c, field, band) for c in (none, other))
            pairs.append(Pair(name, left, right, _change(other, delta, f"{delta}_interval")))
    tokens = [c.value("tokens_per_reply") for c in (none, other)]
    if tokens[0] and tokens[1] is not None:
        left, right = (_plain(t, "{:,.0f}") for t in tokens)
        times = Cell(f"{tokens[1] / tokens[0]:.2f} ×")
        pairs.append(Pair("tokens a reply", left, right, times))
    time = _time(other)
    if time.sort is not None:
        pairs.append(Pair("time a token", Cell("1 ×"), Cell(time.text), Cell(time.small or "–")))
    return other.name, pairs


def failed(rows: Sequence[Mapping[str, Any]]) -> str:
    """The replies that failed, in all and under the control with the most of them."""
    counts = [(row.get("failures") or {}, str(row["control"])) for row in rows]
    said = _counted({key: sum(of.get(key, 0) for of, _ in counts) for key in FAILURES})
    if not said:
        return "no reply was empty, cut, too long or lost"
    most, name = max(counts, key=lambda one: sum(one[0].values()))
    return f"{said}; the most under {name}: {_counted(most)}" if len(rows) > 1 else said


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[key]:,} {said}" for key, said in FAILURES.items() if counts.get(key))
