"""Near-duplicates: what counts as the same question, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evals.tasks.near_duplicates import (
    groups,
    overlapping,
    overlapping_tasks,
    task_text,
    words,
)
from holdfast.evals.tasks.questions import LETTER_FORM
from holdfast.evals.tasks.tasks import FORMS, Task, load_tasks


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is your name?", "what is  your NAME"),
        ("What is the capital of France?", "What's the capital of France, please?"),
        ("Add 3,500 and 2.", "add 3,500 and 2!"),
        ("Café “Noir”?", "cafe\u0301 noir"),
        (
            "Explain how photosynthesis works in plants.",
            "Could you please explain how photosynthesis works in plants?",
        ),
    ],
)
def test_spelling_punctuation_and_courtesy_make_no_other_question(one: str, other: str) -> None:
    assert overlapping([one], [other]) == [True]
    assert groups([one, "Something else entirely?", other]) == [0, 1, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2 + 3?", "What is 2 - 3?"),
        ("What is 2 + 3?", "What is 3 + 2?"),
        ("What is 2.5 times 2?", "What is 25 times 2?"),
        ("What is the capital of Peru?", "What is the capital of Chad?"),
        ("Write a line about rain.", "Write a line about maps."),
        ("What is your name?", "What is your trade?"),
        ("Tell me the usual way to bake bread.", "Tell me the banned way to bake bread."),
    ],
)
def test_another_number_sign_or_object_makes_another_question(one: str, other: str) -> None:
    assert overlapping([one], [other]) == [False]


def test_a_long_template_does_not_make_questions_alike() -> None:
    places = "Peru", "Chad", "Mali", "Fiji", "Oman", "Iran", "Iraq", "Cuba", "Togo", "Laos"
    end = "Please reason step by step, and put your final answer within a box, nothing after it."
    questions = [f"What is the capital of {place}? {end}" for place in places]
    assert groups(questions) == [*range(10)]
    assert groups([*questions, questions[3].upper()])[-1] == 3


def test_an_answer_format_instruction_makes_no_other_question_however_few_have_it() -> None:
    others = [f"What is the capital of country number {i}?" for i in range(30)]
    question = "Compute $\\sin 0$."
    for form in (*FORMS.values(), LETTER_FORM):
        assert overlapping([*others, question], [f"{question}\n\n{form}"])[-1]
        assert groups([question, f"{question} {form}"]) == [0, 0]
    assert not overlapping([f"One?\n\n{form}"], [f"Two?\n\n{form}"])[0]


def test_an_ending_that_several_texts_share_makes_no_other_task() -> None:
    tasks = [Task(f"{i}", "a", (f"{word}?\n\nIn verse.",)) for i, word in enumerate(["Why", "Who"])]
    assert overlapping_tasks(tasks, ["Who?\n\nIn Latin.", "Where?\n\nIn Latin."]) == [False, True]
    assert overlapping_tasks(tasks, ["In verse."]) == [False, False]


def test_a_group_is_whatever_is_connected() -> None:
    base = "one two three four five six seven eight nine ten"
    chain = [base, f"{base} eleven twelve", f"{base} eleven twelve thirteen fourteen fifteen"]
    assert overlapping(chain[:1], chain[2:]) == [False]
    assert groups(chain) == [0, 0, 0]


def test_minis_tasks_are_alike_only_where_they_are_equal() -> None:
    texts = [task_text(task) for task in load_tasks("mini", n=60)]
    spellings = [words(text) for text in texts]
    assert groups(texts) == [spellings.index(one) for one in spellings]


@given(st.lists(st.text(), max_size=8), st.lists(st.text(), max_size=8))
def test_every_text_overlaps_with_itself_and_groups_are_named_by_their_first(
    texts: list[str], others: list[str]
) -> None:
    group = groups(texts)
    assert all(group[group[i]] == group[i] <= i for i in range(len(texts)))
    assert all(overlapping(texts, [*others, *texts]))
    assert overlapping(texts, []) == [False] * len(texts)
