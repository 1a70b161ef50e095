"""Queries, answers and verdicts, with models made of functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.experts import Expert
from holdfast.training.prism import comparisons as verdicts
from holdfast.training.prism import queries
from holdfast.training.prism.mini_truth import question

CLERK = Expert("clerk", ("math",), "You count.", "You count.", "You count.")
POET = Expert("poet", (), "You rhyme.", "You rhyme.", "You rhyme.", ("Ask me about tea.",))
S = Sampling(max_new_tokens=20)


def test_every_persona_is_asked_for_queries_and_repeats_are_dropped() -> None:
    model = Actor(lambda ask: Reply("What is 2 + 2?" if "You count." in str(ask.chat) else "Tea?!"))
    made = list(queries.written(model, [CLERK, POET], 3, 0, S))
    assert [record["said"] for record in made] == ["What is 2 + 2?"] * 3 + ["Tea?!"] * 3
    assert [record["query"] for record in queries.distinct(made)] == ["What is 2 + 2?"]
    asked = [ask.chat[-1]["content"] for call in model.calls for ask in call]
    assert asked[3:] == ["Ask me about tea."] * 3


def test_queries_from_tasks_have_the_matched_persona_and_what_came_before() -> None:
    tasks = [Task("a", "math", ("2 + 2?",), ("Hi", "Hello")), Task("b", "cooking", ("Soup?",))]
    (only,) = queries.from_tasks(tasks, [CLERK, POET])
    assert (only["expert"], only["task"]) == ("clerk", "a")
    assert [m["content"] for m in queries.chat(only)] == ["Hi", "Hello", "2 + 2?"]


def test_a_query_that_repeats_another_of_its_persona_is_dropped_before_it_is_answered() -> None:
    asked = [
        ("clerk", "What is your name?"),
        ("clerk", "what is your  name"),
        ("poet", "What is your name?"),
        ("clerk", "What is 2 + 3?"),
        ("clerk", "What is 2 + 4?"),
    ]
    made = [{"expert": who, "number": i, "query": text} for i, (who, text) in enumerate(asked)]
    assert [one["number"] for one in queries.distinct(made)] == [0, 2, 3, 4]
    # What was said before is part of the question.
    told = [{**made[0], "history": [f"I am {name}.", "Hello."]} for name in ("Ann", "Bob")]
    assert queries.distinct(told) == told


def record(plain: str, persona: str, there: bool = True) -> dict[str, object]:
    texts = {"query": "2 + 2?", "plain": plain, "persona": persona, "there": there}
    return {"expert": "clerk", "number": 0, **texts}


@pytest.mark.parametrize(
    ("plain", "persona", "wanted"),
    [("5", "4", "win"), ("4", "5", "loss"), ("4", "4", "tie"), ("5", "5", "tie")],
)
def test_a_verifier_decides_where_truth_is_known(plain: str, persona: str, wanted: str) -> None:
    (found,) = verdicts.judged(
        Actor(), [record(plain, persona)], lambda _: lambda text: float(text == "4"), 0
    )
    assert (found["verdict"], found["by"]) == (wanted, "verifier")


def test_without_truth_the_persona_wins_only_in_both_orders() -> None:
    def longer(ask: Ask) -> Reply:
        text = ask.chat[-1]["content"]
        first, second = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return Reply("A" if len(first) > len(second) else "B")

    (won,) = verdicts.judged(Actor(longer), [record("x", "longer")], None, 0)
    (lost,) = verdicts.judged(Actor(longer), [record("longer", "x")], None, 0)
    (biased,) = verdicts.judged(Actor(lambda _: Reply("A")), [record("x", "longer")], None, 0)
    (mute,) = verdicts.judged(Actor(lambda _: Reply("Well…")), [record("x", "longer")], None, 0)
    assert [v["verdict"] for v in (won, lost, biased, mute)] == ["win", "loss", "tie", "tie"]
    assert mute["by"] == "unparsed"
    (cut,) = verdicts.judged(Actor(longer), [record("x", "longer", there=False)], None, 0)
    assert (cut["verdict"], cut["by"]) == ("tie", "missing")


def test_both_answers_draw_from_one_seed_and_one_has_the_persona() -> None:
    model = Actor()
    (made,) = verdicts.answered(
        model, [{"expert": "clerk", "number": 0, "query": "Hi?"}], [CLERK], 0, S
    )
    (plain, with_) = model.calls[0]
    assert plain.seed == with_.seed
    assert [m["role"] for m in plain.chat] == ["user"]
    assert with_.chat[0] == {"role": "system", "content": "You count."}
    assert made["there"] and made["ended"]


@given(st.text())
def test_any_text_is_a_choice_or_none(text: str) -> None:
    assert verdicts.parsed(text) in (None, "A", "B", "TIE")


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
