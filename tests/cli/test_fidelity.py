"""`holdfast fidelity` at the command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from actors import Actor
from commands import run_command
from holdfast.core.backend import Ask, Reply
from holdfast.models import load as models


def answer(ask: Ask) -> Reply:
    return Reply('{"score": 4}' if "Scale:" in str(ask.chat) else "I would.")


@pytest.fixture(autouse=True)
def use_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(answer, name=name))


run = partial(run_command, "fidelity")


def test_json_prints_what_the_contract_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", "mini", "--out", str(tmp_path / "run"), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert {"score", "by_task", "interval", "parse_failures"} <= summary.keys()
    assert set(summary["by_task"]) == {"pattern", "choice", "character", "memory", "language"}
    assert Path(summary["report"]).is_file()


def test_a_folder_of_questions_is_graded_by_a_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    (folder / "A baker.json").write_text('{"Toxicity": ["Why?"]}', encoding="utf-8")
    args = ["--model", "one", "--questions", str(folder), "--out", str(tmp_path / "run")]
    assert run(*args, "--judge-model", "two", "--judge-model", "three", "--no-examples") == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0] == "one: Fidelity is 4.00 on a scale from 1 to 5 (1 persona, without an interval)."
    )
    assert lines[-1] == str(tmp_path / "run" / "report.html")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "By judge" in page


def test_a_judge_is_calibrated_against_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("persona,task,question,answer,score\nA baker,Toxicity,?,No.,4\n", "utf-8")
    args = ["--calibrate", str(path), "--judge-model", "two", "--out", str(tmp_path / "run")]
    assert run(*args, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["judges"][0]["agreement"] == 1
    assert run(*args) == 0
    assert "two: agrees with people on 100% of 1 answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--suite", "nothing"], "no suite"),
        (["--questions", "nothing"], "add --judge-model"),
        (["--questions", "nothing", "--judge-model", "two"], "no questions in"),
        (["--questions", "generate", "--judge-model", "two"], "with --personas"),
        (["--calibrate", "nothing.csv"], "no labels in"),
        (["--judge-model", "mini"], "cannot judge its own"),
        (["--personas", "nofile.toml"], "--personas is for --questions generate"),
        (["--personas", "people.txt", "--questions", "nothing"], "--personas is for --questions"),
        (["--people", "3"], "--people is for a questionnaire"),
        (["--questions-per-task", "3"], "--questions-per-task is for a questionnaire"),
        (["--calls", "3"], "--calls is for a questionnaire"),
        (["--no-examples"], "examples is for a questionnaire"),
        (["--author-model", "two"], "neither is asked for"),
        (["--author-model", "two", "--questions", "nothing", "--no-examples"], "neither is asked"),
        (["--questions", "nothing", "--suite", "mini"], "--suite is about personas with their own"),
        (["--questions", "nothing", "--category", "choice"], "--category is about personas"),
        (["--questions", "nothing", "--prompt", "Shout."], "--prompt has personas drafted"),
        (["--calibrate", "labels.csv", "--samples", "3"], "--samples is about a model's answers"),
        (["--calibrate", "labels.csv", "--personas", "x"], "--personas is about a model's"),
        (["--calibrate", "labels.csv", "--author-model", "x"], "--author-model is about"),
    ],
)
def test_a_mistake_ends_in_one_sentence(
    wrong: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--out", str(tmp_path / "run"), *wrong) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert "Traceback" not in message


def test_a_plan_is_printed_and_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("--plan", "--json", "--out", str(out)) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["replies"] > 1 and not out.exists()
    assert run("--plan") == 0
    output = capsys.readouterr()
    assert "replies, about" in output.out and "not kept" not in output.err
