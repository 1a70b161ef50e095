"""The main study: what is chosen, what is measured, and that seeds are pooled as they are."""

from __future__ import annotations

import json
from pathlib import Path

import controls
import numpy as np
import pytest
from controls import (
    FAMILIES,
    FIXED_CONTROLS,
    choose_settings,
    controls_to_measure,
    family,
    measure,
    plan_of_seeds,
    pool_seeds,
    prompt_length,
    report,
)

from actors import Actor
from holdfast.core.backend import Ask, Reply
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError
from holdfast.core.records import as_record
from holdfast.core.seeds import seed_of
from holdfast.evals.compare.settings import DEFAULT_CONTROLS
from holdfast.persona.suite import load_suite

CHOSEN = {
    "window": "window:3",
    "reminder": "reminder:1",
    "guidance": "guidance:2",
    "split-softmax": "split-softmax:0.5",
    "boost": "boost:4",
    "spotlight": "spotlight:0.2",
}


def test_every_family_is_in_the_default_set_and_joined_controls_are_in_none() -> None:
    assert {family(control) for control in DEFAULT_CONTROLS} - {None} == set(FAMILIES)
    assert family("anchor+reminder:0.5") is family("reminder:1+window:3") is family("none") is None


def test_each_family_gets_one_setting_by_the_rule() -> None:
    rows = [{"control": c, "stability": 0.5, "capability": 0.9} for c in DEFAULT_CONTROLS]
    steady = {"window:3", "reminder:0.5", "guidance:3", "boost:10", "spotlight:0.3"}
    for row in rows:
        if row["control"] in steady:
            row["stability"] = 0.8
        if row["control"] == "guidance:3":
            row["capability"] = 0.2
    choice = choose_settings(rows)
    assert choice["window"] == "window:3" and choice["boost"] == "boost:10"
    assert choice["guidance"] == "guidance:1.25"
    assert choice["split-softmax"] == "split-softmax:0.9"


def test_what_is_reported_holds_the_fixed_rows_and_the_choice_once_each() -> None:
    names = controls_to_measure(CHOSEN)
    assert names[0] == "none" and len(set(names)) == len(names)
    assert {*FIXED_CONTROLS, *CHOSEN.values(), "anchor+split-softmax:0.5"} == set(names)
    assert all(parse(control) for control in names)


def test_mini_has_prompts_of_three_lengths() -> None:
    suite = load_suite("mini")
    lengths = dict.fromkeys(controls.LENGTH_NAMES, 0)
    words: dict[str, list[int]] = {name: [] for name in lengths}
    for persona in suite.personas:
        words[prompt_length(persona.prompt)].append(len(persona.prompt.split()))
    assert max(words["minimal"]) < min(words["half"]) <= max(words["half"]) < min(words["full"])


def forgetful(ask: Ask) -> Reply:
    """Holds better under anchor, and knows the sums only."""
    bound = 0.9 if "anchor" in ask.control.text else 0.5
    in_character = seed_of("held", ask.seed) / 2**63 < bound
    last = ask.chat[-1]["content"]
    system = (
        ask.chat[0]["content"] if in_character and ask.chat[0]["role"] == "system" else "nothing"
    )
    words = last.replace("?", "").split()
    if words[:2] == ["What", "is"] and "+" in words:
        return Reply(str(int(words[2]) + int(words[4])), completion_tokens=2)
    return Reply(f"{system} {ask.seed % 97}", prompt_tokens=len(ask.chat), completion_tokens=3)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(controls.models, "load", lambda name: Actor(forgetful))
    rows = [{"control": "none", "stability": 0.5, "late_stability": 0.4, "capability": 0.9}]
    development = {"chosen": CHOSEN, "rows": rows}
    (tmp_path / "development.json").write_text(json.dumps(development), encoding="utf-8")
    return tmp_path


def test_the_choice_comes_first(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="develop"):
        measure("mini", tmp_path, 1, 4, (2,))


def test_seeds_are_pooled_conversation_by_conversation(study: Path) -> None:
    by_seed = {seed: measure("mini", study, seed, 4, (1, 2)) for seed in (1, 2)}
    conversations = plan_of_seeds((1, 2), 4)
    arms = pool_seeds(by_seed, 2)
    assert [arm.name for arm in arms] == controls_to_measure(CHOSEN)
    for arm in arms:
        assert arm.scores.shape == (len(conversations), 3) and np.isfinite(arm.scores).all()
        for seed, part in zip(by_seed, (arm.scores[:4], arm.scores[4:]), strict=True):
            rows = as_record(by_seed[seed].rows)
            (its,) = (row for row in rows if row["control"] == arm.name)
            assert part[:, 1:].mean() == pytest.approx(its["stability"], abs=1e-4)
        right = dict(zip(arm.kinds, arm.right.mean(0), strict=True))
        assert right["sum"] == 1 and right["recall"] == 0
    assert pool_seeds(by_seed, 1)[0].scores.shape == (len(conversations), 2)
    for comparison, half in zip(
        by_seed.values(), (conversations[:4], conversations[4:]), strict=True
    ):
        ids = [talk.agent.id for talk in comparison.conversations]
        assert ids == [conversation.agent.id for conversation in half]


def test_a_report_has_rows_for_every_length_prompt_and_seed(study: Path) -> None:
    whole = report("mini", study, (1, 2), 6, (1, 2))
    assert whole["conversations"] == 12
    assert set(whole["by_rounds"]) == {"1", "2"} and set(whole["by_seed"]) == {"1", "2"}
    last = whole["by_rounds"]["2"]
    assert [row["control"] for row in last] == controls_to_measure(CHOSEN)
    assert last[0]["delta"] == 0 and all(row["n"] == 12 for row in last)
    counts = {name: rows[0]["n"] for name, rows in whole["by_prompt"].items()}
    assert sum(counts.values()) == 12
    tables = controls.pages.tables(whole)
    assert len(tables["main"].splitlines()) == 2 + len(last)
    assert "recall" in tables["kind"]
