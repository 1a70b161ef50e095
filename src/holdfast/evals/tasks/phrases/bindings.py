"""What a text says of the thing that was asked about, among the other values of the question.

"Boris lives in Nice, while Bianca lives in Malmo" holds both towns, whoever was asked about. So
where a question names other answers of the same type (`Gold.alternatives`) and what they belong to
(`Gold.subjects`), each value in the text is bound to a subject:

    as many subjects as values in a sentence   in their order
    a subject in the clause                    to the nearest one
    none                                       to the subject of a question just before it
                                               ("Bianca? Malmo."), else to what was asked about

Another order behind the right one is claimed in whatever words.
A row of values ("Malmo, Nice") is bound to nothing. Denied values and questions claim nothing, and
neither does an alternative in other words than those of the question ("Malmo is far from Nice").
A reply that gives two other subjects their values recites the question and commits to nothing; one
that gives all of several other subjects theirs answers nothing.

This module knows texts and golds. It knows no kinds of task.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.phrases import occurrences, words
from holdfast.evals.tasks.phrases.lists import items
from holdfast.evals.tasks.phrases.marks import SENTENCE, SMALL


@dataclass(frozen=True)
class Claim:
    """What a text says about the thing that was asked about."""

    right: bool
    """Whether the value is the gold answer, and no alternative."""
    bound: bool
    """Whether the text names the thing ("Boris lives in Nice"), and does not only say a value."""
    bare: bool
    """Whether there is nothing beside the value but words of the question ("He lives in Nice")."""


@dataclass(frozen=True)
class Claims:
    """What a text claims about the thing that was asked about."""

    all: tuple[Claim, ...] = ()
    """Every claim, in order."""
    elsewhere: bool = False
    """Whether the gold answer occurs, but only in a row of values or said of something else."""
    recital: bool = False
    """Whether it says of two other subjects, or of all, what is theirs, as the question does."""

    @property
    def wrong(self) -> bool:
        """Whether the last claim is an alternative, or the gold answer is claimed nowhere."""
        return self.elsewhere or (bool(self.all) and not self.all[-1].right)

    @property
    def bound(self) -> bool:
        """Whether a claim names what was asked about."""
        return any(claim.bound for claim in self.all)

    @property
    def mixed(self) -> bool:
        """Whether an alternative is claimed anywhere."""
        return not all(claim.right for claim in self.all)


@dataclass(frozen=True)
class _TermMention:
    """A value or a subject in a text."""

    start: int
    end: int
    index: int
    """Which one; 0 is the gold answer, or what was asked about."""


def claims(text: str, gold: Gold) -> Claims:
    """What a text claims about the thing that was asked about; nothing without alternatives.

    Args:
        text: the reply, or the part of it that states the answer.
        gold: the right answer, with the alternatives and subjects of the question.
    """
    if not gold.alternatives:
        return Claims()
    values, subjects = _values(text, gold), _subjects(text, gold)
    own_claims, others = _claims(text, gold, values, subjects)
    first = next(
        (i for i, one in enumerate(own_claims) if one.bound and not one.right), len(own_claims)
    )
    # After a wrong claim only one as plain puts it right.
    own_claims = [c for i, c in enumerate(own_claims) if i <= first or c.bound or c.bare]
    has_gold = any(value.index == 0 for value in values)
    if len(items(gold.answer)) > 2 and has_gold and values[-1].index:
        own_claims.append(Claim(right=False, bound=False, bare=False))
    elsewhere = has_gold and not any(claim.right for claim in own_claims)
    if len(own_claims) < 2:  # a reply that says the answer once more has chosen it
        every = len(set(gold.alternatives))
        elsewhere |= 1 < len(others) == every
        return Claims(tuple(own_claims), elsewhere, recital=len(others) >= min(2, every))
    return Claims(tuple(own_claims), elsewhere)


# --- values and subjects ----------------------------------------------------------


def _values(text: str, gold: Gold) -> list[_TermMention]:
    phrases = [(form, 0) for form in gold.forms]
    phrases += [(phrase, i) for i, phrase in enumerate(gold.alternatives, 1)]
    return _outermost(
        _TermMention(place.start, place.end, index)
        for phrase, index in phrases
        for place in occurrences(text, phrase, gold.question)
        if not (place.denied or place.asked or place.other)
    )


def _subjects(text: str, gold: Gold) -> list[_TermMention]:
    """The subjects in a text; an owner counts here ("Boris's town"), an adjective does not."""
    return _outermost(
        _TermMention(place.start, place.end, index)
        for index, phrase in enumerate(gold.subjects)
        for place in occurrences(text, phrase, gold.question)
        if not place.denied
        and (not place.other or text[place.start].isupper() or text[place.end :][:1] in ("'", "’"))
    )


def _outermost(mentions: Iterable[_TermMention]) -> list[_TermMention]:
    """The mentions in order, without those inside another ("Square" in "Station Square")."""
    outer: list[_TermMention] = []
    for one in sorted(mentions, key=lambda one: (one.start, -one.end)):
        if not outer or one.start >= outer[-1].end:
            outer.append(one)
    return outer


# --- which value belongs to which subject -------------------------------------------

_SENTENCE_END = re.compile(rf"{SENTENCE}|;(?=\s|$)")
_CLAUSE_END = re.compile(
    rf"(?i){_SENTENCE_END.pattern}|,|\s[—–-]\s"
    r"|\b(?:and|but|or|while|whereas|so|because|since|although|though)\b"
)
_ROW = re.compile(  # at last any one word that neither corrects nor concludes ("Malmo beats Nice")
    r"(?i)[\s,;/|&.•*()<>-]*"
    r"(?:(?:\d[.)]|and|or|then|in|on|the|an?|maybe|perhaps)[\s,;/|&.•*()<>-]+)*"
    r"|[^\w.!?:;\n]*(?!(?:actually|rather|sorry|wait|well|no|nay|but|so|thus|hence|therefore)\b)"
    r"(?P<word>\w+)[^\w.!?:;\n]*"
)
# A correction or a pronoun beside a value leaves it an answer ("No, wait: he lives in Nice").
_CORRECTIONS = "actually rather sorry wait mean well answer he she they we i one s"
_BESIDE = SMALL | frozenset(_CORRECTIONS.split())


def _claims(
    text: str, gold: Gold, values: Sequence[_TermMention], subjects: Sequence[_TermMention]
) -> tuple[list[Claim], set[int]]:
    """The claims about what was asked about, and the alternatives said of something else."""
    own_claims, others = list[Claim](), set[int]()
    clauses = _parts(text, _CLAUSE_END, (*values, *subjects))
    rows, asked_before = _rows(text, values, gold.question), None
    for sentence in _parts(text, _SENTENCE_END, (*values, *subjects)):
        inner = [one for one in values if one.start in sentence]
        subjects_inside = [one for one in subjects if one.start in sentence]
        if text[sentence.start : sentence.stop].rstrip(" \"'”’)*_").endswith("?"):
            asked_before = subjects_inside[-1].index if subjects_inside else asked_before
            continue
        pairs = _in_order(inner, subjects_inside)
        if not pairs:
            inner = [one for one in inner if one not in rows]
            pairs = _in_clauses(clauses, inner, subjects_inside)
        for value in inner:
            bare = _is_bare(text, value, _part(clauses, value), gold)
            subject = pairs.get(value, asked_before)
            if subject == 0 or (subject is None and (bare or value.index == 0)):
                own_claims.append(Claim(value.index == 0, subject == 0, bare))
            elif subject and value.index:
                others.add(value.index)
        asked_before = None
    return own_claims, others


def _rows(text: str, values: Sequence[_TermMention], question: str) -> set[_TermMention]:
    """The values that stand in a row, with nothing between them that says which is the answer.

    A word of the question says it: "Bo met Al" answers "Who met Al?".
    """
    rows, question_words = set[_TermMention](), set(words(question).split()) - SMALL
    for one, other in pairwise(values):
        joint = _ROW.fullmatch(text, one.end, other.start) if one.index != other.index else None
        if joint and words(joint["word"] or "") not in question_words:
            rows |= {one, other}
    return rows


def _parts(text: str, ends: re.Pattern[str], mentions: Sequence[_TermMention]) -> list[range]:
    """The parts of a text up to each end that is not inside a mention ("3, 5, 9")."""
    inside = {i for one in mentions for i in range(one.start, one.end)}
    cuts = [match.end() for match in ends.finditer(text) if match.start() not in inside]
    return [range(i, j) for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _part(parts: Sequence[range], one: _TermMention) -> range:
    return parts[bisect_right(parts, one.start, key=lambda part: part.start) - 1]


def _in_order(
    values: Sequence[_TermMention], subjects: Sequence[_TermMention]
) -> dict[_TermMention, int]:
    """Each value with its subject where there are as many; one that is said again is one."""
    order = sorted((*values, *subjects), key=lambda one: one.start)
    groups = [list(group) for _, group in groupby(order, lambda one: (one in values, one.index))]
    these = [group for group in groups if group[0] in values]
    those = [group[0].index for group in groups if group[0] not in values]
    if len(these) != len(those):
        return {}
    return {one: subject for group, subject in zip(these, those, strict=True) for one in group}


def _in_clauses(
    clauses: Sequence[range], values: Sequence[_TermMention], subjects: Sequence[_TermMention]
) -> dict[_TermMention, int]:
    """Each value of a sentence with the nearest subject of its clause, where it has one."""
    pairs = {}
    for value in values:
        clause = _part(clauses, value)
        if near := [one for one in subjects if one.start in clause]:
            pairs[value] = min(near, key=lambda one: abs(one.start - value.start)).index
    return pairs


def _is_bare(text: str, value: _TermMention, clause: range, gold: Gold) -> bool:
    """Whether a value's clause holds nothing else but words of the question and small ones."""
    question_words = set(words(gold.question).split()) if gold.subjects else set[str]()
    vocabulary = _BESIDE | question_words | {f"{word}s" for word in question_words}
    rest = words(f"{text[clause.start : value.start]} {text[value.end : clause.stop]}").split()
    return all(word in vocabulary for word in rest)
