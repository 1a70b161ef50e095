"""From a run's summary to the page's figures: what is drawn, named and tabulated.

Every figure is drawn twice, for a wide and for a narrow page, because a scaled
drawing would shrink its type; the style sheet shows one of them. Beside it goes a
table of the same numbers.

This module knows the summary's fields. It knows nothing of pages or conversations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from holdfast.report import chart
from holdfast.report.chart import Frame, Series, Text
from holdfast.report.words import between, ends, known, number, percent, quantity, signed

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


@dataclass(frozen=True)
class Panel:
    """One category's small chart."""

    name: str
    n: int
    course: str
    chart: Markup


@dataclass(frozen=True)
class Row:
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
    flat: bool = False


def numbers(values: Sequence[Any] | None) -> tuple[float | None, ...]:
    """The values, with NaN as None; empty where there is no list."""
    return tuple(known(v) for v in values or ())


def _intervals(values: Sequence[Any] | None) -> tuple[tuple[float, float] | None, ...]:
    return tuple(ends(v) for v in values or ())


def rounds_of(summary: Mapping[str, Any]) -> list[str]:
    """Labels of the points: "0" to "R"."""
    return [str(r) for r in range(len(summary["stability"]))]


def traces(summary: Mapping[str, Any]) -> list[Trace]:
    """The curves and reference lines of the main figure that this run measured."""
    found = [
        Trace(kind, name, label, short, numbers(summary.get(field)),
              _intervals(summary.get(f"{field}_interval")))
        for kind, name, label, short, field in (
            ("filler", "neutral filler in the user’s place", "filler", "filler", "filler"),
            ("user", "the user’s persona", "user’s persona", "user’s", "user_persona"),
            ("history", "no system prompt, same history", "no prompt, same history",
             "no prompt", "history_floor"),
        )
    ]  # fmt: skip
    for kind, name, label, field in (
        ("ceiling", "ceiling: the empty history", "ceiling", "ceiling"),
        ("floor", "floor: no system prompt, empty history", "floor", "floor"),
    ):
        level, span = known(summary.get(field)), ends(summary.get(f"{field}_interval"))
        size = len(summary["stability"]) if level is not None else 0
        found.append(Trace(kind, name, label, label, (level,) * size, (span,) * size, True))
    own = Trace("own", "the agent’s persona", "persona", "persona",
                numbers(summary["stability"]), _intervals(summary["interval"]))  # fmt: skip
    return [trace for trace in (*found, own) if any(v is not None for v in trace.values)]


def stability(summary: Mapping[str, Any]) -> Figure:
    """Figure 1: every curve of the run, the persona's with its band."""
    drawn, x = traces(summary), rounds_of(summary)

    def series(wide: bool) -> list[Series]:
        return [
            Series(
                t.kind,
                t.values,
                t.intervals if t.kind == "own" else (),
                f"{t.label if wide else t.short} {number(_end(t.values))}",
                dots=t.kind == "own" and len(x) <= 17,
            )
            for t in drawn
        ]

    notes = [
        "\n".join(
            [f"after {quantity(r, 'round')}, n = {_at(summary.get('n'), r)}"]
            + [_note(t, r) for t in reversed(drawn) if r < len(t.values)]
        )
        for r in range(len(x))
    ]
    title = "Stability by round"
    told = "; ".join(f"{t.name} {number(t.values[0])} to {number(_end(t.values))}" for t in drawn)
    said = f"Mean judge score from 0 to 1 after each round. {told}."
    kept = {"x": x, "ticks": SCORES, "notes": notes, "x_name": "complete rounds before the probe"}
    return Figure(
        "stability",
        title,
        "Mean judge score of the probe’s answers after each complete round; 1 is wholly in "
        "persona. The band is the 95% interval, resampled by conversation.",
        chart.lines(series(True), Frame(740, 400, 34, 176, 14, 44), Text("stability-wide", title, said), **kept),
        chart.lines(series(False), Frame(360, 330, 28, 106, 12, 42), Text("stability-narrow", title, said), **kept),
        Table(
            ("round", "n", *(t.name for t in reversed(drawn))),
            tuple(
                (str(r), _at(summary.get("n"), r), *(_cell(t, r) for t in reversed(drawn)))
                for r in range(len(x))
            ),
        ),
    )


def _end(values: Sequence[float | None]) -> float | None:
    return values[-1] if values else None


def _at(values: Sequence[Any] | None, r: int) -> str:
    return "–" if not values or r >= len(values) else f"{values[r]:,}"


def _interval_at(trace: Trace, r: int) -> tuple[float, float] | None:
    return trace.intervals[r] if r < len(trace.intervals) else None


def _note(trace: Trace, r: int) -> str:
    span = _interval_at(trace, r)
    tail = "" if span is None else f" ({between(span)})"
    return f"{trace.name}: {number(trace.values[r])}{tail}"


def _cell(trace: Trace, r: int) -> str:
    if r >= len(trace.values):
        return "–"
    span = _interval_at(trace, r)
    return number(trace.values[r]) + ("" if span is None else f" ({between(span)})")


def ledger(summary: Mapping[str, Any]) -> list[Row]:
    """The main numbers at the start and at the end, one measure a line."""
    rows = [
        Row(t.kind, t.name, *_pair(t, 0), *_pair(t, len(t.values) - 1))
        for t in sorted(traces(summary), key=lambda t: ("own user filler history".find(t.kind)) % 99)
        if not t.flat
    ]
    left = Trace("left", "left between floor and ceiling", "", "", numbers(summary["normalised"]),
                 _intervals(summary.get("normalised_interval")))  # fmt: skip
    rows.insert(1, Row("left", left.name, *_pair(left, 0), *_pair(left, len(left.values) - 1)))
    for kind, name, field in (
        ("floor", "floor: no system prompt, empty history", "floor"),
        ("floor", "the user’s probe with no system prompt", "user_persona_floor"),
    ):
        if known(summary.get(field)) is not None:
            span = ends(summary.get(f"{field}_interval"))
            there = "" if span is None else between(span)
            rows.append(Row(kind, name, number(summary[field]), there, "", ""))
    return rows


def _pair(trace: Trace, r: int) -> tuple[str, str]:
    if not 0 <= r < len(trace.values):
        return "–", ""
    span = _interval_at(trace, r)
    return number(trace.values[r]), "" if span is None else between(span)


def categories(summary: Mapping[str, Any]) -> list[Panel]:
    """A small chart for each category, the largest fall first, on one scale."""
    overall, x = numbers(summary["stability"]), rounds_of(summary)

    def panel(name: str, part: Mapping[str, Any], place: int) -> Panel:
        values, spans = numbers(part["stability"]), _intervals(part["interval"])
        floor = known(part.get("floor"))
        series = [Series("overall", overall), Series("own", values, spans)]
        if floor is not None:
            series.insert(0, Series("floor", (floor,) * len(x)))
        notes = [
            f"after {quantity(r, 'round')}: {number(v)}"
            + ("" if spans[r] is None else f" ({between(spans[r])})")
            for r, v in enumerate(values)
        ]
        course = f"{number(values[0])} → {number(values[-1])}"
        said = f"Mean judge score from 0 to 1 by round, from {course}; floor {number(floor)}."
        drawing = chart.lines(
            series,
            Frame(200, 132, 24, 8, 8, 22),
            Text(f"category-{place}", f"Stability of {name}", said),
            x=x,
            ticks=((0.0, "0"), (0.5, ".5"), (1.0, "1")),
            notes=notes,
        )
        return Panel(name, part["n"], course, drawing)

    made = sorted(summary["by_category"].items(), key=lambda item: _course(item[1]))
    return [panel(name, part, place) for place, (name, part) in enumerate(made)]


def _course(part: Mapping[str, Any]) -> float:
    first, last = known(part["stability"][0]), known(part["stability"][-1])
    return 0.0 if first is None or last is None else last - first


def category_table(summary: Mapping[str, Any]) -> Table:
    """The numbers behind the small charts."""
    rounds = rounds_of(summary)
    return Table(
        ("category", "conversations", "floor", *(f"round {r}" for r in rounds), "left at the end"),
        tuple(
            (
                name,
                str(part["n"]),
                number(part.get("floor")),
                *(
                    f"{number(value)} ({between(span)})"
                    for value, span in zip(part["stability"], part["interval"], strict=True)
                ),
                number(part["normalised"][-1]),
            )
            for name, part in sorted(summary["by_category"].items())
        ),
    )


def share(summary: Mapping[str, Any]) -> Figure | None:
    """Prompt share by round beside the dilution line; None where it was not measured."""
    values = numbers(summary.get("prompt_share"))
    if not any(v is not None for v in values):
        return None
    detail = summary.get("share_detail") or {}
    lines = [
        ("template", "with template tokens", "with template", "with template", detail.get("template")),
        ("dilution", "the prompt’s part of the text", "part of the text", "of the text", detail.get("dilution")),
        ("share", "prompt share", "prompt share", "share", values),
    ]
    drawn = [
        Trace(kind, name, label, short, numbers(there), ())
        for kind, name, label, short, there in lines
        if there
    ]
    top, ticks = chart.ceiling_for(v for t in drawn for v in t.values)
    x = rounds_of(summary)

    def series(wide: bool) -> list[Series]:
        return [
            Series(t.kind, t.values, (), f"{t.label if wide else t.short} {percent(_end(t.values))}",
                   dots=t.kind == "share" and len(x) <= 17)
            for t in drawn
        ]  # fmt: skip

    kept = {
        "x": x,
        "ticks": [(t, percent(t)) for t in ticks],
        "top": top,
        "x_name": "complete rounds before the probe",
        "notes": [
            "\n".join(
                [f"after {quantity(r, 'round')}"]
                + [f"{t.name}: {percent(t.values[r])}" for t in reversed(drawn) if r < len(t.values)]
            )
            for r in range(len(x))
        ],
    }
    title = "Attention given to the system prompt"
    said = f"From {percent(values[0])} at round 0 to {percent(values[-1])} at the last round."
    return Figure(
        "share",
        title,
        "Mean over layers and heads, for the tokens of the probe’s answer. The dashed line is what "
        "even attention would give: the prompt’s tokens over all tokens in view.",
        chart.lines(series(True), Frame(560, 290, 42, 150, 14, 44), Text("share-wide", title, said), **kept),
        chart.lines(series(False), Frame(360, 270, 40, 124, 12, 42), Text("share-narrow", title, said), **kept),
        Table(
            ("round", *(t.name for t in reversed(drawn))),
            tuple(
                (str(r), *(percent(t.values[r]) if r < len(t.values) else "–" for t in reversed(drawn)))
                for r in range(len(x))
            ),
        ),
    )  # fmt: skip


def layers(summary: Mapping[str, Any]) -> Figure | None:
    """The heat map of prompt share, layer by round."""
    by_round = (summary.get("share_detail") or {}).get("layers")
    if not by_round:
        return None
    rows = [numbers(row) for row in zip(*by_round, strict=True)]
    x, names = rounds_of(summary), [str(i + 1) for i in range(len(rows))]
    top = max((v for row in rows for v in row if v is not None), default=0.0)

    def note(layer: int, r: int, value: float) -> str:
        return f"layer {layer + 1}, after {quantity(r, 'round')}: {percent(value)}"

    def drawing(width: int, key: str, text: Text) -> Markup:
        cell = max(5.0, min(34.0, 300 / len(rows)))
        room = (width - 40) / len(x)
        inside: Callable[[float], str] | None = None
        if cell >= 18 and room >= 30:
            inside = _bare
        frame = Frame(width, 54 + cell * len(rows), 28, 8, 6, 48)
        return chart.heat(rows, frame, Text(f"{key}-{width}", text.title, text.description), x=x,
                          y=names, top=top, note=note, inside=inside,
                          x_name="complete rounds before the probe")  # fmt: skip

    title = "Prompt share, layer by round"
    text = Text("", title, f"{len(rows)} layers; the darkest cell is {percent(top)}.")
    return Figure(
        "layers",
        title,
        f"Per cent of attention, mean over heads; layer 1, nearest the input, is on top. "
        f"The darkest cell is {percent(top)}.",
        drawing(460, "layers", text),
        drawing(360, "layers", text),
        Table(
            ("layer", *(f"round {r}" for r in x)),
            tuple((names[i], *(percent(v) for v in row)) for i, row in enumerate(rows)),
        ),
    )


def _bare(value: float) -> str:
    return f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"


def heads(summary: Mapping[str, Any]) -> list[Panel]:
    """Layer × head at the first, middle and last round, on one scale."""
    by_round = (summary.get("share_detail") or {}).get("heads")
    if not by_round:
        return []
    top = max((known(v) or 0.0 for one in by_round for row in one for v in row), default=0.0)
    picked = sorted({0, (len(by_round) - 1) // 2, len(by_round) - 1})
    made = []
    for r in picked:
        rows = [numbers(row) for row in by_round[r]]
        wide, high = max(len(row) for row in rows), len(rows)
        cell = min(26.0, 180 / max(wide, high))
        frame = Frame(cell * wide, cell * high, 0, 0, 0, 0)
        flat = [v for row in rows for v in row if v is not None]
        most = percent(max(flat, default=None))
        text = Text(f"heads-{r}", f"Prompt share of every head, round {r}",
                    f"{high} layers from top to bottom, {wide} heads across; at most {most}.")  # fmt: skip
        drawing = chart.mosaic(rows, frame, text, top=top)
        made.append(Panel(f"round {r}", r, f"at most {most}", drawing))
    return made


def within(summary: Mapping[str, Any]) -> list[Figure]:
    """Prompt share token by token: plateaus within a turn, steps between turns."""
    detail = summary.get("share_detail") or {}
    turns = detail.get("turns") or {}
    made = []
    for key, title, caption, slots, x in (
        ("turns", "Within the replies of the conversation",
         "One curve for each reply, token by token, averaged over conversations.",
         turns.get("within"), [str(r) for r in turns.get("rounds") or ()]),
        ("answers", "Within the answers to the probe",
         "The same for the probe’s answers on their branches.",
         detail.get("within"), rounds_of(summary)),
    ):  # fmt: skip
        if slots and any(slots):
            made.append(_profile(key, title, caption, [numbers(s) for s in slots], x))
    return made


def _profile(
    key: str, title: str, caption: str, slots: list[tuple[float | None, ...]], x: list[str]
) -> Figure:
    top, ticks = chart.ceiling_for(v for slot in slots for v in slot)
    firsts = [next((v for v in slot if v is not None), None) for slot in slots]
    lasts = [next((v for v in reversed(slot) if v is not None), None) for slot in slots]
    notes = [
        f"round {x[i]}: {percent(firsts[i])} at the first token, {percent(lasts[i])} at token "
        f"{len(slot)}"
        for i, slot in enumerate(slots)
    ]
    text = f"From {percent(firsts[0])} in the first to {percent(firsts[-1])} in the last."

    def drawing(width: int, height: int) -> Markup:
        return chart.profiles(slots, Frame(width, height, 40, 8, 10, 42),
                              Text(f"{key}-{width}", title, text), x=x,
                              ticks=[(t, percent(t)) for t in ticks], top=top, notes=notes,
                              x_name="round")  # fmt: skip

    return Figure(
        key,
        title,
        caption,
        drawing(540, 240),
        drawing(360, 220),
        Table(
            ("round", "tokens", "first token", "mean", "last token"),
            tuple(
                (x[i], str(len(slot)), percent(firsts[i]), percent(_mean(slot)), percent(lasts[i]))
                for i, slot in enumerate(slots)
            ),
        ),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return sum(there) / len(there) if there else None


__all__ = [
    "Figure", "Panel", "Row", "Table", "categories", "category_table", "heads", "layers",
    "ledger", "share", "signed", "stability", "within",
]  # fmt: skip
