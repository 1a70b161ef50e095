"""Interventions replay what was said under none, and change the share of attention alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import interventions
import interventions_figure
import numpy as np
import pytest
import real_models
import torch
from real_plan import read_plan

from actors import Actor, obey, suite
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress

QUIET = Progress(enabled=False)


SMALL = replace(
    read_plan(), seeds=[1], suites=[suite()], pairs=4, rounds=4, controls=["none"], later=[]
)
"""Four conversations of one seed, of four rounds."""


def says_how_often_it_was_asked(ask: Ask) -> Reply:
    """Keeps its word; a turn names its place, so that no two histories are alike."""
    return Reply(f"{obey(ask).text} {len(ask.chat)}")


def test_arms_meet_the_turns_that_were_recorded_and_are_not_done_again(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="run real_models"):
        interventions.run(Actor(obey), SMALL, tmp_path, QUIET)
    real_models.run(Actor(says_how_often_it_was_asked, share=True), SMALL, tmp_path, QUIET)
    scripts = interventions.turns_of(interventions.read_records(tmp_path))
    whole = Actor(says_how_often_it_was_asked, share=True)
    interventions.run(whole, SMALL, tmp_path, QUIET)
    histories = {tuple(turn["content"] for turn in ask.chat[1:-1]) for ask in asks(whole)}
    assert max(map(len, histories)) == 2 * interventions.LATE
    # What is to be recalled is added to a recorded turn.
    for history in histories:
        assert any(all(map(str.startswith, history, turns)) for turns in scripts.values())
    again = Actor(obey)
    interventions.run(again, SMALL, tmp_path, QUIET)
    assert not again.calls


def asks(actor: Actor) -> list[Ask]:
    return [ask for call in actor.calls for ask in call]


def test_tables_compare_each_arm_with_the_dose_of_one(tmp_path: Path) -> None:
    real_models.run(Actor(obey, share=True), SMALL, tmp_path, QUIET)
    assert "has not finished" in interventions.tables(tmp_path, SMALL)
    interventions.run(Actor(obey, share=True), SMALL, tmp_path, QUIET)
    file = tmp_path / "interventions" / "dose-8.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    for row in content["rows"]:
        row["scores"][interventions.LATE] = 0.0
    file.write_text(json.dumps(content), encoding="utf-8")
    lines = interventions.tables(tmp_path, SMALL).splitlines()
    order = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert order[:3] == ["dose-0.125", "dose-0.25", "dose-0.5"] and order[-1] == "take-late"
    assert "−1.00 [" in next(line for line in lines if line.startswith("| `dose-8`"))
    assert (
        "`take-all` at round 0: .00 [" in lines[-1] and "`give-all` at round 4: .00 [" in lines[-1]
    )


def test_the_figure_has_both_rounds_and_is_the_same_from_run_to_run(tmp_path: Path) -> None:
    folder = tmp_path / "smollm2"
    real_models.run(Actor(obey, share=True), SMALL, folder, QUIET)
    interventions.run(Actor(obey, share=True), SMALL, folder, QUIET)
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        interventions_figure.draw({"smollm2": folder}, file)
    figure = files[0].read_text(encoding="utf-8")
    assert figure == files[1].read_text(encoding="utf-8")
    assert all(f">{text}<" in figure for text in ("SmolLM2-135M", "round 0", "round 4"))


def test_taking_brings_a_head_from_its_first_share_to_its_late_one_and_giving_back_undoes_it() -> (
    None
):
    first, late = np.array([[0.4, 0.2], [0.5, 0.3], [0.1, 0.6]]), np.full((3, 2), 0.1)
    arms = {arm.name: arm for arm in interventions.arms(first, late)}
    pi = torch.tensor(first[1], dtype=torch.float32)[None, :, None]  # (1, H, 1)
    target = arms["take-all"].share(pi, 1)
    torch.testing.assert_close(target, torch.full_like(pi, 0.1))
    torch.testing.assert_close(arms["give-all"].share(target, 1), pi)
    assert torch.equal(arms["take-early"].share(pi, 1), pi)  # the second of three layers
    torch.testing.assert_close(arms["take-middle"].share(pi, 1), target)
    assert torch.equal(arms["dose-1"].share(pi, 1), pi)
