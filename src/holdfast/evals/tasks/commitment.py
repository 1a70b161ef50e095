"""Whether a reply commits itself to one answer: no question, no hedge, no list of candidates.

This module knows texts. It knows nothing of what is right.
"""

from __future__ import annotations

import re
from decimal import Decimal

from holdfast.evals.tasks.numbers import dates, digits, number, plain
from holdfast.evals.tasks.numbers.number import Number, Values
from holdfast.evals.tasks.numbers.scales import SCALE, asked_unit, read_scale, unit_behind
from holdfast.evals.tasks.numbers.spelled import UNITS, read_spelled_numbers
from holdfast.evals.tasks.phrases import occurrences
from holdfast.evals.tasks.statements import asks, find_box_places, sentences

_FIGURE = r"[-−]?[$€£]?\d[\d.,]{0,30}"
_NOUN = r"(?:\s(?P<noun>[^\W\d_]{1,20})(?![^\W\d_]))?"
OR = re.compile(  # "17 or 18", "17 pens or 18 pens", but not "3 boxes or 18 pens"
    rf"(?i)(?<![\d.,])(?P<one>{_FIGURE})(?:{_NOUN}\W{{0,3}}\s?(?:or|oder|ou|ó|o|u|of|eller|или)\s"
    rf"(?:maybe |perhaps )?\W{{0,3}}|\s?(?:或者?|または|또는)\s?)(?P<other>{_FIGURE})"
    r"(?(noun)(?:\s(?P=noun)\b|(?!\s?[^\W\d_])))"
)
_LIST = re.compile(r"\d\s*(?:,(?!\d{3})\s*(?:and |or )?|;\s*|\s(?:and|or)\s)\s*[-−]?[$€£]?\d")
# An answer that may be another one, or comes with a second one to fall back on.
HEDGE = re.compile(
    r"(?i)\b(?:or (?:maybe|perhaps|possibly|else)|either(?! way\b)|one of|any of|maybe|perhaps|"
    r"(?:could|might|may) (?:(?:also|well|still|very well|just|even) )*be|possibly|"
    r"unless(?! (?:i|my|me|mine|we|our)\b)|if not\b(?! (?:for|mistaken)\b)|failing (?:that|which)|"
    r"if (?:that|this|it)(?:['’]s| is| was)? (?:not|wrong|false|incorrect)|"
    r"one (?:guess|candidate|possibility)|runner-up|plan b|as (?:a|my|the) back-?up|"
    r"(?:another|second) (?:guess|answer|choice|option|candidate|possibility|idea|pick)|"
    r"another is|alternative(?:ly)?|(?<=[,;] )(?:else|otherwise)|(?:a|the) close second|"
    r"(?:also|equally) (?:possible|plausible|right|correct|accept\w*)|vs|versus|"
    r"can(?:not|['’]t) (?:decide|choose)|on the other hand|then again|in (?:one|some) sense)\b"
)
OR_ELSE = re.compile(r"(?i)[.!?…\n]\s*or\b")


def wavers(text: str, answer: str) -> bool:
    """Whether the last sentence with the answer (a pattern) is a question or hedges."""
    those = [one for one in sentences(text) if re.search(answer, one, re.IGNORECASE)]
    return bool(those) and (asks(those[-1]) or HEDGE.search(those[-1]) is not None)


def drop_denied_boxes(text: str) -> str:
    """A text without the boxes that it says are not the answer ("Not \\boxed{18}.")."""
    boxes = find_box_places(text)
    chars = list(_SIGNS.sub(lambda signs: " " * len(signs[0]), text))
    for box in boxes:  # each becomes a word, with blanks around and as long as it was
        chars[box.start : box.stop] = f" {_BOX}".ljust(len(box))
    places = occurrences("".join(chars), _BOX) if boxes else ()
    denied = [one.start for one in places if one.denied]
    for box in reversed(boxes):
        if any(start in box for start in denied):
            text = text[: box.start] + text[box.stop :]
    return text


_BOX = "box"  # stands for a box
_SIGNS = re.compile(r"\$|\\[()\[\]]")


def is_row(text: str) -> bool:
    """Whether a text, or a part of it, is a row of different numbers ("17 18", "17 / 18")."""
    bare = plain(text).strip()
    numerals = digits(bare)
    rest = _NUMERAL.sub("", bare)
    alone = len({one.values for one in numerals}) > 1 and not re.search(r"[^\W_]|[+*×÷·=^]", rest)
    return alone or _SIDE_BY_SIDE.search(bare.rpartition("=")[2]) is not None


_NUMERAL = re.compile(r"\d[\d.,]*")
# Neither a mixed number ("3 1/2") nor groups of thousands ("12 000").
_SIDE_BY_SIDE = re.compile(
    r"(?<![\d.,/])\d(?:[\d.,]*\d)?(?:\s+[/|]\s+|[ \t]+)(?!\d{3}(?!\d)|\d+/\d)\d"
)


_ROW = re.compile(r"(?<![\d.,])\d[\d.,]*(?:[\s…]+\d[\d.,]*){3,}")  # numbers with blanks between


_OR_IN_WORDS = re.compile(
    rf"(?i)\b{UNITS}(?:\s[^\W\d_]+)?,?\s(?:or|to)\s(?:maybe )?{UNITS}\b(?!\s+of\b)"
)
_ROW_IN_WORDS = re.compile(rf"(?i)\W*{UNITS}(?:\s*[.,;/]\s*(?:and |or )?{UNITS})+\W*")


def is_hedged(text: str) -> bool:
    """Whether a text offers several numbers ("16, 17, 18", "17 or 18", "maybe")."""
    text = plain(text).rpartition("=")[2]
    if OR.search(text) or HEDGE.search(text):
        return True
    if (verbs := list(_IS.finditer(text))) and digits(text[verbs[-1].end() :]):
        text = text[verbs[-1].end() :]  # "The sum of 48 and 24 is 72"
    if _OR_IN_WORDS.search(text) or _ROW_IN_WORDS.fullmatch(text):
        return True
    is_list = _LIST.search(text) and not dates(text) and number(text.strip(" .$*")) is None
    return bool(is_list or _ROW.search(text))


_IS = re.compile(r"(?i)\b(?:is|are|makes?|gives?|equals?|totals?|comes? to)\b")
_VALUE = rf"\s*[:.)=(–-]*\s*({_FIGURE})"
_OPTION = re.compile(
    rf"(?i)(?:\b(?:option|choice|candidate|possibility|guess|answer)\s*#?\w{{1,2}}|"
    rf"(?<![\w\\])\(?[a-j]\)){_VALUE}(?=\s*(?:[.,;\n]|$|or\b|\(?[a-j]\)))"
)
_EQUATION = re.compile(
    r"(?i)(?:(?:^|(?<=[,;.:(\n$]))\s*|\b(?:so|and|or|then|let|thus|hence|therefore|either)\s+)"
    rf"([a-z])\s*=\s*({_FIGURE})(?!\s*[-+*/×÷·^=(\\]|\w)"
)
_IF_NOT = re.compile(
    r"(?i)\b(?:if|unless|should|when)\b[^.!?\n]*(?:\bnot|n['’]t(?: be)?)\s" + _FIGURE
)


def is_menu(text: str) -> bool:
    """Whether a text gives several values to choose from.

    "a) 17 b) 18", "Option 1: 17. Option 2: 18.", "x = 17, x = 18", "If it is not 17, it is 18."
    """
    options = {number(one.rstrip(".,")) for one in _OPTION.findall(plain(text))}
    values = dict[str, set[Decimal | None]]()
    for name, value in _EQUATION.findall(plain(text)):
        values.setdefault(name, set()).add(number(value.rstrip(".,")))
    several = any(len(one) > 1 for one in (options, *values.values()))
    return several or any(_IF_NOT.search(one) and digits(one) for one in sentences(text)[-1:])


def gives_another(text: str) -> bool:
    """Whether the last number of a text stands in the words of the one before it.

    "It is 17. It is 18.", "17 hens, 18 hens", but not "17 hens left. 18 hens came."
    """
    parts = [(one, digits(one)) for one in _PARTS.split(plain(text))]
    parts = [(one, numerals) for one, numerals in parts if numerals][-2:]
    if len(parts) < 2 or any(len(numerals) > 1 for _, numerals in parts):
        return False
    (frame, value), (other_frame, other_value) = (_frame(one, some[0]) for one, some in parts)
    return frame == other_frame != ["#"] and not value & other_value


def _frame(text: str, number: Number) -> tuple[list[str], Values]:
    """The words around a number, and its values."""
    before, behind = text[: number.start].casefold(), text[number.end :].casefold()
    return [*_WORD.findall(before), "#", *_WORD.findall(behind)], number.values


_PARTS = re.compile(r"[.!?;,](?=\s|$)|\n")
_WORD = re.compile(r"[^\W\d_]+")
_UNWORKED = re.compile(
    r"[*_$ ]*(?:(?:√|∛|\\?(?:sqrt|log|ln|sin|cos|tan|exp)) ?[{(]?\d[\d.,]*[)}]?"
    r"|[-−$€£(]{0,3}\d[\d.,)]*(?:(?: ?[+*×÷·x] ?| [-−] )[$€£(]{0,3}\d[\d.,)]*)+)[*_$. ]*"
)


def is_unworked(text: str) -> bool:
    """Whether a text is a calculation without its result ("18 + 1", "√18"); "1/2" is a number."""
    return _UNWORKED.fullmatch(plain(text).strip()) is not None


_NEAR = 40  # characters before a value in which a word is about it
_BOUND = re.compile(
    r"(?i)(?:\b(at (?:least|most)|(?:more|less|fewer|greater|larger|smaller|other) than|over|under|"
    r"above|below|up to|nearly|almost|not quite|half|twice|double|triple|"
    r"\d[\d.,]*\s?(?:to|till|until|through|bis))(?: of| about)?\s+|([<>≤≥≠]|!=)=?\s*"
    r"|\\(?:ne|neq|ge|geq|le|leq|gt|lt)\b\s*)[*_($€£\\]*$"
)
_BOUND_AFTER = re.compile(
    r"(?i)^(?:[*_)]|\s[^\W\d_]+)?"
    r"(?:\s?\+(?!\s*\d)|\s(?:or|and) (?:more|less|fewer|above|below|up)\b)"
    r"|^\s(?:[<>≤≥≠]|!=)=?\s"
    r"|^(?:\s+|[‑-])(dozen|squared|cubed)s?\b"
)
_PER_CENT = re.compile(r"(?i)^\s?(?:%|per ?cent\b)")
_SCALE = re.compile(SCALE)
_FULL = {
    3: r"thousands?|kelvin|kilo",
    6: r"millions?|met(?:re|er)s?|miles?|minutes?",
    9: r"billions?",
}
"""What a question asks for where a power of ten behind the answer is part of no other number."""


def is_bound(text: str, answer: Decimal, question: str) -> bool:
    """Whether a number is only a bound ("at least 18", "> 18") or a part of one ("18 million").

    A bound in the words of the question is what was asked for ("How many million?"). So is a share
    where it asks for one: "18%" is no number of things.
    """
    places = [one for one in (*digits(text), *read_spelled_numbers(text)) if answer in one.values]
    wording = question.lower().replace("?", "")
    for one in places:
        after = text[one.end :]
        match = _BOUND.search(text[max(0, one.start - _NEAR) : one.start])
        match = match or _BOUND_AFTER.match(after)
        if match and (match[1] or "?").lower() not in wording:
            continue
        counts = "how many" in wording and not re.search(r"%|per ?cent", wording)
        if not (_is_scaled(one, after, answer, wording) or (counts and _PER_CENT.match(after))):
            return False
    return bool(places)


def _is_scaled(one: Number, after: str, answer: Decimal, wording: str) -> bool:
    """Whether the answer is but a part of a number: 18 of "18 million", "18M", "18k"."""
    match = _SCALE.match(after)
    if match is None or answer.scaleb(-read_scale(match)) in one.values:
        return False
    power = read_scale(match)
    word = match["scale"] or ""
    asked = re.search(rf"\b(?:{_FULL.get(power, '(?!)')})|\b{word or '(?!)'}", wording)
    return not asked and bool(wording or power < 6)  # an unknown question may be in millions


def is_in_another_unit(text: str, answer: Decimal, question: str) -> bool:
    """Whether a number has a unit of the kind that is asked for, and another one ("90 hours")."""
    asked = asked_unit(question)
    places = [one for one in digits(text) if answer in one.values] if asked else []
    units = [unit_behind(one, text) for one in places]
    return bool(units) and all(
        unit is not None and asked is not None and unit[0] == asked[0] and unit != asked
        for unit in units
    )


_RELATION = re.compile(
    r"(?i)(?P<same>=|\b(?:is|are|be|but|equals|get|gives?|so)\b)"
    r"|[<>≤≥≠]|\\(?:[gl]eq?|[gl]eqslant|[gl]t|neq?)\b"
    r"|\b(?:not|between|at (?:least|most)|(?:more|less|greater|smaller) than|or (?:more|less))\b"
    r"|n['’]t\b"
)


def is_relation(text: str, answer: str) -> bool:
    """Whether a text says what a formula is not, or is above or below ("x > 2"), and so no answer.

    The last of its relations counts; an answer may hold one itself.
    """
    relations = list(_RELATION.finditer(text))
    own = _RELATION.search(answer)
    is_set = answer[:1] in "([" or answer.startswith("\\{") or (own and not own["same"])
    return bool(relations) and not relations[-1]["same"] and not is_set
