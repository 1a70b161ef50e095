"""Plans are drawn fairly, without repetition, and without an agent meeting itself."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import suite
from holdfast.core.errors import HoldfastError
from holdfast.evals.conversation.plan import filler, plan
from holdfast.persona.suite import Suite

SMALL = suite()


@given(st.integers(1, 30), st.integers(0, 1000))
def test_pairs_never_repeat_and_no_agent_meets_its_own_persona(pairs: int, seed: int) -> None:
    conversations = plan(SMALL.personas, SMALL.personas, SMALL, pairs=pairs, seed=seed)
    ids = [(c.agent.id, c.user.id) for c in conversations]
    assert len(ids) == len(set(ids)) == pairs
    assert all(agent != user for agent, user in ids)


@given(st.integers(1, 30), st.integers(0, 1000))
def test_categories_and_agents_take_turns(pairs: int, seed: int) -> None:
    conversations = plan(SMALL.personas, SMALL.personas, SMALL, pairs=pairs, seed=seed)
    for counts in (
        Counter(c.agent.category for c in conversations),
        Counter(c.agent.id for c in conversations),
    ):
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_plan_depends_on_the_seed_alone() -> None:
    def draw(seed: int) -> object:
        return plan(SMALL.personas, SMALL.personas, SMALL, pairs=8, seed=seed)

    assert draw(1) == draw(1) != draw(2)


def test_all_enumerates_every_ordered_pair() -> None:
    conversations = plan(SMALL.personas, SMALL.personas, SMALL, pairs="all")
    assert len({(c.agent.id, c.user.id) for c in conversations}) == len(conversations) == 30


@pytest.mark.parametrize("pairs", ["all", 1])
def test_one_persona_on_both_sides_makes_no_pair(pairs: int | Literal["all"]) -> None:
    alone = SMALL.personas[:1]
    with pytest.raises(HoldfastError, match="no pair of two different ones"):
        plan(alone, alone, SMALL, pairs=pairs)


@pytest.mark.parametrize("pairs", [0, -3, 31])
def test_more_pairs_than_exist_are_refused_with_the_number(pairs: int) -> None:
    with pytest.raises(HoldfastError, match="from 1 to 30"):
        plan(SMALL.personas, SMALL.personas, SMALL, pairs=pairs)


def test_starters_are_used_once_each_before_any_repeats() -> None:
    conversations = plan(SMALL.personas, SMALL.personas, SMALL, pairs=7)
    assert max(Counter(c.starter for c in conversations).values()) == 3


def test_a_topic_opens_every_conversation() -> None:
    conversations = plan(SMALL.personas, SMALL.personas, SMALL, pairs=4, topic="Hail!")
    assert {c.starter for c in conversations} == {"Hail!"}


def test_a_suite_without_starters_asks_for_a_topic() -> None:
    silent = Suite("silent", SMALL.personas)
    with pytest.raises(HoldfastError, match="`topic`"):
        plan(silent.personas, silent.personas, silent, pairs=2)


def test_runs_go_round_the_personas_probes() -> None:
    conversation = plan(SMALL.personas, SMALL.personas, SMALL, pairs=1)[0]
    assert {conversation.probe(0), conversation.probe(1)} == set(conversation.agent.probes)
    assert conversation.probe(0) == conversation.probe(2)


@given(st.integers(1, 200), st.integers(0, 100))
def test_fillers_have_nearly_the_tokens_asked_for(tokens: int, seed: int) -> None:
    text = filler(SMALL.fillers, tokens, seed, lambda t: len(t.split()))
    assert len(text.split()) == tokens
    assert set(text.replace(".", "").split()) <= set(
        " ".join(SMALL.fillers).replace(".", "").split()
    )
