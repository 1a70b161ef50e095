"""The symbols of a phrase that are no punctuation: a sign, a decimal point, the + of "A+".

Words are compared without what stands between them, so that "-5 degrees" were "5 degrees", C++ C
and a+b a-b. Hyphens between words, quotes, commas and emphasis remain nothing.

This module knows two texts. It knows no tasks.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")
_LONE = r"[^\W\d_](?![^\W_])"  # a letter of its own: a variable, a grade
_SIGN = re.compile(rf"(?:(?<![\w)\]}}])[-−]|[±¬√])[$€£]?(?=\d|{_LONE})")
_SIGN_IN_WORDS = re.compile(r"(?i)\b(?:minus|negative)\s(?=\d)")
_SUFFIX = re.compile(r"(?<=[^\W\d_])(?:\+{1,2}|#)|(?<![^\W_]{3})(?<=[^\W\d_])[-−](?![\w-])")
_INNER = re.compile(
    r"[+<>=^±×÷√≤≥≠¬]"
    r"|(?<=\d)[./](?=\d)"
    rf"|(?<![^\W_]{{2}})(?<=[^\W\d_])\s?[-−/]\s?(?={_LONE})"
)
_CHAIN = re.compile(r"(?<!\d)\d+(?:[./-]\d+){2,}")  # a date, a version
_ARROW = re.compile(r"(?<![-=])[-=]+>")


def has_same_symbols(phrase: str, text: str, start: int, end: int) -> bool:
    """Whether a place where the words of a phrase stand has the symbols of the phrase, too."""
    places = list(_WORD.finditer(phrase))
    if not places:
        return phrase.strip() == text[start:end].strip()
    first, last = places[0].start(), places[-1].end()
    inner, place = phrase[first:last], text[start:end]
    # "1,5" is 1.5, and a point where the phrase has none is another way to write it ("17.05").
    has_point = re.search(r"\d\.\d", inner) is not None
    place = re.sub(r"(?<=\d)[.,](?=\d)", "." if has_point else " ", place)
    return (
        signs(phrase, first, last) == signs(text, start, end)
        and _inner_symbols(inner) == _inner_symbols(place)
        and _suffix(phrase, last) == _suffix(text, end)
    )


def signs(text: str, start: int, end: int) -> list[int]:
    """Which words of a place have a sign before them."""
    before = max(0, start - 10)
    around = text[before:end]
    ends = {one.end() + before for p in (_SIGN, _SIGN_IN_WORDS) for one in p.finditer(around)}
    words = _WORD.finditer(text, start, end)
    return [i for i, word in enumerate(words) if word.start() in ends]


def _inner_symbols(text: str) -> list[str]:
    marks = _INNER.findall(_CHAIN.sub("0", _ARROW.sub(" ", text)))
    return [mark.strip().replace("−", "-") for mark in marks]


def _suffix(text: str, end: int) -> str:
    match = _SUFFIX.match(text, end)
    return match[0].replace("−", "-") if match else ""
