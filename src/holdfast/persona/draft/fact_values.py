"""Values of facts that a rule can recognise, with other ways to write them.

A number may be an hour, an amount or a code, and may be read out; a phone number has any groups.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d(?:[\d.,:]*\d)?[A-Za-z]{0,2}\b")
_ADDRESS = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.]+|https?://\S+|\bwww\.\S+|\b[\w-]+\.(?:com|org|net|io|de|pt)\b"
)
_QUOTE = re.compile(r"[\"'“‘](?P<text>[^\"”’']{1,60})[\"'”’]")
_PROPER = re.compile(
    r"^(?-i:[A-ZÀ-Þ][\w'’-]*(?:\s+(?:of|the|de|da|and|&)?\s*[A-ZÀ-Þ][\w'’-]*){0,3})$"
)
_PHONE = re.compile(
    r"(?<![\w.,:/-])(?!\d{1,2}[/-]\d{1,2}[/-]\d{2,4}(?!\d))"
    r"(?:(?:\+\d|\(\d|0\d)[\d()]*(?:[ /-][\d()]+)+|\+\d{7,15}"
    r"|\d{3}[ .-]\d{3}[ .-]\d{4}|\d{3}-\d{4})(?![\w:])"
)
"""What begins with “+”, “(” or “0” and has blanks, or is written as in America."""
MOST_WORDS = 2
_LONGEST_NUMBER = 18
"""Digits of a number that may be written in other ways; longer ones are codes."""
_HOURS_OF_A_DAY = 24
_PHONE_DIGITS = range(7, 16)
_AMERICAN_DIGITS = 10


def values(text: str) -> list[list[str]]:
    """The values in a text that a rule can recognise, each with other ways to write it."""
    text = text.strip().rstrip(".")
    if matches := _ADDRESS.findall(text):
        return [[one.rstrip(".,)")] for one in matches]
    if quote := _QUOTE.search(text):
        return [[quote["text"]]]
    if (phone := _PHONE.search(text)) and len(re.findall(r"\d", phone[0])) in _PHONE_DIGITS:
        return [_phone_ways(phone[0])]
    if re.fullmatch(r"\w*\d\w*[A-Za-z]\w*|\w*[A-Za-z]\w*\d\w*", text):
        return [[text]]
    if matches := _NUMBER.findall(text):
        return [_ways(one.rstrip(".,:")) for one in dict.fromkeys(matches)][:4]
    bare = re.sub(r"^(?:an?|the|called|named)\s+", "", text, flags=re.IGNORECASE)
    first = re.split(r",|\s+(?:and|but|because|which|who|that|in|on|at|with)\s", bare)[0].strip()
    if _PROPER.match(first) or (0 < len(first.split()) <= MOST_WORDS and first == bare):
        return [[first]]
    return []


def _ways(number: str) -> list[str]:
    ways = [number]
    if clock := re.fullmatch(r"(\d{1,2})(am|pm)", number, re.IGNORECASE):
        ways.append(f"{clock[1]} {clock[2]}")
    if number.isdigit() and len(number) <= 2 and int(number) <= _HOURS_OF_A_DAY:
        ways += [f"{number} am", f"{number} pm", f"{number}am", f"{number}pm", f"{number}:00",
                 f"{int(number):02}:00"]  # fmt: skip
    if number.isdigit() and 3 < len(number) <= _LONGEST_NUMBER:
        ways.append(f"{int(number):,}" if not number.startswith("0") else " ".join(number))
    return list(dict.fromkeys(ways))


def _phone_ways(written: str) -> list[str]:
    """A phone number by its digits, which a judge of facts reads in groups of any length."""
    digits = re.sub(r"\D", "", written.replace("(0)", ""))
    country = re.match(r"\+(\d{1,3})(?!\d)", written)
    own = digits.removeprefix(country[1]) if country else digits
    ways = [digits, written, own]
    ways += [f"0{own}", f"00{digits}"] if country else []
    if len(own) == _AMERICAN_DIGITS and own[0] not in "01":
        ways.append(f"({own[:3]}) {own[3:6]}-{own[6:]}")
    return list(dict.fromkeys(ways))


def another(value: str) -> str | None:
    """A number that is not this one, for an example of a wrong fact."""
    if not re.fullmatch(r"\d+", value) or len(value) > _LONGEST_NUMBER:
        return None
    return str(int(value) + 1).zfill(len(value)) if len(value) > 1 else str((int(value) + 3) % 10)
