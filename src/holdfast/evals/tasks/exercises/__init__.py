"""Short questions of our own making with one right answer, for models of any size.

    extraction   which of several statements answers        copying    repeat words
    knowledge    capitals, opposites, young animals…        sorting    numbers and words
    arithmetic   one digit, two digits                      letters    first, last, how many
    dates        the next day, some days later              choice     a fact with options

Each category has three levels; a category of tasks is both ("extraction-2"), so that any model is
right some of the time somewhere. The same seed gives the same exercises. Words and facts of the
split "evaluation" never occur in "train" (`lexicon`).

This module knows no models and no personas.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.exercises.language import LANGUAGE
from holdfast.evals.tasks.exercises.lexicon import Lexicon
from holdfast.evals.tasks.exercises.numbers import NUMBERS
from holdfast.evals.tasks.questions import Question

LEVELS = (1, 2, 3)
EACH = 20
"""Exercises of each category and level by default: 480 in all, less where a kind has fewer."""
_TRIES = 30  # draws for each exercise, since small kinds repeat themselves


def exercises(n: int = EACH, seed: int = 0, split: str = "evaluation") -> Iterator[Question]:
    """Different exercises of every category and level.

    Args:
        n: Of each category and level at most; small kinds (the next month) have fewer.
        seed: Decides which.
        split: "train" or "evaluation": their words and facts are disjoint.
    """
    for category, generate in (LANGUAGE | NUMBERS).items():
        for level in LEVELS:
            rng = random.Random(seed_of("exercises", split, category, level, seed))
            lexicon, prompts = Lexicon(split, rng), set[str]()
            for _ in range(_TRIES * n):
                if len(prompts) == n:
                    break
                question = generate(lexicon, level)
                if question.prompt not in prompts:
                    prompts.add(question.prompt)
                    yield replace(question, kind=f"{category}-{level}")
