"""`holdfast compare` at the command line: what it prints, where, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from actors import POET, Actor, interrupt_at, obey
from commands import one_sentence, run_command
from holdfast.core.backend import Ask, Reply
from holdfast.evals.conversation.settings import read_controls
from holdfast.models import load as models

CONTRACT = {
    "control",
    "stability",
    "late_stability",
    "by_category",
    "interval",
    "delta",
    "delta_interval",
    "capability",
    "capability_by_kind",
    "tokens_per_reply",
    "relative_ms_per_token",
    "pareto",
}
SMALL = ["--pairs", "4", "--rounds", "2", "--controls", "none,reminder:1,anchor"]


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Actor:
    agent = Actor(name="mini")
    monkeypatch.setattr(models, "load", lambda name, **options: agent)
    return agent


run = partial(run_command, "compare")


def test_json_prints_one_object_with_the_contracts_names(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--model", "mini", *SMALL, "--seed", "0", "--out", str(tmp_path / "run"), "--json"]
    assert run(*args) == 0
    output = capsys.readouterr()
    summary = json.loads(output.out)
    assert {"rows", "recommendation", "report"} <= set(summary)
    assert [row["control"] for row in summary["rows"]] == ["none", "reminder:1", "anchor"]
    assert all(set(row) >= CONTRACT for row in summary["rows"])
    assert Path(summary["report"]).is_file()
    assert "rounds" in output.err


def test_without_json_the_recommendation_a_line_per_control_and_the_page_are_printed(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SMALL, "--questions", "none", "--out", str(tmp_path / "run")) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "No control is shown to hold better: 4 conversations are too few to choose on some and "
        "report others. Late stability without one is "
    )
    assert "time/token\n" in output and "1.00 ×" in output and "capability, " not in output
    for control in ("none", "reminder:1", "anchor"):
        assert f"* {control}" in output
    assert "model organism" in output and output.rstrip().endswith("report.html")


def test_no_control_is_not_compared_with_itself(
    actor: Actor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", "mini", *SMALL) == 0
    cells = {line.split()[1]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert cells["none"][4] == "–" and cells["anchor"][4] != "–"


def test_a_plan_takes_the_judge_that_is_named_and_counts_other_models_as_rows(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    persona = tmp_path / "poet.toml"
    persona.write_text(POET, encoding="utf-8")
    args = [*SMALL, "--persona", str(persona), "--judge-model", "j", "--plan", "--json"]
    assert run(*args) == 0
    alone = json.loads(capsys.readouterr().out)["replies"]
    assert run(*args, "--also", "mini") == 0
    with_mini = json.loads(capsys.readouterr().out)["replies"]
    assert alone * 5 / 4 < with_mini < alone * 4 / 3  # three controls, and the floor is asked once


def test_several_lengths_are_one_run(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--controls", "anchor", "--pairs", "2", "--rounds", "3,1", "--question-round", "1"]
    assert run(*args, "--out", str(tmp_path / "run"), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["lengths"] == [1, 3] and summary["capability_rounds"] == [1]


def test_a_conversation_that_never_got_far_is_printed_with_dashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def narrow(ask: Ask) -> Reply:
        return obey(ask) if len(ask.chat) < 4 else Reply("", "overflow")

    monkeypatch.setattr(models, "load", lambda name, **options: Actor(narrow, name="mini"))
    assert run(*SMALL, "--out", str(tmp_path / "run")) == 0
    output = capsys.readouterr().out
    assert output.startswith("Nothing to recommend") and "–" in output


@pytest.mark.parametrize(
    ("text", "controls"),
    [
        ("none,anchor", ["none", "anchor"]),
        (
            "split-softmax:0.7@layers=8-24,heads=0-3,anchor",
            ["split-softmax:0.7@layers=8-24,heads=0-3", "anchor"],
        ),
        ("boost:2@heads=1, span=message, none", ["boost:2@heads=1, span=message", "none"]),
    ],
)
def test_a_comma_before_an_option_belongs_to_its_control(text: str, controls: list[str]) -> None:
    assert list(read_controls(text)) == controls


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--rounds", "0"], "--rounds is 1 or more"),
        (["--rounds", "2,x"], "--rounds is a number, or several"),
        (["--pairs", "many"], "--pairs is a number or"),
        (["--controls", "none,ancor"], "there is no control 'ancor'"),
        (["--controls", "window:0"], "window"),
        (["--controls", ""], "there is no control"),
        (["--questions", "missing.jsonl"], "missing.jsonl"),
        (["--question-round", "9"], "from 1 to 8, not 9"),
        (["--questions-per-kind", "0"], "at least 1 question"),
        (["--batch", "0"], "--batch is 1 or more"),
        (["--suite", "nowhere"], "nowhere"),
        (["--temperature", "-1"], "temperature"),
    ],
)
def test_mistakes_end_in_one_sentence_and_2(
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*args, "--out", "run") == 2
    assert sentence in one_sentence(capsys)
    assert not Path("run").exists() and actor.calls == []


def test_an_interrupt_ends_with_130_and_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = interrupt_at(40)
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(answer, name="mini"))
    command = ["compare", *SMALL, "--out", str(tmp_path / "a run")]
    monkeypatch.setattr("sys.argv", ["holdfast", *command])
    assert run(*command[1:]) == 130
    message = capsys.readouterr().err
    assert f"--out '{tmp_path / 'a run'}'" in message and "goes on from here" in message
    assert run(*command[1:]) == 0


def test_without_out_nothing_is_written(
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*SMALL) == 0
    assert list(tmp_path.iterdir()) == [] and "--out DIR keeps it" in capsys.readouterr().err
