"""`holdfast robustness` at the command line: what it prints, and how it ends."""

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
    return Reply("It is 4." if "capital" not in str(ask.chat) else "IT IS 5.")


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(answer, name=name))
    path = tmp_path / "tasks.jsonl"
    lines = [json.dumps({"question": f"{i} + {4 - i}?", "answer": 4}) for i in (1, 2, 3)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


run = partial(run_command, "robustness")


def test_json_prints_what_the_contract_names(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    args = ["--model", "one", "--personas", "mini", "--tasks", tasks, "--out", out, "--json"]
    assert run(*args) == 0
    summary = json.loads(capsys.readouterr().out)
    keys = "personas items mean worst best ratio std all_correct pss lottery intervals"
    assert {*keys.split(), "extraction_failures"} <= summary.keys()
    assert len(summary["lottery"]) == summary["personas"] == 37
    assert summary["lottery"][0] == summary["mean"]
    assert summary["lottery"][-1] == summary["best"] == 1
    assert Path(summary["report"]).is_file()


def test_without_json_sentences_are_printed_and_where_the_page_is(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    args = ["--personas", "mini", "--split", "held-out", "--tasks", tasks, "--out", str(out)]
    assert run(*args, "--search") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mini: The worst of 13 personas keeps ")
    assert any(line.startswith("Searching: ") for line in lines)
    assert lines[-1] == str(out / "report.html")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--tasks", "nothing.jsonl"], "no tasks in"),
        (["--personas", "nothing.toml"], "no personas in"),
        (["--verifier", "guess"], "no verifier 'guess'"),
        (["--pss", "paper"], "no PSS 'paper'"),
        (["--reading", "loose"], "no reading 'loose'"),
    ],
)
def test_a_mistake_ends_in_one_sentence(
    wrong: list[str], sentence: str, tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--out", str(tmp_path / "run"), *([] if "--tasks" in wrong else ["--tasks", tasks])]
    assert run(*args, *wrong) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert "Traceback" not in message


def test_a_plan_is_printed_and_nothing_is_run(
    tasks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("--personas", "mini", "--tasks", tasks, "--plan", "--json", "--out", str(out)) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["replies"] > 1 and not out.exists()
    assert run("--personas", "mini", "--tasks", tasks, "--plan") == 0
    output = capsys.readouterr()
    assert "replies, about" in output.out and "not kept" not in output.err
