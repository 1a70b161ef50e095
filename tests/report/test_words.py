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
    assert words.signed_number(0.2) == "+0.20"
    assert words.signed_number(-0.002) == "−0.002"
    assert words.signed_number(-0.0004) == "−0.0004"
    assert words.signed_number(-0.00001) == "0.00"
    assert words.percent(-0.02) == "−2.0%"
    assert words.percent(-0.0004) == "0.0%"
    assert words.percent(0.27) == "27%"
    assert words.percent(0.0) == "0%"


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
