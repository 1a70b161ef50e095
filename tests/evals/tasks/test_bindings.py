"""Values that a question names count only for what was asked about, in every template of tasks."""

from __future__ import annotations

import random
from time import process_time

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks.exercises import exercises
from holdfast.evals.tasks.gold import Reading
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.questions import Question, from_fields
from holdfast.evals.tasks.tasks import from_fields as task_of
from holdfast.evals.tasks.tasks import load_tasks, of_question
from holdfast.evals.tasks.verifier import verifier, verify

ALL = [one for split in ("train", "evaluation") for one in exercises(20, 3, split)]
WITH_ALTERNATIVES = [one for one in ALL if one.alternatives]
WITH_SUBJECTS = [one for one in WITH_ALTERNATIVES if len(one.subjects) > 1]
EXTRACTION = [one for one in WITH_SUBJECTS if one.kind.startswith("extraction")]
MATH = MathCheck()


def reading(question: Question, reply: str) -> Reading:
    task = of_question(question, "t")
    return verify(task, verifier(task), [reply], MATH)


def right(result: Reading) -> tuple[bool, bool]:
    return result.lenient, result.final


def test_every_kind_whose_text_names_other_answers_has_them() -> None:
    kinds = {one.kind for one in WITH_ALTERNATIVES}
    assert kinds >= {f"extraction-{i}" for i in (1, 2, 3)} | {"letters-1", "sorting-1"}
    assert kinds >= {"sorting-2", "sorting-3"}
    for one in WITH_ALTERNATIVES:
        assert one.answer not in one.alternatives
    for one in EXTRACTION:
        assert len(one.subjects) == len(one.alternatives) + 1
        assert all(value in one.text for value in (*one.alternatives, *one.subjects))


PAIRS = [
    "{s}: {v}, {t}: {w}.",
    "It is {v} for {s}, while it is {w} for {t}.",
    "{t}: {w}. {s}: {v}.",
    "{v} is for {s} and {w} is for {t}.",
    "{w} ({t}), {v} ({s})",
    "{t}? {w}. {s}? {v}.",
    "{s}: {v}\n{t}: {w}",
    "Arr, {s} be {v}, and {t} be {w}, matey!",
    "{s} has {v}; {t} has {w}.",
]


@pytest.mark.parametrize("form", PAIRS)
def test_an_answer_counts_where_it_is_bound_to_what_was_asked_about(form: str) -> None:
    for one in EXTRACTION:
        s, t = one.subjects[:2]
        a, b = one.answer, one.alternatives[0]
        true, false = (form.format(s=s, t=t, v=v, w=w) for v, w in ((a, b), (b, a)))
        # With one other subject the two statements recite the whole question.
        assert right(reading(one, true)) == (True, len(one.alternatives) > 1), (one.text, true)
        result = reading(one, false)
        assert not (result.strict or result.lenient or result.final), (one.text, false)


SENTENCES = {
    "Where does": "{s} lives in {v}",
    "Where is": "The {s} is in the {v}",
    "What is": "{s} works as a {v}",
    "How many": "The {s} costs {v} euros",
    "On which": "{s} comes on {v}",
}


def question_of(question: Question) -> str:
    return question.text.rpartition(". ")[2]


FORWARD = [
    (one, form)
    for one in EXTRACTION
    for start, form in SENTENCES.items()
    if question_of(one).startswith(start) and one.subjects[0] in question_of(one).replace("'s", "")
]


@pytest.mark.parametrize("joint", [", while {}.", ". {}.", "; {}.", ", and {}!", ", but {}."])
def test_the_questions_own_sentences_are_read_with_their_subjects(joint: str) -> None:
    assert len(FORWARD) > 20
    for one, form in FORWARD:
        s, t = one.subjects[:2]
        a, b = one.answer, one.alternatives[0]
        for first, second in (((s, a), (t, b)), ((t, b), (s, a))):
            true = form.format(s=first[0], v=first[1])
            true += joint.format(form.format(s=second[0], v=second[1]))
            assert right(reading(one, true)) == (True, len(one.alternatives) > 1), (one.text, true)
        for first, second in (((s, b), (t, a)), ((t, a), (s, b))):
            false = form.format(s=first[0], v=first[1])
            false += joint.format(form.format(s=second[0], v=second[1]))
            result = reading(one, false)
            assert not (result.strict or result.lenient or result.final), (one.text, false)


def test_the_answer_said_of_something_else_is_wrong() -> None:
    for one, form in FORWARD:
        result = reading(one, form.format(s=one.subjects[1], v=one.answer) + ".")
        assert not (result.strict or result.lenient or result.final), one.text


@pytest.mark.parametrize("mark", [", ", " and ", " or ", "\n", " / ", ". ", "; ", " | "])
def test_a_list_of_the_alternatives_is_wrong_in_any_order(mark: str) -> None:
    rng = random.Random(0)
    for one in WITH_ALTERNATIVES:
        values = [one.answer, *rng.sample(one.alternatives, min(3, len(one.alternatives)))]
        for order in (values, values[::-1], rng.sample(values, len(values))):
            result = reading(one, mark.join(order))
            assert not (result.strict or result.lenient or result.final), (one.text, order)


@pytest.mark.parametrize("joint", [" beats ", " oder ", " equals ", " today, ", " XOR "])
def test_one_word_between_two_values_binds_neither(joint: str) -> None:
    for one in EXTRACTION:
        values = (one.answer, one.alternatives[0])
        assert not any(reading(one, joint.join(some)).final for some in (values, values[::-1]))
    largest = next(one for one in WITH_SUBJECTS if one.subjects[0] == "largest")
    row = sorted((largest.answer, *largest.alternatives), key=int, reverse=True)
    assert reading(largest, f"{' > '.join(row)}, so {largest.answer}.").final


def test_another_order_behind_the_right_one_is_claimed_in_whatever_words() -> None:
    for one in (one for one in WITH_ALTERNATIVES if one.kind in ("sorting-2", "sorting-3")):
        other = one.alternatives[0]
        assert not reading(one, f"Team red says {one.answer}. Team blue: {other}.").final
        assert reading(one, f"Step 1 gives {other}. Step 2 gives {one.answer}.").final


def test_an_alternative_that_the_answers_own_sentence_names_is_no_second_answer() -> None:
    row = {"question": "Bo met Al. Who met Al?", "answer": "Bo", "alternatives": ["Al"]}
    question = from_fields(row, "here")
    assert reading(question, "Bo met Al.").final
    assert not reading(question, "Bo, Al").final


def test_an_alternative_is_wrong_and_the_last_answer_counts() -> None:
    for one in WITH_ALTERNATIVES:
        other = one.alternatives[-1]
        assert right(reading(one, f"It is {one.answer}. It is {other}."))[1] is False
        for reply in (f"It is {other}.", other, f"The answer is {other}."):
            assert right(reading(one, reply)) == (False, False), (one.text, reply)
        for reply in (
            f"It is {one.answer}.",
            one.answer,
            f"The answer is {one.answer}.",
            f"Not {other}. It is {one.answer}.",
        ):
            assert right(reading(one, reply)) == (True, True), (one.text, reply)


def test_who_recites_the_question_commits_to_nothing() -> None:
    for one in EXTRACTION:
        statements = one.text.removesuffix(question_of(one)).strip()
        several = len(one.alternatives) > 1
        assert right(reading(one, statements)) == (not several, False), one.text
        if len(one.alternatives) > 2:
            some = statements.split(". ")
            others = [part for part in some if one.answer not in part][1:]
            own = next(part for part in some if one.answer in part)
            assert not reading(one, f"{own}. {'. '.join(others)}".rstrip(".") + ".").final, one.text
        for reply in (f"{statements} So it is {one.answer}.", f"The answer is {one.answer}."):
            assert right(reading(one, reply)) == (True, True), (one.text, reply)


def test_tasks_of_our_own_name_their_alternatives_and_read_the_last_sentence() -> None:
    tasks = {task.id: task for task in load_tasks("core")}
    with_alternatives = [task for task in tasks.values() if any(task.alternatives)]
    assert len(with_alternatives) >= 10
    jars = tasks["reasoning-3"]
    kind = verifier(jars)
    for reply, expected in (
        ("The key is in the red jar. The ring is in the green jar.", True),
        ("The ring is in the green jar, and the key in the red jar.", True),
        ("The ring is in the red jar, and the key in the green jar.", False),
        ("The key is in the green jar.", False),
        ("Red, green, blue.", False),
        ("So it is green.", True),
    ):
        assert verify(jars, kind, [reply, "key"], MATH).lenient is expected, reply


def test_mini_names_the_other_person() -> None:
    extract = [task for task in load_tasks("mini", n=5) if task.category == "extraction"]
    for task in extract:
        assert task.question is not None
        (other,) = task.question.alternatives
        assert other in task.turns[0]
        assert not verify(
            task, verifier(task), [f"{task.question.answer} and {other}"], MATH
        ).lenient


def test_a_users_file_may_name_alternatives() -> None:
    row = {
        "question": "Bo lives in Nice, Al in Rome. Where does Al live?",
        "answer": "Rome",
        "alternatives": ["Nice"],
        "subjects": ["Al", "Bo"],
    }
    question = from_fields(row, "here")
    assert reading(question, "Al lives in Rome and Bo in Nice.").lenient
    assert reading(question, "Al lives in Rome.").final
    assert not reading(question, "Al lives in Nice and Bo in Rome.").lenient
    with pytest.raises(HoldfastError, match="'Rome' is both the answer and an alternative"):
        from_fields({**row, "alternatives": ["Rome"]}, "here")
    with pytest.raises(HoldfastError, match="2 turns and 1 alternatives"):
        turns = {"category": "x", "turns": ["a?", "b?"], "answers": ["a", "b"]}
        task_of({**turns, "alternatives": [["b"]]}, "here", 1)


def test_a_long_reply_takes_a_moment() -> None:
    one = next(one for one in EXTRACTION if one.kind == "extraction-3")
    names = f"{one.subjects[0]} {one.alternatives[0]}, {one.answer} "
    begin = process_time()
    for piece in (names, one.answer + ". ", one.subjects[1] + "? ", "(, "):
        reading(one, (piece * 16_000)[:16_000])
    assert process_time() - begin < 10
