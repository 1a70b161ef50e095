"""Where texts are named in a reply, however they are written.

Case, accents and markup do not count; numbers are read as they are said
(`holdfast.judge.spoken`), spelled words are put together (Q-U-I-L-L), and days, dates, hours and
pairs of words may stand in any of the usual ways: "Mon.", "June the 18th", "twenty to ten",
"salt, the smoked kind". English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from holdfast.judge.parts import plain
from holdfast.judge.spoken import write_digits, write_values

_SPELLED_GAP = r"(?:[- .…·–—]{1,2}|[,/] ?)"
_LEAST_SPELLED = 3
_SPELLED_WORD = re.compile(r"(?<![\w'-])\w(?:[- .]\w){3,}(?![\w-])")
_POINT = re.compile(r"(?<=\d) (?:point|dot) (?=\d)")
_DAYS = {
    "monday": r"mon\b\.?(?! (?:ami|cher|dieu|petit|vieux)\b)",
    "tuesday": r"tues?\b\.?",
    "wednesday": r"(?:weds\b\.?|(?<=on )wed\b|wed\b(?=[.:,]? ?\d))",
    "thursday": r"thu(?:rs?)?\b\.?",
    "friday": r"fri\b\.?",
    "saturday": r"(?:(?<=on )sat\b|sat\b(?=[.:,]? ?\d))",
    "sunday": r"(?:(?<=on )sun\b|sun\b(?=[.:,]? ?\d))",
}
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_MONTH = {
    name: rf"{name[:3]}(?:{name[3:]}|t?\.?)" if name[3:] else name for name in _MONTHS.split("|")
}
_DATE = re.compile(rf"(\d{{1,2}}) ({_MONTHS})")
_HOUR = re.compile(r"(\d{1,2})[:.](\d\d)")
_PAIR = re.compile(r"([a-z]{3,}) ([a-z]{3,})")


@dataclass(frozen=True)
class Mention:
    """Something found at [start, end) of a text, and the number of the fact it belongs to."""

    fact: int
    start: int
    end: int


def normalise(text: str, values: Sequence[str] = ()) -> str:
    """A text in lower case, without accents and markup, with spelled words and digits.

    Args:
        text: a reply or a value.
        values: values to write as they are wherever they are said in pieces or as a sum.
    """
    bare = unicodedata.normalize("NFKD", plain(text).replace("‑", "-").replace("’", "'"))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).lower()
    with_values = write_values(re.sub(r"\bv(?=\d+\.\d)", "", bare), values)
    spelled = _spelled(tuple(values))
    bare = spelled.sub(_join, with_values) if spelled else with_values
    return _POINT.sub(".", write_digits(_SPELLED_WORD.sub(_join, bare)))


@lru_cache(maxsize=1024)
def _spelled(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """A pattern for short words among the values, spelled: "B, O, B", "M-A-X"."""
    bodies = [_SPELLED_GAP.join(v) for v in values if v.isalpha() and len(v) >= _LEAST_SPELLED]
    return re.compile(rf"(?<![\w'-])(?:{'|'.join(bodies)})(?![\w-])") if bodies else None


def _join(match: re.Match[str]) -> str:
    return re.sub(r"\W", "", match.group())


def find_mentions(
    text: str, spellings: Sequence[Sequence[str]], reordered: bool = False
) -> list[Mention]:
    """Where texts occur as whole words, longest first, in the order of the reply.

    Args:
        text: a reply, by `normalise`.
        spellings: for each fact the ways to write it, by `normalise` too.
        reordered: whether a pair of words may stand the other way round, too ("salt, the smoked
            kind"). Leave it False for what should not be said: "Salt Road, Fisher Street" names no
            "Fisher Road".
    """
    mentions: list[Mention] = []
    for number, texts in enumerate(spellings):
        if texts:
            pattern = _pattern(tuple(sorted(texts, key=len, reverse=True)), reordered)
            mentions += [Mention(number, *match.span()) for match in pattern.finditer(text)]
    return sorted(mentions, key=lambda mention: mention.start)


@lru_cache(maxsize=4096)
def _pattern(texts: tuple[str, ...], reordered: bool) -> re.Pattern[str]:
    body = "|".join(way for text in texts for way in (_loosen(text), *_other_ways(text, reordered)))
    return re.compile(rf"(?<!\w)(?<!\d[.,:])(?:{body})(?!\w)(?![.,:]\d)")


def _loosen(text: str) -> str:
    """A text with spaces, hyphens or dots between its words, in the singular or the plural."""
    body = r"(?:[\s-]+|\.{2,} )".join(map(re.escape, re.split(r"[\s-]+", text)))
    return body + (r"(?:e?s|'s)?" if text[-1:].isalpha() and len(text) > 3 else "")


def _other_ways(text: str, reordered: bool) -> Iterator[str]:
    """Patterns for other ways to write a day, a date, an hour or a pair of words."""
    if text in _DAYS:
        yield _DAYS[text]
    elif date := _DATE.fullmatch(text):
        day, month = rf"0?{date[1]}(?:st|nd|rd|th)?", _MONTH[date[2]]
        yield rf"{day}[.,]? (?:day )?(?:of )?{month}"
        yield rf"{month},? (?:the )?{day}"
    elif (hour := _HOUR.fullmatch(text)) and int(hour[1]) < 24 and int(hour[2]) < 60:
        yield from _hours(int(hour[1]), int(hour[2]))
    elif reordered and (pair := _PAIR.fullmatch(text)):
        # "salt, the smoked kind", "Thrupp, Agatha"
        one, other = re.escape(pair[1]), re.escape(pair[2])
        link = r"(?:the|that|which|who|that's|it's|is|are|has|been|must be|namely|and|called)"
        yield rf"{other}(?:,? {link}){{1,3}} {one}|{other} ?[,:(–—-] ?(?:{link} ){{0,2}}{one}"


def _hours(hour: int, minute: int) -> Iterator[str]:
    """ "9:40" as "9.40", "9h40", "20 to 10"; an hour after noon also by the twelve-hour clock."""
    for h in {hour, hour - 12 if hour > 12 else hour}:
        after = h % 12 + 1
        yield rf"0?{h}[:.h ]{minute:02d}"
        if minute:
            yield rf"{minute} (?:minutes )?past {h}"
            yield rf"{60 - minute} (?:minutes )?to {after}"
        if minute == 15:
            yield rf"(?:a )?quarter (?:past|after) {h}"
        elif minute == 30:
            yield rf"half[ -](?:past )?{h}"
        elif minute == 45:
            yield rf"(?:a )?quarter to {after}"
