"""`holdfast explain` at the command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from actors import POET
from commands import run_command
from holdfast.models import load as models
from holdfast.models.local.backend import LocalBackend
from tiny_models import model, tokenizer


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LocalBackend(model("llama"), tokenizer(), "small")
    monkeypatch.setattr(models, "load", lambda name, **options: backend)


run = partial(run_command, "explain", "--pairs", "2", "--rounds", "1", "--max-new-tokens", "4")


def test_json_prints_the_summary_and_nothing_else(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--controls", "none,boost:2@heads=0-1,layers=0-0", "--json"]
    assert run(*args, "--out", str(tmp_path / "run")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [one["control"] for one in summary["controls"]] == ["none", args[1].partition(",")[2]]
    assert {"dimension", "association", "findings", "seconds"} <= summary.keys()
    assert Path(summary["report"]).is_file()


def test_without_json_the_findings_are_printed_and_where_the_page_is(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--controls", "none", "--out", str(tmp_path / "run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "attention that the system prompt gets" in lines[0]
    assert lines[1].startswith("Without a control, in ")
    assert lines[-1] == str(tmp_path / "run" / "report.html")


def test_a_model_behind_an_api_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--model", "api:some") == 2
    assert "name a model that runs here" in capsys.readouterr().err


def test_a_plan_is_printed_and_nothing_is_run(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("--controls", "none", "--plan", "--json", "--out", str(out)) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["replies"] > 1 and not out.exists()
    assert run("--controls", "none", "--plan") == 0
    output = capsys.readouterr()
    assert "replies, about" in output.out and "not kept" not in output.err


def test_a_plan_of_personas_that_a_rubric_judges_takes_the_judge_that_is_named(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    persona = tmp_path / "poet.toml"
    persona.write_text(POET, encoding="utf-8")
    args = ["--controls", "none", "--persona", str(persona), "--plan", "--json"]
    assert run(*args) == 2 and "--judge-model" in capsys.readouterr().err
    assert run(*args, "--judge-model", "small") == 0
    assert json.loads(capsys.readouterr().out)["replies"] > 1
