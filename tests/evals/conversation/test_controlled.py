"""The same conversations are planned under every control."""

from __future__ import annotations

from actors import suite
from holdfast.core.control import NONE, parse
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.plan import Conversation, plan

SMALL = suite()
BASE = plan(SMALL.personas, SMALL.personas, SMALL, pairs=2, seed=1)
PLAN = ControlledPlan(BASE, (NONE, parse("anchor")))


def test_a_conversation_is_held_under_each_control_with_the_same_seed_and_one_floor() -> None:
    variants = PLAN.variants(BASE[1])
    assert [(c.id, c.control, c.floor) for c in variants] == [
        (1, NONE, True),
        (3, parse("anchor"), False),
    ]
    assert {(c.seed, c.starter, c.agent) for c in variants} == {
        (BASE[1].seed, BASE[1].starter, BASE[1].agent)
    }
    assert all(isinstance(c, Conversation) for c in variants)


def test_an_id_in_the_records_says_which_conversation_and_which_control() -> None:
    assert PLAN.record_ids(0) == [0, 1] and PLAN.record_ids(1) == [2, 3]
    for k in range(2):
        for c in BASE:
            assert PLAN.locate(PLAN.record_id(k, c.id)) == (k, c.id)


def test_variants_of_a_conversation_stand_side_by_side() -> None:
    assert [c.id for c in PLAN.variants_of_all()] == [0, 2, 1, 3]
