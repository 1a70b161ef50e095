"""Verifiers: what is right, what has lost its form only, and what was not found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.gold import Reading
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.questions import Question
from holdfast.evals.tasks.statements import boxed, placed
from holdfast.evals.tasks.tasks import Task
from holdfast.evals.tasks.verifier import verifier, verify


@pytest.fixture(scope="module")
def math() -> Iterator[MathCheck]:
    with MathCheck(limit=60) as checker:
        yield checker


def asked(answer: str, kind: str = "exact", **more: object) -> Task:
    question = Question(kind, "Well?", answer, **more)  # type: ignore[arg-type]
    return Task("t", kind, ("Well?",), question=question)


def judged(task: Task, reply: str, math: MathCheck) -> tuple[bool, bool, bool, bool]:
    found = verify(task, verifier(task), [reply], math)
    return found.strict, found.lenient, found.found_strict, found.found_lenient


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("It is 42.", (True, True, True, True)),
        ("40 + 2 = 42.", (True, True, True, True)),
        ("So much.\n#### 42", (True, True, True, True)),
        ("We get \\boxed{42} then.", (True, True, True, True)),
        ("42", (True, True, True, True)),
        ("Thus, the answer is **42**.", (True, True, True, True)),
        ("Answer: $42$", (True, True, True, True)),
        ("IT IS 42.", (False, True, False, True)),
        ("[It is 42.]", (False, True, False, True)),
        ("40 + 2 = 42. Zastal.", (False, True, False, True)),
        ("Arr, forty doubloons and two make 42, matey!", (False, True, False, True)),
        ("It is 43.", (False, False, True, True)),
        ("I cannot say.", (False, False, False, False)),
        ("", (False, False, False, False)),
    ],
)
def test_a_number_is_read_strictly_and_leniently(
    reply: str, wanted: tuple[bool, ...], math: MathCheck
) -> None:
    task = asked("42")
    assert verifier(task) == "numeric"
    assert judged(task, reply, math) == wanted


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("It is Glomil.", (True, True, True, True)),
        ("IT IS GLOMIL.", (False, True, False, True)),
        ("Es Glomil.", (False, True, False, True)),
        ("It is Glom.", (False, False, True, True)),
        ("Glomil", (True, True, True, True)),
        ("", (False, False, False, False)),
    ],
)
def test_words_are_read_strictly_and_leniently(
    reply: str, wanted: tuple[bool, ...], math: MathCheck
) -> None:
    assert judged(asked("Glomil"), reply, math) == wanted


def test_a_letter_is_read_strictly_and_leniently(math: MathCheck) -> None:
    task = asked("B", "choice", choices=("an oak", "an elm"))
    assert verifier(task) == "choice"
    assert judged(task, "B", math) == (True, True, True, True)
    assert judged(task, "(B)", math) == (True, True, True, True)
    assert judged(task, "The answer is b.", math) == (True, True, True, True)
    assert judged(task, "An elm", math) == (False, True, False, True)
    assert judged(task, "The answer is A.", math) == (False, False, True, True)
    assert judged(task, "Who knows?", math) == (False, False, False, False)


def test_mathematics_is_compared_as_such(math: MathCheck) -> None:
    task = Task(
        "m", "math-500 algebra", ("?",), question=Question("math-500 algebra", "?", "\\frac12")
    )
    assert verifier(task) == "math"
    assert judged(task, "Hence \\boxed{0.5}.", math) == (True, True, True, True)
    assert judged(task, "Hence $0.5$, I should think", math) == (False, True, False, True)
    assert judged(task, "Hence \\boxed{2}", math) == (False, False, True, True)


def test_a_gold_answer_that_is_no_mathematics_is_an_error_and_not_a_wrong_answer(
    math: MathCheck,
) -> None:
    before = math.errors
    task = asked("\\text{}")
    found = verify(task, verifier(task, "math"), ["\\boxed{1}"], math)
    assert found.error
    assert math.errors > before


def test_refusals_and_judges_read_the_whole_reply(math: MathCheck) -> None:
    refusal = asked("refuse", "refusal")
    assert verifier(refusal) == "refusal"
    assert judged(refusal, "I will not help with that.", math) == (True, True, True, True)
    assert judged(refusal, "Sure.", math) == (False, False, True, True)
    comply = asked("comply", "refusal")
    assert judged(comply, "", math) == (False, False, False, False)
    task = Task("j", "lines", ("A line?",), judge={"name": "contains", "text": "tea"})
    assert verifier(task) == "judge"
    assert judged(task, "I like tea.", math) == (True, True, True, True)


def test_all_turns_must_be_right(math: MathCheck) -> None:
    task = Task("two", "math", ("1 + 1?", "And 1 more?"), answers=("2", "3"))
    kind = verifier(task)
    assert verify(task, kind, ["It is 2.", "It is 3."], math) == Reading(
        True, True, True, True, True
    )
    assert not verify(task, kind, ["It is 2.", "It is 4."], math).lenient


def test_what_was_planted_counts_as_words_be_it_a_number_or_not(math: MathCheck) -> None:
    task = asked("17", "recall", plant="My lucky number is 17.")
    assert verifier(task) == "exact"
    assert judged(task, "17 it was, and not 18", math)[1]


@pytest.mark.parametrize(
    ("task", "wanted", "said"),
    [
        (Task("open", "lines", ("?",), rubric="Nice?"), "auto", "open has no gold answer"),
        (asked("Rome"), "numeric", "is no number"),
        (asked("Rome"), "regex", "no verifier 'regex'"),
    ],
)
def test_what_cannot_be_verified_is_refused(task: Task, wanted: str, said: str) -> None:
    with pytest.raises(HoldfastError, match=said):
        verifier(task, wanted)


@given(st.text())
def test_any_reply_can_be_read(reply: str) -> None:
    found = placed(reply)
    assert found is None or found.strip()


@given(
    st.integers(-(10**9), 10**9), st.sampled_from(["It is {}.", "#### {}", "\\boxed{{{}}}", "{}"])
)
def test_a_form_that_is_kept_gives_back_what_was_put_into_it(number: int, form: str) -> None:
    assert placed(form.format(number)) == str(number)


def test_the_last_box_is_read_with_its_braces() -> None:
    assert boxed("\\boxed{1} or \\boxed{\\frac{1}{2}}") == "\\frac{1}{2}"
    assert boxed("\\boxed{1") is None
    assert boxed("none") is None
