"""The exercises: many, the same for a seed, right by their own verifier, and split by words."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import datetime, timedelta

import pytest

from holdfast.evals.tasks.exercises import LEVELS, exercises
from holdfast.evals.tasks.exercises.language import LANGUAGE
from holdfast.evals.tasks.exercises.lexicon import SHARED_LISTS, Lexicon, facts
from holdfast.evals.tasks.exercises.numbers import NUMBERS
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.questions import Question
from holdfast.evals.tasks.tasks import FORMS, Task, load_items, load_tasks
from holdfast.evals.tasks.verifier import verifier, verify

SPLITS = ("train", "evaluation")


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Question]]:
    return {split: list(exercises(40, 0, split)) for split in SPLITS}


def final(task: Task, reply: str) -> bool:
    with MathCheck() as math:
        return verify(task, verifier(task), [reply], math).final


def test_there_are_at_least_four_hundred_in_every_category_and_level() -> None:
    tasks = load_tasks("exercises")
    counts = Counter(task.category for task in tasks)
    assert set(counts) == {f"{name}-{level}" for name in LANGUAGE | NUMBERS for level in LEVELS}
    assert len(tasks) >= 400
    assert min(counts.values()) >= 10
    assert len({task.turns for task in tasks}) == len(tasks)


def test_a_seed_gives_the_same_exercises_and_another_seed_others() -> None:
    assert list(exercises(3, 1)) == list(exercises(3, 1)) != list(exercises(3, 2))


@pytest.mark.parametrize("split", SPLITS)
def test_every_gold_answer_is_right_in_the_form_that_is_asked_for(
    split: str, samples: dict[str, list[Question]]
) -> None:
    for question in samples[split]:
        task = Task("t", question.kind, (question.prompt,), question=question)
        for answer in (question.answer, *question.also):
            assert final(task, f"Well then. The answer is {answer}."), question


@pytest.mark.parametrize("split", SPLITS)
def test_a_reply_that_repeats_the_question_is_right_only_where_it_is_to_copy(
    split: str, samples: dict[str, list[Question]]
) -> None:
    for question in samples[split]:
        task = Task("t", question.kind, (question.prompt,), question=question)
        asked = question.text.split(". ")[-1]
        for reply in (question.text, f"Sure! {asked}", asked.replace("these", "the", 1)):
            assert not final(task, reply) or question.kind.startswith("copying"), question


def test_the_answer_to_another_exercise_of_the_category_is_wrong(
    samples: dict[str, list[Question]],
) -> None:
    for question, other in zip(samples["train"], samples["train"][1:], strict=False):
        answers = {form.lower() for form in (question.answer, *question.also)}
        if question.kind != other.kind or other.answer.lower() in answers:
            continue
        task = Task("t", question.kind, (question.prompt,), question=question)
        assert not final(task, f"The answer is {other.answer}."), (question, other.answer)


def test_words_and_facts_of_the_two_splits_are_disjoint(
    samples: dict[str, list[Question]],
) -> None:
    for level in LEVELS:
        train, evaluation = ({(f.kind, f.thing) for f in facts(level, s)} for s in SPLITS)
        assert train and evaluation and not train & evaluation
    names, others = (_people(samples[split]) for split in SPLITS)
    assert names and others and not names & others
    assert SHARED_LISTS == ("days", "months", "colours")


def test_training_says_no_word_and_no_answer_that_is_kept_for_evaluation() -> None:
    """A word may be in several lists, and an answer among the options of another question."""
    training = [one for seed in range(6) for one in exercises(20, seed, "train")]
    vocabulary = set(re.findall(r"\w+", " ".join(one.text for one in training if not one.choices)))
    lexicon = Lexicon("evaluation", random.Random(0))
    lists = {"things": 10, "plain": 20, "long": 10, "towns": 8, "jobs": 8, "containers": 5}
    words = {word for name, n in lists.items() for word in lexicon.some(name, n)}
    assert not vocabulary & (words - set(lexicon.some("colours", 12)))
    for level in LEVELS:
        answers = {one.forms[0] for one in facts(level, "evaluation")} - {"pup"}
        options = {
            choice for one in training if one.kind == f"choice-{level}" for choice in one.choices
        }
        assert options and not options & answers


def test_options_to_choose_from_are_as_many_as_a_level_has(
    samples: dict[str, list[Question]],
) -> None:
    for split, questions in samples.items():
        for level, number in zip(LEVELS, (2, 4, 6), strict=True):
            of_level = [one for one in questions if one.kind == f"choice-{level}"]
            assert {len(one.choices) for one in of_level} == {number}, split


def test_no_date_depends_on_whether_february_has_29_days() -> None:
    pattern = re.compile(r"Today is (\d+) (\w+)\. What is the date in (\d+) days\?")
    matches = [
        match
        for seed in range(8)
        for one in exercises(20, seed)
        if (match := pattern.fullmatch(one.text))
    ]
    assert len(matches) > 100
    for day, month, later in (match.groups() for match in matches):
        ends = {
            (datetime.strptime(f"{day} {month} {year}", "%d %B %Y") + timedelta(int(later))).day
            for year in (2023, 2024)
        }
        assert len(ends) == 1


def _people(questions: list[Question]) -> set[str]:
    text = "\n".join(question.text for question in questions)
    return set(re.findall(r"\b([A-Z][a-z]+)\b (?:lives|works|comes)", text)) - {"Who"}


def test_harder_levels_have_more_distractors(samples: dict[str, list[Question]]) -> None:
    counts = [
        {q.text.count(".") for q in samples["train"] if q.kind == f"extraction-{level}"}
        for level in LEVELS
    ]
    assert counts == [{2}, {4}, {7}]


def test_the_form_is_said_once_and_not_where_there_are_choices() -> None:
    tasks = load_items("exercises", n=2)
    for task in tasks:
        assert task.question is not None
        has_form = task.turns[-1].endswith(FORMS["exercises"])
        assert has_form != bool(task.question.choices)
    assert FORMS["exercises"] == FORMS["exercises:train"]


def test_a_lexicon_draws_words_of_its_split_alone() -> None:
    train, evaluation = (Lexicon(split, random.Random(0)) for split in SPLITS)
    assert not set(train.some("towns", 16)) & set(evaluation.some("towns", 8))
