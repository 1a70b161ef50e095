"""Whether an answer is right: verifiers, each strict and lenient.

A persona may change the phrasing and not the reasoning. So every answer is looked for twice:

    strict    where it was to stand: `\\boxed{…}`, after `####`, at the end of a last line that
              leads up to it ("The answer is …", "It is …", "… = …"), or as the whole reply
    lenient   wherever it can be read, as `capability` does for capability questions

and what a reply loses by the strict reading alone is form. Where strict reading finds nothing
extraction has failed, right or wrong. The verifiers:

    exact     the answer's words      numeric   the number       choice   the letter
    math      mathematical equality, by math-verify (`mathcheck`)
    refusal   whether it refuses      judge     a deterministic judge gives at least .5

The last two read the whole reply, which is one reading for both.

This module knows replies and tasks. It knows no personas, so that a reward cannot see one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import last_number, number, words
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.questions import LETTERS, MATH
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.suite import PASS

VERIFIERS = ("exact", "numeric", "choice", "math", "refusal", "judge")
CHOSEN = ("auto", "exact", "numeric", "math")  # what a user may choose for a source


@dataclass(frozen=True)
class Verdict:
    """Whether replies are right by either reading, and whether either found an answer.

    `error` says that the verifier itself failed; the answer then counts as wrong.
    """

    strict: bool
    lenient: bool
    found_strict: bool
    found_lenient: bool
    error: bool = False


def verifier(task: Task, wanted: str = "auto") -> str:
    """Which verifier a task has; `wanted` replaces that of answers in words and numbers.

    Raises HoldfastError where the task has no gold answer and no judge.
    """
    if wanted not in CHOSEN:
        raise HoldfastError(f"there is no verifier {wanted!r}: use {', '.join(CHOSEN)}.")
    if task.needs_model:
        raise HoldfastError(
            f"the task {task.id} has no gold answer and no judge: robustness is measured on tasks "
            "with one right answer, so add answers or leave it out."
        )
    if task.question and task.question.choices:
        return "choice"
    if task.question and task.question.kind == "refusal":
        return "refusal"
    if not task.question and not all(task.answers or ("",)):
        return "judge"
    if wanted != "auto":
        _check_numbers(task, wanted)
        return wanted
    if task.category.startswith(MATH):
        return "math"
    # What was planted counts as words, be it a number or not: the user said it so.
    planted = task.question is not None and bool(task.question.plant)
    return "exact" if planted or None in map(number, golds(task)) else "numeric"


def _check_numbers(task: Task, wanted: str) -> None:
    if wanted == "numeric" and None in map(number, golds(task)):
        raise HoldfastError(
            f"the gold answer of the task {task.id} is no number: choose --verifier exact or math."
        )


def golds(task: Task) -> tuple[str, ...]:
    """The right answer of each turn that has one."""
    return (task.question.answer,) if task.question else task.answers


def verify(task: Task, kind: str, replies: Sequence[str], math: MathCheck) -> Verdict:
    """The verdict on a task's replies, one for each turn; all turns must be right."""
    if kind in ("refusal", "judge"):
        right = (task.score(replies) or 0.0) >= PASS
        there = bool(replies[-1].strip())
        return Verdict(right and there, right and there, there, there)
    asked = replies[-1:] if task.question else replies
    each = [
        _one(task, kind, gold, reply, math) for gold, reply in zip(golds(task), asked, strict=True)
    ]
    return Verdict(
        all(v.strict for v in each),
        all(v.lenient for v in each),
        all(v.found_strict for v in each),
        all(v.found_lenient for v in each),
        any(v.error for v in each),
    )


def _one(task: Task, kind: str, gold: str, reply: str, math: MathCheck) -> Verdict:
    said = stated(reply)
    if kind == "math":
        return _math(gold, reply, said, math)
    if kind == "numeric":
        # "5 apples" is an answer with its unit; a sentence around a number is none.
        value = None if said is None else number(said.split(" ")[0])
        found = last_number(reply)
        return Verdict(value == number(gold), number(gold) in found, value is not None, bool(found))
    if kind == "choice":
        assert task.question is not None
        letters = LETTERS[: len(task.question.choices)]
        letter = (said or "").strip("() ").upper()
        chosen = capability.chosen(task.question, reply)
        there = len(letter) == 1 and letter in letters
        return Verdict(there and letter == gold, chosen == gold, there, chosen is not None)
    forms = (gold, *(task.question.also if task.question else ()))
    strict = said is not None and words(said) in [words(form) for form in forms]
    lenient = task.score([reply]) if task.question else _worded(task, gold, reply)
    return Verdict(strict, bool(lenient), said is not None, bool(words(reply)))


def _worded(task: Task, gold: str, reply: str) -> float | None:
    return Task(task.id, task.category, task.turns[:1], answers=(gold,)).score([reply])


def _math(gold: str, reply: str, said: str | None, math: MathCheck) -> Verdict:
    lenient = math.check(gold, reply)
    strict = None if said is None else math.check(gold, f"\\boxed{{{said}}}")
    error = lenient is None or (strict is None and said is not None)
    return Verdict(
        bool(strict and strict.right),
        bool(lenient and lenient.right),
        said is not None,
        bool(lenient and lenient.found),
        error,
    )


# --- strict extraction ----------------------------------------------------------

_HASHES = re.compile(r"####[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_ONE = r"(?:(?![.!?]\s+\S).)"  # a character that ends no sentence before another
_LEAD = re.compile(
    r"(?:^|[.!?:] )[*_]{0,2}(?:(?:So|Thus|Therefore|Hence),? )?"
    r"(?:[Tt]he (?:final |correct )?answer is:?|(?:Final )?[Aa]nswer:|[Ii]t is|[Ii]t's)[*_]{0,2} ?"
    rf"({_ONE}+)$"
)
_EQUALS = re.compile(rf"=\s*((?:(?!=){_ONE})+)$")


def stated(reply: str) -> str | None:
    """The answer where it was to stand, or None. Knows nothing of what is right."""
    text = reply.strip()
    if (box := boxed(text)) is not None:
        return box.strip() or None
    if hashes := _HASHES.findall(text):
        return _bare(hashes[-1])
    last = text.splitlines()[-1].strip() if text else ""
    for pattern in (_LEAD, _EQUALS):
        if found := pattern.search(last):
            return _bare(found[1])
    return _bare(text) if text and len(text.split()) == 1 else None


def _bare(said: str) -> str | None:
    """Without what ends a sentence, emphasis and the signs around a formula."""
    return said.strip().lstrip("*_$ ").rstrip("*_$ .!") or None


def boxed(text: str) -> str | None:
    """What the last `\\boxed{…}` holds, braces balanced; None where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None
