"""`holdfast effect` at the command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from actors import Actor
from commands import run_command
from holdfast.models import load as models

LINE = '{"category": "math", "turns": ["2 + 2?"], "answers": ["4"]}\n'


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(name=name))
    path = tmp_path / "tasks.jsonl"
    path.write_text(LINE, encoding="utf-8")
    return str(path)


run = partial(run_command, "effect", "--personas", "mini", "--samples", "1")


def test_json_prints_the_rows_that_the_contract_names(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert run("--model", "one", "--model", "two", "--tasks", tasks, "--out", out, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    keys = {"category", "length", "persona", "placement", "delta", "interval", "n"}
    assert all(keys <= row.keys() for row in summary["rows"])
    assert {row["persona"] for row in summary["rows"]} == {"matched", "other", "safety", "random"}
    assert summary["models"] == ["one", "two"]
    assert Path(summary["report"]).is_file()


def test_a_prompt_is_the_only_persona_in_one_length(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bot.txt"
    path.write_text("You are Bo, a baker.\n", encoding="utf-8")
    args = ["--tasks", tasks, "--model", "one", "--samples", "1", "--json"]
    run_with = partial(run_command, "effect", *args)
    assert run_with("--prompt", f"@{path}", "--out", str(tmp_path / "run")) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["persona"], row["length"]) for row in rows if row["persona"] != "random"} == {
        ("matched", "full")
    }
    manifest = (tmp_path / "run" / "manifest.json").read_text(encoding="utf-8")
    assert "You are Bo, a baker." in manifest
    for wrong, sentence in (
        (["--prompt", "x", "--personas", "mini"], "not both"),
        (["--prompt", "x", "--lengths", "half"], "--lengths is of --personas"),
        (["--prompt", " "], "needs a system prompt"),
        (["--prompt", "@nope.txt"], "no prompts in"),
    ):
        assert run_with(*wrong) == 2
        assert sentence in capsys.readouterr().err


def test_without_json_the_advice_is_printed_and_where_the_page_is(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", "one", "--tasks", tasks, "--out", str(tmp_path / "run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("one: Nothing can be concluded")
    assert lines[-1] == str(tmp_path / "run" / "report.html")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--lengths", "long"], "no length"),
        (["--tasks", "nothing.jsonl"], "no tasks in"),
        (["--personas", "nothing.toml"], "no personas in"),
        (["--judge-model", "one"], "cannot judge its own"),
    ],
)
def test_a_mistake_ends_in_one_sentence(
    wrong: list[str], sentence: str, tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--model", "one", "--out", str(tmp_path / "run")]
    args += [] if "--tasks" in wrong else ["--tasks", tasks]
    assert run(*args, *wrong) == 2
    assert sentence in capsys.readouterr().err


def test_a_plan_is_printed_and_nothing_is_run(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("--model", "one", "--tasks", tasks, "--plan", "--json", "--out", str(out)) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["replies"] > 1 and not out.exists()
    assert run("--model", "one", "--tasks", tasks, "--plan") == 0
    output = capsys.readouterr()
    assert "replies, about" in output.out and "not kept" not in output.err
