"""`holdfast watch` on a log."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from commands import run_command

run = partial(run_command, "watch")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Forty conversations of six rounds in capitals, broken in the fourth."""
    path = tmp_path / "log.jsonl"
    replies = ["HELLO"] * 3 + ["hello"] * 3
    messages = [
        {"role": role, "content": text}
        for i, reply in enumerate(replies)
        for role, text in (("user", f"question {i}"), ("assistant", reply))
    ]
    path.write_text((json.dumps({"messages": messages}) + "\n") * 40, encoding="utf-8")
    return path


def test_a_log_that_drifts_says_where(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log), "--persona", "mini:upper-1") == 0
    out = capsys.readouterr().out
    assert "upper-1 drifts: from round 4 on the score is 1.00 lower" in out
    assert "  round   5-8  0.00  80 replies" in out
    assert "40 conversations, 240 replies" in out


def test_a_persona_drafted_from_a_prompt_is_called_the_prompts(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(log), "--prompt", "Always answer in capital letters.") == 0
    assert "the prompt’s persona drifts: from round 4" in capsys.readouterr().out


def test_what_only_answers_to_probes_show_is_listed_as_not_judged(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = "Always answer in capital letters. Reply in the user's language."
    assert run(str(log), "--prompt", prompt) == 0
    assert "not judged: Reply in the user's language (" in capsys.readouterr().err


def test_a_persona_comes_from_a_file_or_a_prompt(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(log), "--persona", "mini:upper-1", "--prompt", "Always answer in French.") == 2
    assert "give one of --prompt, --card, and a file" in capsys.readouterr().err
    assert run("--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "In drift, compare and explain, --persona FILE" in said


def test_the_drop_that_is_told_is_that_of_all_conversations_and_not_of_those_that_raised_the_alarm(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = log.read_text(encoding="utf-8").splitlines()
    whole = lines[0].replace('"hello"', '"HELLO"')
    log.write_text("\n".join([*lines, *[whole] * 40]) + "\n", encoding="utf-8")
    assert run(str(log), "--persona", "mini:upper-1") == 0
    out = capsys.readouterr().out
    assert "from round 4 on the score is 0.50 lower" in out
    assert "at a drop of 1.00" in out


def test_an_alarm_of_the_first_rounds_is_against_what_was_expected(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = json.loads(log.read_text(encoding="utf-8").splitlines()[0])
    line["messages"] = line["messages"][-2:]
    log.write_text((json.dumps(line) + "\n") * 80, encoding="utf-8")
    settings = ("--persona", "mini:upper-1", "--first", "1", "--expected", "0.9")
    assert run(str(log), *settings) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "upper-1 drifts: in the first rounds the score is 0.90 lower than expected" in out


def test_json_is_one_object(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log), "--persona", "mini:upper-1", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["drifts"] is True
    assert summary["alarms"][0]["round"] == 4
    assert [one["rounds"] for one in summary["rounds"]] == ["1", "2", "3-4", "5-8"]


def test_a_missing_log_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "none.jsonl"), "--persona", "mini:upper-1") == 2
    assert "could not be read" in capsys.readouterr().err


def test_without_a_persona_the_line_names_the_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Bonjour, comment allez-vous aujourd’hui ?"},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text((json.dumps({"messages": turns}) + "\n") * 3, encoding="utf-8")
    assert run(str(path)) == 0
    assert capsys.readouterr().out.startswith(
        "the log’s persona: a drift of 0.1 is not certain (3 "
    )


def test_with_fail_a_certain_drift_alone_ends_with_code_1(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(log), "--persona", "mini:upper-1", "--fail") == 1
    capsys.readouterr()
    assert run(str(log), "--persona", "mini:upper-1", "--fail", "--json") == 1
    assert json.loads(capsys.readouterr().out)["drifts"] is True
    assert run(str(log), "--persona", "mini:lower-1", "--fail") == 0


def test_a_servers_log_needs_no_persona_and_keeps_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"persona": "guide", "control": "none", "user": "Hello?", "reply": "Hi."}
    scores = {1: 1.0, 2: 1.0, 3: 0.25, 4: None}
    path = tmp_path / "traffic.jsonl"
    lines = [
        json.dumps({"conversation": f"c{i}", "round": n, "score": score, **line})
        for i in range(60)
        for n, score in scores.items()
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert run(str(path)) == 0
    out = capsys.readouterr().out
    assert "guide drifts: from round 3 on the score is 0.75 lower" in out
    assert "  round   3-4  0.25  60 replies" in out and "not fit" not in out
    path.write_text("\n".join(one.replace('"guide"', '"b"') for one in lines[:8]) + "\n" + lines[9])
    assert run(str(path)) == 0
    assert capsys.readouterr().out.startswith("2 personas: a drift of 0.1 is not certain (3 ")
    path.write_text(lines[3], encoding="utf-8")
    assert run(str(path)) == 2
    assert "name its persona with --persona" in capsys.readouterr().err
