"""Pairs of answers of which everybody knows the better one: can this judge judge at all?

A small model that compares its own answers names one letter whatever stands there, or TIE always,
and its verdicts train the gate on noise. So before it decides anything a judge compares these, in
both orders, and one that fails them is refused.

This module knows a judge and fixed texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.core.backend import Ask, Backend
from holdfast.core.errors import ModelError
from holdfast.results.training.prism import ControlVerdicts
from holdfast.training.prism.comparisons import GREEDY, comparing_chat, parse_choice

LEAST = 0.8
"""Share of pairs that must be judged right in both orders: at chance a quarter is."""


class ControlPair(NamedTuple):
    """A question with a right answer and a wrong one."""

    question: str
    right: str
    wrong: str


PAIRS = (
    ControlPair("What is 2 + 3?", "2 + 3 is 5.", "2 + 3 is 9."),
    ControlPair("What is the capital of France?", "It is Paris.", "It is Berlin."),
    ControlPair("Which day comes after Monday?", "Tuesday.", "Friday."),
    ControlPair("How many legs does a dog have?", "A dog has four legs.", "A dog has two legs."),
    ControlPair("Is ice hot or cold?", "Ice is cold.", "Ice is hot."),
    ControlPair(
        "Write a sentence about rain.",
        "The rain tapped on the roof all night.",
        "I will not do that, go away.",
    ),
    ControlPair(
        "Explain in one sentence why we sleep.",
        "We sleep so that the body can rest and the brain can sort what it has learned.",
        "Bananas bananas bananas bananas.",
    ),
    ControlPair("What colour is grass?", "Grass is green.", "Grass is made of iron and is blue."),
    ControlPair(
        "How do I boil an egg?",
        "Put it into boiling water for about eight minutes, then cool it under the tap.",
        "Throw it out of the window and wait for a year.",
    ),
    ControlPair("What is the opposite of big?", "Small.", "Purple."),
)


def try_judge(judge: Backend) -> ControlVerdicts:
    """Have a judge compare every pair in both orders.

    Returns:
        What it said. The right answer stands first in the first of two orders.
    """
    asks = [
        Ask(comparing_chat(pair.question, *order), 0, keep=False)
        for pair in PAIRS
        for order in ((pair.right, pair.wrong), (pair.wrong, pair.right))
    ]
    choices = [parse_choice(reply.text) for reply in judge.reply(asks, GREEDY)]
    both = list(zip(choices[::2], choices[1::2], strict=True))
    return ControlVerdicts(
        judge=judge.name,
        pairs=len(PAIRS),
        right=sum(one == ("A", "B") for one in both),
        ties=sum("TIE" in one for one in both),
        one_place=positions(both),
        unparsed=sum(None in one for one in both),
    )


def check_judge(verdicts: ControlVerdicts) -> None:
    """Refuse a judge that fails the control pairs.

    Raises:
        ModelError: Too few pairs were judged right in both orders; it says what went wrong.
    """
    if verdicts.right >= LEAST * verdicts.pairs:
        return
    raise ModelError(
        f"{verdicts.judge} cannot judge: of {verdicts.pairs} pairs with a known answer it judged "
        f"{verdicts.right} right in both orders ({verdicts.one_place} went to one place whatever "
        f"stood there, {verdicts.ties} were ties, {verdicts.unparsed} said neither A, B nor TIE). "
        "Name a better judge with `judge_model`, or take queries with a right answer: "
        "`tasks` exercises:train."
    )


def positions(choices: Sequence[tuple[str | None, ...] | None]) -> int:
    """How many comparisons named one place in both orders."""
    return sum(one in (("A", "A"), ("B", "B")) for one in choices)
