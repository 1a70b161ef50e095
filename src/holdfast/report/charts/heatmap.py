"""Values as shades, as SVG text: heat maps with a note in every cell, mosaics of many cells.

Shades are `fill-opacity` over the figure's ink, as `chart` explains.

This module knows pixels and numbers. It does not know what is being measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from holdfast.report.charts.chart import Frame, Text, Value, svg, tag, x_axis

SHADES = 16
FAINTEST = 0.04


def heat(
    rows: Sequence[Sequence[Value]],
    frame: Frame,
    text: Text,
    *,
    x: Sequence[str],
    y: Sequence[str],
    top: float,
    note: Callable[[int, int, float], str],
    inside: Callable[[float], str] | None = None,
    x_name: str = "",
) -> Markup:
    """A heat map, row 0 on top. Shade is value / top; `inside` writes the value in its cell."""
    high = (frame.bottom_edge - frame.top) / max(1, len(rows))
    wide = (frame.right_edge - frame.left) / max(1, len(x))
    xs = [frame.left + (i + 0.5) * wide for i in range(len(x))]
    children = x_axis(frame, xs, x, x_name)
    every = max(1, round(13 / high + 0.49))
    for i, row in enumerate(rows):
        at = frame.top + i * high
        if i % every == 0:
            children.append(
                tag("text", y[i], class_="tick", x=frame.left - 7, y=at + high / 2 + 4,
                    text_anchor="end")
            )  # fmt: skip
        for j, value in enumerate(row):
            if value is None:
                continue
            shade = FAINTEST + (1 - FAINTEST) * min(1.0, max(0.0, value / top if top else 0.0))
            cell = tag("title", note(i, j, value))
            children.append(
                tag("rect", cell, class_="cell", x=frame.left + j * wide, y=at,
                    width=max(1.0, wide - 1), height=max(1.0, high - 1),
                    fill_opacity=shade)
            )  # fmt: skip
            if inside:
                at_x, at_y = xs[j] - 0.5, at + high / 2 + 4
                children.append(
                    tag("text", inside(value), class_=f"in-cell{_ground(shade)}", x=at_x, y=at_y,
                        text_anchor="middle")
                )  # fmt: skip
    return svg(frame, text, children, "heat")


def _ground(shade: float) -> str:
    """A class for text on a shade; the style sheet picks its ink, which differs in the dark."""
    return " on-full" if shade > 0.75 else " on-half" if shade > 0.6 else ""


def mosaic(rows: Sequence[Sequence[Value]], frame: Frame, text: Text, *, top: float) -> Markup:
    """A heat map of many cells, as one path for each of a few shades (no values inside)."""
    high = (frame.bottom_edge - frame.top) / max(1, len(rows))
    wide = (frame.right_edge - frame.left) / max(1, max((len(row) for row in rows), default=1))
    shades: dict[int, list[str]] = {}
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if value is not None:
                shade = round(SHADES * min(1.0, max(0.0, value / top if top else 0.0)))
                x, y = frame.left + j * wide, frame.top + i * high
                box = f"M{x:.1f} {y:.1f}h{wide * 0.96:.2f}v{high * 0.96:.2f}h{-wide * 0.96:.2f}z"
                shades.setdefault(shade, []).append(box)
    cells = [
        tag("path", class_="cell", d="".join(boxes), fill_opacity=shade / SHADES)
        for shade, boxes in sorted(shades.items())
    ]
    back = tag("rect", class_="back", x=0, y=0, width=frame.width, height=frame.height)
    return svg(frame, text, [back, *cells], "mosaic")
