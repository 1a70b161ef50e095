"""A number with its parts behind it: "72 clips: 48 in April and 24 in May".

This module knows texts. It knows no gold answer.
"""

from __future__ import annotations

import re

from holdfast.evals.tasks.numbers import digits, plain
from holdfast.evals.tasks.numbers.number import Values

_PARTS = re.compile(r"[:(](?P<parts>[^:()\n]*)\)?\W*\Z")
_LONGEST = 200  # characters at the end of a text; a search of all would make many brackets slow


def find_total(text: str) -> Values:
    """The number before a colon or a bracket at the end of a text whose numbers add up to it.

    Empty where they do not, or where there is only one.
    """
    text = plain(text)
    match = _PARTS.search(text, max(0, len(text) - _LONGEST))
    parts = digits(match["parts"]) if match else []
    wholes = digits(text[: match.start()])[-1:] if match else []
    if not wholes or len(parts) < 2 or any(len(one.values) != 1 for one in parts):
        return frozenset()
    total = sum(next(iter(one.values)) for one in parts)
    return wholes[0].values if total in wholes[0].values else frozenset()
