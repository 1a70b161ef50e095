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
from holdfast.judge.score import Judge, Score, falling, verdict

_DIGITS = re.compile(
    r"(?<!\w)(?<!\d\.)(?P<sign>[-−+](?=[\d.]))?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?P<part>\.\d+)?(?:/(?P<under>\d+(?!\w)))?"
)
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {name: n for n, name in enumerate(_UNITS.split())} | {
    name: 10 * n for n, name in enumerate(_TENS.split(), start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_SHORT = 8
# What turns a digit into the emoji of a key.
_KEYCAP = "\ufe0f\u20e3"


def numbers(text: str) -> list[float]:
    """Numbers of a text in order; infinite and undefined ones are left out."""
    values = [_value(match) for match in _DIGITS.finditer(text)]
    return [n for n in values or _spelled(text) if math.isfinite(n)]


def _value(match: re.Match[str]) -> float:
    try:
        size = float(match["whole"].replace(",", "") + (match["part"] or ""))
        if match["under"]:
            size /= float(match["under"])
    except (ZeroDivisionError, OverflowError):
        return math.nan
    return -size if match["sign"] in ("-", "−") else size


def _spelled(text: str) -> list[float]:
    tokens = [t for w in words(text.lower()) for t in re.split(r"[-‑]", w)]
    values: list[float] = []
    run: list[str] = []
    for token in [*tokens, ""]:
        inner = token == "and" and run and run[-1] in _SCALES
        if token in _VALUES or (token in _SCALES and run) or inner:
            run.append(token)
        elif run:
            if run != ["one"] or len(tokens) <= _SHORT:
                values += _read(run)
            run = []
    return values


_NUMBER_WORD = "|".join(sorted([*_VALUES, *_SCALES, "oh"], key=len, reverse=True))
_RUN = re.compile(
    rf"\b(?:{_NUMBER_WORD})(?:(?:[\s-]+and)?[\s,-]{{1,2}}(?:{_NUMBER_WORD}))*\b", re.IGNORECASE
)


_STEMS = (
    "four fif six seven eigh nin ten eleven twelf thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ORDINALS = {"first": "1st", "second": "2nd", "third": "3rd"} | {
    f"{stem}th": f"{n}th" for n, stem in enumerate(_STEMS.split(), start=4)
}
_ORDINAL = re.compile(rf"\b(?:{'|'.join(_ORDINALS)})\b", re.IGNORECASE)


def with_digits(text: str) -> str:
    """The text with number words as digits; single digits in a row make one number."""
    ordinals = _ORDINAL.sub(lambda match: _ORDINALS[match.group().lower()], text)
    return _RUN.sub(_as_digits, ordinals)


def _as_digits(match: re.Match[str]) -> str:
    tokens = ["zero" if t == "oh" else t for t in re.findall(r"[a-z]+", match.group().lower())]
    if "," in match.group() or tokens[0] in _SCALES:
        return re.sub(r"[a-zA-Z-]+", lambda m: _one(m.group()), match.group())
    values = _read([token for token in tokens if token != "and"])
    joined = "" if all(n < 10 for n in values) or (len(values) == 2 and values[0] >= 10) else " "
    return joined.join(f"{n:.0f}" for n in values if math.isfinite(n))


def _one(word: str) -> str:
    """A number word as digits, other words as they are."""
    tokens = word.lower().split("-")
    if not all(token in _VALUES for token in tokens):
        return word
    return f"{_read(tokens)[0]:.0f}"


def _read(run: list[str]) -> list[float]:
    """Number words in a row: "two hundred and five" is one number, "two three" are two."""
    values: list[float] = []
    total = group = 0.0  # floats: a thousand “hundred”s in a row are infinite, not huge
    last = math.inf
    for token in run:
        if token in _SCALES:
            group = max(group, 1) * _SCALES[token]
            if _SCALES[token] > 100:
                total, group = total + group, 0.0
            last = math.inf
        elif token != "and":
            value = _VALUES[token]
            if (value >= 10 and last < math.inf) or last < 20:
                values.append(total + group)
                total = group = 0.0
            group += value
            last = value
    return [*values, total + group]


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
        params.done()
        return _digits_only
    if check == "count":
        return _count(params)
    what, test = _check(params)
    params.done()

    def judge(text: str) -> Score:
        values = numbers(text)
        if check == "contains":
            values = [*values, *numbers(with_digits(text))]
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
    params.done()
    if (exactly is None) == (low is None and high is None):
        params.fail("give parameter “n”, or “low” and “high”")
    bounds = (exactly, exactly) if exactly is not None else (low, high)

    def judge(text: str) -> Score:
        count = len(numbers(text))
        return Score(falling(count, *bounds), f"{count} numbers in the reply")

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
    params.done()

    def judge(text: str) -> Score:
        values = numbers(text)
        if not values:
            return Score(0.0, "no number in the reply")
        good = abs(values[-1] - answer) <= slack + 1e-9 * max(1.0, abs(answer))
        return Score(float(good), f"the last number is {values[-1]:g}, wanted {answer:g}")

    return judge
