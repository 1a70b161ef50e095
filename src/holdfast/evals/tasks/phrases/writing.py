"""Words as they are written: yes and no, shouts in capitals, words beside other scripts.

This module knows texts. It knows nothing of what is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from holdfast.evals.tasks.phrases import UNSPACED_SCRIPT, find_places, words

POLAR = frozenset({"yes", "no", "unknown", "true", "false", "none"})
"""Answers of one word that reasoning says as well."""


def read_polar(text: str) -> str | None:
    """The yes, no or unknown that a text ends with, else opens with, or None."""
    for part in (text, re.split(r"[,;:!?.—–]", text.strip(" .!?*_"))[0]):
        clause = words(part).split()
        if clause and clause[-1] in POLAR and not (len(clause) > 1 and clause[-2] == "not"):
            return clause[-1]
    clauses = [words(part).split() for part in re.split(r"[,;:!?.—–]", text)]
    for clause in [*reversed(clauses), *clauses]:
        if clause and clause[0] in POLAR and len(clause) == 1:
            return clause[0]
    opening = words(text).split()[:1]
    return opening[0] if opening and opening[0] in POLAR else None


_SCRIPT = UNSPACED_SCRIPT.pattern
_SCRIPT_EDGE = re.compile(rf"(?<={_SCRIPT})(?=[a-zA-Z])|(?<=[a-zA-Z])(?={_SCRIPT})")
_SHOUT = re.compile(r"\b[A-Z]{2,}\b")


def part_scripts(text: str, forms: Iterable[str]) -> str:
    """A text with a space between Latin and a script without spaces ("答えはParisです").

    It stays as it is where an answer has such a script itself.
    """
    return text if UNSPACED_SCRIPT.search("".join(forms)) else _SCRIPT_EDGE.sub(" ", text)


def calm(text: str, forms: Sequence[str]) -> str:
    """A text with its shouts in lower case ("Paris, SOLDIER!"), unless the answer is shouted."""
    shouted = any(text[one.start : one.end].isupper() for one in find_places(text, forms))
    return text if shouted else _SHOUT.sub(lambda shout: shout[0].lower(), text)
