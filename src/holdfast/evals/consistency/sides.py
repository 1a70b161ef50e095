"""Which side of a log a line sounds like, learned from the log itself.

Both sides' lines of all other dialogues train a naive Bayes classifier over the words that a line
has, "you", "I" and question marks among them. A line of a user sounds like the assistant where its

    log-odds(line) = Σ over its words of log (share of the assistant's lines with the word /
                                              share of the user's lines with it)

reach what 95% of the assistant's lines reach. That is believed only where the sides differ: of the
lines that users open with, in which nobody has turned yet, 2% at most may sound so.

This module knows two lists of texts a dialogue. It knows no prompt and no language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FOUND_SHARE = 0.95
"""Share of the assistant's lines that must sound like the assistant."""
ALARMS = 0.02
"""Share of users' opening lines that may."""
FEWEST = 20
"""Dialogues from which on sides are learned."""
OPENING = 2
"""Lines of a user that are its opening."""


class Sides(NamedTuple):
    """The lines of a dialogue by side."""

    user: Sequence[str]
    """What the user said."""
    assistant: Sequence[str]
    """What the assistant said."""


def sounds_like_the_assistant(dialogues: Sequence[Sides]) -> list[list[bool]] | None:
    """Which lines of each dialogue's user sound like the assistant; None if unknown.

    Args:
        dialogues: the dialogues of one log.
    """
    if len(dialogues) < FEWEST:
        return None
    own = [(_LineCounts.of(one.user), _LineCounts.of(one.assistant)) for one in dialogues]
    whole = [_LineCounts.of([line for one in dialogues for line in one[side]]) for side in (0, 1)]
    users: list[list[float]] = []
    assistants: list[float] = []
    for one, left_out in zip(dialogues, own, strict=True):
        users.append([_odds(line, whole, left_out) for line in one.user])
        assistants += [_odds(line, whole, left_out) for line in one.assistant]
    bar = float(np.quantile(assistants, 1 - FOUND_SHARE))
    openings = [odds >= bar for own in users for odds in own[:OPENING]]
    if np.mean(openings) > ALARMS:
        return None
    return [[odds >= bar for odds in own] for own in users]


class _LineCounts(NamedTuple):
    """How many lines one side has, and how many of them have each word."""

    lines: int
    words: Counter[str]

    @classmethod
    def of(cls, lines: Sequence[str]) -> _LineCounts:
        return cls(len(lines), Counter(word for line in lines for word in _words(line)))


def _words(line: str) -> list[str]:
    """The different words of a line, in order: a sum over them is the same in every process."""
    return sorted(set(re.findall(r"[^\W\d_]+|\?", line.lower())))


def _odds(line: str, whole: Sequence[_LineCounts], left_out: Sequence[_LineCounts]) -> float:
    """The log-odds of a line by the sides of all dialogues but its own, which is left out."""
    user, assistant = (
        np.array([(every.words[word] - own.words[word] + 0.5) for word in _words(line)])
        / (every.lines - own.lines + 1)
        for every, own in zip(whole, left_out, strict=True)
    )
    return float(np.log(assistant / user).sum())
