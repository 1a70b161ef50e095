"""What a judge is: text in, a number in [0, 1] and a reason out.

Judges are pure functions of the reply's text. They know neither the persona nor
the question, they use no network and no clock, and the same text always gets
the same score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from holdfast.core.errors import shorten


class Score(NamedTuple):
    """A judge's verdict: `value` in [0, 1], and `why` in words for the report."""

    value: float
    why: str


Judge = Callable[[str], Score]

EMPTY = Score(0.0, "the reply is empty")


def verdict(yes: bool, why: str, otherwise: str) -> Score:
    """1 with `why`, or 0 with `otherwise`."""
    return Score(1.0, why) if yes else Score(0.0, otherwise)


def share(part: int, whole: int, of: str, floor: float = 0.0) -> Score:
    """`part` out of `whole`, rescaled from [`floor`, 1]; 0 where there is nothing to count."""
    if whole == 0:
        return Score(0.0, f"no {of} to judge")
    return Score(max(0.0, part / whole - floor) / (1 - floor), f"{part} of {whole} {of}")


def score_within(count: float, low: float | None, high: float | None) -> float:
    """1 inside [low, high]; outside, 1 minus the relative distance to the bound, at least 0."""
    if low is not None and count < low:
        return max(0.0, 1.0 - (low - count) / max(abs(low), 1e-9))
    if high is not None and count > high:
        return max(0.0, 1.0 - (count - high) / max(abs(high), 1.0))
    return 1.0


def quote(text: str, limit: int = 40) -> str:
    """A short, one-line quotation of model output for a reason."""
    return f"“{shorten(text, limit)}”"


def guard(judge: Judge) -> Judge:
    """A judge that meets any string: surrogates replaced, empty text 0, value clipped."""

    def judge_safely(text: str) -> Score:
        clean = text.encode("utf-8", "replace").decode("utf-8")
        if not clean.strip():
            return EMPTY
        value, why = judge(clean)
        return Score(min(1.0, max(0.0, float(value))), why)

    return judge_safely
