"""Rivals on a plan's conversations: settings chosen on others, runs that go on, tables."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
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
        "capping": {"first": 0.5, "quantiles": [0.25], "replies": 2},
        "baking": {
            **whole.more["baking"],
            "steps": [1, 2],
            "replies": 1,
            "own": 1,
            "agents": ids[2:4],
            "pairs": 2,
        },
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
    developed = rivals.development(whole)
    core = {persona.id for persona in load_suite("core").personas}
    assert {*whole.agents, *developed.agents} <= core
    assert not {*whole.agents} & {*developed.agents}
    assert {*whole.more["baking"]["agents"]} <= {*developed.agents}
    assert whole.seeds != developed.seeds


def test_rivals_are_held_once_and_stand_in_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, folder = plan(), tmp_path / "small"
    assert rivals.all_tables(folder, small)
    rivals.run_all(model(), small, folder, QUIET)
    (capping,) = rivals.capping_names(folder)
    text = rivals.all_tables(folder, small)
    for name in (capping, "baking", "baking+prompt"):
        assert rows_file(folder, name).exists()
        assert sum(line.startswith(f"| `{name}`") for line in text.splitlines()) == 3
    assert text.count("| `baking of ") == 2

    def never(*_: object, **__: object) -> None:
        raise AssertionError("held again")

    monkeypatch.setattr(rivals, "write_rows", never)
    rivals.run_all(model(), small, folder, QUIET)


def test_adapters_that_were_trained_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, folder = plan(), tmp_path / "small"
    bench = rivals.Bench(model(), small, folder, QUIET)
    bench.bake(2)
    first = rows_file(folder, "baking").read_text(encoding="utf-8")
    rows_file(folder, "baking").unlink()
    monkeypatch.setattr("baking.bake", lambda *_: pytest.fail("trained again"))
    rivals.Bench(model(), small, folder, QUIET).bake(2)
    assert rows_file(folder, "baking").read_text(encoding="utf-8") == first
