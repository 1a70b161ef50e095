"""A name that a reply says is another one commits it to neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.reader import read

CAPITALS = ("Paris", "Lyon", "Rome", "Madrid", "Oslo", "Lima", "Cairo", "Quito")


@given(
    st.permutations(CAPITALS),
    st.sampled_from(
        ["{} is {}.", "{} was {}!", "**{}** is **{}**.", "{} is actually {}.", "{}, I mean {}."]
    ),
)
def test_a_name_that_is_said_to_be_another_name_is_no_answer(names: list[str], frame: str) -> None:
    gold = Gold(names[0], question="What is the capital?")
    assert not read(gold, frame.format(*names), "exact").final


@pytest.mark.parametrize(
    ("answer", "question", "text"),
    [
        ("Paris", "What is the capital of France?", "Paris is French."),
        ("Paris", "What is the capital of France?", "Paris Is The Capital."),
        ("Paris", "What is the capital of France?", "Paris is Captain Flint's home."),
        ("Paris", "What is the capital of France?", "Paris, I mean it, captain."),
        ("Paris", "What is the capital of France?", "Paris, I mean business."),
        ("Bruce Wayne", "Who is Batman?", "Bruce Wayne is Batman."),
        ("Washington", "Who was the first president?", "Washington was President."),
    ],
)
def test_what_else_a_name_is_said_to_be_leaves_it_the_answer(
    answer: str, question: str, text: str
) -> None:
    assert read(Gold(answer, (), question), text, "exact").final


@pytest.mark.parametrize("sign", ["\\ne", "\\neq", ">", "\\ge", "<", "is not"])
def test_a_relation_that_is_no_equation_is_not_the_equation(sign: str) -> None:
    with MathCheck() as math:
        assert not read(Gold("x = 3"), f"x {sign} 3", "math", math).final
        assert read(Gold("x = 3"), f"x {sign} 2, so x = 3", "math", math).final
