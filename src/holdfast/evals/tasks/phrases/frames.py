"""Whether a text says of another candidate what it says of the answer.

The frame of an answer is the words around it in its sentence or clause: "I pick …", "… is right",
or nothing at all. A text that puts another candidate into the same frame ("I pick Paris. I pick
Lyon.", "Paris, Lyon", "Paris near Lyon near Rome") commits itself to neither.

A candidate begins with a word that is neither a small one nor one of the question nor an
exclamation, and with a capital where the answer does. So "It is Paris. It is a city" has one.

This module knows texts. It knows no tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.evals.tasks.phrases import occurrences, words
from holdfast.evals.tasks.phrases.marks import CALLS, NUMBERING, PLAIN, SENTENCE_END
from holdfast.evals.tasks.statements import is_pleasantry

_COMMON = CALLS | frozenset(["a", "an", "the", "it", "is", "are", "was", "be"])
_LEADING = frozenset(["it", "is", "was", "it's", "maybe", "perhaps", "also", "even", "then"])
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_WORD_BEFORE = re.compile(r"[^\W_]+(?=\s+\Z)")
_WORD_BEHIND = re.compile(r"\A\s+([^\W_]+)")
_CLAUSE_END = re.compile(
    r"(?i)[,;|/•]|-+>|→|\b(?:and|or|then|but|oder|und|et|ou|y|o)\b|[.!?…](?=\s|$)"
)
_CONCLUSION = re.compile(r"(?i)\W*(?:so|thus|hence|therefore|altogether|in conclusion)\b")
_QUOTES = re.compile(r"[(\[*_\"“”)\]]+")


@dataclass(frozen=True)
class _Answer:
    """One place of the answer, and what may stand in its stead."""

    start: int
    end: int
    length: int
    """How many words it has."""
    capital: bool
    """Whether it has a capital that means something."""
    own: frozenset[str]
    """Its own words and those of the question: no candidate begins with one."""


def shares_frame(text: str, forms: Sequence[str], question: str) -> bool:
    """Whether a text puts another candidate into the frame of an answer.

    Args:
        text: what is read.
        forms: the answer and its other forms.
        question: what was asked.
    """
    text = NUMBERING.sub("", text)
    answers = sorted(_find_answers(text, forms, question), key=lambda one: one.start)
    # Days may be counted on the way to the last sentence: "So it is Thursday."
    concludes = answers and _CONCLUSION.match(text, _last_sentence(text, answers).start)
    checked = answers[-1:] if concludes else answers
    return any(_has_rival(text, one, answers) for one in checked)


def own_words(forms: Sequence[str], question: str) -> frozenset[str]:
    """The words of an answer and of its question, which are no candidates."""
    return question_words(forms, question).union(words(" ".join(forms)).split())


def question_words(forms: Sequence[str], question: str) -> frozenset[str]:
    """The words of a question that are no candidates.

    A question that names the answer names other candidates too: of its words only those in lower
    case beside a name are none.
    """
    known = question
    if any(f" {words(form)} " in f" {words(question)} " for form in forms):
        lower = (one for one in _TOKEN.findall(question) if one[0].islower())
        known = " ".join(lower) if forms[0][:1].isupper() else ""
    return frozenset(words(known).split())


def _find_answers(text: str, forms: Sequence[str], question: str) -> Iterator[_Answer]:
    own = own_words(forms, question)
    for form in forms:
        for one in occurrences(text, form, question):
            if not (one.denied or one.asked or one.other):
                capital = form[:1].isupper() and text[one.start].isupper() and not text.isupper()
                length = len(words(text[one.start : one.end]).split())
                yield _Answer(one.start, one.end, length, capital, own)


def _last_sentence(text: str, answers: Sequence[_Answer]) -> range:
    """The sentence of the last answer where it is the last one, else nothing."""
    sentences = _cut(text, SENTENCE_END, range(len(text)), answers)
    rest = [one for one in sentences if _TOKEN.search(text, one.start, one.stop)]
    while len(rest) > 1 and is_pleasantry(text[rest[-1].start : rest[-1].stop]):
        rest.pop()
    return rest[-1] if answers[-1].start in rest[-1] else range(len(text), len(text))


def _has_rival(text: str, answer: _Answer, answers: Sequence[_Answer]) -> bool:
    sentences = _cut(text, SENTENCE_END, range(len(text)), answers)
    if _any_fills(text, answer, sentences, answers):
        return True
    sentence = _part_of(answer, sentences)
    if (joint := _JOINED.match(text, answer.end, sentence.stop)) and _is_bare_candidate(
        _find_tokens(text, joint.end(), _end_clause(text, joint.end(), sentence.stop)),
        answer,
        is_sentence=True,
    ):
        return True  # "I pick iron and copper"
    clauses = _cut(text, _CLAUSE_END, sentence, answers)
    if _any_fills(text, answer, clauses, answers, is_sentence=False):
        return True
    rows = (_cut(text, joint, sentence, answers) for joint in _joints(text, answer, sentence))
    return any(len(row) > 2 and _any_fills(text, answer, row, answers) for row in rows)


_JOINED = re.compile(
    r"(?i)[\"'”’)*_]*,?\s+(?:&|\+|(?:and|then|next|plus|as well as|together with)\b)"
    r"\s*(?:(?:an?|the|then)\s+)?"
)


def _end_clause(text: str, start: int, stop: int) -> int:
    """Where the clause of a place ends."""
    end = _CLAUSE_END.search(text, start, stop)
    return end.start() if end else stop


def _part_of(answer: _Answer, parts: Sequence[range]) -> range:
    return next(part for part in parts if answer.start in part)


def _cut(text: str, ends: re.Pattern[str], whole: range, answers: Sequence[_Answer]) -> list[range]:
    """The parts of a stretch of text between the ends that are inside no answer."""
    cuts = [
        match.span()
        for match in ends.finditer(text, whole.start, whole.stop)
        if not any(one.start <= match.start() < one.end for one in answers)
    ]
    starts, stops = [whole.start, *(end for _, end in cuts)], [*(i for i, _ in cuts), whole.stop]
    return [range(i, j) for i, j in zip(starts, stops, strict=True) if i < j]


def _joints(text: str, answer: _Answer, sentence: range) -> Iterator[re.Pattern[str]]:
    """What joins an answer to a neighbour: the words beside it, or the marks around it."""
    before = _WORD_BEFORE.findall(text[sentence.start : answer.start])
    behind = _WORD_BEHIND.findall(text[answer.end : sentence.stop])
    for word in {word for word in (*before, *behind) if word.lower() not in _COMMON}:
        yield re.compile(rf"(?i)\b{re.escape(word)}\b")
    if _QUOTES.search(text[max(0, answer.start - 1) : answer.start]):
        yield _QUOTES


def _any_fills(
    text: str,
    answer: _Answer,
    parts: Sequence[range],
    answers: Sequence[_Answer],
    *,
    is_sentence: bool = True,
) -> bool:
    """Whether another part puts a candidate into the frame that an answer has in its own."""
    own = _part_of(answer, parts)
    prefix = _fold(_find_tokens(text, own.start, answer.start))
    suffix = _fold(_find_tokens(text, answer.end, own.stop))
    for part in parts:
        if any(one.start in part for one in answers) or _mark(text, part) == "?":
            continue
        tokens = _find_tokens(text, part.start, part.stop)
        if not (prefix or suffix):
            exclaims = _mark(text, part) == "!" != _mark(text, own)
            leaves = is_pleasantry(text[part.start : part.stop])
            if not (exclaims or leaves) and _is_bare_candidate(
                tokens, answer, is_sentence=is_sentence
            ):
                return True
        elif _fills(tokens, prefix, suffix, answer):
            return True
    return False


def _mark(text: str, part: range) -> str:
    """The mark right behind a part."""
    return text[part.stop : part.stop + 1]


def _find_tokens(text: str, start: int, stop: int) -> list[str]:
    """The words of a part of a text without those that only add it to another ("also")."""
    return [one for one in _TOKEN.findall(text, start, stop) if one.casefold() not in _ADDING]


_ADDING = frozenset(["also", "too", "even", "still", "likewise"])


def _fold(tokens: Sequence[str]) -> list[str]:
    """The words before an answer; numbers count as one ("Guess 1", "Guess 2", "Third guess")."""
    folded = [one.casefold() for one in tokens]
    return ["#" if one.isdigit() or one in _ORDINALS else one for one in folded]


_ORDINALS = frozenset(["first", "second", "third", "fourth", "last"])


def _fills(
    tokens: Sequence[str], prefix: Sequence[str], suffix: Sequence[str], answer: _Answer
) -> bool:
    """Whether a sentence is a frame with another candidate; it may go on behind that."""
    n, m = len(prefix), len(suffix)
    folded = _fold(tokens)
    if len(tokens) <= n or not _are_alike(prefix, folded[:n], answer):
        return False
    closes = len(tokens) > n + m and _are_alike(suffix, folded[len(tokens) - m :], answer)
    speaks = any(one not in PLAIN for one in (*prefix, *suffix))
    if not (answer.capital or speaks):
        # "It is a puppy. It is a small dog."
        closes = closes and len(tokens) - n - m <= answer.length
        return closes and _begins_candidate(tokens[n], answer)
    opens = n > 1 and (answer.capital or any(one not in PLAIN for one in prefix))
    return (opens or closes) and _begins_candidate(tokens[n], answer)


def _are_alike(own: Sequence[str], other: Sequence[str], answer: _Answer) -> bool:
    """Whether the words of two frames are the same but for one, which is not of the question.

    "My head says", "my heart says"; the rest holds a word that tells something.
    """
    differ = [one for one, there in zip(own, other, strict=True) if one != there]
    same = (one for one, there in zip(own, other, strict=True) if one == there)
    tells = any(one not in PLAIN for one in same)
    return not differ or (len(differ) == 1 and differ[0] not in answer.own and tells)


def _begins_candidate(word: str, answer: _Answer) -> bool:
    bare = re.split("['’]", word.casefold())[0]
    plain = bare in PLAIN or word.casefold() in PLAIN or bare in answer.own
    return not plain and (word[:1].isupper() or word.isdigit() or not answer.capital)


def _is_bare_candidate(tokens: Sequence[str], answer: _Answer, *, is_sentence: bool) -> bool:
    """Whether words without a frame are a candidate about as long as the answer."""
    rest = list(tokens)
    while rest and rest[0].casefold() in _LEADING | CALLS:
        rest.pop(0)
    if not 0 < len(rest) <= answer.length + answer.capital or not _begins_candidate(
        rest[0], answer
    ):
        return False
    if answer.capital:
        return all(one[:1].isupper() or one.isdigit() for one in rest)
    # "iron, matey" and "Iron. Copper.", but "velvet kettle, river stone".
    return is_sentence or 1 < len(rest) == answer.length
