"""Small charts as SVG text: lines with a band, profiles in slots, strips.

Colour and type come from the page's style sheet through classes, so that one
drawing serves light, dark and print; shades are `fill-opacity` over the ink of
the figure, an SVG attribute that a content security policy without inline styles
allows. Every drawing carries a title and a description, and the values sit in
`<title>` elements that browsers show under the pointer.

This module knows pixels and numbers. It does not know what is being measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from holdfast.report.words import finite

Value = float | None
Band = Sequence[Sequence[float] | None]


@dataclass(frozen=True)
class Frame:
    """A drawing's size and the margins around its plot, in pixels."""

    width: float
    height: float
    left: float = 34
    right: float = 12
    top: float = 12
    bottom: float = 28

    @property
    def right_edge(self) -> float:
        return self.width - self.right

    @property
    def bottom_edge(self) -> float:
        return self.height - self.bottom

    def across(self, share: float) -> float:
        """The x of a share (0 to 1) of the plot's width."""
        return self.left + share * (self.right_edge - self.left)

    def up(self, share: float) -> float:
        """The y of a share (0 to 1) of the plot's height, 0 at the bottom."""
        return self.bottom_edge - share * (self.bottom_edge - self.top)


@dataclass(frozen=True)
class Series:
    """One line: a value per x (None breaks it), a CSS class, and maybe a band and a label.

    A line with a note shows it under the pointer, and its key ties it to others of its kind.
    """

    kind: str
    values: Sequence[Value]
    band: Band = ()
    label: str = ""
    dots: bool = False
    note: str = ""
    key: str | None = None


@dataclass(frozen=True)
class Text:
    """What a drawing says to those who cannot see it; `key` makes its ids unique."""

    key: str
    title: str
    description: str


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element. Children and attributes are escaped; `class_` and `fill_opacity` work."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{pairs}>{inner}</{name}>")


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def svg(frame: Frame, text: Text, children: Iterable[str], kind: str) -> Markup:
    """The root element, labelled."""
    return tag(
        "svg",
        tag("title", text.title, id=f"{text.key}-title"),
        tag("desc", text.description, id=f"{text.key}-desc"),
        *children,
        class_=f"chart {kind}",
        viewBox=f"0 0 {frame.width:g} {frame.height:g}",
        width=f"{frame.width:g}",
        height=f"{frame.height:g}",
        role="img",
        aria_labelledby=f"{text.key}-title {text.key}-desc",
    )


def path(points: Sequence[tuple[float, float]], *, closed: bool = False) -> str:
    """SVG path data through the points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if closed else "")


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights at least a gap apart and between two ends, as near the given ones as possible.

    Labels pushed past the lower end push their neighbours back up.
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    places = [0.0] * len(heights)
    last = low - gap
    for i in order:
        places[i] = last = max(heights[i], last + gap)
    last = high + gap
    for i in reversed(order):
        places[i] = last = min(places[i], last - gap)
    return places


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    groups = groupby(points, key=lambda point: point is not None)
    return [[p for p in run if p is not None] for there, run in groups if there]


def _line(series: Series, xs: Sequence[float], y: Callable[[float], float]) -> list[Markup]:
    points = [None if v is None else (x, y(v)) for x, v in zip(xs, series.values, strict=False)]
    marks: list[Markup] = []
    for run in _runs(points):
        if len(run) > 1:
            marks.append(tag("path", class_=f"line {series.kind}", d=path(run)))
        if len(run) == 1 or series.dots:
            radius = 2.6 if series.dots else 2.0
            marks += [tag("circle", class_=series.kind, cx=a, cy=b, r=radius) for a, b in run]
        if series.note:
            marks.append(tag("path", class_="reach", d=path(run)))
    if not series.note:
        return marks
    return [tag("g", tag("title", series.note), *marks, data_k=series.key)]


def _band(series: Series, xs: Sequence[float], y: Callable[[float], float]) -> list[Markup]:
    edges = [
        None if ends is None else (x, y(ends[0]), y(ends[1]))
        for x, ends in zip(xs, series.band, strict=False)
    ]
    groups = groupby(edges, key=lambda edge: edge is not None)
    marks: list[Markup] = []
    for there, group in groups:
        run = [edge for edge in group if edge is not None] if there else []
        if len(run) > 1:
            ring = [(x, b) for x, _, b in run] + [(x, a) for x, a, _ in reversed(run)]
            marks.append(tag("path", class_=f"band {series.kind}", d=path(ring, closed=True)))
        for x, a, b in run if len(run) == 1 else []:
            marks.append(tag("path", class_=f"whisker {series.kind}", d=path([(x, a), (x, b)])))
    return marks


def _labels(
    series: Sequence[Series], frame: Frame, xs: Sequence[float], y: Callable[[float], float]
) -> list[Markup]:
    """Each line's label at its last point: right of the plot, or above a line that ends in it."""
    by_end: dict[float, list[tuple[Series, float]]] = {}
    for one in series:
        points = zip(xs, one.values, strict=False)
        ends = [(x, y(v)) for x, value in points if (v := finite(value)) is not None]
        if one.label and ends:
            by_end.setdefault(ends[-1][0], []).append((one, ends[-1][1]))
    marks: list[Markup] = []
    for end, group in by_end.items():
        places = spread([height for _, height in group], 16, frame.top, frame.bottom_edge + 3)
        right, down = (14, 4) if end > frame.right_edge - 1 else (6, -5)
        for (one, height), place in zip(group, places, strict=True):
            if abs(place - height) > 3:
                leader = path([(end + 4, height), (end + 11, place)])
                marks.append(tag("path", class_="leader", d=leader))
            marks.append(
                tag("text", one.label, class_=f"label {one.kind}", x=end + right, y=place + down,
                    data_k=one.key)
            )  # fmt: skip
    return marks


def _grid(
    frame: Frame, ticks: Sequence[tuple[float, str]], y: Callable[[float], float]
) -> list[Markup]:
    marks: list[Markup] = []
    for value, label in ticks:
        rule = path([(frame.left, y(value)), (frame.right_edge, y(value))])
        marks.append(tag("path", class_="rule zero" if value == 0 else "rule", d=rule))
        marks.append(
            tag("text", label, class_="tick", x=frame.left - 9, y=y(value) + 4, text_anchor="end")
        )
    return marks


def x_axis(frame: Frame, xs: Sequence[float], labels: Sequence[str], name: str) -> list[Markup]:
    """Labels under their places, as many as fit, and what they count."""
    room = (frame.right_edge - frame.left) / max(1, len(xs))
    widest = max((len(label) for label in labels), default=1) * 7 + 6
    steps = (1, 2, 4, 5, 8, 10, 16, 20, 50, 100, 1000)
    step = next((k for k in steps if k * room >= widest), math.ceil(widest / room))
    marks = [
        tag("text", label, class_="tick", x=x, y=frame.bottom_edge + 17, text_anchor="middle")
        for i, (x, label) in enumerate(zip(xs, labels, strict=True))
        if i % step == 0
    ]
    if name:
        middle = (frame.left + frame.right_edge) / 2
        marks.append(
            tag("text", name, class_="axis", x=middle, y=frame.height - 3, text_anchor="middle")
        )
    return marks


def _hover(frame: Frame, xs: Sequence[float], notes: Sequence[str]) -> list[Markup]:
    half = (frame.right_edge - frame.left) / max(1, len(xs) - 1) / 2
    marks: list[Markup] = []
    for x, note in zip(xs, notes, strict=False):
        left, right = max(frame.left - 4, x - half), min(frame.right_edge + 4, x + half)
        marks.append(_hit(frame, left, right - left, note))
    return marks


def _hit(frame: Frame, x: float, width: float, note: str) -> Markup:
    """A part of the plot that shows a note under the pointer."""
    return tag("rect", tag("title", note), class_="hit", x=x, y=frame.top, width=width,
               height=frame.bottom_edge - frame.top)  # fmt: skip


def lines(
    series: Sequence[Series],
    frame: Frame,
    text: Text,
    *,
    x: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    top: float = 1.0,
    low: float = 0.0,
    x_name: str = "",
    notes: Sequence[str] = (),
) -> Markup:
    """A line chart from `low` to `top`: bands under lines, lines named where they end.

    `x` holds a label for every point and `notes` what the pointer shows there.
    """
    last = max(1, len(x) - 1)
    xs = [frame.across(i / last if len(x) > 1 else 0.5) for i in range(len(x))]

    def y(value: float) -> float:
        return frame.up(min(max((value - low) / (top - low), 0.0), 1.02))

    children = [*_grid(frame, ticks, y), *x_axis(frame, xs, x, x_name)]
    for draw in (_band, _line):
        for one in series:
            children += draw(one, xs, y)
    children += _labels(series, frame, xs, y)
    return svg(frame, text, [*children, *_hover(frame, xs, notes)], "lines")


def profiles(
    slots: Sequence[Sequence[Value]],
    frame: Frame,
    text: Text,
    *,
    x: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    top: float,
    notes: Sequence[str],
) -> Markup:
    """Short curves side by side, one to a slot, on one vertical scale: plateaus and steps."""
    wide = (frame.right_edge - frame.left) / max(1, len(slots))
    xs = [frame.left + (i + 0.5) * wide for i in range(len(slots))]
    most = max((len(slot) for slot in slots), default=1)

    def y(value: float) -> float:
        return frame.up(min(max(value / top, 0.0), 1.0))

    children = [*_grid(frame, ticks, y), *x_axis(frame, xs, x, "round")]
    for i, slot in enumerate(slots):
        step = 0.84 * wide / max(1, most - 1)
        places = [frame.left + (i + 0.08) * wide + j * step for j in range(len(slot))]
        children += _line(Series("share", slot), places, y)
        children.append(_hit(frame, frame.left + i * wide, wide, notes[i]))
    return svg(frame, text, children, "profiles")


def strip(values: Sequence[Value], text: Text) -> Markup:
    """A row of boxes, the fuller the higher the value: one conversation at a glance."""
    cell = 11
    frame = Frame(max(1, len(values)) * cell, cell + 3, 0, 0, 0, 0)
    marks: list[Markup] = []
    for i, value in enumerate(values):
        if value is None:
            continue
        tall = max(1.0, value * (cell + 3))
        marks.append(tag("rect", class_="back", x=i * cell, y=0, width=cell - 2, height=cell + 3))
        marks.append(
            tag("rect", class_="bar", x=i * cell, y=cell + 3 - tall, width=cell - 2, height=tall)
        )
    return svg(frame, text, marks, "strip")


def round_step(span: float, steps: int, least: float) -> float:
    """The least of 1, 2 and 5 times the powers of ten that covers a span in so many steps."""
    span = max(span, steps * least)
    power = 10.0 ** math.floor(math.log10(span / steps))
    return next(m * power for m in (1, 2, 5, 10) if steps * m * power >= span * (1 - 1e-9))


def ceiling_for(values: Iterable[Value]) -> tuple[float, list[float]]:
    """A round top for an axis from 0 and about five ticks up to it."""
    most = max((v for v in values if v is not None), default=0.0)
    step = round_step(most, 5, least=0.001)
    count = max(1, -int(-(most - 1e-9) // step))
    return count * step, [i * step for i in range(count + 1)]
