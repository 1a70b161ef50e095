"""What is behind a number in digits: "million", "k", or a unit of measure.

This module knows texts. It knows no gold answer; of the question it takes the unit that is asked
for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import isclose, nan

from holdfast.evals.tasks.numbers.number import Number, Values

_POWERS = {
    "hundred": 2,
    "thousand": 3,
    "lakh": 5,
    "million": 6,
    "mn": 6,
    "mln": 6,
    "crore": 7,
    "billion": 9,
    "bn": 9,
    "trillion": 12,
}
_LETTERS = {"k": 3, "K": 3, "M": 6, "B": 9}
SCALE = (
    rf"(?:[*_]*\s*[‑-]?(?P<scale>(?i:{'|'.join(_POWERS)}))s?|(?P<letter>[{''.join(_LETTERS)}]))\b"
)
"""A scale behind a number; letters have no blank before them."""
_SCALE = re.compile(SCALE)


def read_scale(match: re.Match[str]) -> int:
    """The power of ten of a match of `SCALE`."""
    return _LETTERS[match["letter"]] if match["letter"] else _POWERS[match["scale"].lower()]


def add_scale(number: Number, text: str) -> Number:
    """A number that may be meant in full ("71 million", "2.5k"): it is read both ways."""
    match = _SCALE.match(text, number.end)
    if match is None:
        return number
    full = {value.scaleb(read_scale(match)) for value in number.values}
    return replace(number, values=number.values | full)


_UNITS: dict[str, dict[str, tuple[str, float]]] = {
    "length": {
        "mm": (r"mm|millimet(?:re|er)s?", 0.001),
        "cm": (r"cm|centimet(?:re|er)s?", 0.01),
        "m": (r"m|met(?:re|er)s?", 1),
        "km": (r"km|kilomet(?:re|er)s?", 1000),
        "inch": (r"inch(?:es)?", 0.0254),
        "foot": (r"ft|foot|feet", 0.3048),
        "yard": (r"yd|yards?", 0.9144),
        "mile": (r"mi|miles?", 1609.344),
    },
    "time": {
        "second": (r"s|secs?|seconds?", 1),
        "minute": (r"mins?|minutes?", 60),
        "hour": (r"h|hrs?|hours?", 3600),
        "day": (r"days?", 86400),
        "week": (r"weeks?", 7 * 86400),
        "month": (r"months?", 365 / 12 * 86400),
        "year": (r"yrs?|years?", 365 * 86400),
    },
    "mass": {
        "mg": (r"mg|milligram(?:me)?s?", 0.001),
        "g": (r"g|grams?|grammes?", 1),
        "kg": (r"kg|kilos?|kilogram(?:me)?s?", 1000),
        "tonne": (r"tonnes?|tons?", 1e6),
    },
    "volume": {
        "ml": (r"ml|millilit(?:re|er)s?", 0.001),
        "l": (r"l|lit(?:re|er)s?", 1),
        "gallon": (r"gallons?", 3.785),
    },
    "money": {
        "cent": (r"cents?|¢", 1),
        "dollar": (r"dollars?|usd", 100),
        "euro": (r"euros?|eur|€", nan),
        "penny": (r"pence|penn(?:y|ies)", nan),
    },
    "temperature": {
        "C": (r"°? ?C|degrees Celsius|degrees centigrade", nan),
        "F": (r"°? ?F|degrees Fahrenheit", nan),
        "K": (r"K|kelvins?", nan),
    },
}
"""Units by kind and name: how they are written, and how large; NaN for those never converted."""
_ROUNDED = 0.02  # 30 days are a month, 52 weeks a year
_ORDER = tuple((kind, name) for kind, units in _UNITS.items() for name in units)
_ANY = "|".join(f"(?P<u{i}>{_UNITS[kind][name][0]})" for i, (kind, name) in enumerate(_ORDER))
_BEHIND = re.compile(rf"(?i)[*_`$)\]]*[\s‑-]?\s?(?:{_ANY})(?![^\W_]|['’/²³^])")
_ASKED = re.compile(rf"(?i)\bhow many (?:{_ANY})\b")
_ASKED_IN = re.compile(rf"(?i)\bin (?:{_ANY})\b")


def asked_unit(question: str) -> tuple[str, str] | None:
    """The kind and the name of the unit that a question asks for ("How many minutes", "in km")."""
    match = _ASKED.search(question) or _ASKED_IN.search(question)
    return _read_unit(match) if match else None


def unit_behind(number: Number, text: str) -> tuple[str, str] | None:
    """The kind and the name of the unit behind a number, None where there is none that we know."""
    match = _BEHIND.match(text, number.end)
    return _read_unit(match) if match else None


def read_in_asked_unit(numerals: Sequence[Number], text: str, question: str) -> Values:
    """The number in the unit that is asked for, where the last of all says it in another one.

    That of "2 hours (120 minutes)" and "120 minutes are 2 hours", but none of "3 dollars and 50
    cents", "between 90 minutes and 2 hours"; a last number without a unit is no other.
    """
    asked = asked_unit(question)
    units = [(unit_behind(one, text), one) for one in numerals] if asked else []
    last, number = units[-1] if units else (None, None)
    if asked is None or last is None or number is None or last[0] != asked[0] or last == asked:
        return frozenset()
    one = next((one for unit, one in reversed(units) if unit == asked), None)
    if one is None:
        return frozenset()
    in_brackets = "(" in text[one.end : number.start]
    return one.values if in_brackets or _is_same(one, asked, number, last) else frozenset()


def _is_same(
    one: Number, unit: tuple[str, str], other: Number, other_unit: tuple[str, str]
) -> bool:
    """Whether two numbers in two units are one amount; unknown ones, as of money, are not."""
    size, other_size = (_UNITS[kind][name][1] for kind, name in (unit, other_unit))
    return any(
        isclose(float(a) * size, float(b) * other_size, rel_tol=_ROUNDED)
        for a in one.values
        for b in other.values
    )


def _read_unit(match: re.Match[str]) -> tuple[str, str]:
    return _ORDER[int(str(match.lastgroup)[1:])]
