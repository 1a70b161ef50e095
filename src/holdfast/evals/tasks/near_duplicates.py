"""Texts that ask the same thing, so that nothing is tested on what it was trained on.

Two texts are near-duplicates if they have the same numbers in the same order, and the sets A and
B of their shingles (words, and pairs of neighbouring words) overlap enough:

    |A ∩ B| / |A ∪ B| >= SIMILAR

Case, spacing, punctuation and words without content ("please", "the") do not count. Numbers and
the signs of arithmetic do: 2 + 3 is another question than 2 - 3 or 3 + 2. Words that more than
half of the texts have are their template and do not count either, nor does an answer-format
instruction of `tasks.FORMS` at the end ("Reason step by step…"), however few texts have it.

This module knows spelling, not meaning: it misses a paraphrase in other words, and takes two long
texts for one that differ in a single word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from holdfast.evals.tasks.questions import LETTER_FORM
from holdfast.evals.tasks.tasks import FORMS, Task

SIMILAR = 0.7
"""The least overlap: one word is added to three, or swapped in nine."""
MANY = 10  # texts from which on words that most of them have are a template
_WORD = re.compile(
    r"\d+(?:[.,:]\d+)*|[^\W\d]+|[+*/=<>^%×÷·√≤≥≠]|(?<![^\W\d])[-−](?=\s*[\w(])",
)
_EMPTY = frozenset(
    {"a", "an", "the", "of", "to", "in", "on", "at", "for", "and", "or", "please"}
    | {"s", "is", "are", "was", "were", "be", "do", "does", "did", "can", "could", "will", "would"}
    | {"i", "me", "my", "you", "your", "it", "this", "that"}
)


def words(text: str) -> tuple[str, ...]:
    """The words, numbers and signs of a text in lower case, without punctuation."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


# The answer-format instructions, as words.
_FORMS = frozenset(words(form) for form in (*FORMS.values(), LETTER_FORM))


def _question_words(text: str) -> tuple[str, ...]:
    """The words of a text without the answer-format instruction that it ends with."""
    all_words = words(text)
    size = max((len(form) for form in _FORMS if all_words[-len(form) :] == form), default=0)
    return all_words[: len(all_words) - size] or all_words


def task_text(task: Task) -> str:
    """All that a task says to the model but the form of its answer: messages before it, turns."""
    turns = task.turns if task.question is None else (task.question.prompt,)
    return "\n".join([*task.history, *turns])


def groups(texts: Sequence[str]) -> list[int]:
    """The index of the first text in the group of near-duplicates of each text.

    Groups are transitive: a text that is near two others joins them.
    """
    group = list(range(len(texts)))

    def first(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for one, other in _pairs([_question_words(text) for text in texts]):
        low, high = sorted((first(one), first(other)))
        group[high] = low
    return [first(i) for i in range(len(texts))]


def task_groups(tasks: Sequence[Task]) -> list[int]:
    """`groups` of all that the tasks say: answers to near-duplicates are not independent."""
    return groups([task_text(task) for task in tasks])


def overlapping(texts: Sequence[str], others: Sequence[str]) -> list[bool]:
    """Which texts are near-duplicates of any of `others`."""
    own, theirs = ([_question_words(text) for text in some] for some in (texts, others))
    spellings = list(dict.fromkeys([*theirs, *own]))
    other_spellings, near = set(theirs), set(theirs)
    for one, other in _pairs(spellings):
        if spellings[one] in other_spellings or spellings[other] in other_spellings:
            near |= {spellings[one], spellings[other]}
    return [text in near for text in own]


def overlapping_tasks(tasks: Sequence[Task], others: Sequence[str]) -> list[bool]:
    """Which tasks are near-duplicates of any of `others`, whatever instructions either ends with.

    Args:
        tasks: the tasks.
        others: what other tasks say to the model, answer-format instructions included.
    """
    own = [task_text(task) for task in tasks]
    texts = [*own, *_without_instructions(own)]
    overlaps = overlapping(texts, [*others, *_without_instructions(others)])
    return [overlaps[i] or overlaps[len(own) + i] for i in range(len(own))]


def repeated_tasks(tasks: Sequence[Task], others: Sequence[str]) -> list[bool]:
    """Which tasks have the very words of any of `others`, whatever instructions either ends with.

    Exercises are near-duplicates of each other by design, and these are no repeats.

    Args:
        tasks: the tasks.
        others: what other tasks say to the model, answer-format instructions included.
    """
    theirs = {_question_words(text) for text in (*others, *_without_instructions(others))}
    own = [task_text(task) for task in tasks]
    return [
        not theirs.isdisjoint(map(_question_words, texts))
        for texts in zip(own, _without_instructions(own), strict=True)
    ]


def _without_instructions(texts: Sequence[str]) -> list[str]:
    """The texts, without a last paragraph that several of them end with, such as `--form`."""
    parts = [text.rpartition("\n\n") for text in texts]
    counts = Counter(ending for question, _, ending in parts if question)
    return [
        question if question and counts[ending] > 1 else text
        for text, (question, _, ending) in zip(texts, parts, strict=True)
    ]


def _pairs(texts: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Near-duplicates i < j; of one spelling only its first text meets the other spellings."""
    firsts: dict[tuple[str, ...], int] = {}
    for j, text in enumerate(texts):
        if firsts.setdefault(text, j) != j:
            yield firsts[text], j
    spellings = list(firsts)
    content = _content(spellings)
    numbers = [[word for word in text if word[0].isdigit()] for text in firsts]
    texts_with = Counter(one for some in content for one in some)
    earlier: dict[object, list[int]] = defaultdict(list)
    for j, (some, place) in enumerate(zip(content, firsts.values(), strict=True)):
        # Texts that overlap that much share one of the rarest shingles: look up only those.
        rarest = sorted(some, key=lambda one: texts_with[one])
        rarest = rarest[: int((1 - SIMILAR) * len(some)) + 1]
        for i in sorted({i for one in rarest for i in earlier[one]}):
            overlap = len(content[i] & some)
            total = len(content[i]) + len(some) - overlap
            if overlap >= SIMILAR * total and numbers[i] == numbers[j]:
                yield firsts[spellings[i]], place
        for one in some:
            earlier[one].append(j)


def _content(texts: Sequence[tuple[str, ...]]) -> list[frozenset[object]]:
    """The shingles of each text, without words that say nothing."""
    texts_with = Counter(word for text in texts for word in set(text))
    most = len(texts) / 2 if len(texts) >= MANY else len(texts)
    rests = [[w for w in text if w not in _EMPTY and texts_with[w] <= most] for text in texts]
    return [frozenset([*rest, *pairwise(rest)]) for rest in rests]
