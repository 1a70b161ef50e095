"""The study of real models goes on where it was stopped; its tables are those of its rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_figure
import real_models
import real_tables
from real_plan import FOLDER, read_plan

from actors import Actor, interrupt_at, obey, suite
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.persona.suite import Suite


def slips(ask: Ask) -> Reply:
    """Says its word on the empty history and in a window, else forgets it."""
    forgets = len(ask.chat) > 2 and ask.control.window is None
    return Reply("As an AI language model I do not know.") if forgets else obey(ask)


SMALL = replace(
    read_plan(),
    seeds=[1, 2],
    suites=[suite(), suite()],
    pairs=4,
    controls=["none", "window:3"],
    later=[],
)
"""Four conversations of each of two seeds under two controls."""
QUIET = Progress(enabled=False)


def test_what_has_finished_is_not_done_again(tmp_path: Path) -> None:
    model = Actor(interrupt_at(251, slips), share=True)
    with pytest.raises(KeyboardInterrupt):
        real_models.run(model, SMALL, tmp_path, QUIET)
    assert (tmp_path / "none.json").exists() and not (tmp_path / "window-3.json").exists()
    whole = Actor(slips, share=True)
    real_models.run(whole, SMALL, tmp_path, QUIET)
    again = Actor(slips, share=True)
    real_models.run(again, SMALL, tmp_path, QUIET)
    assert whole.calls and not again.calls


def test_controls_of_the_plan_may_be_run_apart(tmp_path: Path) -> None:
    real_models.run(Actor(slips, share=True), SMALL.with_only(["window:3"]), tmp_path, QUIET)
    assert (tmp_path / "window-3.json").exists() and not (tmp_path / "none.json").exists()
    with pytest.raises(HoldfastError, match=r"no window:4: it has none, window:3\."):
        SMALL.with_only(["none", "window:4"])


def test_tables_are_those_of_the_rows(tmp_path: Path) -> None:
    assert "No control" in real_tables.tables(tmp_path, SMALL)
    real_models.run(Actor(slips, share=True), SMALL, tmp_path, QUIET)
    rows: list[Any] = json.loads((tmp_path / "window-3.json").read_text(encoding="utf-8"))["rows"]
    stability = np.mean([row["scores"][1:] for row in rows])
    assert {len(row["recall"]) for row in rows} == {2}
    text = real_tables.tables(tmp_path, SMALL)
    assert "The score changes by −1.00 [" in text
    line = next(line for line in text.splitlines() if line.startswith("| `window:3`"))
    assert "8 conversations." in text
    assert f"| {real_tables._number(float(stability))} [" in line


def test_agents_that_talked_in_an_earlier_study_have_a_table_of_their_own(tmp_path: Path) -> None:
    others = replace(suite(), name="others")
    plan = replace(SMALL, suites=[suite(), others], controls=["none"])
    real_models.run(Actor(slips, share=True), plan, tmp_path, QUIET)
    rows = json.loads((tmp_path / "none.json").read_text(encoding="utf-8"))["rows"]
    former = rows[0]["agent"]
    plan = replace(plan, met={tmp_path.name: [former]})
    text = real_tables.tables(tmp_path, plan)
    assert "personas of small kept." in text and "personas of others kept." in text
    of_met = sum(row["agent"] == former for row in rows)
    assert f"Agents that talked there: {of_met} conversations." in text
    assert f"Agents that did not talk in the earlier study: {8 - of_met} conversations." in text


def test_the_figure_has_a_panel_per_model_and_is_the_same_from_run_to_run(tmp_path: Path) -> None:
    real_models.run(Actor(slips, share=True), SMALL, tmp_path, QUIET)
    controls = real_tables.read_finished(tmp_path, SMALL)
    assert controls is not None
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        real_figure.draw({"smollm2": controls, "qwen-coder-05b": controls}, file)
    figure = files[0].read_text(encoding="utf-8")
    assert figure == files[1].read_text(encoding="utf-8")
    assert all(text in figure for text in ("SmolLM2-135M", "Qwen2.5-Coder-0.5B", ">none<"))


def test_holm_never_lowers_a_p_and_keeps_their_order() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03}
    p_values = real_tables.holm(p, 3)
    assert p_values == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert real_tables.holm(p, 4)["a"] == pytest.approx(0.04)  # one has not been made


@pytest.mark.parametrize("name", ["confirmation", "longer", "long_prompts", "languages"])
def test_every_plan_is_read(name: str) -> None:
    plan = read_plan(FOLDER / f"{name}.toml")
    assert plan.controls == ["none", "anchor+restore:1"] and plan.first < plan.rounds


def test_a_tail_lengthens_every_prompt_of_its_plan() -> None:
    plans = [read_plan(FOLDER / f"{name}.toml") for name in ("longer", "long_prompts")]
    short, long = ({p.id: p.prompt for p in plan.suites[0].personas} for plan in plans)
    assert short.keys() == long.keys()
    assert all(len(long[one]) > len(short[one]) + 2000 for one in short)
    assert all(long[one].startswith(short[one]) for one in short)


def test_agents_of_one_category_may_meet_users_of_a_whole_suite() -> None:
    plan = read_plan(FOLDER / "languages.toml")
    agents, whole = plan.suites[0].personas, read_plan().suites[0].personas
    assert {one.category for one in agents} == {"language"} and 20 < len(agents) < len(whole) / 5
    settings = real_models._settings(plan, 1, plan.suites[0], [agents[0].id])
    assert settings.persona == plan.suites[0]
    assert isinstance(settings.suite, Suite) and settings.suite.personas == whole
