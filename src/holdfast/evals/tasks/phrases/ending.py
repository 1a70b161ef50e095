"""The last sentence of a reply that may hold an answer in words.

This module knows texts and golds. It knows no kinds of task.
"""

from __future__ import annotations

import re

from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.numbers import digits, only_labels, without_tags
from holdfast.evals.tasks.phrases import words
from holdfast.evals.tasks.phrases.candidates import kind_of
from holdfast.evals.tasks.statements import is_pleasantry, sentences


def last_sentence(text: str, gold: Gold) -> str:
    """The last sentence that may hold an answer: leave-taking and signatures are skipped."""
    parts = sentences(without_tags(text))
    while len(parts) > 1 and _says_nothing(parts[-1], gold):
        parts.pop()
    return parts[-1] if parts else ""


_STATES = re.compile(
    r"(?i)\b(?:is|are|was|were|be|it's|that's|answer|so|therefore|thus|hence|must|makes|"
    r"means)\b|[:=\d]"
)
_ADDRESS = re.compile(r"(?i)\b(?:you|your|ye|yer|me|us|i'm|i am|we're)\b")
_STOP_WORDS = (
    "a an the in on at of to is it its be are was and or for with as by from this that these will "
    "i you your me my we our"
)
_STOP = frozenset(_STOP_WORDS.split())


def _says_nothing(sentence: str, gold: Gold) -> bool:
    """Whether a sentence at the end of a reply gives no answer, right or wrong."""
    vocabulary = set(words(sentence).split())
    if any(set(words(form).split()) <= vocabulary for form in gold.forms):
        return False
    if vocabulary.intersection(kind_of(gold.answer)):
        return False
    if is_pleasantry(sentence) or (digits(sentence) and only_labels(sentence, gold.question)):
        return True
    question_words = set(words(gold.question).split()) - _STOP
    states = _STATES.search(sentence) and not _ADDRESS.search(sentence)
    return len(vocabulary) > 1 and not states and not (vocabulary - _STOP) & question_words
