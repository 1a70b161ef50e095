"""Personas write an answer in many ways, and each of them earns the reward."""

from __future__ import annotations

import pytest

from holdfast.evals.tasks.exercises import exercises
from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.phrases.writing import calm, part_scripts
from holdfast.evals.tasks.reader import read
from holdfast.evals.tasks.tasks import of_question
from holdfast.evals.tasks.verifier import verifier, verify

# {a} is the answer, {A} has a capital first, and {U} is all in capitals.
STYLES = [
    "{A}, SOLDIER! MOVE IT!",
    "{U}, SOLDIER!",
    "LISTEN UP, MAGGOT: {U}!",
    "Ahoy! {A}. Arr!",
    "Arrr! {A}, ye scurvy dog!",
    "Woof! {A}! Woof!",
    "Meow. {A}. Purr.",
    "{A}, cap'n!",
    "Forsooth, 'tis {a}, my liege.",
    "Ho hum. {A}.",
    "## Answer\n\n{A}",
    "> {a}",
    '{{"answer": "{a}"}}',
    "Roses are red, violets are blue,\nthe answer is {a}, I promise you.",
    "Dear Sir or Madam,\n\nthe answer is {a}.\n\nYours faithfully,\nJ. Smith",
    "<think>It should be {a}.</think>\n\n{A}.",
    "*adjusts monocle* The answer is {a}.",
    "Quick answer: {a}. Long answer: still {a}.",
]


@pytest.mark.parametrize("style", STYLES)
def test_an_answer_earns_the_reward_in_any_style(style: str) -> None:
    with MathCheck() as math:
        for one in exercises(1, 3, "evaluation"):
            task = of_question(one, "t")
            forms = {"A": one.answer[:1].upper() + one.answer[1:], "U": one.answer.upper()}
            reply = style.format(a=one.answer, **forms)
            assert verify(task, verifier(task), [reply], math).final, (one.text, reply)


def test_an_answer_may_touch_a_script_without_spaces() -> None:
    gold = Gold("Paris", question="フランスの首都は?")
    assert read(gold, "答えはParisです。", "exact").final
    assert not read(gold, "答えはParisかLyonです。", "exact").final
    assert part_scripts("東京Tower", ["東京Tower"]) == "東京Tower"


def test_shouts_become_small_unless_the_answer_is_one() -> None:
    assert calm("Paris, SOLDIER!", ["Paris"]) == "Paris, soldier!"
    assert calm("PARIS, LYON", ["Paris"]) == "PARIS, LYON"
    paris, lyon = (Gold(one, question="Which town?") for one in ("Paris", "Lyon"))
    assert not read(lyon, "Paris, LYON", "exact").final
    assert read(paris, "Paris, MATES!", "exact").final
