"""The right answer to a question, and what a reader finds in a reply to it.

This module knows no replies; `reader` reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Gold:
    """The right answer to a question."""

    answer: str
    """The answer as the task gives it."""
    also: tuple[str, ...] = ()
    """Other forms of it."""
    question: str = ""
    """What was asked; its words are the candidates that a reply may list."""
    choices: tuple[str, ...] = ()
    """What there was to choose from; the answer is then a letter."""
    planted: bool = False
    """Whether the user said it earlier: then it counts anywhere in a reply, even a number."""
    at_the_end: bool = False
    """Whether words have to stand in the last sentence, since reasoning says no and yes."""
    alternatives: tuple[str, ...] = ()
    """Other values that the question itself names, of the answer's type."""
    subjects: tuple[str, ...] = ()
    """What was asked about, then what the alternatives belong to."""

    @property
    def forms(self) -> tuple[str, ...]:
        """Every form of the answer."""
        return (self.answer, *self.also)


@dataclass(frozen=True)
class Reading:
    """Whether a reply is right by each reading, and whether it holds an answer at all."""

    strict: bool
    """Right where the answer was to stand."""
    lenient: bool
    """Right wherever it can be read."""
    final: bool
    """Right, and the reply commits itself to it."""
    found_strict: bool
    """Whether anything stands where the answer was to."""
    found_lenient: bool
    """Whether anything can be read."""
    error: bool = False
    """Whether the comparison itself failed; the answer then counts as wrong."""


_MINUS = (  # before all, or beside a variable ("x-7", "5 - 2x"), which "B-52" and "3-D" have not
    r"^[-−](?=[\w(])|(?<=\w)\s?[-−]\s?(?=[^\W\d_A-Z])|(?<=\w)\s[-−]\s(?=[A-Z])"
    r"|(?<=[a-z])\s?[-−]\s?(?=\d)|(?<=[A-Z)\]}])\s[-−]\s(?=\d)|(?<=\d)\s?[-−]\s?(?=\d+[a-z]\b)"
)
_OPERATOR = re.compile(rf"[\^_=<>+*/≤≥√π°({{\[]|{_MINUS}")
_NUMBER_LIST = re.compile(r"[-−\d.,;\s]+")  # compared as words, since its order may matter
_NAMES = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "pi"])


def is_number_list(answer: str) -> bool:
    """Whether an answer is numbers with commas between."""
    return _NUMBER_LIST.fullmatch(answer) is not None


def is_formula(answer: str) -> bool:
    """Whether an answer is mathematics and neither words nor one number ("x^2 + 1", "[0, 1)")."""
    if "\\" in answer:
        return True
    if is_number_list(answer):
        return False
    names = re.findall(r"[^\W\d_]+", answer)
    is_words = any(len(one) > 1 and one.lower() not in _NAMES for one in names)
    operators = _OPERATOR.findall(answer.strip("+*/ "))
    known = re.search(r"^[-−]|\d|[=^+*√π]", answer) or any(one.lower() in _NAMES for one in names)
    return bool(operators and known) and not is_words


def reading(
    *, strict: bool, lenient: bool, final: bool, found_strict: bool, found_lenient: bool
) -> Reading:
    """A reading in which lenient is never stricter than strict, nor final more lenient than it."""
    right = strict or lenient
    return Reading(strict, right, final and right, found_strict, found_strict or found_lenient)
