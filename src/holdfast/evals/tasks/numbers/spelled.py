"""Numbers that are written in English words: "two hundred and five", "three quarters".

This module knows texts. It knows no digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from holdfast.evals.tasks.numbers.number import Number
from holdfast.judge.number import numbers as judged_numbers

# In any case, of ASCII alone: else "ſeven" would match, which is no number.
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
).replace(" ", "|")
UNITS = f"(?ia:{_UNITS})"
_RUN = re.compile(
    rf"(?i)\b(?:(?P<sign>minus|negative)\s+)?(?P<whole>(?:a\s+(?=hundred|thousand|million))?"
    rf"(?:{UNITS}|(?<=a )(?:hundred|thousand|million))"
    rf"(?:(?:[\s‑-]+|,\s+|\s+and\s+)(?:(?<=hundred and )|(?<=thousand and )|(?<!and )(?<!, ))"
    rf"(?:{UNITS}|hundred|thousand|million))*)\b"
    rf"(?:\s+point\s+(?P<part>(?:{UNITS})(?:[\s-]+(?:{UNITS}))*))?\b"
)
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first "
    "twenty-second twenty-third twenty-fourth twenty-fifth twenty-sixth twenty-seventh "
    "twenty-eighth twenty-ninth thirtieth thirty-first"
)
DAYS = {name: i for i, name in enumerate(_ORDINALS.split(), 1)}
"""The days of a month in words."""
_LONE = re.compile(r"(?i)(?:^|[:=]|\b(?:is|exactly|only|just|answer|equals|makes|makes it))\W*$")


def read_spelled_numbers(text: str) -> list[Number]:
    """The numbers that are written in English words, in order.

    A lone "one" is mostly a pronoun: it counts in a text of at most eight words, and after "is".
    """
    short = len(text.split()) <= 8
    numerals = [_fraction(match) for match in _FRACTION.finditer(text)]
    for match in _RUN.finditer(text):
        if any(one.start <= match.start() < one.end for one in numerals):
            continue
        if match["whole"].lower() == "one" and not (
            short or _LONE.search(text[max(0, match.start() - 12) : match.start()])
        ):
            continue
        numerals += [add_part(one, text) for one in _read_run(match)]
    return sorted(numerals, key=lambda one: one.start)


_FROM_FOURTH = "fourth fifth sixth seventh eighth ninth tenth"
_PARTS = {name: n for n, name in enumerate(_FROM_FOURTH.split(), 4)}
_PARTS |= {"half": 2, "third": 3, "quarter": 4}
_OF = _PARTS | {"halves": 2} | {f"{name}s": n for name, n in _PARTS.items() if n > 2}
_UPPER = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "seven": 7, "nine": 9}
_FRACTION = re.compile(
    rf"(?i)(?<!and )\b((?ia:{'|'.join(_UPPER)}))[\s-]+((?ia:{'|'.join(_OF)}))\b"
    r"(?!\s+(?:of\b|time|place))"
)


_PART_BEHIND = re.compile(rf"(?i)\s+and\s+({'|'.join(_UPPER)})[\s-]+({'|'.join(_OF)})\b(?!\s+of\b)")


def add_part(number: Number, text: str) -> Number:
    """A number with the fraction in words behind it: "3 and a half", "-3 and a half"."""
    match = _PART_BEHIND.match(text, number.end)
    if match is None:
        return number
    part = Decimal(_UPPER[match[1].lower()]) / _OF[match[2].lower()]
    values = frozenset(value + part.copy_sign(value) for value in number.values)
    return Number(values, number.start, match.end())


def _fraction(match: re.Match[str]) -> Number:
    """ "One half", "three quarters"."""
    value = Decimal(_UPPER[match[1].lower()]) / _OF[match[2].lower()]
    return Number(frozenset([value]), *match.span())


def _read_run(match: re.Match[str]) -> Iterator[Number]:
    """Number words in a row: "two hundred and five" is one, "two three" are two (or 23)."""
    whole = re.sub(r"(?i)^a\s+", "one ", match["whole"])
    values = [Decimal(int(value)) for value in judged_numbers(whole)]
    if match["part"]:
        part = "".join(str(int(value)) for value in judged_numbers(match["part"]))
        values[-1] += Decimal(f"0.{part}")
    if match["sign"]:
        values[0] = -values[0]
    readings = {values[-1]} if values else set()
    if len(values) > 1 and all(0 <= value <= 9 and value == int(value) for value in values):
        readings.add(Decimal("".join(map(str, map(int, values)))))  # digit by digit
    yield Number(frozenset(readings), *match.span())
