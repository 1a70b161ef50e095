"""Queries, answers and verdicts, with models made of functions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.experts import Expert
from holdfast.results.prism import AnswerPair, Query
from holdfast.training.prism.comparisons import answer_queries, compare_answers, parse_choice
from holdfast.training.prism.mini_truth import question
from holdfast.training.prism.queries import (
    distinct_queries,
    queries_from_tasks,
    query_chat,
    write_queries,
)

CLERK = Expert("clerk", ("math",), "You count.", "You count.", "You count.")
POET = Expert("poet", (), "You rhyme.", "You rhyme.", "You rhyme.", ("Ask me about tea.",))
S = Sampling(max_new_tokens=20)


def test_every_persona_is_asked_for_queries_and_repeats_are_dropped() -> None:
    model = Actor(lambda ask: Reply("What is 2 + 2?" if "You count." in str(ask.chat) else "Tea?!"))
    queries = [one for expert in (CLERK, POET) for one in write_queries(model, expert, 3, 0, S)]
    assert [query.said for query in queries] == ["What is 2 + 2?"] * 3 + ["Tea?!"] * 3
    assert [query.query for query in distinct_queries(queries)] == ["What is 2 + 2?"]
    asked = [ask.chat[-1]["content"] for call in model.calls for ask in call]
    assert asked[3:] == ["Ask me about tea."] * 3


def test_queries_from_tasks_have_the_matched_persona_and_what_came_before() -> None:
    tasks = [Task("a", "math", ("2 + 2?",), ("Hi", "Hello")), Task("b", "cooking", ("Soup?",))]
    (only,) = queries_from_tasks(tasks, [CLERK, POET])
    assert (only.expert, only.task) == ("clerk", "a")
    assert [m["content"] for m in query_chat(only)] == ["Hi", "Hello", "2 + 2?"]


def test_a_query_that_repeats_another_of_its_persona_is_dropped_before_it_is_answered() -> None:
    asked = [
        ("clerk", "What is your name?"),
        ("clerk", "what is your  name"),
        ("poet", "What is your name?"),
        ("clerk", "What is 2 + 3?"),
        ("clerk", "What is 2 + 4?"),
    ]
    queries = [Query(who, i, text, text) for i, (who, text) in enumerate(asked)]
    assert [one.number for one in distinct_queries(queries)] == [0, 2, 3, 4]
    # What was said before is part of the question.
    told = [replace(queries[0], history=(f"I am {name}.", "Hello.")) for name in ("Ann", "Bob")]
    assert distinct_queries(told) == told


def pair(plain: str, persona: str, there: bool = True) -> AnswerPair:
    query = Query("clerk", 0, "2 + 2?", "2 + 2?")
    return AnswerPair(query=query, plain=plain, persona=persona, ended=True, there=there)


@pytest.mark.parametrize(
    ("plain", "persona", "wanted"),
    [("5", "4", "win"), ("4", "5", "loss"), ("4", "4", "tie"), ("5", "5", "tie")],
)
def test_a_verifier_decides_where_truth_is_known(plain: str, persona: str, wanted: str) -> None:
    (found,) = compare_answers(
        Actor(), [pair(plain, persona)], lambda _: lambda text: float(text == "4"), 0
    )
    assert (found.verdict, found.by) == (wanted, "verifier")


def test_without_truth_the_persona_wins_only_in_both_orders() -> None:
    def longer(ask: Ask) -> Reply:
        text = ask.chat[-1]["content"]
        first, second = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return Reply("A" if len(first) > len(second) else "B")

    (won,) = compare_answers(Actor(longer), [pair("x", "longer")], None, 0)
    (lost,) = compare_answers(Actor(longer), [pair("longer", "x")], None, 0)
    (biased,) = compare_answers(Actor(lambda _: Reply("A")), [pair("x", "longer")], None, 0)
    (mute,) = compare_answers(Actor(lambda _: Reply("Well…")), [pair("x", "longer")], None, 0)
    assert [v.verdict for v in (won, lost, biased, mute)] == ["win", "loss", "tie", "tie"]
    assert mute.by == "unparsed"
    (cut,) = compare_answers(Actor(longer), [pair("x", "longer", there=False)], None, 0)
    assert (cut.verdict, cut.by) == ("tie", "missing")


def test_both_answers_draw_from_one_seed_and_one_has_the_persona() -> None:
    model = Actor()
    (made,) = answer_queries(model, [Query("clerk", 0, "Hi?", "Hi?")], [CLERK], 0, S)
    (plain, with_) = model.calls[0]
    assert plain.seed == with_.seed
    assert [m["role"] for m in plain.chat] == ["user"]
    assert with_.chat[0] == {"role": "system", "content": "You count."}
    assert made.there and made.ended


@given(st.text())
def test_any_text_is_a_choice_or_none(text: str) -> None:
    assert parse_choice(text) in (None, "A", "B", "TIE")


def test_minis_questions_have_the_answers_of_its_world() -> None:
    told = question("Ann sold two pears to Bob. Cid gave five maps to Dan. Who gave the maps?")
    assert told is not None
    assert told.answer == "Cid"
    got = question("Ann sold two pears to Bob. Who got the pears from Ann?")
    assert got is not None
    assert got.answer == "Bob"
    total = question("What is 12 + 30?")
    assert total is not None
    assert total.answer == "42"
    marked = question("Tell me the banned way to bake bread.")
    assert marked is not None
    assert marked.answer == "refuse"
    assert question("Tell me the quick way to bake bread.").answer == "comply"  # type: ignore[union-attr]
    assert question("Do you like tea?") is None
