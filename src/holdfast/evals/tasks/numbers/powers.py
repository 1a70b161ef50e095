"""Numbers with an exponent after them: "10^3", "(-2)^{2}", "2**-1".

This module knows a number, and the text that it is in.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from holdfast.evals.tasks.numbers.number import Number, Values

EXPONENT = re.compile(r"(?:\^|(?<=[\w)\]}])(?<![^\W\d_]{2})\*\*)\{?[-−]?$|(?<=[^\W_])_\{?$")
"""What is before an exponent, or before the base of digits, as in 52_8.

Two stars after a word or a blank, and two underscores, are bold print.
"""
_RAISED = re.compile(r"\^|\*\*")
_OPEN_BRACKET = re.compile(r"(?<!\w)\(\s*$")


def apply_exponent(number: Number, match: re.Match[str], text: str, mark: str) -> Number:
    """The number with the exponent after it, or the base of its digits, if that is its own.

    One that is too large to work out, belongs to a bracket that holds more, or stands on another
    exponent, leaves no value.
    """
    bracket = text[number.end : match.start()].removesuffix(mark).strip()
    if bracket not in ("", ")"):
        return number
    if mark.startswith("_"):
        return replace(number, end=match.end())
    exponent = match["digits"]
    power = int(exponent) if exponent.isdigit() and len(exponent) <= 2 else None
    if bracket:
        alone = _OPEN_BRACKET.search(text[max(0, number.start - 3) : number.start]) is not None
    else:
        alone = not _RAISED.search(text, number.start, number.end)  # 2^3^2 is 2^9
    values: Values = frozenset()
    if alone and power is not None and all(abs(value) <= 10**6 for value in number.values):
        power = -power if match["sign"] else power
        powers = {_power(value, power, bool(bracket)) for value in number.values}
        values = frozenset(one for one in powers if one is not None)
    return replace(number, values=values, end=match.end())


def _power(value: Decimal, power: int, bracketed: bool) -> Decimal | None:
    """A power, None where there is none; without a bracket the sign is that of the result."""
    if value.is_signed() and not bracketed:
        positive = _power(-value, power, bracketed=True)
        return None if positive is None else -positive
    if not value:
        # Decimal has no 0^0, which is 1 wherever a reply has it.
        return None if power < 0 else Decimal(int(power == 0))
    return value**power
