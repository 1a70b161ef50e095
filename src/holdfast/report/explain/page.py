"""The page of an explanation: share, dimension and score, and whether they go together.

Each figure is drawn for a wide and for a narrow page, as in `figures`; a control has its
family's colour, as on the page of a comparison.

This module knows the summary. The sentences are `findings`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from holdfast.report import html as shell
from holdfast.report.charts import chart
from holdfast.report.charts import heatmap as tiles
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.compare.entries import family, short
from holdfast.report.drift.figures import SCORES, X_NAME, Figure, Panel, Table, numbers
from holdfast.report.explain.findings import headline
from holdfast.report.words import (
    between,
    ends,
    known,
    number,
    percent,
    quantity,
    signed,
    signed_span,
)

Summary = Mapping[str, Any]
_SETS = {"no persona": "history", "shuffled": "filler"}


def write_explain(summary: Summary, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    shell.save(render(summary), path)


def render(summary: Summary) -> str:
    """The page as text."""
    return shell.fill(
        "explain/page.html.j2",
        s=summary,
        headline=headline(summary),
        overview=[_share(summary), _stability(summary)],
        panels=[_panel(i, one) for i, one in enumerate(summary["controls"])],
        layers=[_layers(i, one) for i, one in enumerate(summary["controls"])],
        heads=[panel for i, one in enumerate(summary["controls"]) for panel in _heads(i, one)],
        dimension=_dimension(summary),
        growth=_growth(summary),
        association=_association(summary),
    )


def _kind(control: str) -> str:
    return f"f-{family(control)} {'plain' if control == 'none' else 'fore'}"


def _band(control: str, intervals: Sequence[Any] | None) -> list[tuple[float, float] | None]:
    """The intervals of none, which the others are read against; nothing else's."""
    return [ends(one) for one in intervals or ()] if control == "none" else []


def _rounds(summary: Summary) -> list[str]:
    return [str(r) for r in range(summary["rounds"] + 1)]


def _lines(
    key: str,
    title: str,
    caption: str,
    drawn: Sequence[tuple[str, Series]],
    x: Sequence[str],
    axis: tuple[float, float, Sequence[tuple[float, str]]],
    written: Any,
) -> Figure:
    """A line for each named series, with a table of the same numbers."""
    low, top, ticks = axis
    cells = [
        [
            written(v) + (f" ({written(b[0])} to {written(b[1])})" if b else "")
            for v, b in zip(one.values, one.band or [None] * len(x), strict=True)
        ]
        for _, one in drawn
    ]
    notes = [
        "\n".join(
            [f"after {quantity(int(r), 'round')}"]
            + [f"{name}: {cell[i]}" for (name, _), cell in zip(drawn, cells, strict=True)]
        )
        for i, r in enumerate(x)
    ]

    def drawing(wide: bool) -> Markup:
        named = [
            Series(one.kind, one.values, one.band, short(name, 26 if wide else 16))
            for name, one in drawn
        ]
        right = 24 + 6.7 * max(len(one.label) for one in named)
        frame = Frame(560, 300, 42, right, 14, 40) if wide else Frame(360, 280, 40, right, 12, 40)
        text = Text(f"{key}-{'wide' if wide else 'narrow'}", title, caption)
        return chart.lines(
            named, frame, text, x=x, ticks=ticks, top=top, low=low, notes=notes, x_name=X_NAME
        )

    rows = tuple((r, *(cell[i] for cell in cells)) for i, r in enumerate(x))
    table = Table(("round", *(name for name, _ in drawn)), rows)
    return Figure(key, title, caption, drawing(True), drawing(False), table)


def _share(summary: Summary) -> Figure:
    controls = summary["controls"]
    drawn = [
        (
            one["control"],
            Series(
                _kind(one["control"]),
                numbers(one["prompt_share"]),
                _band(one["control"], one["prompt_share_interval"]),
            ),
        )
        for one in controls
        if one["prompt_share"]
    ]
    detail = controls[0]["share_detail"] or {}
    drawn.append(("part of the text", Series("dilution", numbers(detail.get("dilution")))))
    top, ticks = chart.ceiling_for(
        v for _, one in drawn for v in (*one.values, *(b[1] for b in one.band if b))
    )
    return _lines(
        "share",
        "Attention given to the system prompt",
        "Mean over layers and heads, for the tokens of the probe’s answer, as each control left "
        "it; the band is none’s 95% interval. Dashed: the prompt’s tokens over all tokens in view.",
        drawn,
        _rounds(summary),
        (0.0, top, [(t, f"{100 * t:g}%") for t in ticks]),
        percent,
    )


def _stability(summary: Summary) -> Figure:
    drawn = [
        (
            one["control"],
            Series(
                _kind(one["control"]),
                numbers(one["stability"]),
                _band(one["control"], one["interval"]),
            ),
        )
        for one in summary["controls"]
    ]
    return _lines(
        "stability",
        "Stability of the same conversations",
        "Mean judge score of the probe’s answers. The band is none’s 95% interval.",
        drawn,
        _rounds(summary),
        (0.0, 1.0, SCORES),
        number,
    )


def _panel(place: int, one: Summary) -> Panel:
    """One control: the share before, the share after, and dilution."""
    after, before = numbers(one["prompt_share"]), numbers(one["before"]["prompt_share"])
    dilution = numbers((one["share_detail"] or {}).get("dilution"))
    top, ticks = chart.ceiling_for((*after, *before, *dilution))
    x = [str(r) for r in range(len(one["stability"]))]
    series = [Series("dilution", dilution), Series("template", before), Series("share", after)]
    notes = [
        f"after {quantity(r, 'round')}\nafter the control: {percent(a)}\nbefore: {percent(b)}\n"
        f"part of the text: {percent(d)}"
        for r, (a, b, d) in enumerate(zip(after, before, dilution, strict=False))
    ]
    said = f"{percent(after[-1])} at the end, {percent(before[-1])} before" if after else "–"

    def drawing(width: float, height: float) -> Markup:
        return chart.lines(
            series,
            Frame(width, height, 34, 6, 8, 24),
            Text(f"panel-{place}-{width:g}", f"Share before and after {one['control']}", said),
            x=x,
            ticks=[(t, f"{100 * t:g}%") for t in ticks],
            top=top,
            notes=notes,
        )

    return Panel(one["control"], said, drawing(256, 148), drawing(164, 124))


def _layers(place: int, one: Summary) -> Figure:
    """Layer by round under one control."""
    by_round = [numbers(row) for row in (one["share_detail"] or {}).get("layers") or ()]
    deep = max((len(row) for row in by_round), default=0)
    rows = [[row[i] if i < len(row) else None for row in by_round] for i in range(deep)]
    x, y = [str(r) for r in range(len(by_round))], [str(i + 1) for i in range(deep)]
    most = max((v for row in rows for v in row if v is not None), default=0.0)

    def note(layer: int, r: int, value: float) -> str:
        return f"layer {layer + 1}, after {quantity(r, 'round')}: {percent(value)}"

    def drawing(width: int) -> Markup:
        frame = Frame(width, 46 + max(5.0, min(26.0, 260 / max(1, deep))) * deep, 28, 8, 6, 40)
        said = f"{deep} layers; the highest cell is {percent(most)}."
        text = Text(f"layers-{place}-{width}", f"Share by layer under {one['control']}", said)
        return tiles.heat(rows, frame, text, x=x, y=y, top=most, note=note, x_name=X_NAME)

    table = tuple((y[i], *(percent(v) for v in row)) for i, row in enumerate(rows))
    caption = f"Layer 1, nearest the input, is on top. The highest cell is {percent(most)}."
    heading = Table(("layer", *(f"round {r}" for r in x)), table)
    return Figure(f"layers-{place}", one["control"], caption, drawing(500), drawing(340), heading)


def _heads(place: int, one: Summary) -> Iterator[Panel]:
    """Layer by head at the first and the last round, and before the control at the last."""
    after = [rows for rows in (one["share_detail"] or {}).get("heads") or () if rows]
    before = [rows for rows in one["before"]["heads"] or () if rows]
    if not after:
        return
    shown = [("round 0", after[0]), (f"round {len(one['stability']) - 1}", after[-1])]
    if before and before[-1] != after[-1]:
        shown.append((f"{shown[1][0]}, before the control", before[-1]))
    top = max(v for _, rows in shown for row in rows for v in row)
    for i, (name, rows) in enumerate(shown):
        wide, high = max(len(row) for row in rows), len(rows)
        cell = min(22.0, 150 / max(wide, high))
        most = percent(max(v for row in rows for v in row))
        text = Text(
            f"heads-{place}-{i}", f"Every head, {one['control']}, {name}", f"At most {most}."
        )
        frame = Frame(cell * wide, cell * high, 0, 0, 0, 0)
        drawing = tiles.mosaic(rows, frame, text, top=top)
        yield Panel(f"{one['control']}, {name}", f"at most {most}", drawing, drawing)


def _dimension(summary: Summary) -> Figure | None:
    """Participation at an equal number of vectors, by set."""
    found = summary["dimension"]
    if not found:
        return None
    drawn = []
    for one in found["sets"]:
        held = one["participation"]["many"]
        kind = _SETS.get(one["set"], _kind(one["set"]))
        values, band = numbers(held["mean"]), _band(one["set"], held["interval"])
        drawn.append((one["set"], Series(kind, values, band)))
    there = [
        v for _, one in drawn for v in (*one.values, *(x for b in one.band if b for x in b)) if v
    ]
    low, top, ticks = _axis(there)
    return _lines(
        "dimension",
        "Intrinsic dimension of the values in view",
        f"Participation ratio of {found['vectors']['many']} value vectors, drawn from all in view, "
        "mean over layers. “no persona” are conversations in which nobody has a system prompt, "
        "“shuffled” the same tokens in a drawn order.",
        drawn,
        _rounds(summary),
        (low, top, ticks),
        number,
    )


def _axis(values: Sequence[float]) -> tuple[float, float, list[tuple[float, str]]]:
    """An axis around values: its ends and about five ticks, all round numbers."""
    least, most = min(values, default=0.0), max(values, default=1.0)
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if 6 * s >= most - least)
    first, last = int(least // step), int(-(-most // step))
    ticks = [(i * step, f"{i * step:g}") for i in range(first, max(last, first + 1) + 1)]
    return ticks[0][0], ticks[-1][0], ticks


def _growth(summary: Summary) -> Table | None:
    found = summary["dimension"]
    if not found:
        return None
    rows = [
        (
            one["set"],
            one["measure"],
            f"{found['vectors'][one['count']]} vectors, from round {one['from']}",
            _changed(one),
            *(_changed(one["beyond"].get(other)) for other in _SETS),
        )
        for one in found["growth"]
    ]
    header = ("set", "measure", "at", "growth", *(f"beyond {other}" for other in _SETS))
    return Table(header, tuple(rows))


def _changed(found: Summary | None) -> str:
    if not found or known(found["value"]) is None:
        return "–"
    return f"{signed(found['value'])} ({signed_span(found['interval'])})"


def _association(summary: Summary) -> Table:
    rounds = range(1, summary["rounds"] + 1)
    rows = [
        (
            row["control"],
            row["measure"],
            *(_rho(row[name]) for name in ("pooled", "given_dilution")),
            *(number(at["rho"]) for at in row["by_round"]),
        )
        for row in summary["association"]
    ]
    header = ("control", "measure", "mean over rounds", "at equal dilution")
    return Table((*header, *(f"round {r}" for r in rounds)), tuple(rows))


def _rho(found: Summary | None) -> str:
    if not found or known(found["rho"]) is None:
        return "–"
    return f"{number(found['rho'])} ({between(found['interval'])}), n = {found['n']}"
