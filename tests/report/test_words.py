"""Numbers and counts are written as print has them."""

from __future__ import annotations

import math

import pytest

from holdfast.report import words


def test_numbers_have_a_true_minus_and_no_negative_zero() -> None:
    assert words.number(-0.31) == "−0.31"
    assert words.number(-0.001) == "0.00"
    assert words.number(-0.004, 3) == "−0.004" and words.number(-0.0004, 3) == "0.000"
    assert words.number(math.nan) == words.number(None) == "–"
    assert words.percent(-0.02) == "−2.0%"
    assert words.percent(-0.0004) == "0.0%"
    assert words.percent(0.27) == "27%"
    assert words.percent(0.0) == "0%"


def test_only_ends_of_intervals_and_changes_whose_interval_excludes_0_have_more_decimals() -> None:
    assert words.signed_number(0.2) == "+0.20"
    assert words.signed_number(-0.0001) == "0.00"
    assert words.signed_number(-0.0001, (-0.35, 0.35)) == "0.00"
    assert words.signed_number(-0.002, (-0.004, -0.0001)) == "−0.002"
    assert words.signed_number(-0.00001, (-0.4, -0.00001)) == "0.00"
    assert words.signed_number(0.04, (0.01, 0.9), places=1) == "+0.04"
    assert words.signed_number(0.04, (None, None), places=1) == "0.0"
    assert words.signed_number(math.nan, (-1, 1)) == words.signed_end(None) == "–"
    assert words.signed_span((-0.0004, 0.0)) == "−0.0004 to 0.00"
    assert words.signed_end(-0.0498, apart=(0.0, -0.05)) == "−0.0498"
    assert words.signed_ascii(-0.0001, (-0.35, 0.35)) == "+0.00 [-0.35, +0.35]"
    assert words.signed_ascii(0.0041, (0.0002, 0.35)) == "+0.004 [+0.0002, +0.35]"


@pytest.mark.parametrize(
    ("scores", "cut", "expected"),
    [
        ([0.0, 0.01, None], 0.0, "next to none"),
        ([1.0, 0.99], 0.0, "next to all"),
        ([0.4, 0.6], 0.3, "cut 30% of the replies"),
        ([0.0, 0.3], 0.1, None),
        ([], 0.0, None),
    ],
)
def test_zeros_ones_and_cut_replies_conclude_nothing(
    scores: list[float | None], cut: float, expected: str | None
) -> None:
    why = words.inconclusive(scores, cut)
    assert why is None if expected is None else why is not None and expected in why


def test_a_quantity_has_its_plural() -> None:
    assert [words.quantity(n, "reply") for n in (0, 1, 2)] == ["0 replies", "1 reply", "2 replies"]
    assert words.quantity(1200, "day") == "1,200 days"
