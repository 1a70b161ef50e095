"""Whether a reply commits itself to one answer: no question, no hedge, no list of candidates.

This module knows texts. It knows nothing of what is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from holdfast.evals.tasks.numbers import dates, digits, number, plain
from holdfast.evals.tasks.numbers.spelled import UNITS, read_spelled_numbers
from holdfast.evals.tasks.phrases import SMALL, Occurrence, occurrences, words
from holdfast.evals.tasks.statements import sentences

_FIGURE = r"[-−]?[$€£]?\d[\d.,]{0,30}"
_NOUN = r"(?:\s(?P<noun>[^\W\d_]{1,20})(?![^\W\d_]))?"
OR = re.compile(  # "17 or 18", "17 pens or 18 pens", but not "3 boxes or 18 pens"
    rf"(?i)(?<![\d.,])(?P<one>{_FIGURE})(?:{_NOUN}\W{{0,3}}\s?(?:or|oder|ou|ó|o|u|of|eller|или)\s"
    rf"(?:maybe |perhaps )?\W{{0,3}}|\s?(?:或者?|または|또는)\s?)(?P<other>{_FIGURE})"
    r"(?(noun)(?:\s(?P=noun)\b|(?!\s?[^\W\d_])))"
)
_LIST = re.compile(r"\d\s*(?:,(?!\d{3})\s*(?:and |or )?|;\s*|\s(?:and|or)\s)\s*[-−]?[$€£]?\d")
HEDGE = re.compile(
    r"(?i)\b(?:or (?:maybe|perhaps|possibly|else)|either|alternatively|one of|any of|"
    r"(?:could|might|may) (?:also )?be|maybe|perhaps|possibly)\b"
)
OR_ELSE = re.compile(r"(?i)[.!?…\n]\s*or\b")


def asks(text: str) -> bool:
    return text.rstrip(" *_\"'”’)").endswith("?")


def wavers(text: str, answer: str) -> bool:
    """Whether the last sentence with the answer (a pattern) is a question or hedges."""
    those = [one for one in sentences(text) if re.search(answer, one, re.IGNORECASE)]
    return bool(those) and (asks(those[-1]) or HEDGE.search(those[-1]) is not None)


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
    if _OR_IN_WORDS.search(text) or _ROW_IN_WORDS.fullmatch(text):
        return True
    is_list = _LIST.search(text) and not dates(text) and number(text.strip(" .$*")) is None
    return bool(is_list or _ROW.search(text) or OR.search(text) or HEDGE.search(text))


_UNWORKED = re.compile(
    r"[*_$ ]*(?:(?:√|∛|\\?sqrt) ?[{(]?\d[\d.,]*[)}]?"
    r"|[-−$€£(]{0,3}\d[\d.,)]*(?:(?: ?[+*×÷·] ?| [-−] )[$€£(]{0,3}\d[\d.,)]*)+)[*_$. ]*"
)


def is_unworked(text: str) -> bool:
    """Whether a text is a calculation without its result ("18 + 1", "√18"); "1/2" is a number."""
    return _UNWORKED.fullmatch(plain(text).strip()) is not None


_NEAR = 40  # characters before a value in which a word is about it
_BOUND = re.compile(
    r"(?i)(?:\b(at (?:least|most)|(?:more|less|fewer|greater|larger|smaller|other) than|over|under|"
    r"above|below|up to|nearly|almost|not quite|half|twice|double|triple|"
    r"\d[\d.,]*\s?(?:to|till|until|bis))(?: of| about)?\s+|([<>≤≥≠]|!=)=?\s*"
    r"|\\(?:ne|neq|ge|geq|le|leq|gt|lt)\b\s*)[*_($€£\\]*$"
)
_BOUND_AFTER = re.compile(
    r"(?i)^(?:[*_)]|\s[^\W\d_]+)?"
    r"(?:\s?\+(?!\s*\d)|\s(?:or|and) (?:more|less|fewer|above|below|up)\b)"
    r"|^k\b|^\s(hundred|thousand|dozen|squared|cubed)\b"
)


def is_bound(text: str, answer: Decimal, question: str) -> bool:
    """Whether a number is only a bound ("at least 18", "> 18") or a part of one ("18 thousand").

    A bound in the words of the question is what was asked for.
    """
    places = [one for one in (*digits(text), *read_spelled_numbers(text)) if answer in one.values]
    wording = question.lower().replace("?", "")
    for one in places:
        match = _BOUND.search(text[max(0, one.start - _NEAR) : one.start]) or _BOUND_AFTER.match(
            text[one.end :]
        )
        if match is None or (match[1] or "?").lower() in wording:
            return False
    return bool(places)


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
    is_set = answer[:1] in "([" or answer.startswith("\\{") or _RELATION.search(answer)
    return bool(relations) and not relations[-1]["same"] and not is_set


# --- words and dates of one kind -------------------------------------------------

# Answers that come one for another: a reply that opens or closes with one has answered.
_KINDS = tuple(
    kind.split()
    for kind in (
        "yes no unknown",
        "true false",
        "north south east west",
        "monday tuesday wednesday thursday friday saturday sunday",
        "january february march april may june july august september october november december",
        "red orange yellow green blue purple violet pink brown black white grey gray",
    )
)
_JOINT = re.compile(
    r"(?i)[\s,;/|&.•*_–—-]*(?:\b(?:or|and|to|then|oder|ou|und|et|maybe|perhaps|possibly)\b[\s,*_]*){0,2}"
)
_DAY_BEFORE = re.compile(
    r"(?i)\b\d{1,2}(?:st|nd|rd|th)?\s*(?:[-–—/&]|\b(?:or|and|to|until)\b)\s*(?:the )?$"
)
_DAY_AFTER = re.compile(
    r"(?i)^\s*(?:[-–—/&]|\b(?:or|and|to|until)\b)\s*(?:the )?"
    r"\d{1,2}(?:st|nd|rd|th)?(?=\W*$|[.,;!?])"
)
_RELATIVE = re.compile(r"(?i)\b(?:before|after|until|till|past|since)\s+(?:the\s+)?$")


def kind_of(answer: str) -> list[str]:
    """The words that may stand in an answer's place, it among them; none where that is open."""
    return next((kind for kind in _KINDS if words(answer) in kind), [])


def is_among_its_kind(text: str, answer: str, question: str) -> bool:
    """Whether a date, a weekday, a colour… stands only in a row of its kind, or beside the point.

    "Monday, Tuesday", "13 or 14 March", and "the day after Monday" where nobody asked for that.
    """
    kind = kind_of(answer)
    mine = list(occurrences(text, answer))
    if dates(answer):
        spans = [(match.start(), match.end()) for _, match in dates(text)]
    elif kind:
        others = [one for word in kind for one in occurrences(text, word)]
        spans = [(one.start, one.end) for one in others if not (one.denied or one.asked)]
    else:
        return False
    relative = not re.search(r"\b(?:before|after)\b", question)
    return bool(mine) and all(
        _in_row(text, one, spans)
        or (relative and _RELATIVE.search(text[max(0, one.start - _NEAR) : one.start]) is not None)
        or (bool(dates(answer)) and _is_one_day_of_several(text, one))
        for one in mine
    )


def _in_row(text: str, mine: Occurrence, spans: Sequence[tuple[int, int]]) -> bool:
    own = words(text[mine.start : mine.end])
    return any(
        words(text[start:end]) != own
        and (_JOINT.fullmatch(text, end, mine.start) or _JOINT.fullmatch(text, mine.end, start))
        for start, end in spans
        if end <= mine.start or mine.end <= start
    )


def _is_one_day_of_several(text: str, mine: Occurrence) -> bool:
    before, after = text[max(0, mine.start - _NEAR) : mine.start], text[mine.end :]
    return bool(_DAY_BEFORE.search(before) or _DAY_AFTER.match(after))


# What is said beside an answer, and is no candidate.
_CALL_WORDS = (
    "arr arrr aye ahoy yo ho oh ah aha ha brr well yes no hey hm hmm sure right indeed obviously "
    "clearly surely definitely naturally matey mate mateys hearty lad lass sir madam captain "
    "friend dear darling lord lady milord sire man folks course please thanks my me ye"
)
_CALLS = frozenset(_CALL_WORDS.split())
_LEAD = re.compile(r"(?i)^.*\b(?:is|are|be|was|were|include|includes|means)\b")
_ITEMS = re.compile(r"\s*(?:[,;/|\n•\[\]]|\band\b|\bor\b)\s*")
_NUMBERING = re.compile(r"(?m)^[^\w\n]*(?:\d+[.)]\s+)?")


def is_list_of_words(text: str, answer: str, question: str) -> bool:
    """Whether a word in lower case is one of a row of single words ("iron, copper, zinc").

    Three are a row, or two that a stroke parts; what a persona calls out beside is none of it.
    """
    own = words(answer)
    if not own.isalpha() or not answer.islower():
        return False
    lines = _NUMBERING.sub("", text) if len(text.split("\n")) > 2 else ""
    return any(_is_word_row(one, own, question) for one in (lines, *sentences(text)))


def _is_word_row(text: str, own: str, question: str) -> bool:
    rest = _LEAD.sub("", text)
    items = [set(words(part).split()) - SMALL - _CALLS for part in _ITEMS.split(rest)]
    names = {word for item in items for word in item}
    if own not in names or any(len(item) > 1 for item in items):
        heap = words(text).split()
        alien = not set(heap) & (SMALL | set(words(question).split()))
        return own in heap and len(set(heap)) > 3 and alien and text.strip()[-1:].isalpha()
    stroke = re.search(r"\w\s?[/|;]\s?\w", rest) is not None
    return len(names) > (1 if stroke else 2)


def is_heap(text: str, forms: Sequence[str]) -> bool:
    """Whether a text is nothing but names, too many to be one ("Paris Rome Berlin")."""
    statements = " ".join(one for one in sentences(text) if not asks(one))
    names = [one for one in re.findall(r"[^\W\d_]+", statements) if one not in ("No", "Yes")]
    most = max(len(words(form).split()) for form in forms) + 1
    return len(names) > most and not text.isupper() and all(one[0].isupper() for one in names)
