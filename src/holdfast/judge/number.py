"""Judges of numbers: which are there, and whether a sum came out right.

Numbers are read from digits ("1,234.5", "-3", "1/2"); only where a reply has no
digits are English number words read ("forty-two"). "One" alone counts as a number
in short replies only, for in prose it is mostly a pronoun.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from holdfast.judge.params import Params
from holdfast.judge.parts import plain, words
from holdfast.judge.score import Judge, Score, score_within, verdict
from holdfast.judge.spoken import number_words, write_digits

_DIGITS = re.compile(
    r"(?<!\w)(?<!\d\.)(?P<sign>[-−+](?=[\d.]))?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?P<part>\.\d+)?(?:/(?P<under>\d+(?!\w)))?"
)
_SHORT = 8
# What turns a digit into the emoji of a key.
_KEYCAP = "\ufe0f\u20e3"


def numbers(text: str) -> list[float]:
    """Numbers of a text in order; infinite and undefined ones are left out."""
    values = [_value(match) for match in _DIGITS.finditer(text)]
    return [n for n in values or _read_spelled_numbers(text) if math.isfinite(n)]


def _value(match: re.Match[str]) -> float:
    try:
        size = float(match["whole"].replace(",", "") + (match["part"] or ""))
        if match["under"]:
            size /= float(match["under"])
    except (ZeroDivisionError, OverflowError):
        return math.nan
    return -size if match["sign"] in ("-", "−") else size


def _read_spelled_numbers(text: str) -> list[float]:
    short = len(words(text)) <= _SHORT
    return [
        float(digits)
        for start, end, run in number_words(text)
        if short or text[start:end].lower() != "one"
        for digits in run
    ]


def _check(params: Params) -> tuple[str, Callable[[float], bool]]:
    """The test that one number must pass, and its words."""
    check = params.one_of("check", CHECKS)
    if check in ("even", "odd"):
        rest = 0 if check == "even" else 1
        return check, lambda n: n % 2 == rest
    if check == "multiple_of":
        n = params.whole("n", low=1)
        if n is None:
            params.fail("parameter “n” is missing; give a whole number of at least 1")
        return f"a multiple of {n}", lambda x: x % n == 0
    if check == "between":
        low, high = params.number("low"), params.number("high")
        if low is None or high is None or low > high:
            params.fail("give parameters “low” and “high”, with low at most high")
        return f"between {low:g} and {high:g}", lambda x: low <= x <= high
    value = params.number("value")
    if value is None and check == "equals":
        params.fail("parameter “value” is missing; give a number")
    if value is None:
        return "a number", lambda x: True
    return f"{value:g}", lambda x: math.isclose(x, value, rel_tol=1e-9, abs_tol=1e-9)


CHECKS = ("digits_only", "contains", "even", "odd", "multiple_of", "between", "equals", "count")


def number(params: Params) -> Judge:
    """Whether the reply's numbers pass a check: the share that does, 0 without numbers."""
    check = params.take("check")
    if check == "digits_only":
        params.refuse_unknown()
        return _digits_only
    if check == "count":
        return _count(params)
    what, test = _check(params)
    params.refuse_unknown()

    def judge(text: str) -> Score:
        values = numbers(text)
        if check == "contains":
            values = [*values, *numbers(write_digits(text))]
        if not values:
            return Score(0.0, "no number in the reply")
        good = sum(map(test, values))
        if check == "contains":
            return verdict(good > 0, f"{what} is there", f"{what} is not there")
        return Score(good / len(values), f"{good} of {len(values)} numbers are {what}")

    return judge


def _count(params: Params) -> Judge:
    exactly = params.whole("n", low=0)
    low, high = params.whole("low"), params.whole("high")
    params.refuse_unknown()
    if (exactly is None) == (low is None and high is None):
        params.fail("give parameter “n”, or “low” and “high”")
    if low is not None and high is not None and low > high:
        params.fail(f"parameter “low” ({low}) must not exceed “high” ({high})")
    bounds = (exactly, exactly) if exactly is not None else (low, high)

    def judge(text: str) -> Score:
        count = len(numbers(text))
        return Score(score_within(count, *bounds), f"{count} numbers in the reply")

    return judge


def _digits_only(text: str) -> Score:
    """Share of characters that belong to numbers, 0 at 60% (a word beside every number)."""
    solid = [c for c in plain(text) if not c.isspace() and c not in _KEYCAP]
    digits = sum(c.isdigit() for c in solid)
    marks = sum(c in ".,-+−/:%;()" for c in solid)
    part = (digits + marks) / len(solid) if digits else 0.0
    return Score(max(0.0, (part - 0.6) / 0.4), f"{part:.0%} of characters belong to numbers")


def arithmetic(params: Params) -> Judge:
    """1 where the reply's last number is the answer, within `tolerance`."""
    answer = params.number("answer")
    if answer is None:
        params.fail("parameter “answer” is missing; give a number")
    slack = params.number("tolerance", 0.0) or 0.0
    params.refuse_unknown()

    def judge(text: str) -> Score:
        values = numbers(text)
        if not values:
            return Score(0.0, "no number in the reply")
        good = abs(values[-1] - answer) <= slack + 1e-9 * max(1.0, abs(answer))
        return Score(float(good), f"the last number is {values[-1]:g}, wanted {answer:g}")

    return judge
