"""What is refused before a run, and that its manifest names every persona."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actors import Actor, suite
from holdfast.core.errors import ContextError, HoldfastError
from holdfast.evals.compare.compare import compare
from holdfast.evals.conversation.run_folder import read_run
from holdfast.evals.drift import drift
from holdfast.persona.suite import Suite

SMALL = suite()
FIRST, *OTHERS = SMALL.personas
RUBRIC = replace(FIRST, id="graded", judge={"name": "rubric", "criteria": "It is kind."})


def test_a_user_needs_no_judge_model_where_its_probe_is_not_asked() -> None:
    people = replace(SMALL, personas=(FIRST, RUBRIC))
    result = compare(Actor(), suite=people, agents=(FIRST.id,), pairs=1, rounds=1, questions="none")
    assert result.conversations[0].user.id == "graded"
    with pytest.raises(HoldfastError, match="graded is judged by a rubric"):
        drift(Actor(), suite=people, agents=(FIRST.id,), pairs=1, rounds=1)


def test_a_user_with_the_id_of_another_agent_keeps_its_own_persona(tmp_path: Path) -> None:
    own = replace(FIRST, prompt="The word is quartz")
    agents = Suite("own", (own, replace(OTHERS[0], id="second")))
    drift(Actor(), suite=SMALL, persona=agents, pairs="all", rounds=1, out=tmp_path)
    plans = read_run(tmp_path, ("drift",)).plans
    assert {plan.agent for plan in plans} == set(agents.personas)
    assert {plan.user for plan in plans} == set(SMALL.personas)


def test_a_long_recorded_chat_fits_a_small_context_under_a_window(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    turns = [{"role": role, "content": "amber"} for role in ("user", "assistant")] * 40
    log.write_text(json.dumps({"persona": FIRST.id, "messages": turns}) + "\n", "utf-8")
    result = drift(Actor(context=200), suite=SMALL, history=log, control="window:3")
    assert len(result.stability) == 41
    with pytest.raises(ContextError, match="40 rounds"):
        drift(Actor(context=200), suite=SMALL, history=log)
