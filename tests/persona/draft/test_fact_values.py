"""Values of facts, with other ways to write them."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.persona.draft.drafting import draft
from holdfast.persona.draft.fact_values import values


@pytest.mark.parametrize(
    ("number", "replies"),
    [
        (
            "+49 40 5550123",
            ["+49405550123", "+49 40 555 01 23", "0049 40 5550123", "040 5550123", "040/555-0123"],
        ),
        ("+49 (0)40 5550123", ["+49405550123", "+49 (0)40 5550123", "040 5550123"]),
        ("(555) 123-4567", ["(555) 123-4567", "555-123-4567", "555 123 4567", "5551234567"]),
        ("555-0199", ["555-0199", "5550199", "555 0199"]),
        ("0800 123456", ["0800123456", "0800 12 34 56"]),
    ],
)
def test_a_phone_number_may_be_written_in_other_groups(number: str, replies: list[str]) -> None:
    (one,) = draft(f"The phone number is {number}.").demands
    score = judge.build(one.judge)
    assert [score(f"It's {reply}.").value for reply in replies] == [1.0] * len(replies)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert score(f"It's {wrong}.").value == 0
    assert score("It's 49 am, 40 am or 49:00.").value == 0


@pytest.mark.parametrize(
    "text", ["01/05/2024", "2024-05-01", "08 00 - 17 00", "9:00 to 17:00", "0412"]
)
def test_a_date_or_an_hour_is_no_phone_number(text: str) -> None:
    assert all(len(one[0]) <= 5 for one in values(text))


def test_a_number_above_24_is_no_hour() -> None:
    assert values("49 euros") == [["49"]]
    assert "9 am" in values("Monday, from 9")[0]
