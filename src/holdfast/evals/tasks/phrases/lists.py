"""Where a list stands in a text: "3, 5, 9" as "3, 5 and 9", or on lines with numbers.

A part of a longer list of numbers does not count ("3, 5, 9, 11"), nor does a list whose items go
on behind it ("3, 5, 9, 5, 3"): a reply that writes every order down has sorted nothing.

This module knows texts. It knows no tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast.evals.tasks.phrases.marks import NUMBERING

_WORD = re.compile(r"[^\W_]+")
_JOINING = frozenset(["and", "then", "first", "next", "last", "lastly", "finally"])
_GOES_ON = re.compile(r"[\s,;/|<>→&•*_-]+|\.")


class _Token(NamedTuple):
    text: str
    start: int
    end: int


def items(phrase: str) -> list[str]:
    """The items of a phrase that is a list of single words or numbers, else none."""
    parts = [part.strip().casefold() for part in phrase.split(",")]
    return parts if all(_WORD.fullmatch(part) for part in parts) else []


def list_places(text: str, entries: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The places where the items of a list follow each other, and none of their kind beside."""
    # The numbers of lines become blanks, so that every place stays where it is.
    text = NUMBERING.sub(lambda mark: " " * len(mark[0]), text)
    tokens, n = _tokens(text, _JOINING - set(entries)), len(entries)
    for i in range(len(tokens) - n + 1):
        some = tokens[i : i + n]
        if [token.text for token in some] != list(entries):
            continue
        gaps = [_gap(text, *pair) for pair in pairwise(some)]
        beside = [(one, _gap(text, one, some[0])) for one in tokens[max(0, i - 1) : i]]
        beside += [(one, _gap(text, some[-1], one)) for one in tokens[i + n : i + n + 1]]
        goes_on = any(
            _GOES_ON.fullmatch(gap)
            and ("\n" not in gap or "\n" in gaps[0])
            and _is_item(one.text, entries)
            for one, gap in beside
        )
        if "." not in gaps and not goes_on:
            yield some[0].start, some[-1].end


def _is_item(word: str, entries: Sequence[str]) -> bool:
    """Whether a word beside a list is of its kind: another number, or one of it again."""
    return word in entries or (word.isdigit() and all(item.isdigit() for item in entries))


def _tokens(text: str, joining: frozenset[str]) -> list[_Token]:
    """The words of a text without those that join items."""
    tokens = (_Token(m[0].casefold(), m.start(), m.end()) for m in _WORD.finditer(text))
    return [one for one in tokens if one.text not in joining]


def _gap(text: str, one: _Token, other: _Token) -> str:
    """What is between two words, without words that join them."""
    return _WORD.sub("", text[one.end : other.start])
