"""Numbers as people say them: "two hundred and five", "two-oh-five", "thirty take away one".

One scanner finds the numbers of a text, in words or digits. `write_digits` writes those that stand
side by side, without knowing what they are for. Spoken numbers are ambiguous, however:
"three, eight, one, six" is a locker or a list. So where values are wanted, `write_values` looks for
the ways to say each of them, and writes it:

    piece by piece   "three eight one six", "Three... eight... one... six", "thirty-eight, sixteen"
    with its marks   "four seventeen two" and "four dot seventeen dot two" for 4.17.2
    behind letters   "N eighty-three", "K-X five five nine oh"
    as a sum         "thirty take away one", "one short of thirty", "nine and twenty"

Pieces belong together while the marks between them are alike, so that "3, 8, 1, 6, 4" is not 3816
and "209, 417" are two numbers. English only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {name: n for n, name in enumerate(_UNITS.split())} | {
    name: 10 * n for n, name in enumerate(_TENS.split(), start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_SCALE = "|".join(_SCALES)
_NUMBER_WORD = "|".join(sorted([*_VALUES, *_SCALES, "oh"], key=len, reverse=True))
_STEMS = (
    "four fif six seven eigh nin ten eleven twelf thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ORDINALS = {"first": "1st", "second": "2nd", "third": "3rd"} | {
    f"{stem}th": f"{n}th" for n, stem in enumerate(_STEMS.split(), start=4)
}
Span = tuple[int, int, tuple[str, ...]]
"""Start, end and the digits of each number."""
_ORDINAL = re.compile(rf"\b(?:{'|'.join(_ORDINALS)})\b", re.IGNORECASE)


def write_digits(text: str) -> str:
    """The text with number words as digits; single digits in a row make one number."""
    text = _ORDINAL.sub(lambda match: _ORDINALS[match.group().lower()], text)
    out, end = [], 0
    for start, stop, digits in number_words(text):
        year = len(digits) == 2 and len(digits[0]) > 1  # "twenty seventy-one"
        separator = "" if year or all(len(one) == 1 for one in digits) else " "
        out += [text[end:start], separator.join(digits)]
        end = stop
    return "".join([*out, text[end:]])


def number_words(text: str) -> Iterator[Span]:
    """Where number words stand side by side, and the digits of each number among them."""
    for run in _bind(text, [(piece,) for piece in _pieces(text) if piece.last], _beside):
        start, end = run[0].start, run[-1].end
        if text[start : run[0].end].lower() != "oh":
            yield start, end, tuple(piece.digits for piece in run)


@dataclass(frozen=True)
class _NumberPiece:
    """A number at [start, end) of a text."""

    digits: str
    start: int
    end: int
    last: float = 0.0
    """The last number word, infinite after "hundred"; 0 for digits, which no word goes on with."""


_PIECE = re.compile(
    rf"(?<!\w)(?:(?P<twice>double[ -])?(?P<word>{_NUMBER_WORD}|a(?= (?:{_SCALE})\b))(?!\w)|"
    r"(?P<digits>\d{1,20}))|(?P<digits_after>(?<=[a-z])\d{1,20})",
    re.IGNORECASE,
)
_LONGEST_GAP = 24
# What stands between pieces that are said in one breath, and what a list has between its items.
_TIGHT = re.compile(
    r"[ .,:/-]|\.?:? ?(?:dot|point) | ?(?:euros?|pounds?|dollars?|francs?|[€£$]) (?:and )?",
    re.IGNORECASE,
)
_LOOSE = re.compile(r"\s*(?P<mark>[,;.:/·–—-]|\.{2,3}|…)?\s*(?:(?:and )?then )?\s*", re.IGNORECASE)
_LESS = re.compile(r"\W{1,2}(?:minus|less|take away|taking away)\W{1,2}", re.IGNORECASE)
_MORE = re.compile(r"\W{1,2}plus\W{1,2}", re.IGNORECASE)
_SHORT_OF = re.compile(
    r" (?:less than|fewer than|short of|shy of|under|below|before|off) ", re.IGNORECASE
)
_PAST = re.compile(r" (?:more than|above|over|after) ", re.IGNORECASE)
_FEW = 4
_CODE = re.compile(r"([a-z]{1,3})?[ -]?(\d[\d.,:/-]*)", re.IGNORECASE)
_MOST_DIGITS = 20


def write_values(text: str, values: Sequence[str]) -> str:
    """The text with every value written as it is where the text says it in pieces or as a sum.

    Args:
        text: a reply.
        values: "3816", "4.17.2", "9:40", "N83"; what is no number, with up to three letters
            before it, is passed over.

    Returns:
        The text; what says none of the values stays as it was.
    """
    codes = [(match, value) for value in values if (match := _CODE.fullmatch(value))]
    by_digits = {tuple(re.findall(r"\d+", match[2])): (match[1], value) for match, value in codes}
    if not by_digits:
        return text
    pieces = _pieces(text)
    spans = [*_runs(text, pieces), *_sums(text, pieces)]
    out, end = [], 0
    for start, stop, groups in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start < end or not (entry := _find_value(groups, by_digits)):
            continue
        letters, value = entry
        if letters:
            letter_pattern = r"[ .-]?".join(letters) + r"[ .-]?$"
            code = re.search(
                rf"(?<![^\W_]){letter_pattern}", text[max(end, start - 8) : start], re.I
            )
            if not code:
                continue
            start -= len(code.group())
        out += [text[end:start], value]
        end = stop
    return "".join([*out, text[end:]])


def _find_value(
    groups: tuple[str, ...], by_digits: dict[tuple[str, ...], tuple[str | None, str]]
) -> tuple[str | None, str] | None:
    """The value that groups of digits are: alike group by group, or together one number."""
    return by_digits.get(groups) or by_digits.get(("".join(groups),))


def _pieces(text: str) -> list[_NumberPiece]:
    """The numbers of a text, in words or digits."""
    pieces: list[_NumberPiece] = []
    for match in _PIECE.finditer(text):
        start, end = match.span()
        if not match["word"]:
            pieces.append(_NumberPiece(match.group(), start, end))
            continue
        word = match["word"].lower()
        before = pieces[-1] if pieces and pieces[-1].end >= start - _LONGEST_GAP else None
        gap = text[before.end : start].lower() if before else None
        if match["twice"] and _VALUES.get(word, 10) < 10:
            pieces.append(_NumberPiece(2 * str(_VALUES[word]), start, end))
        elif word == "oh":
            if gap is not None and (_TIGHT.fullmatch(gap) or _LOOSE.fullmatch(gap)):
                pieces.append(_NumberPiece("0", start, end, 1.0))
        elif before and (piece := _join(before, word, gap or "", end)):
            pieces[-1] = piece
        elif word in _VALUES or word == "a":
            value = _VALUES.get(word, 1)
            pieces.append(_NumberPiece(str(value), start, end, value or 1.0))
    return pieces


def _join(before: _NumberPiece, word: str, gap: str, end: int) -> _NumberPiece | None:
    """A number that goes on with another word, None where the word starts a new one."""
    adjacent = gap in (" ", "-", "")
    if not before.last or len(before.digits) > _MOST_DIGITS:
        return None
    number = int(before.digits)
    if word in _SCALES:
        if not adjacent:
            return None
        size = _SCALES[word]
        low = number % 1000 if size == 100 else number
        number = number - low + max(low, 1) * size
        return replace(before, digits=str(number), end=end, last=math.inf)
    value = _VALUES.get(word)
    if value is None:
        return None
    tens_and_unit = adjacent and 20 <= before.last < math.inf and 0 < value < 10
    after_a_scale = before.last == math.inf and (
        adjacent or gap.strip(" -") == "and" or (gap == ", " and number % 1000 == 0)
    )
    # "nine and twenty"
    unit_and_tens = gap.strip(" -") == "and" and number == before.last < 10 and value >= 20
    if not (tens_and_unit or after_a_scale or unit_and_tens):
        return None
    return replace(before, digits=str(number + value), end=end, last=float(value))


def _runs(text: str, pieces: Sequence[_NumberPiece]) -> Iterator[Span]:
    """Numbers that are said together: in one breath, or one by one with the same mark between."""
    tight = list(_bind(text, [(piece,) for piece in pieces], _breath))
    for run in (*tight, *_bind(text, tight, _mark)):
        yield run[0].start, run[-1].end, tuple(piece.digits for piece in run)


def _bind(
    text: str, runs: Sequence[tuple[_NumberPiece, ...]], kind: Callable[[str], str | None]
) -> Iterator[tuple[_NumberPiece, ...]]:
    """Neighbours as one run, as long as the kind of gap between them stays the same."""
    open_run: list[_NumberPiece] = []
    last: str | None = None
    for run in runs:
        gap = text[open_run[-1].end : run[0].start] if open_run else ""
        this = kind(gap) if open_run and len(gap) <= _LONGEST_GAP else None
        if open_run and (this is None or last not in (None, this)):
            yield tuple(open_run)
            open_run = []
            this = None
        open_run += run
        last = this
    if open_run:
        yield tuple(open_run)


def _breath(gap: str) -> str | None:
    return "" if _TIGHT.fullmatch(gap) else None


def _beside(gap: str) -> str | None:
    return "" if gap in (" ", "-") else None


def _mark(gap: str) -> str | None:
    match = _LOOSE.fullmatch(gap)
    if not match:
        return None
    mark = match["mark"] or " "
    return "…" if mark in ("..", "...") else mark


def _sums(text: str, pieces: Sequence[_NumberPiece]) -> Iterator[Span]:
    """Two numbers with "minus", "plus", "short of" … between them, and what they make."""
    for one, other in pairwise(pieces):
        gap = text[one.end : other.start]
        if len(gap) > _LONGEST_GAP:
            continue
        a, b = int(one.digits), int(other.digits)
        if _LESS.fullmatch(gap):
            total = a - b
        elif _MORE.fullmatch(gap) or (a < _FEW and _PAST.fullmatch(gap)):
            total = a + b
        elif a < _FEW and _SHORT_OF.fullmatch(gap):
            total = b - a
        else:
            continue
        yield one.start, other.end, (str(total),)
