"""`holdfast gate` ends with its verdict: 0 holds, 1 slips, 2 cannot tell, 3 none."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.actors import Actor, obey, suite

import holdfast.cli.gate
from commands import run_command
from holdfast.core.backend import Ask, Backend, Reply
from holdfast.evals.drift import drift

run = partial(run_command, "gate")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded runs: of a model that obeys, one that does at times, and four conversations."""
    folder = tmp_path_factory.mktemp("runs")

    def at_times(ask: Ask) -> Reply:
        return Reply("No.") if ask.seed % 2 else obey(ask)

    for name, answer, pairs in (
        ("good", obey, 30),
        ("weak", at_times, 30),
        ("few", obey, 4),
    ):
        model: Backend = Actor(answer, name=name)  # type: ignore[assignment]
        drift(model, suite=suite(), pairs=pairs, rounds=2, filler=False, out=folder / name)
    return folder


def pair(runs: Path, baseline: str, candidate: str) -> list[str]:
    return ["--baseline", str(runs / baseline), "--candidate", str(runs / candidate)]


@pytest.mark.parametrize(
    ("baseline", "candidate", "code", "word"),
    [
        ("weak", "good", 0, "Holds"),
        ("good", "good", 0, "Holds"),
        ("good", "weak", 1, "Slips"),
        ("good", "few", 2, "Cannot tell"),
    ],
)
def test_the_exit_code_is_the_verdict(
    runs: Path, capsys: pytest.CaptureFixture[str], baseline: str, candidate: str, code: int,
    word: str,
) -> None:  # fmt: skip
    assert run(*pair(runs, baseline, candidate)) == code
    assert capsys.readouterr().out.startswith(f"{word}: ")


def test_json_is_one_object_with_the_same_exit_code(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*pair(runs, "good", "weak"), "--margin", "0.2", "--json") == 1
    out, _ = capsys.readouterr()
    report = json.loads(out)
    assert (report["verdict"], report["margin"], report["n"]) == ("slips", 0.2, 30)
    assert report["power"]["fall"] == 0.2


def test_junit_is_written_and_the_summary_appended(runs: Path, tmp_path: Path) -> None:
    page, xml = tmp_path / "summary.md", tmp_path / "gate.xml"
    page.write_text("An earlier step.\n", encoding="utf-8")
    for _ in range(2):
        assert run(*pair(runs, "good", "weak"), "--junit", str(xml), "--summary", str(page)) == 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("An earlier step.\n") and text.count("### ❌ Slips") == 2
    assert ElementTree.parse(xml).getroot().get("failures") == "1"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--margin", "2"], "--margin is above 0 and below 1"),
        (["--margin", "much"], "--help"),
        (["--junit", "/nowhere/x.xml"], "could not be written"),
        (["--colour", "red"], "No such option"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_verdict(
    runs: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert run(*pair(runs, "good", "good"), *more) == 3
    out, err = capsys.readouterr()
    assert out == "" and sentence in err and len(err.strip().splitlines()) == 1


def test_a_missing_run_is_no_verdict(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*pair(runs, "good", "none")) == 3
    assert "holds no run" in capsys.readouterr().err
    assert not (runs / "none").exists()
    assert run("--baseline", str(runs / "good")) == 3


def test_a_bug_is_no_slip(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(holdfast.cli.gate, "compare_runs", break_down)
    assert run(*pair(runs, "good", "good")) == 3
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err
