"""Frames: whether a text says of another candidate what it says of the answer."""

from __future__ import annotations

import pytest

from holdfast.evals.tasks.phrases.frames import shares_frame

QUESTION = "What is the capital of Peru?"


@pytest.mark.parametrize(
    "text",
    [
        "I pick Lima. I pick Cusco.",
        "Lima is right. Cusco is right.",
        "I say Lima. I say Cusco today.",
        "Lima, Cusco",
        "Lima. Cusco.",
        "Lima near Cusco near Quito",
        "Guess 1: Lima\nGuess 2: Cusco",
    ],
)
def test_another_candidate_in_the_frame_of_an_answer_is_a_rival(text: str) -> None:
    assert shares_frame(text, ["Lima"], QUESTION)


@pytest.mark.parametrize(
    "text",
    [
        "It is Lima. It is a city.",
        "It is Lima. It is lovely.",
        "I pick Lima. I pick it gladly.",
        "Lima is the capital of Peru. Quito is that of Ecuador.",
        "Lima, matey!",
        "Cusco? Lima.",
        "Not Cusco. Lima.",
        "Lima. Meow!",
    ],
)
def test_what_is_no_candidate_is_no_rival(text: str) -> None:
    assert not shares_frame(text, ["Lima"], QUESTION)


def test_a_last_sentence_that_concludes_is_looked_at_alone() -> None:
    days = "Tuesday is day 8. Wednesday is day 9. Thursday is day 10."
    assert not shares_frame(f"{days} So it is Thursday.", ["Thursday"], "Which day is it?")
    assert shares_frame("I pick Tuesday. I pick Thursday.", ["Thursday"], "Which day is it?")
