"""Rivals on a plan's conversations: settings chosen on others, runs that go on, tables."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import real_models
import rivals
from real_plan import FOLDER, Plan, read_plan
from real_tables import rows_file

import tiny_models
from actors import Actor, suite
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.suite import load_suite

QUIET = Progress(enabled=False)


def plan() -> Plan:
    """Two conversations of two agents, a setting of each kind to choose."""
    small = suite(6)
    ids = [persona.id for persona in small.personas]
    whole = read_plan(FOLDER / "rivals.toml")
    more = {
        "development": {"agents": ids[2:4], "seeds": [1], "pairs": 2, "rounds": 1},
        "capping": {"replies": 2},
        "baking": {**whole.more["baking"], "steps": 2, "replies": 1, "own": 1},
    }
    return replace(
        whole, suites=[small], agents=ids[:2], pairs=2, rounds=1, max_new_tokens=3, more=more
    )


def model() -> LocalBackend:
    return LocalBackend(copy.deepcopy(tiny_models.model()), tiny_models.tokenizer(), "small")


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="give a model on this machine"):
        rivals.run_all(Actor(), plan(), tmp_path, QUIET)


def test_agents_of_the_study_and_of_its_development_are_apart() -> None:
    whole = read_plan(FOLDER / "rivals.toml")
    development = replace(whole, **whole.more["development"])
    core = {persona.id for persona in load_suite("core").personas}
    assert {*whole.agents, *development.agents} <= core
    assert not {*whole.agents} & {*development.agents}
    assert whole.seeds != development.seeds


def test_rivals_are_held_once_and_stand_in_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "LEAST", 0)  # a random model is never in character
    small, folder = plan(), tmp_path / "small"
    assert rivals.all_tables(folder, small) == "No control has finished."
    rivals.run_all(model(), small, folder, QUIET)
    (capping,) = rivals.capping_names(folder)
    likely = json.loads((folder / "development" / rivals.LIKELIHOODS).read_text(encoding="utf-8"))
    assert likely[capping] == max(value for name, value in likely.items() if name != "none")
    text = rivals.all_tables(folder, small)
    for name in (capping, "baking", "baking+prompt"):
        assert rows_file(folder, name).exists()
        lines = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        assert len(lines) == (4 if name == capping else 3)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(rivals, "write_rows", never)
    monkeypatch.setattr(rivals, "likelihood", never)
    rivals.run_all(model(), small, folder, QUIET)


def test_answers_in_character_are_those_of_round_0_that_scored(tmp_path: Path) -> None:
    small = replace(plan(), rounds=2, controls=["none"])
    real_models.run(Actor(share=True), small, tmp_path, QUIET)
    asks, options = rivals.in_character(rivals.Bench(model(), small, tmp_path, QUIET))
    assert len(asks) == len(options) == 2
    for ask, (answer,) in zip(asks, options, strict=True):
        assert [one["role"] for one in ask.chat] == ["system", *["user", "assistant"] * 2, "user"]
        assert ask.chat[0]["content"].split()[-1] in answer


def test_adapters_that_were_trained_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = plan()
    files = [rows_file(tmp_path, name) for name in rivals.BAKING_ARMS]
    rivals.Bench(model(), small, tmp_path, QUIET).bake()
    first = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
        shutil.rmtree(file.with_suffix(""))
    monkeypatch.setattr("baking.bake", lambda *_: pytest.fail("trained again"))
    rivals.Bench(model(), small, tmp_path, QUIET).bake()
    assert [file.read_bytes() for file in files] == first
