"""Where labels go beside points so that none covers another, or a point.

Each label tries places around its point, near ones first, and takes the one that
covers least of what may be covered (intervals, the front) and nothing of what may not
(labels and points). One that finds no place is left out: its number is in the table.

This module knows boxes. It does not know what they say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

REACH = (7.0, 11.0, 16.0, 22.0, 30.0, 40.0, 52.0, 66.0, 84.0)
ANGLES = tuple(math.radians(a) for a in (0, 315, 45, 270, 90, 180, 225, 135, 338, 22, 202, 158))


class Box(NamedTuple):
    """A rectangle by its edges, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def common_area(self, other: Box) -> float:
        """The area in both."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)

    def within(self, other: Box) -> bool:
        """Whether this one lies wholly in the other."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


class PointLabel(NamedTuple):
    """A label's point and its size."""

    x: float
    y: float
    width: float
    height: float


def around(x: float, y: float, radius: float) -> Box:
    """The square about a point."""
    return Box(x - radius, y - radius, x + radius, y + radius)


def place(
    labels: Sequence[PointLabel],
    bounds: Box,
    points: Sequence[Box] = (),
    soft: Sequence[Box] = (),
) -> list[Box | None]:
    """A box for each label, in the order of their importance; None where there is no room."""
    obstacles: list[Box] = []
    boxes: list[Box | None] = []
    for one in labels:
        box = _best(one, bounds, [*points, *obstacles], soft)
        boxes.append(box)
        if box is not None:
            obstacles.append(box)
    return boxes


def _best(one: PointLabel, bounds: Box, hard: Sequence[Box], soft: Sequence[Box]) -> Box | None:
    best, least = None, math.inf
    for reach in REACH:
        if reach >= least:
            break
        for turn, angle in enumerate(ANGLES):
            box = _at(one, reach, angle)
            cost = reach + 0.2 * turn
            if cost >= least or not box.within(bounds) or any(box.meets(h) for h in hard):
                continue
            cost += sum(0.12 * box.common_area(s) for s in soft)
            if cost < least:
                best, least = box, cost
    return best


def _at(one: PointLabel, reach: float, angle: float) -> Box:
    """The label's box with its nearest edge `reach` away from the point, in a direction."""
    across, down = math.cos(angle), math.sin(angle)
    x = one.x + reach * across + _lean(across) * one.width / 2
    y = one.y + reach * down + _lean(down) * one.height / 2
    return Box(x - one.width / 2, y - one.height / 2, x + one.width / 2, y + one.height / 2)


def _lean(part: float) -> float:
    return 0.0 if abs(part) < 0.3 else math.copysign(1.0, part)
