"""The page of an explanation: share, dimension and score, and whether they go together.

Each figure is drawn once for a wide and once for a narrow page; a control has its family's
colour, as on the page of a comparison.

This module knows the summary. The sentences are in `findings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from holdfast.report import html
from holdfast.report.charts import chart
from holdfast.report.charts.chart import Series, Text
from holdfast.report.compare.entries import family, short
from holdfast.report.drift.figures import (
    SCORES,
    X_NAME,
    Figure,
    Panel,
    Table,
    line_figure,
    line_panel,
    numbers,
)
from holdfast.report.drift.prompt_share import head_map, layer_map
from holdfast.report.explain.findings import findings
from holdfast.report.words import (
    between,
    ends,
    number,
    percent,
    quantity,
    signed_number,
    signed_span,
)
from holdfast.results.drift import Interval, Values
from holdfast.results.explain import (
    ControlExplanation,
    ConversationMean,
    DimensionSummary,
    ExplainSummary,
    RankCorrelation,
)

OTHER_SETS = {"no persona": "history", "shuffled": "filler"}
"""Sets that are no control's, and their CSS classes."""
AxisTicks = tuple[float, float, Sequence[tuple[float, str]]]
"""Lower end, upper end and ticks."""


def write_explain(summary: ExplainSummary, path: Path) -> None:
    """Write the page. Raises `RunError` where the file cannot be written."""
    html.save(render(summary), path)


def render(summary: ExplainSummary) -> str:
    """The page as text."""
    controls, rounds = summary.controls, summary.setting.rounds
    share_controls = [(i, one) for i, one in enumerate(controls) if one.share.share_detail]
    answer, *others = findings(summary)
    overview = [_share(controls, rounds), _stability(controls, rounds)]
    return html.fill(
        "explain/page.html.j2",
        s=summary,
        setting=summary.setting,
        headline=answer.rstrip("."),
        findings=others,
        overview=[figure for figure in overview if figure],
        panels=[_panel(i, one) for i, one in share_controls],
        layers=[figure for i, one in share_controls if (figure := _layers(i, one))],
        heads=[panel for i, one in share_controls for panel in _heads(i, one)],
        dimension=_dimension(summary.dimension, rounds) if summary.dimension else None,
        growth=_growth(summary.dimension) if summary.dimension else None,
        association=_association(summary),
    )


def _series(name: str, values: Values, intervals: Sequence[Interval] | None) -> Series:
    """A line; `none`'s, which the others are read against, has a band."""
    band = [ends(one) for one in intervals or ()] if name == "none" else []
    css = f"f-{family(name)} {'plain' if name == 'none' else 'fore'}"
    return Series(OTHER_SETS.get(name) or css, numbers(values), band)


def _lines(
    key: str,
    title: str,
    caption: str,
    lines: Sequence[tuple[str, Series]],
    rounds: int,
    axis: AxisTicks,
    write: Callable[[float | None], str],
) -> Figure:
    """A line for each named series, with a table of the same numbers."""
    low, top, ticks = axis
    x = [str(r) for r in range(rounds + 1)]
    cells = [
        [
            write(value) + (f" ({write(span[0])} to {write(span[1])})" if span else "")
            for value, span in zip(line.values, line.band or [None] * len(x), strict=True)
        ]
        for _, line in lines
    ]
    notes = [
        "\n".join(
            [f"after {quantity(r, 'round')}"]
            + [f"{name}: {cell[r]}" for (name, _), cell in zip(lines, cells, strict=True)]
        )
        for r in range(rounds + 1)
    ]

    def series(wide: bool) -> list[Series]:
        return [
            Series(line.kind, line.values, line.band, short(name, 26 if wide else 16))
            for name, line in lines
        ]

    rows = tuple((r, *(cell[i] for cell in cells)) for i, r in enumerate(x))
    table = Table(("round", *(name for name, _ in lines)), rows)
    sizes = (560, 300), (360, 280)
    return line_figure(Text(key, title, caption), caption, series, sizes, table, x=x, ticks=ticks,
                       top=top, low=low, notes=notes, x_name=X_NAME)  # fmt: skip


def _share(controls: Sequence[ControlExplanation], rounds: int) -> Figure | None:
    """Prompt share by round beside the dilution line; None where it was not measured."""
    lines = [
        (
            one.control,
            _series(one.control, one.share.prompt_share, one.share.prompt_share_interval),
        )
        for one in controls
        if one.share.prompt_share
    ]
    if not lines:
        return None
    # The same conversations under every control: the first that has the line has it for all.
    details = (one.share.share_detail for one in controls)
    if detail := next((one for one in details if one), None):
        lines.append(("part of the text", Series("dilution", numbers(detail.dilution))))
    top, ticks = chart.ceiling_for(v for _, line in lines for v in _all_values(line))
    return _lines(
        "share",
        "Attention given to the system prompt",
        "Mean over layers and heads, for the tokens of the probe’s answer, as each control left "
        "it; the band is none’s 95% interval. Dashed: the prompt’s tokens over all tokens in view.",
        lines,
        rounds,
        (0.0, top, [(t, f"{100 * t:g}%") for t in ticks]),
        percent,
    )


def _all_values(line: Series) -> list[float]:
    """The values of a line and the ends of its band, without gaps."""
    return [
        v
        for v in (*line.values, *(end for span in line.band for end in span or ()))
        if v is not None
    ]


def _stability(controls: Sequence[ControlExplanation], rounds: int) -> Figure:
    return _lines(
        "stability",
        "Stability of the same conversations",
        "Mean judge score of the probe’s answers. The band is none’s 95% interval.",
        [(one.control, _series(one.control, one.stability, one.interval)) for one in controls],
        rounds,
        (0.0, 1.0, SCORES),
        number,
    )


def _panel(place: int, one: ControlExplanation) -> Panel:
    """One control: the share before, the share after, and dilution."""
    after, before = numbers(one.share.prompt_share), numbers(one.before.prompt_share)
    dilution = numbers(one.share.share_detail.dilution) if one.share.share_detail else ()
    top, ticks = chart.ceiling_for((*after, *before, *dilution))
    x = [str(r) for r in range(len(one.stability))]
    series = [Series("dilution", dilution), Series("template", before), Series("share", after)]
    notes = [
        f"after {quantity(r, 'round')}\nafter the control: {percent(a)}\nbefore: {percent(b)}\n"
        f"part of the text: {percent(d)}"
        for r, (a, b, d) in enumerate(zip(after, before, dilution, strict=False))
    ]
    summary = f"{percent(after[-1])} at the end, {percent(before[-1])} before" if after else "–"
    text = Text(f"panel-{place}", f"Share before and after {one.control}", summary)
    ticks_in_percent = [(t, f"{100 * t:g}%") for t in ticks]
    return line_panel(one.control, summary, series, text, 38,
                      x=x, ticks=ticks_in_percent, top=top, notes=notes)  # fmt: skip


def _layers(place: int, one: ControlExplanation) -> Figure | None:
    """Layer by round under one control."""
    detail = one.share.share_detail
    return layer_map(f"layers-{place}", one.control, detail.layers) if detail else None


def _heads(place: int, one: ControlExplanation) -> Iterator[Panel]:
    """Layer by head at the first and the last round, and before the control at the last."""
    detail = one.share.share_detail
    after = [(r, rows) for r, rows in enumerate(detail.heads if detail else ()) if rows]
    if not after:
        return
    maps = [(f"round {r}", rows) for r, rows in (after[0], after[-1])]
    last, rows_at_last = after[-1]
    before = one.before.heads[last] if one.before.heads else None
    if before and before != rows_at_last:
        maps.append((f"round {last}, before the control", before))
    top = max((v or 0.0 for _, rows in maps for row in rows for v in row), default=0.0)
    for i, (name, rows) in enumerate(maps):
        yield head_map(f"heads-{place}-{i}", f"{one.control}, {name}", rows, top)


def _dimension(dimension: DimensionSummary, rounds: int) -> Figure:
    """Participation at an equal number of vectors, by set."""
    lines = [
        (one.set, _series(one.set, curve.mean, curve.interval))
        for one in dimension.sets
        for curve in (one.participation["many"],)
    ]
    return _lines(
        "dimension",
        "Intrinsic dimension of the values in view",
        f"Participation ratio of {dimension.vectors['many']} value vectors, drawn from all in "
        "view, mean over layers. “no persona” are conversations in which nobody has a system "
        "prompt, “shuffled” the same tokens in a drawn order.",
        lines,
        rounds,
        _axis([v for _, line in lines for v in _all_values(line)]),
        number,
    )


def _axis(values: Sequence[float]) -> AxisTicks:
    """An axis around values: its ends and about five ticks, all round numbers."""
    least, most = min(values, default=0.0), max(values, default=1.0)
    step = chart.round_step(most - least, 6, least=0.1)
    first, last = int(least // step), int(-(-most // step))
    ticks = [(i * step, f"{i * step:g}") for i in range(first, max(last, first + 1) + 1)]
    return ticks[0][0], ticks[-1][0], ticks


def _growth(dimension: DimensionSummary) -> Table:
    rows = [
        (
            one.set,
            one.measure,
            f"{dimension.vectors[one.count]} vectors, from round {one.from_round}",
            _change(one.growth),
            *(_change(one.beyond.get(other)) for other in OTHER_SETS),
        )
        for one in dimension.growth
    ]
    header = ("set", "measure", "at", "growth", *(f"beyond {other}" for other in OTHER_SETS))
    return Table(header, tuple(rows))


def _change(estimate: ConversationMean | None) -> str:
    if not estimate or estimate.value is None:
        return "–"
    return f"{signed_number(estimate.value, estimate.interval)} ({signed_span(estimate.interval)})"


def _association(summary: ExplainSummary) -> Table:
    rows = [
        (
            row.control,
            row.measure,
            _rho(row.pooled),
            _rho(row.given_dilution),
            *(number(at.correlation.rho) for at in row.by_round),
        )
        for row in summary.association
    ]
    rounds = (f"round {r}" for r in range(1, summary.setting.rounds + 1))
    header = ("control", "measure", "mean over rounds", "at equal dilution", *rounds)
    return Table(header, tuple(rows))


def _rho(correlation: RankCorrelation | None) -> str:
    if not correlation or correlation.rho is None:
        return "–"
    return f"{number(correlation.rho)} ({between(correlation.interval)}), n = {correlation.n}"
