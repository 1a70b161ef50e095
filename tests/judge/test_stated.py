"""Naming is not saying."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError
from holdfast.judge.stated import is_denied, is_set_aside


@pytest.mark.parametrize(
    "text",
    [
        "Not 4.17.1, I'd say.",
        "Neither 4.16 nor 4.17.1, please.",
        "Forget 4.17.1 and look again.",
        "It isn't 4.17.1 any more.",
        "4.17.1 doesn't exist.",
        "4.17.1 is wrong.",
    ],
)
def test_what_is_denied_is_set_aside_too(text: str) -> None:
    start = text.index("4.17.1")
    assert is_denied(text, start, start + 6) and is_set_aside(text, start, start + 6)


@pytest.mark.parametrize(
    "text",
    [
        "There's no basil in it.",
        "Without basil, it's better.",
        "Not salt or basil, whatever they say.",
        "If you taste basil, throw it out.",
        "Should it smell of basil, throw it out.",
        "Don't mistake it for basil.",
        "They say basil; they know nothing.",
        "Basil? No, chef.",
        "Basil is for other kitchens.",
    ],
)
def test_what_is_supposed_or_said_of_others_is_set_aside_and_not_denied(text: str) -> None:
    start = text.lower().index("basil")
    assert is_set_aside(text, start, start + 5)


@pytest.mark.parametrize(
    "text",
    [
        "Basil goes in last.",
        "No, it's basil.",
        "Not only basil, chef.",
        "If you ask me, basil.",
        "You should take basil.",
        "It's not easy. Basil it is.",
        "Basil, no doubt.",
        "Is it basil? Yes.",
    ],
)
def test_what_is_said_is_neither(text: str) -> None:
    start = text.lower().index("basil")
    assert not is_denied(text, start, start + 5) and not is_set_aside(text, start, start + 5)


def test_the_number_of_a_locker_is_no_denial() -> None:
    text = "Locker no 3816, past the showers."
    assert not is_set_aside(text, 10, 14)


def test_a_pattern_may_pass_over_what_is_not_stated() -> None:
    spec = {"name": "regex", "pattern": r"\b(?:green|blue) bins?\b"}
    statement = judge.build({**spec, "stated": True})
    assert statement("Put it into the green bin.").value == 1.0
    assert statement("Green bins are for other towns, and no blue bin either.").value == 0.0
    assert judge.build(spec)("Green bins are for other towns.").value == 1.0
    with pytest.raises(JudgeError, match="“stated” goes with mode “search” only"):
        judge.build({**spec, "stated": True, "mode": "full"})
