"""The words and facts that exercises are made of, split into those for training and for evaluation.

Every third entry of a list is kept for evaluation, so that what a model learns in training about
a town or a word is worth nothing there. Weekdays, months and colours are too few to split.

This module knows words. It knows no questions.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SHARED_LISTS = ("days", "months", "colours")
_FILE = Path(__file__).parents[1] / "data" / "exercises.toml"


@dataclass(frozen=True)
class LexiconFact:
    """A thing and what is asked about it."""

    kind: str
    """What sort of fact: capital, opposite, young, element."""
    ask: tuple[str, ...]
    """Ways to ask, with {x} in place of the thing."""
    thing: str
    """The thing."""
    forms: tuple[str, ...]
    """The answer, and other forms of it."""


@dataclass(frozen=True)
class Lexicon:
    """The words of a split, and a random number generator to draw them by."""

    split: str
    """`train` or `evaluation`."""
    rng: random.Random
    """Decides all draws."""

    def some(self, name: str, n: int) -> list[str]:
        """`n` different words of a list, in random order."""
        return self.rng.sample(_words(name, self.split), n)

    def one(self, name: str) -> str:
        """A word of a list."""
        return self.some(name, 1)[0]

    def place(self, n: int) -> int:
        """A place of `n`, of those in the split."""
        return self.rng.choice([i for i in range(n) if in_split(i, self.split)])

    def fact(self, level: int) -> LexiconFact:
        """A fact of a level: the kind first, each as likely, then the fact."""
        kind = self.rng.choice(sorted({one.kind for one in facts(level, self.split)}))
        return self.rng.choice([one for one in facts(level, self.split) if one.kind == kind])


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def in_split(i: int, split: str) -> bool:
    """Whether the i-th entry of a list is in a split."""
    return (i % 3 == 2) == (split == "evaluation")


@cache
def _words(name: str, split: str) -> list[str]:
    words: list[str] = _file()["words"][name]
    if name in SHARED_LISTS:
        return words
    # A word of several lists may be in either split: training leaves it out.
    other = _evaluation_words() if split == "train" else frozenset()
    return [word for i, word in enumerate(words) if in_split(i, split) and word not in other]


@cache
def _evaluation_words() -> frozenset[str]:
    """The words that are kept for evaluation in any list."""
    lists = [words for name, words in _file()["words"].items() if name not in SHARED_LISTS]
    return frozenset(w for words in lists for i, w in enumerate(words) if in_split(i, "evaluation"))


@cache
def facts(level: int, split: str) -> tuple[LexiconFact, ...]:
    """The facts of a level (1 to 3) in a split."""
    return tuple(
        LexiconFact(table["kind"], tuple(table["ask"]), thing, tuple(forms))
        for table in _file()["facts"]
        for i, (thing, *forms) in enumerate(table["levels"][level - 1])
        if in_split(i, split)
    )
