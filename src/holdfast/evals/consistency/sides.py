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
    counts = [(_count(one.user), _count(one.assistant)) for one in dialogues]
    totals = tuple(sum((pair[side] for pair in counts), Counter[str]()) for side in (0, 1))
    sizes = tuple(sum(len(one[side]) for one in dialogues) for side in (0, 1))
    users: list[list[float]] = []
    assistants: list[float] = []
    for one, own in zip(dialogues, counts, strict=True):
        others = tuple(total - mine for total, mine in zip(totals, own, strict=True))
        rest = tuple(size - len(one[side]) for side, size in enumerate(sizes))
        users.append([_odds(line, others, rest) for line in one.user])
        assistants += [_odds(line, others, rest) for line in one.assistant]
    bar = float(np.quantile(assistants, 1 - FOUND_SHARE))
    openings = [odds >= bar for own in users for odds in own[:OPENING]]
    if np.mean(openings) > ALARMS:
        return None
    return [[odds >= bar for odds in own] for own in users]


def _count(lines: Sequence[str]) -> Counter[str]:
    """How many of the lines have each word."""
    return Counter(word for line in lines for word in _words(line))


def _words(line: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+|\?", line.lower()))


def _odds(line: str, others: Sequence[Counter[str]], sizes: Sequence[int]) -> float:
    user, assistant = (
        np.array([(counts[word] + 0.5) / (size + 1) for word in _words(line)])
        for counts, size in zip(others, sizes, strict=True)
    )
    return float(np.log(assistant / user).sum())
