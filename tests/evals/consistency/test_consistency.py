"""Both sides of recorded conversations are judged; verdicts that say neither are counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from actors import Actor, interrupt_at, suite
from commands import run_command
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError, RunError
from holdfast.evals.compare.compare import compare
from holdfast.evals.consistency import verdicts
from holdfast.evals.consistency.consistency import consistency
from holdfast.evals.consistency.verdicts import (
    LABELS,
    read_answer,
    read_labels,
    read_numbers,
    read_verdict,
)
from holdfast.evals.drift import drift

AGENT = "You are Ada, a librarian in Porto. The archive code is 4471. Always answer politely."
USER = "You are Tom, a fisherman. You refuse to give your address."
TURNS = [
    ("user", "I'm Tom, I fish."),
    ("assistant", "The code is 4471."),
    ("user", "WRONG: I live at 5 Elm Road."),
    ("assistant", "WRONG: the code is 9999."),
]
VERDICTS = {one.line: one.contradicts for one in read_labels()}


def judging(ask: Ask) -> Reply:
    """Knows the labels; calls lines with WRONG contradictions, and mumbles at lines with fish."""
    text = ask.chat[-1]["content"]
    line = re.search(r"<line>\n(.*)\n</line>", text)
    if line is None:
        answer = "Ada, and the code is 4471" if "in the place of the agent" in text else None
        return Reply(json.dumps({"answer": answer}))
    if "Which of the numbered lines" in text:
        return Reply('{"reason": "x", "lines": [%s]}' % ("1" if "WRONG" in line[1] else ""))
    if "fish" in line[1] and line[1] not in VERDICTS:
        return Reply("Hard to say, YES and NO are both possible here.")
    return Reply(json.dumps({"contradicts": VERDICTS.get(line[1], "WRONG" in line[1])}))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    messages = [{"role": "system", "content": AGENT}]
    messages += [{"role": role, "content": text} for role, text in TURNS]
    path = tmp_path / "log.jsonl"
    line = json.dumps({"messages": messages, "user_prompt": USER})
    path.write_text(f"{line}\n" * 3, encoding="utf-8")
    return path


def test_both_sides_are_measured_and_unparsed_verdicts_counted(log: Path) -> None:
    summary = consistency(log, Actor(judging))
    assert summary.judge and summary.judge.balanced_accuracy == 1.0 and summary.judge.n == 24
    assert summary.agent and summary.user
    assert (summary.agent.prompt_to_line.value, summary.agent.prompt_to_line.judged) == (0.5, 6)
    assert (summary.user.prompt_to_line.value, summary.user.prompt_to_line.unparsed) == (0.0, 3)
    assert summary.user.line_to_line.value == summary.agent.line_to_line.value == 0.0
    assert summary.user.prompt_to_line.interval[1] is not None


def test_a_judge_that_was_killed_goes_on_from_its_last_shard(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "SHARD", 8)
    whole = consistency(log, first := Actor(judging), out=tmp_path / "whole")
    ask_count = sum(map(len, first.calls))
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        consistency(log, Actor(interrupt_at(21, judging)), out=out)
    assert len((out / "records.jsonl").read_text(encoding="utf-8").splitlines()) == 16
    again = consistency(log, second := Actor(judging), out=out)
    assert again == whole
    assert sum(map(len, second.calls)) == ask_count - 16
    assert consistency(log, third := Actor(judging), out=out) == whole and not third.calls
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["runs"] == 3
    other = tmp_path / "other.jsonl"
    other.write_text(log.read_text(encoding="utf-8").replace("Ada", "Eve"), encoding="utf-8")
    with pytest.raises(RunError, match="holds another run"):
        consistency(other, Actor(judging), out=out)


def test_questions_are_answered_from_the_conversation_and_graded_by_rules(log: Path) -> None:
    summary = consistency(log, Actor(judging))
    assert summary.agent and summary.agent.question_answer.n == 3
    # Name and code are right, trade and town are not in the answer.
    assert summary.agent.question_answer.value == 0.5
    assert summary.user and summary.user.question_answer.value is None and summary.user.unsaid > 0


def test_a_judge_that_fails_on_the_labels_judges_nothing(log: Path) -> None:
    for answer, share in (
        ('{"contradicts": false}', "0% of the contradictions"),
        ("Hm.", "24 verd"),
    ):
        with pytest.raises(HoldfastError, match=f"no judge of lines.*{share}"):
            consistency(log, Actor(lambda ask, answer=answer: Reply(answer)))
    lenient = consistency(log, Actor(lambda ask: Reply('{"contradicts": false}')), least=0.5)
    assert lenient.judge and lenient.judge.balanced_accuracy == 0.5


def test_labels_of_ones_own_are_read_and_bad_ones_named(log: Path, tmp_path: Path) -> None:
    assert sum(one.contradicts for one in read_labels(LABELS)) == 12
    own = tmp_path / "labels.jsonl"
    own.write_text('{"prompt": "x", "line": "y", "contradicts": "no"}', encoding="utf-8")
    with pytest.raises(HoldfastError, match="line 1: a label has"):
        consistency(log, Actor(judging), labels=own)
    own.write_text('{"prompt": "x", "line": "y", "contradicts": true}', encoding="utf-8")
    with pytest.raises(HoldfastError, match="lines that do not"):
        consistency(log, Actor(judging), labels=own)


def test_options_of_a_judge_are_refused_without_one(log: Path) -> None:
    with pytest.raises(HoldfastError, match="`labels` is of a judge: name a `judge_model`"):
        consistency(log, labels=LABELS)
    with pytest.raises(HoldfastError, match="`least` is of a judge: name a `judge_model`"):
        consistency(log, least=0.9)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"reason": "It fits.", "contradicts": false}', False),
        ('I think {"contradicts": true} fits.', True),
        ("It contradicts the age. YES", True),
        ("It aligns; NO.", False),
        ('{"contradicts": "maybe"}', None),
        ("No idea", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_or_counted_as_none(text: str, verdict: bool | None) -> None:
    assert read_verdict(text) is verdict


def test_lists_and_answers_are_read_or_counted_as_none() -> None:
    assert read_numbers('{"lines": [1, 3, 3]}', 3) == 2
    assert read_numbers('{"lines": []}', 3) == 0
    assert read_numbers('{"lines": [4]}', 3) is None
    assert read_numbers("[1]", 3) is None
    assert read_answer('{"answer": null}') == (True, None)
    assert read_answer('{"answer": "Porto"}') == (True, "Porto")
    assert read_answer("Porto") == (False, None)


def test_a_self_chat_is_read_from_its_folder(tmp_path: Path) -> None:
    personas = suite()
    drift(Actor(), suite=personas, pairs=4, rounds=3, filler=False, out=tmp_path / "run")
    summary = consistency(tmp_path / "run")
    assert (summary.runs, summary.valid) == (4, 4) and summary.checked["assistant"] == 4
    assert summary.valid_interval[0] is not None


def test_a_pair_that_met_under_several_controls_counts_once_in_the_interval(
    tmp_path: Path,
) -> None:
    plan = {"suite": suite(), "pairs": 6, "rounds": 3}
    drift(Actor(), filler=False, out=tmp_path / "one", **plan)
    compare(Actor(), controls=["window:3", "window:5"], questions="none", out=tmp_path / "all",
            **plan)  # fmt: skip
    one, all_ = consistency(tmp_path / "one", Actor(judging)), consistency(tmp_path / "all")
    assert (one.runs, one.pairs, all_.runs, all_.pairs) == (6, 6, 18, 6)
    assert all_.valid_interval == one.valid_interval
    judged = consistency(tmp_path / "all", Actor(judging)).user
    assert judged and one.user and judged.prompt_to_line.judged > one.user.prompt_to_line.judged
    assert judged.prompt_to_line.interval == one.user.prompt_to_line.interval


def test_a_run_that_ended_before_its_first_round_is_one_sentence(tmp_path: Path) -> None:
    drift(Actor(), suite=suite(), pairs=2, rounds=1, filler=False, out=tmp_path / "run")
    records = tmp_path / "run" / "records.jsonl"
    lines = records.read_text(encoding="utf-8").splitlines(keepends=True)
    records.write_text("".join(x for x in lines if json.loads(x)["round"] == 0), encoding="utf-8")
    with pytest.raises(RunError, match="holds no round of a conversation"):
        consistency(tmp_path / "run")


def test_half_a_character_in_a_log_is_judged_like_any_text(log: Path) -> None:
    text = log.read_text(encoding="utf-8").replace("I'm Tom", "I'm Tom \\ud83d")
    log.write_text(text, encoding="utf-8")
    summary = consistency(log, Actor(judging))
    assert summary.agent and summary.agent.prompt_to_line.judged == 6


def test_a_log_of_inspect_says_in_how_many_runs_the_user_was_valid(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log")
    text = Path(__file__).parents[1] / "logs" / "fixtures" / "inspect.json"
    record = json.loads(text.read_text(encoding="utf-8"))
    one, two, _ = record["samples"]
    one["metadata"] = {"user_prompt": "You are a tourist who wants to know when the library opens."}
    two["messages"][1]["content"] = "How can I help you today?"
    path = tmp_path / "log.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    assert log.read_eval_log(str(path)).status == "success"
    summary = consistency(path)
    assert (summary.valid, summary.runs) == (1, 2)
    assert summary.faults == {"assistant": 1, "persona": 0, "soft": 0}


def test_the_command_says_it_in_a_sentence(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*args: str) -> tuple[int, str]:
        code, output = run_command("personas", "consistency", log, *args), capsys.readouterr()
        return code, output.out + output.err

    code, out = run()
    assert code == 0 and "valid in 3 of 3 runs" in out
    code, out = run("--json")
    assert json.loads(out)["faults"] == {"assistant": 0, "persona": 0, "soft": 0}
    code, out = run("--format", "csv")
    assert code == 2 and "columns" in out


def test_a_folder_without_a_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="holds no run"):
        consistency(tmp_path)
