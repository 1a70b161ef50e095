"""Symbols in answers that are read as words, and which answers are formulas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.evals.tasks.gold import Gold, is_formula
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.reader import read


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("-5 degrees", "5 degrees"),
        ("5 degrees", "-5 degrees"),
        ("5 degrees", "minus 5 degrees"),
        ("-2,1", "\\boxed{2,1}"),
        ("3, -4", "3, 4"),
        ("1, 2, 3", "1, -2, 3"),
        ("a-b", "a+b"),
        ("a < b", "a > b"),
        ("10 - 20", "10 + 20"),
        ("C++", "C"),
        ("C", "C#"),
        ("A+", "A"),
        ("A-", "A+"),
        ("O", "O-"),
        ("1.5 L", "1 5 L"),
        ("1/2 cup", "1 2 cup"),
        (">", "<"),
        (">", "\\boxed{>=}"),
    ],
)
def test_words_with_other_symbols_are_another_answer(answer: str, reply: str) -> None:
    reading = read(Gold(answer), reply, "exact")
    assert not (reading.strict or reading.lenient or reading.final)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("-5 degrees", "It is −5 degrees."),
        ("-5 degrees", "minus 5 degrees"),
        ("$-5 million", "**-$5 million**"),
        ("5 apples", "She has 3 + 2 = 5 apples."),
        ("3, -4", "The roots are 3, -4."),
        ("3, 5, 9", "3 < 5 < 9"),
        ("C++", "**C++**"),
        ("C#", "The language is C#."),
        ("A-", "I give it an A-"),
        ("B", "B - an oak"),
        ("1.5 L", "1,5 L"),
        ("2025-06-20", "2025.06.20"),
        ("S-90", "S90"),
        ("Spider-Man", "Spider Man"),
        ("and/or", "The words are and/or"),
        (">", "The sign is >."),
    ],
)
def test_punctuation_and_emphasis_are_no_symbols(answer: str, reply: str) -> None:
    assert read(Gold(answer), reply, "exact").final


def test_a_reply_that_ends_with_an_unfinished_sum_is_cut() -> None:
    assert not read(Gold("C"), "The answer is C +", "exact").final


def test_a_sign_makes_a_formula_beside_a_variable_alone() -> None:
    formulas = ["-x", "-3x", "2x - 3", "5 - 2x", "6-5i", "x-7", "X - 7", "-(a-b)"]
    names = ["A+", "B-52", "T-shirt", "8-5", "2020-21", "-5 degrees", "-2, 1, 3", "O-", "3-D"]
    assert [one for one in formulas + names if is_formula(one)] == formulas


@pytest.fixture(scope="module")
def math() -> Iterator[MathCheck]:
    pytest.importorskip("math_verify", reason="math-verify is not installed")
    with MathCheck(limit=60) as checker:
        yield checker


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        ("-x", "-x", "x"),
        ("2x - 3", "\\boxed{-3+2x}", "\\boxed{2x+3}"),
        ("x-7", "The factor is x-7.", "The factor is x/7."),
        ("a+b", "\\boxed{b+a}", "\\boxed{a-b}"),
        ("\\alpha+\\beta", "\\boxed{\\alpha+\\beta}", "\\boxed{\\alpha-\\beta}"),
        ("2x-3", "\\boxed{2x-3}", "\\boxed{2x+3}. No: \\boxed{2x-3}"),
    ],
)
def test_a_formula_is_right_with_its_own_signs_alone(
    answer: str, right: str, wrong: str, math: MathCheck
) -> None:
    assert read(Gold(answer), right, "math", math).final
    assert not read(Gold(answer), wrong, "math", math).final
