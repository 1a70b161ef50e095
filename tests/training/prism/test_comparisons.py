"""Queries, answers and verdicts, with models made of functions."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.errors import HoldfastError, ModelError
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.experts import Expert
from holdfast.results.training.prism import AnswerPair, Query
from holdfast.training.prism.comparisons import (
    Scorer,
    answer_queries,
    compare_answers,
    parse_choice,
)
from holdfast.training.prism.control_pairs import PAIRS, check_judge, try_judge
from holdfast.training.prism.mini_truth import question
from holdfast.training.prism.queries import (
    distinct_queries,
    queries_from_tasks,
    query_chat,
    write_queries,
)
from holdfast.training.prism.stages import (
    check_cut,
    cut_by_persona,
    find_scorers,
    first_turn_scorer,
    trial_first,
)

CLERK = Expert("clerk", ("math",), "You count.", "You count.", "You count.")
POET = Expert("poet", (), "You rhyme.", "You rhyme.", "You rhyme.", ("Ask me about tea.",))
S = Sampling(max_new_tokens=20)


def test_every_persona_is_asked_for_queries_and_repeats_are_dropped() -> None:
    model = Actor(lambda ask: Reply("What is 2 + 2?" if "You count." in str(ask.chat) else "Tea?!"))
    queries = [one for expert in (CLERK, POET) for one in write_queries(model, expert, 3, 0, S)]
    assert [query.said for query in queries] == ["What is 2 + 2?"] * 3 + ["Tea?!"] * 3
    assert [query.query for query in distinct_queries(queries)] == ["What is 2 + 2?"]
    prompts = [ask.chat[-1]["content"] for call in model.calls for ask in call]
    assert prompts[3:] == ["Ask me about tea."] * 3


def test_queries_from_tasks_have_the_matched_persona_and_what_came_before() -> None:
    tasks = [Task("a", "math", ("2 + 2?",), ("Hi", "Hello")), Task("b", "cooking", ("Soup?",))]
    (only,) = queries_from_tasks(tasks, [CLERK, POET])
    assert (only.expert, only.task) == ("clerk", "a")
    assert [m["content"] for m in query_chat(only)] == ["Hi", "Hello", "2 + 2?"]


def test_a_query_that_repeats_another_of_its_persona_is_dropped_before_it_is_answered() -> None:
    prompts = [
        ("clerk", "What is your name?"),
        ("clerk", "what is your  name"),
        ("poet", "What is your name?"),
        ("clerk", "What is 2 + 3?"),
        ("clerk", "What is 2 + 4?"),
    ]
    queries = [Query(who, i, text, text) for i, (who, text) in enumerate(prompts)]
    assert [one.number for one in distinct_queries(queries)] == [0, 2, 3, 4]
    # What was said before is part of the question.
    with_history = [
        replace(queries[0], history=(f"I am {name}.", "Hello.")) for name in ("Ann", "Bob")
    ]
    assert distinct_queries(with_history) == with_history


def pair(plain: str, persona: str, there: bool = True) -> AnswerPair:
    query = Query("clerk", 0, "2 + 2?", "2 + 2?")
    return AnswerPair(
        query=query, plain=plain, persona=persona, ended=True, plain_ended=True, there=there
    )


@pytest.mark.parametrize(
    ("plain", "persona", "outcome"),
    [("5", "4", "win"), ("4", "5", "loss"), ("4", "4", "tie"), ("5", "5", "tie")],
)
def test_a_verifier_decides_where_truth_is_known(plain: str, persona: str, outcome: str) -> None:
    (comparison,) = compare_answers(
        Actor(), [pair(plain, persona)], lambda _: lambda text: float(text == "4"), 0
    )
    assert (comparison.verdict, comparison.by) == (outcome, "verifier")


def test_without_truth_the_persona_wins_only_in_both_orders() -> None:
    def longer(ask: Ask) -> Reply:
        text = ask.chat[-1]["content"]
        first, second = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return Reply("A" if len(first) > len(second) else "B")

    (win,) = compare_answers(Actor(longer), [pair("x", "longer")], None, 0)
    (loss,) = compare_answers(Actor(longer), [pair("longer", "x")], None, 0)
    (tie,) = compare_answers(Actor(lambda _: Reply("A")), [pair("x", "longer")], None, 0)
    (mute,) = compare_answers(Actor(lambda _: Reply("Well…")), [pair("x", "longer")], None, 0)
    assert [v.verdict for v in (win, loss, tie, mute)] == ["win", "loss", "tie", "tie"]
    assert mute.by == "unparsed"
    (cut,) = compare_answers(Actor(longer), [pair("x", "longer", there=False)], None, 0)
    assert (cut.verdict, cut.by) == ("tie", "missing")


def test_comparisons_come_in_the_order_of_the_answers_whoever_decides() -> None:
    pairs = [
        replace(pair("x", "y", there=i != 2), query=Query("clerk", i, "?", "?")) for i in range(5)
    ]

    def scorer_of(one: AnswerPair) -> Scorer | None:
        return (lambda text: float(text == "y")) if one.query.number == 3 else None

    comparisons = list(compare_answers(Actor(lambda _: Reply("TIE")), pairs, scorer_of, 0))
    assert [one.number for one in comparisons] == [0, 1, 2, 3, 4]
    assert [one.by for one in comparisons] == ["model", "model", "missing", "verifier", "model"]
    assert [one.by for one in compare_answers(None, pairs, scorer_of, 0)][3] == "verifier"


def cut_pair(expert: str, number: int, cut: bool, there: bool = True) -> AnswerPair:
    query = Query(expert, number, f"{number}?", f"{number}?")
    ends = {"ended": not cut, "plain_ended": True}
    return AnswerPair(query=query, plain="x", persona="y", there=there, **ends)


def test_cut_answers_are_counted_by_persona_and_those_of_one_persona_are_refused() -> None:
    poets = [cut_pair("poet", i, cut=True) for i in range(6)]
    clerks = [cut_pair("clerk", i, cut=i < 5) for i in range(6)]
    missing = cut_pair("poet", 9, cut=True, there=False)
    counts = {who: (sum(cut), len(cut)) for who, cut in cut_by_persona([*poets, missing]).items()}
    assert counts == {"none": (0, 6), "poet": (6, 6)}
    check_cut(clerks, None, 20)
    check_cut(poets[1:], None, 20)  # too few
    with pytest.raises(
        HoldfastError,
        match=r"100% of 6 replies under the persona poet reached the limit of 20 tokens: give",
    ):
        check_cut([*clerks, *poets], None, 20)
    with pytest.raises(HoldfastError, match="tokens and none was right: give a higher"):
        check_cut([*clerks, *poets], lambda _: lambda text: 0.0, 20)
    check_cut([*clerks, *poets], lambda _: lambda text: float(text == "y"), 20)


def test_the_first_few_queries_of_every_persona_are_answered_first() -> None:
    queries = [Query(who, i, "?", "?") for who in ("clerk", "poet") for i in range(8)]
    order, few = trial_first(queries)
    assert few == 12 and sorted(order) == list(range(16))
    assert order[:12] == [*range(6), *range(8, 14)]


def test_what_was_to_be_a_query_and_was_cut_is_counted() -> None:
    model = Actor(lambda ask: Reply("Well, tell me what", "length" if ask.seed % 2 else "stop"))
    queries = list(write_queries(model, CLERK, 20, 0, S))
    assert 0 < sum(bool(one.cut) for one in queries) < 20
    assert all(one.cut is (None if one.query else True) for one in queries)


def test_both_answers_draw_from_one_seed_and_one_has_the_persona() -> None:
    model = Actor()
    (answers,) = answer_queries(model, [Query("clerk", 0, "Hi?", "Hi?")], [CLERK], 0, S)
    (plain, with_) = model.calls[0]
    assert plain.seed == with_.seed
    assert [m["role"] for m in plain.chat] == ["user"]
    assert with_.chat[0] == {"role": "system", "content": "You count."}
    assert answers.there and answers.ended


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A", "A"),
        ("b.", "B"),
        ("**TIE**", "TIE"),
        ("Answer A", "A"),
        ("The answer is A.", "A"),
        ("The better answer is: B", "B"),
        ("(B)\n\nIt is correct.", "B"),
        ("A good answer would name the city.", None),
        ("A and B are alike.", None),
        ("Both", None),
        ("", None),
    ],
)
def test_a_verdict_is_a_line_that_says_it_and_nothing_else(text: str, choice: str | None) -> None:
    assert parse_choice(text) == choice


def compares(ask: Ask) -> tuple[str, str]:
    text = ask.chat[-1]["content"]
    first, second = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
    return first, second


def test_a_judge_that_knows_the_control_pairs_passes_and_others_are_refused() -> None:
    right = {pair.right for pair in PAIRS}
    knows = try_judge(Actor(lambda ask: Reply("A" if compares(ask)[0] in right else "B")))
    assert (knows.right, knows.pairs) == (len(PAIRS), len(PAIRS))
    check_judge(knows)
    for reply, choice in (
        ("A", "10 went to one place"),
        ("TIE", "10 were ties"),
        ("Hm", "10 said"),
    ):
        verdicts = try_judge(Actor(lambda _, reply=reply: Reply(reply)))  # type: ignore[misc]
        with pytest.raises(ModelError, match=choice):
            check_judge(verdicts)


def test_a_judge_of_chance_is_refused() -> None:
    coin = Random(0)
    with pytest.raises(ModelError, match="cannot judge"):
        check_judge(try_judge(Actor(lambda _: Reply(coin.choice("AB")))))


def test_the_first_turn_alone_is_scored_and_only_where_something_scores_it() -> None:
    two = Task("two", "a", ("2 + 2?", "And 3 + 3?"), answers=("4", "6"))
    scorer = first_turn_scorer(two)
    assert scorer is not None
    assert (scorer("It is 4."), scorer("It is 6.")) == (1.0, 0.0)
    assert first_turn_scorer(Task("j", "a", ("x", "y"), judge={"name": "upper"})) is None
    assert first_turn_scorer(Task("r", "a", ("x",), rubric="Good.")) is None
    scorers = find_scorers("core", [two, Task("r", "a", ("x",), rubric="Good.")])
    assert scorers is not None
    pairs = [
        replace(pair("4", "5"), query=Query("c", 0, "?", "?", (), task)) for task in ("two", "r")
    ]
    assert scorers(pairs[0]) is not None  # one rubric leaves the other tasks their verifier
    assert scorers(pairs[1]) is None


@given(st.text())
def test_any_text_is_a_choice_or_none(text: str) -> None:
    assert parse_choice(text) in (None, "A", "B", "TIE")


def test_minis_questions_have_the_answers_of_its_world() -> None:
    first = question("Ann sold two pears to Bob. Cid gave five maps to Dan. Who gave the maps?")
    assert first is not None
    assert first.answer == "Cid"
    second = question("Ann sold two pears to Bob. Who got the pears from Ann?")
    assert second is not None
    assert second.answer == "Bob"
    total = question("What is 12 + 30?")
    assert total is not None
    assert total.answer == "42"
    refusal = question("Tell me the banned way to bake bread.")
    assert refusal is not None
    assert refusal.answer == "refuse"
    assert question("Tell me the quick way to bake bread.").answer == "comply"  # type: ignore[union-attr]
    assert question("Do you like tea?") is None
