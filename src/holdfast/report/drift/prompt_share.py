"""Figures of prompt share: by round beside dilution, by layer, by head, token by token.

Prompt share is the attention that an answer's tokens give to the system prompt. It
is measured on local models alone, so every function here may find nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from markupsafe import Markup

from holdfast.report.charts import chart
from holdfast.report.charts import heatmap as tiles
from holdfast.report.charts.chart import Frame, Series, Text
from holdfast.report.drift.figures import (
    X_NAME,
    Figure,
    Panel,
    Table,
    Trace,
    line_figure,
    numbers,
    rounds_of,
)
from holdfast.report.transcript import average
from holdfast.report.words import first_of, percent, quantity
from holdfast.results.drift import DriftSummary, Values

TITLE = "Attention given to the system prompt"
MOST_HEAD_MAPS = 5


def share(summary: DriftSummary) -> Figure | None:
    """Prompt share by round beside the dilution line; None where it was not measured."""
    values = numbers(summary.share.prompt_share)
    if not any(v is not None for v in values):
        return None
    detail, x, title = summary.share.share_detail, rounds_of(summary), TITLE
    curves = [
        Trace(kind, name, label, short, there, ())
        for kind, name, label, short, there in (
            ("template", "with template tokens", "with template", "with template",
             numbers(detail.template if detail else None)),
            ("dilution", "the prompt’s part of the text", "part of the text", "of the text",
             numbers(detail.dilution if detail else None)),
            ("share", "prompt share", "prompt share", "share", values),
        )
        if there
    ]  # fmt: skip
    top, ticks = chart.ceiling_for(v for t in curves for v in t.values)
    rows = tuple((str(r), *(percent(_at(t, r)) for t in reversed(curves))) for r in range(len(x)))
    names = tuple(t.name for t in reversed(curves))

    def note(r: int) -> str:
        shares = (f"{name}: {cell}" for name, cell in zip(names, rows[r][1:], strict=True))
        return "\n".join([f"after {quantity(r, 'round')}", *shares])

    def series(wide: bool) -> list[Series]:
        return [t.series(wide, percent, main=t.kind == "share") for t in curves]

    course = f"From {percent(values[0])} at round 0 to {percent(values[-1])} at the last round."
    return line_figure(
        Text("share", title, course),
        "Mean over layers and heads, for the tokens of the probe’s answer. The dashed line is what "
        "even attention would give: the prompt’s tokens over all tokens in view. The grey one has "
        "the template’s tokens around the prompt too.",
        series,
        ((560, 290), (360, 270)),
        Table(("round", *names), rows),
        x=x,
        ticks=[(t, f"{100 * t:g}%") for t in ticks],
        top=top,
        notes=[note(r) for r in range(len(x))],
        x_name=X_NAME,
    )


def _at(trace: Trace, r: int) -> float | None:
    return trace.values[r] if r < len(trace.values) else None


def layers(summary: DriftSummary) -> Figure | None:
    """The heat map of prompt share, layer by round."""
    detail = summary.share.share_detail
    return layer_map("layers", "Prompt share, layer by round", detail.layers) if detail else None


def layer_map(key: str, title: str, by_round: Sequence[Values | None]) -> Figure | None:
    """A heat map of shares, layer by round; None where no layer was measured.

    Args:
        key: the figure's key, once on a page.
        title: its title.
        by_round: the share of each layer, by round.
    """
    columns = [numbers(one) for one in by_round]
    rows = [*zip_longest(*columns)]
    if not rows:
        return None
    x, y = [str(r) for r in range(len(columns))], [str(i + 1) for i in range(len(rows))]
    top = max((v for row in rows for v in row if v is not None), default=0.0)

    def note(layer: int, r: int, value: float) -> str:
        return f"layer {layer + 1}, after {quantity(r, 'round')}: {percent(value)}"

    def drawing(width: int) -> Markup:
        cell = max(5.0, min(34.0, 300 / len(rows)))
        inside = _bare if cell >= 18 and (width - 40) / len(x) >= 30 else None
        frame = Frame(width, 46 + cell * len(rows), 28, 8, 6, 40)
        text = Text(f"{key}-{width}", title, f"{len(rows)} layers; the highest cell is {most}.")
        return tiles.heat(rows, frame, text, x=x, y=y, top=top, note=note, inside=inside,
                          x_name=X_NAME)  # fmt: skip

    most = percent(top)
    caption = "Per cent of attention, mean over heads; layer 1, nearest the input, is on top. "
    cells = tuple((name, *map(percent, row)) for name, row in zip(y, rows, strict=True))
    table = Table(("layer", *(f"round {r}" for r in x)), cells)
    caption += f"The highest cell is {most}."
    return Figure(key, title, caption, drawing(460), drawing(360), table)


def _bare(value: float) -> str:
    return f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"


def heads(summary: DriftSummary) -> list[Panel]:
    """Layer × head at a few rounds from the first to the last, on one scale."""
    detail = summary.share.share_detail
    every = enumerate(detail.heads if detail else ())
    by_round = {r: [numbers(row) for row in one] for r, one in every if one}
    top = max((v or 0.0 for one in by_round.values() for row in one for v in row), default=0.0)
    count = min(MOST_HEAD_MAPS, len(by_round))
    rounds = list(by_round)
    map_rounds = [rounds[round(i * (len(rounds) - 1) / max(1, count - 1))] for i in range(count)]
    return [head_map(f"heads-{r}", f"round {r}", by_round[r], top) for r in map_rounds]


def head_map(key: str, name: str, rows: Sequence[Sequence[float | None]], top: float) -> Panel:
    """A map of shares, layer by head.

    Args:
        key: the drawing's key, once on a page.
        name: its name.
        rows: the share of each layer's heads.
        top: the share that has the full shade.
    """
    wide, high = max(len(row) for row in rows), len(rows)
    cell = min(26.0, 180 / max(wide, high))
    most = percent(max((v for row in rows for v in row if v is not None), default=None))
    description = f"{high} layers from top to bottom, {wide} heads across; at most {most}."
    text = Text(key, f"Prompt share of every head, {name}", description)
    drawing = tiles.mosaic(rows, Frame(cell * wide, cell * high, 0, 0, 0, 0), text, top=top)
    return Panel(name, f"at most {most}", drawing, drawing)


def within(summary: DriftSummary) -> list[Figure]:
    """Prompt share token by token: plateaus within a turn, steps between turns."""
    detail = summary.share.share_detail
    if detail is None:
        return []
    replies = [numbers(slot) for slot in detail.turns.within]
    answers = [numbers(slot) for slot in detail.within]
    most = max((v for slot in (*replies, *answers) for v in slot if v is not None), default=0.0)
    figures = []
    if any(replies):
        caption = "One curve for each reply, token by token, averaged over conversations."
        rounds = [str(r) for r in detail.turns.rounds]
        figures.append(_profile("turns", "the replies", caption, replies, rounds, most))
    if any(answers):
        caption = "The same for the probe’s answers on their branches, on the same scale."
        caption = caption if figures else "One curve for each round, token by token."
        rounds = rounds_of(summary)
        figures.append(_profile("answers", "the probe’s answers", caption, answers, rounds, most))
    return figures


def _profile(
    key: str,
    texts: str,
    caption: str,
    slots: list[tuple[float | None, ...]],
    x: list[str],
    most: float,
) -> Figure:
    title = f"Prompt share within {texts}"
    top, ticks = chart.ceiling_for([most])
    firsts, lasts = ([first_of(slot[::way]) for slot in slots] for way in (1, -1))
    notes = [
        f"round {x[i]}: {percent(firsts[i])} at the first token, {percent(lasts[i])} at token "
        f"{len(slot)}"
        for i, slot in enumerate(slots)
    ]
    text = f"From {percent(firsts[0])} in the first to {percent(firsts[-1])} in the last."

    def drawing(width: int, height: int) -> Markup:
        return chart.profiles(slots, Frame(width, height, 40, 8, 10, 40),
                              Text(f"{key}-{width}", title, text), x=x,
                              ticks=[(t, f"{100 * t:g}%") for t in ticks], top=top,
                              notes=notes)  # fmt: skip

    return Figure(
        key,
        title,
        caption,
        drawing(540, 240),
        drawing(360, 220),
        Table(
            ("round", "tokens", "first token", "mean", "last token"),
            tuple(
                (x[i], str(len(slot)), *map(percent, (firsts[i], average(slot), lasts[i])))
                for i, slot in enumerate(slots)
            ),
        ),
    )
