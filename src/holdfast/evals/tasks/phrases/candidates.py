"""Whether a reply in words commits itself to one answer, or gives other candidates beside it.

    kinds       a weekday, a month, a colour… beside or behind which another one stands
    lists       rows of words or names, "both … and …"
    retraction  "Mercury. No, gallium."

This module knows texts. It knows nothing of what is right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from holdfast.evals.tasks.numbers import dates, same_date
from holdfast.evals.tasks.phrases import (
    UNSPACED_SCRIPT,
    Occurrence,
    find_places,
    occurrences,
    words,
)
from holdfast.evals.tasks.phrases.frames import own_words, question_words
from holdfast.evals.tasks.phrases.marks import CALLS, NUMBERING, PLAIN, SENTENCE, SMALL
from holdfast.evals.tasks.statements import sentences

_NEAR = 40  # characters before a value in which a word is about it


def offers_several(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether a text gives another candidate beside an answer.

    Args:
        text: what is read.
        forms: the answer and its other forms.
        question: what was asked.
    """
    return (
        is_pair(text, forms)
        or is_among_its_kind(text, forms[0], question)
        or is_list_of_words(text, forms[0], question)
    )


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
    r"(?i)[\s,;/|&.•*_–—-]*(?:\b(?:or|and|to|then|oder|ou|und|et|maybe|perhaps|possibly)"
    r"\b[\s,*_]*){0,2}"
)
_DAY_BEFORE = re.compile(
    r"(?i)\b\d{1,2}(?:st|nd|rd|th)?\s*(?:[-–—/&]|\b(?:or|and|to|until)\b)\s*(?:the )?$"
)
_DAY_AFTER = re.compile(
    r"(?i)^\s*(?:[-–—/&]|\b(?:or|and|to|until)\b)\s*(?:the )?"
    r"\d{1,2}(?:st|nd|rd|th)?(?=\W*$|[.,;!?])"
)
_RELATIVE = re.compile(r"(?i)\b(?:before|after|until|till|past|since|around|about)\s+(?:the\s+)?$")


def kind_of(answer: str) -> list[str]:
    """The words that may stand in an answer's place, it among them; none where that is open."""
    return next((kind for kind in _KINDS if words(answer) in kind), [])


def is_among_its_kind(text: str, answer: str, question: str) -> bool:
    """Whether a date, a weekday, a colour… stands only in a row of its kind, or beside the point.

    "Monday, Tuesday", "13 or 14 March", and "the day after Monday" where nobody asked for that.
    """
    own_dates, mine = dates(answer), list(occurrences(text, answer))
    kind = kind_of(answer)
    if own_dates:
        own = own_dates[0][0]
        kind = [match[0] for date, match in dates(text) if not same_date(date, own)]
    others = [one for word in kind for one in occurrences(text, word)]
    spans = [(o.start, o.end) for o in others if not (o.denied or o.asked or o.other)]
    if "yes" not in kind and _gives_another(text, mine, spans, question, behind=bool(own_dates)):
        return True
    relative = not re.search(r"\b(?:before|after)\b", question)
    return bool(mine and (kind or own_dates)) and all(
        _in_row(text, one, spans)
        or (relative and _RELATIVE.search(text[max(0, one.start - _NEAR) : one.start]) is not None)
        or (bool(own_dates) and _is_one_day_of_several(text, one))
        for one in mine
    )


def _gives_another(
    text: str,
    mine: Sequence[Occurrence],
    spans: Sequence[tuple[int, int]],
    question: str,
    *,
    behind: bool,
) -> bool:
    """Whether another one of the kind, that the question does not name, is beside or behind it.

    Dates count only behind the answer: on the way to it they are reasoning.
    """
    last = max(mine, key=lambda one: one.start, default=None)
    if last is None:
        return False
    known = {*words(question).split(), *words(text[last.start : last.end]).split()}
    begin = last.start if behind else max(text.rfind(mark, 0, last.start) for mark in ".!?:\n")
    later = [text[start:end] for start, end in spans if start > begin]
    return any(not set(words(one).split()) <= known for one in later)


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


_LEAD = re.compile(r"(?i)^.*\b(?:is|are|be|was|were|include|includes|means)\b")
_ITEMS = re.compile(r"\s*(?:[,;/|\n•\[\]&+→]|-+>|\b(?:and|or|then)\b)\s*")
_STROKE = re.compile(r"\w\s?(?:[/|;&+→]|-+>|\b(?:and|then)\b)\s?\w")


def is_list_of_words(text: str, answer: str, question: str) -> bool:
    """Whether a word in lower case is one of a row of single words ("iron, copper, zinc").

    Three are a row, or two that a stroke parts; what a persona calls out beside is none of it.
    """
    own = words(answer)
    if not own.isalpha() or not (answer.islower() or text.islower()):
        return False
    marked = sum(bool(mark.strip()) for mark in NUMBERING.findall(text)) > 1
    lines = NUMBERING.sub("", text) if marked or len(text.split("\n")) > 2 else ""
    if marked:
        lines = lines.replace("\n", "; ")
    return any(_is_word_row(one, own, question) for one in (lines, *sentences(text)))


def _is_word_row(text: str, own: str, question: str) -> bool:
    rest = _LEAD.sub("", text)
    items = [set(words(part).split()) - SMALL - CALLS for part in _ITEMS.split(rest)]
    names = {word for item in items for word in item}
    if own not in names or any(len(item) > 1 for item in items):
        return False
    stroke = _STROKE.search(rest) is not None
    return len(names) > (1 if stroke else 2)


def is_run(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether an answer is in a sentence of names alone ("PARIS LYON", "iron copper").

    One word may come before it, as in "Marie Curie". What comes behind a comma is an address or
    explains it ("iron, comrade"), so that of "iron, copper" the first is the answer.
    """
    known = PLAIN | question_words(forms, question).difference(words(" ".join(forms)).split())
    for one in sentences(text):
        rest = _LEAD.sub("", _NO_DOUBT.sub("", one))
        subject, _, value = rest.partition(" — ")  # "Столица Франции — Париж"
        if value and set(words(subject).split()) <= set(words(question).split()):
            rest = value
        if known.intersection(words(rest).split()):
            continue
        places = find_places(rest, forms, question)
        if places and not _is_name(rest, places[0], forms):
            before, _, part = rest[: places[0].start].rpartition(",")
            part += rest[places[0].start :].partition(",")[0]
            if words(part) in map(words, forms) and _find_others(before, known, names=False):
                return True  # "copper, iron"
            rest = part
        if adds_words(rest, forms, question):
            return True
    return False


_NO_DOUBT = re.compile(r"(?i)\b(?:without|beyond|no) (?:an?y? )?(?:\w+ )?(?:doubt|question)\b")


def adds_words(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether a text adds to an answer words that are neither small ones nor of the question.

    One is let through before it ("Marie Curie"), and so are words in lower case beside a name.
    """
    known, rests = PLAIN | own_words(forms, question), []
    for one in find_places(text, forms, question):
        is_name = _is_name(text, one, forms)
        before = _find_others(text[: one.start], known, names=is_name)
        behind = _find_others(_ENDING.sub("", text[one.end :]), known, names=is_name)
        rests.append(len(before) > 1 or bool(behind))
    return bool(rests) and all(rests)


def _is_name(text: str, place: Occurrence, forms: Sequence[str]) -> bool:
    """Whether an answer has a capital that means something."""
    return text[place.start].isupper() and forms[0][:1].isupper() and not text.isupper()


def _find_others(text: str, known: Collection[str], *, names: bool) -> list[str]:
    """The words of a text that may be other answers: neither known nor adverbs; names alone."""
    return [
        word
        for word in re.findall(r"[^\W_]+", text)
        if not (words(word) in known or word.lower().endswith("ly"))
        and (word[0].isupper() or not names)
    ]


# The letters right behind an answer of a script without spaces that are no names: "東京です".
_ENDING = re.compile("^ ?[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u309f\uac00-\ud7af]+")


def is_pair(text: str, forms: Sequence[str]) -> bool:
    """Whether an answer is one of "both … and …", "between … and …" or "… and … are both"."""
    form = rf"(?<!\w)(?:{'|'.join(map(re.escape, forms))})(?!\w)"
    pairs = rf"{_BOTH}{form}|\bbetween (?:{form} and\b|[^.!?:;,\n]{{1,60}} and {form})"
    joined = rf"(?:{form} and\b|\band {form})[^.!?:;\n]{{0,60}}\bboth\b"
    return re.search(rf"(?i){pairs}|{joined}", text) is not None


_BOTH = r"\bboth\b(?:(?!\b(?:is|was|it|say|to|in|of|at|by|on|for|from|with)\b)[^.!?\n:;]){0,200}?"
_RETRACTION = re.compile(
    r"(?i)[.!?;,\n–—-]\s*(?:(?:oh|but|and|ah|or|just),?\s+)*(?:(?:no|nope|wait|correction|sorry|"
    r"rather|i mean|scratch that|nein|non)\b\s*[,:.!;–—-]+\s*|"
    r"(?:actually|kidding)\b\W*(?=(?:it|that)(?:['’]s|\s+(?:is|was))\b)|"
    r"(?P<loose>(?:i meant?(?! (?:it|that|this)\b)|make (?:that|it)|or rather)\s+))"
    r"(?:(?:it|that|i|the answer|make|rather|actually|was|is|it['’]s|mean|meant|no|wait)\b,?\s*)*"
    r"(?P<rival>[^.!?,;\n]+)"
)


def is_retracted(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether a reply goes on to another answer.

    "Mercury. No, gallium.", and of names "Paris is fine. The capital is Lyon."
    """
    places = find_places(text, forms, question)
    if not places:
        return False
    last = max(places, key=lambda one: one.end)
    length = len(words(text[last.start : last.end]).split())
    known = PLAIN | own_words(forms, question)
    is_name = _is_name(text, last, forms)
    rivals = (
        words(match["rival"]).split()
        for match in _RETRACTION.finditer(text, last.end)
        # "Paris, I mean business", but not "Paris, I mean Lyon"
        if not (match["loose"] and is_name and match["rival"][0].islower())
    )
    if any(0 < len(one) <= length + 1 and one[0] not in known for one in rivals):
        return True
    clauses = _CLAUSE_END.split(text[last.end :])[1:] if is_name else []
    subjects = SMALL | set(words(question).split())
    for match in filter(None, map(_IS_NAME.fullmatch, clauses)):
        names = match[2].split()
        if set(words(match[1]).split()) <= subjects and len(names) <= length + 1:
            return not known.intersection(words(match[2]).split())
    return False


def is_renamed(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether a name that is the answer is said to be another name ("Paris is Lyon").

    What the question names is none, and neither are adjectives ("Paris is French").
    """
    known = PLAIN | own_words(forms, question) | question_words(forms, question)
    places = [one for one in find_places(text, forms, question) if _is_name(text, one, forms)]
    others = (_IS_ANOTHER.match(text, one.end) for one in places)
    return any(one and not known.intersection(words(one[1]).split()) for one in others)


# "… is Lyon.", up to the sentence's end; in a title all words are capitals, "Is" too.
_IS_ANOTHER = re.compile(
    r"[*_\"”’]*\s+(?:is|was|aka|=)\s+(?:[a-z]+ly )?[*_\"“‘]*"
    r"(?!\w*(?:ish|ese|ian|ean|ican|German|French|Dutch|Czech|Greek|Swiss|Thai)\b)"
    r"((?:[A-Z][a-z]+ ){0,2}[A-Z][a-z]+)[*_\"”’]*\s*(?:[.!]|\Z)"
)


def is_denied_later(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether the last that a text says of an answer is that it is not so."""
    places = [one for one in find_places(text, forms, question) if not one.asked]
    return bool(places) and max(places, key=lambda one: one.end).denied


_CLAUSE_END = re.compile(rf"{SENTENCE}|[;:](?=\s)")
# "It is Lyon", "The capital is Lyon"
_IS_NAME = re.compile(
    r"(.*?)(?:\b(?:is|was|be)\b|(?<=[Ii]t)['’]s\b)((?:\s+[*_]*[^\W\d_a-z][^\W\d_]*)+)\W*"
)


# --- copies that are none ----------------------------------------------------------

_COPY = re.compile(r"(?i)\b(?:word for word|exactly|verbatim|letter by letter)\b")
_GOES_ON = re.compile(rf"[^\S\n]+(?!{UNSPACED_SCRIPT.pattern})\w")


def is_mention(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether a text that is to copy what the question says only speaks of it.

    In "dragon valley exists" the sentence goes on behind the words, without a mark or a quote.
    """
    if not (_COPY.search(question) and find_places(question, forms)):
        return False
    places = find_places(text, forms, question)
    return bool(places) and all(_GOES_ON.match(text, one.end) for one in places)
