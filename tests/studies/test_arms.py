"""Arms on the same conversations: what they are asked, their rows, and the choice among them."""

from __future__ import annotations

import numpy as np
import pytest
from arms import Arm, Case, by_conversation, choose, late, openers, plain, rows, sample_personas
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, suite
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError
from holdfast.evals.conversation.plan import plan
from holdfast.evals.tasks.answers import Question

QUESTIONS = (Question("sum", "What is 1 + 1?", "2"), Question("name", "Who am I?", "Ann"))


def case(pairs: int = 6, rounds: int = 4) -> Case:
    small = suite()
    conversations = plan(small.personas, small.personas, small, pairs=pairs, seed=3)
    return Case(conversations, rounds, 3, QUESTIONS)


def knows(ask: Ask) -> Reply:
    """Says its persona's word, and 2."""
    system = ask.chat[0]["content"] if ask.chat[0]["role"] == "system" else ""
    return Reply(
        f"{system.split()[-1] if system else 'nothing'} and 2", prompt_tokens=len(ask.chat)
    )


def arm(name: str, stability: float, capability: float, n: int = 8, rounds: int = 4) -> Arm:
    right = np.zeros((n, 2))
    right[: round(n * capability)] = 1
    scores = np.full((n, rounds + 1), stability)
    return Arm(name, scores, np.full_like(scores, 7), right, ("sum", "name"), 1.0)


@pytest.mark.parametrize(("rounds", "first"), [(1, 1), (2, 2), (4, 4), (8, 7), (9, 7), (16, 13)])
def test_late_is_the_last_quarter_of_the_rounds_rounded_up(rounds: int, first: int) -> None:
    assert list(range(rounds + 1))[late(rounds)] == list(range(first, rounds + 1))


def test_a_held_persona_scores_1_and_each_question_is_asked_after_the_last_round() -> None:
    model = Actor(knows)
    result = case().hold("none", model, Actor(knows))
    assert result.scores.shape == (6, 5) and (result.scores == 1).all()
    assert result.kinds == ("sum", "name")
    assert result.right[:, 0].all() and not result.right[:, 1].any()
    texts = {question.text for question in QUESTIONS}
    question_asks = [ask for ask in model.calls[-1] if ask.chat[-1]["content"] in texts]
    assert len(question_asks) == 12
    assert all(len(ask.chat) == 1 + 2 * 4 + 1 for ask in question_asks)
    # The system prompt, two messages a round, and the probe.
    assert result.length[0].tolist() == [2, 4, 6, 8, 10]


def test_the_control_is_the_agents_and_never_the_users() -> None:
    agent, user = Actor(knows), Actor(knows)
    case().hold("anchor", agent, user, control="anchor")
    assert {ask.control.text for call in agent.calls for ask in call} == {"anchor"}
    assert {ask.control.text for call in user.calls for ask in call} == {"none"}


def test_a_row_compares_with_the_first_arm_conversation_by_conversation() -> None:
    conversations = case(8).conversations
    base, other = rows([arm("none", 0.5, 1.0), arm("anchor", 0.75, 0.5)], conversations)
    assert base["delta"] == base["late_delta"] == base["capability_delta"] == 0
    assert (other["stability"], other["late_stability"]) == (0.75, 0.75)
    low, high = other["delta_interval"]  # differences that are all alike have a width
    assert 0 < low < other["delta"] == 0.25 < high
    assert other["capability_delta"] == -0.5
    assert other["capability_by_kind"] == {"sum": 0.5, "name": 0.5}
    assert other["probe_tokens"] == [7] * 5
    assert set(other["by_category"]) == {"memory", "pattern", "choice"}


def test_what_another_arm_beats_is_not_on_the_front() -> None:
    conversations = case(8).conversations
    table = rows(
        [arm("none", 0.5, 1.0), arm("worse", 0.4, 1.0), arm("held", 0.9, 0.5)], conversations
    )
    assert [row["pareto"] for row in table] == [True, False, True]


def test_round_0_is_no_part_of_stability() -> None:
    steady = arm("none", 1.0, 1.0)
    steady.scores[:, 0] = 0
    assert (by_conversation(steady, "stability") == 1).all()


def row(control: str, stability: float, capability: float | None) -> dict[str, object]:
    return {"control": control, "stability": stability, "capability": capability}


def test_the_steadiest_setting_that_keeps_capability_is_chosen() -> None:
    base = row("none", 0.5, 0.9)
    settings = [row("weak", 0.6, 0.9), row("strong", 0.9, 0.84), row("middle", 0.8, 0.86)]
    assert choose(settings, base)["control"] == "middle"


def test_where_every_setting_costs_too_much_the_most_able_is_chosen() -> None:
    settings = [row("strong", 0.9, 0.3), row("weak", 0.6, 0.4)]
    assert choose(settings, row("none", 0.5, 0.9))["control"] == "weak"


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(HoldfastError, match="no setting"):
        choose([], row("none", 0.5, 0.9))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1), st.floats(0, 1))
def test_no_other_setting_is_both_steadier_and_more_able(
    pairs: list[tuple[float, float]], able: float
) -> None:
    settings = [row(str(i), *pair) for i, pair in enumerate(pairs)]
    best = choose(settings, row("none", 0.5, able))
    better = [
        r
        for r in settings
        if r["stability"] > best["stability"] and r["capability"] > best["capability"]
    ]
    assert not better


def test_personas_are_drawn_from_every_category_and_apart_from_others() -> None:
    small = suite(8)
    first = sample_personas(small, 1, seed=0)
    second = sample_personas(small, 1, seed=0, apart=first)
    assert sorted(p.category for p in first) == ["choice", "memory", "pattern"]
    assert not {p.id for p in first} & {p.id for p in second}


def test_openers_are_starters_and_probes_once_each() -> None:
    small = suite()
    texts = openers(small)
    assert len(set(texts)) == len(texts)
    assert {*small.starters, *(q for p in small.personas for q in p.probes)} == set(texts)
    few = openers(small, most=2)
    assert len(few) == 2 and set(few) < set(texts)


def test_anchor_is_left_out_where_the_model_refuses_it() -> None:
    model = Actor(knows)
    assert plain(model) == ["none", "anchor"]
    model.refusal = lambda control: "no positions" if control.text == "anchor" else None  # type: ignore[method-assign]
    assert plain(model) == ["none"]
