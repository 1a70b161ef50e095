"""Whether a reply commits itself to one answer: no question, no hedge, no list of candidates.

This module knows texts. It knows nothing of what is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.evals.tasks.numbers import dates, digits, number, plain
from holdfast.evals.tasks.phrases import words
from holdfast.evals.tasks.statements import sentences

_FIGURE = r"([-−]?[$€£]?\d[\d.,]{0,30})"
OR = re.compile(
    rf"(?<![\d.,]){_FIGURE}\W{{0,3}}\s?(?:or|oder|ou)\s(?:maybe |perhaps )?\W{{0,3}}{_FIGURE}"
)
_LIST = re.compile(r"\d\s*(?:,(?!\d{3})\s*(?:and |or )?|;\s*|\s(?:and|or)\s)\s*[-−]?[$€£]?\d")
HEDGE = re.compile(
    r"(?i)\b(?:or (?:maybe|perhaps|possibly|else)|either|alternatively|one of|any of|"
    r"(?:could|might|may) (?:also )?be|maybe|perhaps|possibly)\b"
)
OR_ELSE = re.compile(r"(?i)[.!?…\n]\s*or\b")


def asks(text: str) -> bool:
    return text.rstrip(" *_\"'”’)").endswith("?")


def wavers(text: str, answer: str) -> bool:
    """Whether the last sentence with the answer (a pattern) is a question or hedges."""
    those = [one for one in sentences(text) if re.search(answer, one, re.IGNORECASE)]
    return bool(those) and (asks(those[-1]) or HEDGE.search(those[-1]) is not None)


def is_row(text: str) -> bool:
    """Whether a text, or a part of it, is a row of different numbers ("17 18", "17 / 18")."""
    bare = plain(text).strip()
    numerals = digits(bare)
    rest = _NUMERAL.sub("", bare)
    alone = len({one.values for one in numerals}) > 1 and not re.search(r"[^\W_]|[+*×÷·=^]", rest)
    return alone or _SIDE_BY_SIDE.search(bare.rpartition("=")[2]) is not None


_NUMERAL = re.compile(r"\d[\d.,]*")
# Neither a mixed number ("3 1/2") nor groups of thousands ("12 000").
_SIDE_BY_SIDE = re.compile(
    r"(?<![\d.,/])\d(?:[\d.,]*\d)?(?:\s+[/|]\s+|[ \t]+)(?!\d{3}(?!\d)|\d+/\d)\d"
)


_ROW = re.compile(r"\d[\d.,]*(?:[\s…]+\d[\d.,]*){3,}")  # numbers with blanks between


def is_hedged(text: str) -> bool:
    """Whether a text offers several numbers ("16, 17, 18", "17 or 18", "maybe")."""
    text = plain(text).rpartition("=")[2]
    is_list = _LIST.search(text) and not dates(text) and number(text.strip(" .$*")) is None
    return bool(is_list or _ROW.search(text) or OR.search(text) or HEDGE.search(text))


def is_heap(text: str, forms: Sequence[str]) -> bool:
    """Whether a text is nothing but names, too many to be one ("Paris Rome Berlin")."""
    statements = " ".join(one for one in sentences(text) if not asks(one))
    names = [one for one in re.findall(r"[^\W\d_]+", statements) if one not in ("No", "Yes")]
    most = max(len(words(form).split()) for form in forms) + 1
    return len(names) > most and not text.isupper() and all(one[0].isupper() for one in names)
