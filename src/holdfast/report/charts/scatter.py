"""Points with intervals in both directions, a front, and labels that do not overlap, as SVG.

Colour comes from the style sheet through classes, as in `chart`; shapes are drawn here,
so that groups differ without colour too. Points that are dominated are hollow.

This module knows pixels and numbers. It does not know what is being measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from holdfast.report.charts.chart import Frame, Text, path, round_step, svg, tag
from holdfast.report.charts.labels import Box, PointLabel, around, place

RADIUS = 5.0
TICKS = 6  # steps of an axis at most
NEAR = 3.0  # pixels; points that are nearer are one spot, with one label
# Corners by angle in degrees (0 is up) and radius in units of RADIUS, from a wish for equal area.
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "window": tuple((a, 1.25) for a in (45, 135, 225, 315)),
    "reminder": tuple((a, 1.3) for a in (0, 90, 180, 270)),
    "note": tuple((72 * i, 1.3) for i in range(5)),
    "auto": tuple((45 * i, 1.3 if i % 2 == 0 else 0.9) for i in range(8)),
    "guidance": tuple((a, 1.4) for a in (0, 120, 240)),
    "boost": tuple((a, 1.4) for a in (60, 180, 300)),
    "spotlight": tuple((a, 1.15) for a in (30, 90, 150, 210, 270, 330)),
    "restore": tuple((45 * i + 22.5, 1.2) for i in range(8)),
    "anchor": tuple((36 * i, 1.65 if i % 2 == 0 else 0.75) for i in range(10)),
    "joined": tuple(
        (90 * i + a, r) for i in range(4) for a, r in ((-17, 1.4), (17, 1.4), (45, 0.58))
    ),
}


@dataclass(frozen=True)
class Axis:
    """One direction: where it starts and ends, its ticks, and what it measures."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    name: str

    def share(self, value: float) -> float:
        """How far along the axis a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Point:
    """One point: its number, shape and classes, intervals, a label and what the pointer shows."""

    number: int
    x: float
    y: float
    shape: str
    kind: str
    label: str
    note: str
    key: str
    link: str
    x_span: tuple[float, float] | None = None
    y_span: tuple[float, float] | None = None
    rank: int = 0  # labels of lower rank find their places first


def axis(
    values: Iterable[float | None],
    name: str,
    write: Callable[[float], str],
    *,
    end: float = math.inf,
    least: float = 0.01,
) -> Axis:
    """An axis that holds the values with a little room, with a few ticks up to `end`.

    Ticks are at least `least` apart, so that `write` tells them apart.
    """
    there = [v for v in values if v is not None] or [0.0, 1.0]
    low, high = min(there), max(there)
    room = max(0.04 * (high - low), 0.02 * (abs(high) or 1.0), 0.01)
    low, high = low - room, high + room
    step = round_step(high - low, TICKS, least)
    first, last = math.ceil(low / step), math.floor(min(high, end) / step + 1e-9)
    ticks = tuple((i * step, write(i * step)) for i in range(first, last + 1))
    return Axis(low, high, ticks, name)


def scatter(
    points: Sequence[Point],
    frame: Frame,
    text: Text,
    x: Axis,
    y: Axis,
    front: Sequence[tuple[float, float]] = (),
) -> Markup:
    """The points on two axes, the front as a staircase from the left edge to the bottom."""
    at = [(frame.across(x.share(p.x)), frame.up(y.share(p.y))) for p in points]
    crosses = [_cross(p, frame, x, y) for p in points]
    steps = _staircase([(frame.across(x.share(a)), frame.up(y.share(b))) for a, b in front], frame)
    order = sorted(range(len(points)), key=lambda i: (points[i].rank, i))
    children = [*_axes(frame, x, y)]
    for i in reversed(order):
        children += [
            tag("path", class_=f"cross {points[i].kind}", d=path(bar), data_k=points[i].key)
            for bar in crosses[i]
        ]
    if steps:
        children.append(tag("path", class_="frontier", d=path(steps)))
    children += [_marker(points[i], *at[i]) for i in reversed(order)]
    soft = [_thin(bar) for bars in crosses for bar in bars]
    soft += [_thin([a, b]) for a, b in pairwise(steps)]
    children += _labels([points[i] for i in order], [at[i] for i in order], frame, soft)
    return svg(frame, text, children, "scatter")


def mark(shape: str, x: float, y: float, kind: str, size: float = 1.0) -> Markup:
    """A group's shape about a point; a circle where it has none of its own."""
    corners = SHAPES.get(shape)
    if corners is None:
        return tag("circle", class_=kind, cx=x, cy=y, r=RADIUS * size)
    ring = [
        (
            x + RADIUS * size * r * math.sin(math.radians(a)),
            y - RADIUS * size * r * math.cos(math.radians(a)),
        )
        for a, r in corners
    ]
    return tag("path", class_=kind, d=path(ring, closed=True))


def _axes(frame: Frame, x: Axis, y: Axis) -> list[Markup]:
    marks = []
    for value, label in y.ticks:
        at = frame.up(y.share(value))
        marks.append(tag("path", class_="rule", d=path([(frame.left, at), (frame.right_edge, at)])))
        marks.append(
            tag("text", label, class_="tick", x=frame.left - 8, y=at + 4, text_anchor="end")
        )
    for value, label in x.ticks:
        at = frame.across(x.share(value))
        marks.append(tag("path", class_="rule", d=path([(at, frame.top), (at, frame.bottom_edge)])))
        marks.append(
            tag("text", label, class_="tick", x=at, y=frame.bottom_edge + 17, text_anchor="middle")
        )
    marks.append(tag("text", y.name, class_="axis", x=0, y=12))
    marks.append(
        tag("text", x.name, class_="axis", x=frame.right_edge, y=frame.height - 4,
            text_anchor="end")
    )  # fmt: skip
    return marks


def _cross(point: Point, frame: Frame, x: Axis, y: Axis) -> list[list[tuple[float, float]]]:
    """The two interval bars, in pixels; a span that is missing has none."""
    at = frame.across(x.share(point.x)), frame.up(y.share(point.y))
    bars = []
    if point.x_span:
        bars.append([(frame.across(x.share(v)), at[1]) for v in point.x_span])
    if point.y_span:
        bars.append([(at[0], frame.up(y.share(v))) for v in point.y_span])
    return bars


def _staircase(corners: Sequence[tuple[float, float]], frame: Frame) -> list[tuple[float, float]]:
    """The edge of what the corners dominate: each is best to the right or above the next."""
    steps = sorted(set(corners))
    if not steps:
        return []
    line = [(frame.left, steps[0][1])]
    for here, after in zip(steps, [*steps[1:], None], strict=True):
        down = frame.bottom_edge if after is None else after[1]
        line += [here, (here[0], down)]
    return line


def _thin(bar: Sequence[tuple[float, float]]) -> Box:
    (a, b), (c, d) = bar[0], bar[-1]
    return Box(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1)


def _marker(point: Point, x: float, y: float) -> Markup:
    inside = [tag("title", point.note)]
    if _has_ring(point):
        inside.append(tag("circle", class_=f"halo {point.kind}", cx=x, cy=y, r=RADIUS * 2.3))
    inside.append(tag("circle", class_="hit", cx=x, cy=y, r=RADIUS * 2))
    inside.append(mark(point.shape, x, y, f"mark {point.kind}"))
    return tag("a", *inside, href=point.link, tabindex="-1", data_k=point.key)


def _has_ring(point: Point) -> bool:
    return "best" in point.kind.split()


def _labels(
    points: Sequence[Point],
    at: Sequence[tuple[float, float]],
    frame: Frame,
    soft: Sequence[Box],
) -> list[Markup]:
    spots = _spots(at)
    texts = [_label_text([points[i] for i in spot]) for spot in spots]
    places = [at[spot[0]] for spot in spots]
    labels = [
        PointLabel(x, y, 7.1 * len(s) + 4, 14.0) for s, (x, y) in zip(texts, places, strict=True)
    ]
    bounds = Box(frame.left + 1, frame.top - 4, frame.width - 2, frame.bottom_edge - 2)
    sizes = [2.4 if _has_ring(p) else 1.3 for p in points]
    obstacles = [around(x, y, RADIUS * size) for (x, y), size in zip(at, sizes, strict=True)]
    marks: list[Markup] = []
    for spot, text, box in zip(spots, texts, place(labels, bounds, obstacles, soft), strict=True):
        if box is None:
            continue
        point, (x, y) = points[spot[0]], at[spot[0]]
        near = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
        if math.dist((x, y), near) > 2 * RADIUS + 3:
            marks.append(tag("path", class_="leader", d=path([_edge((x, y), near), near])))
        marks.append(
            tag("text", text, class_=f"label {point.kind}", x=(box.left + box.right) / 2,
                y=box.bottom - 3, text_anchor="middle", data_k=point.key)
        )  # fmt: skip
    return marks


def _spots(at: Sequence[tuple[float, float]]) -> list[list[int]]:
    """Points by where they lie, those that cover each other together."""
    spots: list[list[int]] = []
    for i, here in enumerate(at):
        spot = next((s for s in spots if math.dist(at[s[0]], here) < NEAR), None)
        if spot is None:
            spots.append([i])
        else:
            spot.append(i)
    return spots


def _label_text(points: Sequence[Point]) -> str:
    """The label of a spot: the first one's name where it has one, and numbers."""
    has_name = points[0].label != str(points[0].number)
    numbers = ranges(sorted(p.number for p in points[has_name:]))
    return ", ".join([points[0].label] * has_name + numbers)


def ranges(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers as text, three and more in a row as "17–22"."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][-1] == n - 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return [
        text
        for run in runs
        for text in ([f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run))
    ]


def _edge(point: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Where a leader leaves the marker."""
    share = (RADIUS + 2) / (math.dist(point, towards) or 1.0)
    (x, y), (to_x, to_y) = point, towards
    return x + share * (to_x - x), y + share * (to_y - y)
