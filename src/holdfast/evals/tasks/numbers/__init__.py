"""Numbers in a reply: written in digits or in English words, and which of them are only labels.

A label names something and measures nothing: a telephone number, the 7 of "RB-7", the 4 of
"Hall 4", a time, the steps that a calculation took. A persona's signature is full of them, so the
last number of a reply is looked for outside them.

This module knows texts. It knows no gold answer; of the question it takes the words alone.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal

from holdfast.evals.tasks.numbers.number import Number, Values
from holdfast.evals.tasks.numbers.powers import EXPONENT, apply_exponent
from holdfast.evals.tasks.numbers.scales import add_scale, read_in_asked_unit
from holdfast.evals.tasks.numbers.spelled import DAYS, UNITS, add_part, read_spelled_numbers

_MARKS = ",'’\u00a0\u202f\u2009"  # between thousands, beside the point; a plain space is none
_NUMBER = re.compile(
    rf"(?:(?<![\w)\]}}])(?P<sign>[-−])[$€£]?|[$€£](?P<inner>[-−]))?"
    rf"(?P<digits>(?:(?<![\w.])\.)?\d+(?:[.{_MARKS}]\d+)*)"
    r"(?:[eE](?P<power>[+-]?\d{1,2})(?!\w))?"
    r"(?:/(?P<under>[1-9]\d*)(?!\d|/|\.\d))?"
)
_ENGLISH = re.compile(rf"\d{{1,3}}(?:[{_MARKS}]\d{{3}})+(?:\.\d+)?|\d*\.?\d+")
_CONTINENTAL = re.compile(
    rf"\d{{1,3}}(?:[.{_MARKS[1:]}]\d{{3}})+(?:,\d+)?|(?![1-9]\d{{0,2}},\d{{3}}$)\d+,\d+"
)

_MONTH_NAMES = (
    "january february march april may june july august september october november december "
    "jan feb mar apr may jun jul aug sep oct nov dec"
)
_MONTHS = {name: i % 12 + 1 for i, name in enumerate(_MONTH_NAMES.split())} | {"sept": 9}
# Any case, of ASCII alone: else an s would match ſ, and an i İ, which are in no month.
_MONTH = "(?P<month>(?ia:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r"))\b\.?"
_DAY = r"(?P<day>\d{1,2})(?i:st|nd|rd|th)?"
_DAY_NAME = "(?P<day>(?ia:" + "|".join(sorted(DAYS, key=len, reverse=True)) + "))"
_YEAR = r"(?:,?\s+(?P<year>\d{4}))?\b"
_DATES = [
    re.compile(rf"\b{_DAY}\s+(?:(?i:of)\s+)?{_MONTH}{_YEAR}"),
    re.compile(rf"\b{_MONTH}\s+(?:(?i:the)\s+)?{_DAY}\b{_YEAR}"),
    re.compile(rf"\b{_DAY_NAME}\s+(?i:of)\s+{_MONTH}{_YEAR}"),
    re.compile(rf"\b{_MONTH}\s+(?i:the)\s+{_DAY_NAME}\b{_YEAR}"),
    re.compile(r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})\b"),
]
Date = tuple[int, int, int | None]  # day, month, year


def number(answer: str) -> Decimal | None:
    """The number that an answer is ("1,234", "$40", "-3", "12.50", "30%"), or None."""
    bare = answer.strip().removesuffix("%").strip().lstrip("$€£")
    match = _NUMBER.fullmatch(bare)
    if match is None or match["under"] or not _ENGLISH.fullmatch(match["digits"]):
        return None
    return _read_decimal(match, re.sub(rf"[{_MARKS}]", "", match["digits"]))


_MINUS = re.compile(r"(?i)(^\W*|(?:\bis|\bbe|[:=])\s+[*_$]*)(?:minus|negative) (?=\d)")
_RAISED = re.compile(r"(?<=\d)[⁰¹²³⁴-⁹]+")
_VULGAR = re.compile("[ ]?([¼-¾⅐-⅞])")


def plain(text: str) -> str:
    """A text without what LaTeX puts into numbers and around units; "minus 5" is -5, 2³ 2^3."""
    text = _VULGAR.sub(lambda m: f" {unicodedata.normalize('NFKC', m[1])}".replace("⁄", "/"), text)
    text = _MINUS.sub(r"\1-", text)
    text = _RAISED.sub(lambda m: "^" + unicodedata.normalize("NFKC", m[0]), text)
    if "\\" not in text and "{,}" not in text:
        return text
    text = re.sub(r",?\\!\s*(?=\d)|\{,\}", ",", text).replace("\\$", "$").replace("\\%", "%")
    text = re.sub(r"(?<=\d)\\[,;: ](?=\d)", "", text)
    text = re.sub(r"(?<=\d)\s*(?=\\[dt]?frac)", " ", text)
    text = re.sub(r"\\[dt]?frac\s*\{?(\d+)\}?\s*\{?(\d+)\}?", r"\1/\2", text)
    text = re.sub(r"\\(?:times|cdot)\b", "×", text)
    return re.sub(r"\\[,;:! ]|\\(?:left|right)\b", " ", text)


def dates(text: str) -> list[tuple[Date, re.Match[str]]]:
    """The dates in a text, each with its place: "20 June", "June 20th, 2025", "2025-06-20"."""
    matches = [match for pattern in _DATES for match in pattern.finditer(text)]
    return [(_date(match), match) for match in sorted(matches, key=lambda m: m.start())]


def _date(match: re.Match[str]) -> Date:
    month, day = match["month"].lower(), match["day"].lower()
    year = int(match["year"]) if match["year"] else None
    return int(DAYS.get(day, day)), int(month) if month.isdigit() else _MONTHS[month], year


def same_date(one: Date, other: Date) -> bool:
    """Whether two dates agree; a missing year agrees with every year."""
    return one[:2] == other[:2] and (one[2] == other[2] or None in (one[2], other[2]))


def digits(text: str) -> list[Number]:
    """The numbers that are written in digits, in order; a date is one number."""
    spans = [
        Number(frozenset(Decimal(x) for x in (date[0], date[2]) if x is not None), *match.span())
        for date, match in dates(text)
    ]
    telephones = [Number(frozenset(), *match.span()) for match in _TELEPHONE.finditer(text)]
    places: list[Number] = []
    for match in _NUMBER.finditer(text):
        date = _around(spans, match.start())
        if date:
            if not places or places[-1].start != date.start:
                places.append(date)
        elif mark := EXPONENT.search(text[max(0, match.start() - 6) : match.start()]):
            if places:
                places[-1] = apply_exponent(places[-1], match, text, mark[0])
        else:
            before = text[max(0, match.start() - 12) : match.start()]
            label = _around(telephones, match.start("digits")) or _CODE.search(before)
            values = frozenset[Decimal]() if _VARIABLE.match(text, match.end()) else _values(match)
            number = Number(values, *match.span(), bool(label))
            if (
                match["under"]
                and places
                and _WHOLE_PART.fullmatch(text[places[-1].start : match.start()])
            ):
                whole = places.pop()  # "3 1/2"
                values = frozenset(a + b.copy_sign(a) for a in whole.values for b in number.values)
                number = Number(values, whole.start, number.end)
            places.append(add_scale(add_part(number, text), text))
    return places


_VARIABLE = re.compile(r"[abinqruxyzπθ](?![^\W_])")  # of "18x", which is no number
_WHOLE_PART = re.compile(r"[-−]?[$€£]?[-−]?\d+ ")


def _around(spans: list[Number], at: int) -> Number | None:
    """The span that holds a place, of spans in order."""
    i = bisect_right(spans, at, key=lambda span: span.start)
    return spans[i - 1] if i and at < spans[i - 1].end else None


def _values(match: re.Match[str]) -> Values:
    values = {_read_decimal(match, text) for text in _readings(match["digits"])}
    if match["under"]:
        return frozenset(value / Decimal(match["under"]) for value in values)
    return frozenset(values)


def _readings(text: str) -> set[str]:
    readings = set()
    if _CONTINENTAL.fullmatch(text):
        readings.add(re.sub(rf"[.{_MARKS[1:]}]", "", text).replace(",", "."))
    if _ENGLISH.fullmatch(text):
        readings.add(re.sub(rf"[{_MARKS}]", "", text))
    else:
        # Numbers side by side ("1,2,3"): the last.
        last = re.split(rf"[{_MARKS}]", text)[-1]
        readings.add(last if _ENGLISH.fullmatch(last) else last.rpartition(".")[2])
    return readings


def _read_decimal(match: re.Match[str], text: str) -> Decimal:
    value = Decimal(text).scaleb(int(match["power"] or 0))
    return value.copy_negate() if match["sign"] or match["inner"] else value


# --- labels -------------------------------------------------------------------

# A telephone number: three groups of digits and more, or two that begin with a 0 or a plus.
_TELEPHONE = re.compile(
    r"(?<![\d.,=+*/×-])(?:\+|\(?0)\d*\)?(?:[ -]\(?\d{2,}\)?)+(?![\d.,]*\d)"
    r"|(?<![\d.,=])0\d*(?:\.\d{2,}){2,}"
    r"|(?<![\d.,=])\(?\d{3}\)?[ -]\d{3}[ -]\d{4}\b|(?<![\d.,=-])(?<!\d )\b\d{3}[ -]\d{4}\b(?! =)"
    r"|(?i:\b(?:call|phone|ring|dial|tel|telephone|fax|extension|ext)\b[.:]?(?: us| me)?"
    r"(?: on| at)? \+?\d[\d ()-]*)"
)
_CODE = re.compile(r"(?<![^\W\d])(?!(?:usd|eur|gbp|chf|rs|us)$)[^\W\d_]+[-‑]?\d*$", re.IGNORECASE)
_PLACE = re.compile(
    r"(?i)\b(?:hall|room|unit|gate|bay|desk|dock|stall|booth|floor|deck|sector|ward|cell|cabin|"
    r"suite|flat|apt|apartment|office|platform|lane|channel|extension|ext|badge|agent|model|mark|"
    r"mk|version|no|nr|ref|reference|ticket|case|file|page|chapter|episode|bot|robot|droid|pier|"
    r"berth|hangar|district|station|track|bus|tram|flight|squad|route|highway|since|est|anno|"
    r"copyright|©|frequency|clearance)[ .:#№]*$"
)
_TIME = re.compile(r"\d:\d{2}(?!\d)")
_NAME = re.compile(r"(?<=[^\W\d_] |.,|[^\W\d_]\.) ?(?P<name>[A-Z][^\W\d_A-Z]+) $")
_STATING_WORDS = (
    "Answer Total Sum Result Is Are Equals Makes So Thus Therefore Hence Exactly About Only Just "
    "Yes Approximately Aye Euro Euros Dollar Dollars Pound Pounds Monday Tuesday Wednesday "
    "Thursday Friday Saturday Sunday Solution First Then"
)
_STATING = frozenset(_STATING_WORDS.split())
_CHATTER = re.compile(
    r"(?i)^\W*(?:(?:and |but )?(?:this|that|it|which|the (?:solution|calculation|working))"
    r"(?: only| just)? (?:took|needed|required|used)(?: me| us)?\b"
    r"|(?:please )?(?:call|phone|ring|dial|tel|telephone|fax|text|contact|reach|visit|find me|"
    r"find us|come by|ask for|write to|e-?mail|p\.? ?s\.?|signed|yours|sincerely|regards|"
    r"over and out)\b"
    r"|(?:(?:here (?:is|are)|i have|want|need|try|ready for|on to|ask me|give me)\W*)?(?:just )?"
    r"\d+ (?:more|other|further) (?:example|question|problem|exercise|task|one)s?\b)"
)
_SIGN_OFF = re.compile(
    r"(?i)^\W*(?:yours(?: truly| faithfully| sincerely)?|sincerely|(?:best |kind |warm )?regards|"
    r"cheers|signed)\W*$"
)
_CLAUSES = re.compile(r"(?<=[.!?…;,—–\n])[\"'”’)*_]*\s+|\n|\s+[—–…]+\s+")
_POSTSCRIPT = re.compile(r"(?is)(?<=\S)\s+p\. ?s\..*$")
_TAG = re.compile(r"(?<=\S)\s+(?:\[([^\[\]\n]{1,80})\]|\*([^*\n]{1,80})\*|\(([^()\n]{1,80})\))\W*$")
_LONGEST_TAG = 200  # characters at the end of a text; a search of all would make many tags slow


def last_number(text: str, question: str = "") -> Values:
    """The last number of a text in every way of reading it; empty where there is none.

    Of "2 hours (120 minutes)" it is the one in the unit that the question asks for. Labels count
    only where there is nothing else, number words where there are no digits or where the last
    sentence states one ("So it is seven.").

    Args:
        text: what is read.
        question: what was asked; a name in it before a number is no label ("Ben 15").
    """
    body = plain(text)
    measures = _measures(without_tags(body), question)
    values = measures[-1].values if measures else frozenset()
    return read_in_asked_unit(digits(body), body, question) or values


def without_tags(text: str) -> str:
    """A text without a postscript, and without brackets at its end that hold nothing but labels."""
    text = _POSTSCRIPT.sub("", text)
    while match := _TAG.search(text, max(0, len(text) - _LONGEST_TAG)):
        inner = next(group for group in match.groups() if group is not None)
        if "=" in inner or not re.search(r"[^\W\d_]", inner) or not only_labels(inner, ""):
            break
        text = text[: match.start()]
    return text


def only_labels(clause: str, question: str) -> bool:
    """Whether the numbers of a clause are all labels."""
    return bool(_CHATTER.search(clause)) or all(
        one.label or _is_named(one, clause, question) for one in digits(clause)
    )


def _is_named(one: Number, clause: str, question: str) -> bool:
    """Whether a place, a name or a time takes the number ("Hall 4", "Unit 734", "9:30")."""
    before = clause[max(0, one.start - 30) : one.start]
    if _PLACE.search(before) or _TIME.search(clause[max(0, one.start - 3) : one.end + 3]):
        return True
    name = None if clause.isupper() else _NAME.search(before)
    return name is not None and name["name"] not in _STATING and name["name"] not in question


def _measures(text: str, question: str) -> list[Number]:
    """The numbers of a text that are no labels; its labels where there are no others."""
    clauses = [clause for clause in _CLAUSES.split(text) if clause.strip()]
    measures = [
        any(not one.label for one in digits(c)) or bool(read_spelled_numbers(c)) for c in clauses
    ]
    first = measures.index(True) if True in measures else 0
    last = len(clauses) - 1
    while last > first and (
        _SIGN_OFF.match(clauses[last - 1])
        or not measures[last]
        or (only_labels(clauses[last], question) and not _spells(clauses[last]))
        or _is_colour(clauses[last], clauses[:last], question)
    ):
        last -= 1
    if clauses and (match := _STATED_WORDS.search(clauses[last])) and not digits(clauses[last]):
        return read_spelled_numbers(match[1] or match[2])
    body = text if last < 0 else "\n".join(clauses[: last + 1])
    everything = digits(body)
    measured = [one for one in everything if not one.label]
    words = [] if measured else read_spelled_numbers(text)
    stated = [
        one for one in measured if not _DENIED.search(body[max(0, one.start - 20) : one.start])
    ]
    return stated or measured or words or everything


_DENIED = re.compile(r"(?i)\b(?:not|rather than|instead of)[\s*_$€£]+$")  # "72 clips, not 48"


_STATING_NUMBER = re.compile(
    rf"(?i)(?:^|\b(?:it is|it's|['’]?tis|that is|that's|makes|equals|leaves|total|sum|answer)"
    rf"(?: is| be| comes to)?:? |= ?)[$€£]?(?:\d[\d.,]*\d|\d|(?:{UNITS})\b(?:[ -](?:{UNITS})\b)*)"
    r"(?:%|(?: [^\W\d_]+){0,2})\W*$"
)
_REASONING = re.compile(
    r"(?i)[=+×*/<>:^−]|\b(?:is|are|was|were|equals|makes?|gives?|gets?|leaves?|left|remains?|total|"
    r"sum|answer|result|so|thus|therefore|hence|each|per|plus|minus|times|less|add|subtract|over)\b"
)
_ADDRESS = re.compile(r"(?i)\b(?:you|ye|your|yer|i|i['’]\w+|me|my|we|us|our)\b")


def _is_colour(clause: str, before: Sequence[str], question: str) -> bool:
    """Whether a clause after a stated number counts things that nobody asked about.

    "It is 18, matey! 2 doubloons for ye." It begins with the number or addresses somebody, reasons
    about nothing, and what it counts is no word of the question.
    """
    amounts = digits(clause) or read_spelled_numbers(clause)
    nouns = [_COUNTED_NOUN.match(clause, one.end) for one in amounts]
    wording = question.lower()
    return (
        not _REASONING.search(clause)
        and all(noun and noun[1].lower().rstrip("s") not in wording for noun in nouns)
        and bool(_ADDRESS.search(clause) or re.match(r"\W*\d", clause))
        and any(_STATING_NUMBER.search(one.strip(" \n.,!;")) for one in before)
    )


_COUNTED_NOUN = re.compile(
    r"\s(?!(?:and|or|of|more than|in|to)\b)(?:more |good |fine )?([^\W\d_]{3,})"
)


def _spells(clause: str) -> bool:
    return not digits(clause) and bool(read_spelled_numbers(clause))


_WORDS = (
    rf"(?:(?:only|just|exactly|minus|a)\s+)?(?:{UNITS})"
    rf"(?:[\s,‑-]+(?:and\s+|point\s+)?(?:{UNITS}|hundred|thousand|million))*"
)
# "Seven." or "So that makes seven animals.", but not "Two parrots nod." nor "it is one of ours".
_STATED_WORDS = re.compile(
    rf"(?i)^\W*({_WORDS})\W*$"
    r"|(?:\b(?:it is|it's|that is|that's|makes?|equals|leaves|so|thus|therefore|total|answer)"
    r"(?: is| are| there are| that is| that makes)?:?\s+|[=:]\s*)"
    rf"(?!one\s+[^\W\d_])({_WORDS})(?:\s+[^\W\d_]+){{0,2}}\W*$"
)


def first_number(text: str) -> Values:
    """The number that a text begins with, in every way of reading it; empty where it does not."""
    numerals = digits(plain(text)) or read_spelled_numbers(text)
    start = _START.match(plain(text))
    at = start.end() if start else 0
    return numerals[0].values if numerals and numerals[0].start <= at else frozenset()


_START = re.compile(
    r"(?i)[\s$€£({*_~≈=]*(?:(?:about|approximately|exactly|only|just|usd|eur)\s+)?[\s$€£({*_]*"
)
