"""From a run's summary to the page's figures: what is drawn, named and tabulated.

Every figure is drawn twice, for a wide and for a narrow page, because a scaled
drawing would shrink its type; the style sheet shows one of them. Beside it goes a
table of the same numbers.

This module knows the summary's scores. Attention has a module of its own, and pages and
conversations are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from holdfast.report.charts import chart
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.words import (
    between,
    ends,
    finite,
    first_of,
    number,
    quantity,
    start_of,
    with_interval,
)
from holdfast.results.drift import CategoryCurve, DriftSummary

X_NAME = "complete rounds before the probe"
MOST_DOTS = 17
SCORES = ((0.0, "0"), (0.25, ".25"), (0.5, ".50"), (0.75, ".75"), (1.0, "1"))


@dataclass(frozen=True)
class Table:
    """Header cells and rows of cells; the first cell of a row is its heading."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure in both widths, its title, what to see in it, and its numbers."""

    key: str
    title: str
    caption: str
    wide: Markup
    narrow: Markup
    table: Table | None = None


def line_figure(
    text: Text,
    caption: str,
    series: Sequence[Series] | Callable[[bool], Sequence[Series]],
    sizes: tuple[tuple[float, float], tuple[float, float]],
    table: Table | None = None,
    *,
    ticks: Sequence[tuple[float, str]],
    **axes: Any,
) -> Figure:
    """A line chart in both widths.

    Args:
        text: the figure's key, title and description.
        caption: what to see in it.
        series: the lines, or a function that gives those of the wide (True) and the narrow page.
        sizes: width and height of the wide and of the narrow drawing, in pixels.
        table: its numbers.
        ticks: values of the vertical axis and their texts.
        axes: more arguments of `chart.lines`.
    """

    def drawing(width: str, size: tuple[float, float]) -> Markup:
        lines = series(width == "wide") if callable(series) else series
        # Room at the sides for the longest texts, in a wide font and bold.
        left = 14 + 8.0 * max((len(tick) for _, tick in ticks), default=0)
        right = 22 + 7.4 * max((len(one.label) for one in lines), default=0)
        key = replace(text, key=f"{text.key}-{width}")
        return chart.lines(lines, Frame(*size, left, right, 14, 40), key, ticks=ticks, **axes)

    wide, narrow = (drawing(*one) for one in zip(("wide", "narrow"), sizes, strict=True))
    return Figure(text.key, text.title, caption, wide, narrow, table)


@dataclass(frozen=True)
class Panel:
    """A small chart among others, and the line under its name."""

    name: str
    line: str
    wide: Markup
    narrow: Markup


def line_panel(
    name: str, line: str, series: Sequence[Series], text: Text, left: float, **axes: Any
) -> Panel:
    """A small line chart in both widths; `left` is the room for the texts of its ticks."""

    def drawing(width: float, height: float) -> Markup:
        key = replace(text, key=f"{text.key}-{width:g}")
        return chart.lines(series, Frame(width, height, left, 6, 8, 24), key, **axes)

    return Panel(name, line, drawing(256, 148), drawing(164, 124))


@dataclass(frozen=True)
class LedgerRow:
    """One line of the ledger: a measure at the start and at the end, with intervals."""

    kind: str
    name: str
    start: str
    start_interval: str
    end: str
    end_interval: str


@dataclass(frozen=True)
class Trace:
    """One measured curve: its CSS class, its names, its values and their intervals."""

    kind: str
    name: str
    label: str
    short: str
    values: tuple[float | None, ...]
    intervals: tuple[tuple[float, float] | None, ...]

    def series(self, wide: bool, write: Callable[[Any], str], *, main: bool) -> Series:
        """The curve on the wide page or the narrow one; the main one has its band and dots."""
        return Series(
            self.kind,
            self.values,
            self.intervals if main else (),
            f"{self.label if wide else self.short} {write(last_of(self.values))}",
            dots=main and len(self.values) <= MOST_DOTS,
        )


def numbers(values: Sequence[Any] | None) -> tuple[float | None, ...]:
    """The values, with NaN as None; empty where there is no list."""
    return tuple(finite(v) for v in values or ())


def _intervals(values: Sequence[Any] | None) -> tuple[tuple[float, float] | None, ...]:
    return tuple(ends(v) for v in values or ())


def rounds_of(summary: DriftSummary) -> list[str]:
    """Labels of the points: "0" to "R"."""
    return [str(r) for r in range(len(summary.curves.stability))]


def traces(summary: DriftSummary) -> list[Trace]:
    """The curves and reference lines of the main figure that this run measured."""
    references = [
        Trace(kind, name, label, short, numbers(getattr(summary.curves, field)),
              _intervals(getattr(summary.curves, f"{field}_interval")))
        for kind, name, label, short, field in (
            ("filler", "neutral filler in the user’s place", "filler", "filler", "filler"),
            ("user", "the user’s persona", "user’s persona", "user’s", "user_persona"),
            ("history", "no system prompt, same history", "no prompt, same history",
             "no prompt", "history_floor"),
            ("replies", "the recorded replies themselves", "replies", "replies", "replies"),
        )
    ]  # fmt: skip
    for kind, name, label, field in (
        ("ceiling", "ceiling: the empty history", "ceiling", "ceiling"),
        ("floor", "floor: no system prompt, empty history", "floor", "floor"),
    ):
        level = finite(getattr(summary.curves, field))
        span = ends(getattr(summary.curves, f"{field}_interval"))
        size = len(summary.curves.stability) if level is not None else 0
        references.append(Trace(kind, name, label, label, (level,) * size, (span,) * size))
    own = Trace("own", "the agent’s persona", "persona", "persona",
                numbers(summary.curves.stability), _intervals(summary.curves.interval))  # fmt: skip
    return [
        trace
        for trace in (*references, own)
        if any(v is not None for v in trace.values)
        and not (trace.kind == "replies" and trace.values == own.values)
    ]


def stability(summary: DriftSummary) -> Figure:
    """Figure 1: every curve of the run, the persona's with its band."""
    curves, x, title = traces(summary), rounds_of(summary), "Stability by round"
    counts = summary.curves.n
    ranges = "; ".join(
        f"{t.name} {number(first_of(t.values))} to {number(last_of(t.values))}" for t in curves
    )

    band = " The band is the 95% interval." if any(curves[-1].intervals) else ""

    def note(r: int) -> str:
        first = f"after {quantity(r, 'round')}, n = {_at(counts, r)}"
        return "\n".join([first, *(f"{t.name}: {_cell(t, r)}" for t in reversed(curves))])

    def series(wide: bool) -> list[Series]:
        return [t.series(wide, number, main=t.kind == "own") for t in curves]

    return line_figure(
        Text("stability", title, f"Mean judge score from 0 to 1 after each round. {ranges}."),
        f"Mean judge score of {_source(summary)}; 1 is wholly in persona.{band}",
        series,
        ((740, 400), (360, 330)),
        Table(
            ("round", "n", *(t.name for t in reversed(curves))),
            tuple(
                (str(r), _at(counts, r), *(_cell(t, r) for t in reversed(curves)))
                for r in range(len(x))
            ),
        ),
        x=x,
        ticks=SCORES,
        notes=[note(r) for r in range(len(x))],
        x_name=X_NAME if summary.setting.model else "rounds",
    )


def _source(summary: DriftSummary) -> str:
    """Which texts the persona's curve scores."""
    if summary.setting.model:
        return "the probe’s answers after each complete round"
    return "the recorded replies, round by round"


def last_of(values: Sequence[float | None]) -> float | None:
    """The last value; None of none."""
    return values[-1] if values else None


def _at(values: Sequence[Any] | None, r: int) -> str:
    return "–" if not values or r >= len(values) else f"{values[r]:,}"


def _cell(trace: Trace, r: int) -> str:
    if r >= len(trace.values):
        return "–"
    span = trace.intervals[r] if r < len(trace.intervals) else None
    return number(trace.values[r]) if span is None else with_interval(trace.values[r], span)


def ledger(summary: DriftSummary) -> list[LedgerRow]:
    """The main numbers at the start and at the end, one measure a line."""
    curves = summary.curves_to_the_end
    by_kind = {t.kind: t for t in traces(replace(summary, curves=curves))}
    start = start_of(curves.stability)
    rows = [
        LedgerRow(kind, by_kind[kind].name, *_pair(by_kind[kind], start), *_pair(by_kind[kind], -1))
        for kind in ("own", "replies", "user", "filler", "history")
        if kind in by_kind
    ]
    values = numbers(curves.normalised)
    spans = _intervals(curves.normalised_interval)
    trace = Trace("left", "left between floor and ceiling", "", "", values, spans)
    if any(value is not None for value in values):
        rows.insert(1, LedgerRow("left", trace.name, *_pair(trace, start), *_pair(trace, -1)))
    for kind, name, field in (
        ("floor", "floor: no system prompt, empty history", "floor"),
        ("floor", "the user’s probe with no system prompt", "user_persona_floor"),
    ):
        if finite(getattr(curves, field)) is not None:
            span = ends(getattr(curves, f"{field}_interval"))
            there = "" if span is None else between(span)
            rows.append(LedgerRow(kind, name, number(getattr(curves, field)), there, "", ""))
    return rows


def _pair(trace: Trace, r: int) -> tuple[str, str]:
    if not trace.values:
        return "–", ""
    span = trace.intervals[r] if trace.intervals else None
    return number(trace.values[r]), "" if span is None else between(span)


def categories(summary: DriftSummary) -> list[Panel]:
    """A small chart for each category, the largest fall first, on one scale."""
    overall, x = numbers(summary.curves.stability), rounds_of(summary)
    to_the_end = summary.curves_to_the_end.by_category

    def panel(name: str, part: CategoryCurve, place: int) -> Panel:
        values, spans = numbers(part.stability), _intervals(part.interval)
        floor = finite(part.floor)
        series = [Series("overall", overall), Series("own", values, spans)]
        if floor is not None:
            series.insert(0, Series("floor", (floor,) * len(x)))
        notes = [
            f"after {quantity(r, 'round')}: {number(v) if span is None else with_interval(v, span)}"
            for r, (v, span) in enumerate(zip(values, spans, strict=True))
        ]
        whole = to_the_end.get(name)
        scores = whole.stability if whole else values
        course = number(first_of(scores))
        if start_of(scores) < len(scores) - 1:
            course += f" → {number(whole.stability[-1] if whole else None)}"
        description = (
            f"Mean judge score from 0 to 1 by round, from {course}; floor {number(floor)}."
        )
        n = whole.n if whole else 0
        some = f"{n} of " if 0 < n < part.n else ""
        line = f"{course}, {some}{quantity(part.n, 'conversation')}"
        if note := (whole or part).interval_note:
            line = f"{line}. {note}"
        text = Text(f"category-{place}", f"Stability of {name}", description)
        scale = ((0.0, "0"), (0.5, ".5"), (1.0, "1"))
        return line_panel(name, line, series, text, 22, x=x, ticks=scale, notes=notes)

    by_fall = sorted(
        summary.curves.by_category.items(), key=lambda item: _course(to_the_end.get(item[0]))
    )
    return [panel(name, part, place) for place, (name, part) in enumerate(by_fall)]


def _course(part: CategoryCurve | None) -> float:
    if part is None:
        return 0.0
    first, last = first_of(part.stability), finite(part.stability[-1])
    return 0.0 if first is None or last is None else last - first


def category_table(summary: DriftSummary) -> Table:
    """The numbers behind the small charts."""
    rounds, to_the_end = rounds_of(summary), summary.curves_to_the_end.by_category
    return Table(
        ("category", "conversations", "floor", *(f"round {r}" for r in rounds), "left at the end"),
        tuple(
            (
                name,
                str(part.n),
                number(part.floor),
                *(
                    with_interval(value, span)
                    for value, span in zip(part.stability, part.interval, strict=True)
                ),
                number(to_the_end[name].normalised[-1]) if name in to_the_end else "–",
            )
            for name, part in sorted(summary.curves.by_category.items())
        ),
    )
