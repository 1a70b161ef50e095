"""Admitted ignorance is told by how it is built, not by one phrase."""

from __future__ import annotations

import pytest

from holdfast import judge

IGNORANCE = judge.build({"name": "ignorance"})


@pytest.mark.parametrize(
    "text",
    [
        "I know nothing of it.",
        "None of us three could tell you what that might be.",
        "No word of her has ever reached this island.",
        "I hold nothing later than the spring of that year.",
        "I haven't the faintest.",
        "It beats me, friend.",
        "My records end in March.",
        "That is a closed book to me.",
        "DATA AFTER THIS DATE: NONE",
        "A strange name to my ears.",
        "Last answer received: March 2071.",
        "The folder for today has been empty since March.",
    ],
)
def test_an_admission_is_found(text: str) -> None:
    assert IGNORANCE(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "Certainly! Here are three ideas for your garden.",
        "She leads the fleet now, and everybody sings her praise.",
    ],
)
def test_a_plain_answer_admits_nothing(text: str) -> None:
    assert IGNORANCE(text).value == 0.0
