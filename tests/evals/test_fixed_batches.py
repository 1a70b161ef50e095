"""A run that a kill tore asks a local model in the batches that an uninterrupted run asks in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from actors import Actor, Crowded, cut_lines, suite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.run import RecordFile
from holdfast.evals.consistency import verdicts
from holdfast.evals.consistency.consistency import consistency
from holdfast.evals.drift import drift
from holdfast.evals.effect.effect import effect
from holdfast.evals.fidelity import answers, author, personagym
from holdfast.evals.fidelity import suite as suites
from holdfast.evals.fidelity.calibration import calibration
from holdfast.evals.fidelity.fidelity import fidelity
from holdfast.evals.fidelity.questionnaire import Questionnaire, tasks
from holdfast.evals.fidelity.settings import QuestionnaireSettings
from holdfast.evals.fixed_batches import ask_missing, in_batches
from holdfast.evals.robustness.robustness import robustness
from holdfast.evals.tasks import batches as task_batches
from holdfast.models.local.backend import LocalBackend
from tiny_models import GROUPED, tokenizer


@dataclass(frozen=True)
class Letter:
    """A record of one letter."""

    key: str
    beside: str


def ask_letters(
    folder: Path, letters: str, *, local: bool = True, model: bool = True
) -> tuple[list[str], list[Letter], int]:
    """Ask letters in batches of four: the calls, the records, and how often all was forgotten."""
    file, calls = RecordFile(folder, "letters.jsonl", Letter), list[str]()
    file.read(mend=True)
    actor = Actor(local=local)

    def ask(batch: Mapping[str, str]) -> Iterator[Letter]:
        calls.append("".join(batch))
        return (Letter(one, calls[-1]) for one in batch)

    ask_missing(in_batches({x: x for x in letters}, 4), file, actor if model else None, ask)
    return calls, file.rows, actor.forgotten


def test_a_torn_batch_is_asked_of_a_local_model_again_whole(tmp_path: Path) -> None:
    calls, whole, forgotten = ask_letters(tmp_path, "abcdefghij")
    assert (calls, forgotten) == (["abcd", "efgh", "ij"], 3)
    for cut in range(10):
        cut_lines(tmp_path / "letters.jsonl", cut)
        calls, records, forgotten = ask_letters(tmp_path, "abcdefghij")
        assert calls == ["abcd", "efgh", "ij"][cut // 4 :]
        assert (records, forgotten) == (whole, len(calls))
    assert ask_letters(tmp_path, "abcdefghij")[0] == []


@pytest.mark.parametrize("model", [True, False])
def test_what_does_not_depend_on_its_batch_is_asked_alone(tmp_path: Path, model: bool) -> None:
    ask_letters(tmp_path, "abcdefghij", local=False, model=model)
    cut_lines(tmp_path / "letters.jsonl", 6)
    calls, records, _ = ask_letters(tmp_path, "abcdefghij", local=False, model=model)
    assert calls == ["gh", "ij"]
    assert "".join(one.key for one in records) == "abcdefghij"


# --- all commands -------------------------------------------------------------------

WORDS = ("amber", "birch", "cedar")
SUITE = "".join(
    f'[[persona]]\nid = "{word}"\ncategory = "memory"\nprompt = "The word is {word}"\n'
    'probes = ["Which word?", "Which one?"]\n'
    'judge = { name = "rubric", criteria = "Is it the word?" }\n'
    for word in WORDS
)
SHEETS = [Questionnaire(who, dict.fromkeys(tasks(), ("Hm?", "So?"))) for who in ("Ann", "Bob")]


def player(ask: Ask) -> Reply:
    return Reply(f"# {ask.seed}")


def grader(ask: Ask) -> Reply:
    """Writes, grades and compares whatever it is asked to."""
    if "each grade" in ask.chat[1]["content"]:
        return Reply(json.dumps({str(g): f"{g} #" for g in range(1, 6)}))
    return Reply('{"reason": "#", "score": 4, "contradicts": true, "lines": [1], "answer": "#"}')


def models() -> tuple[Crowded, Crowded]:
    return Crowded(player), Crowded(grader, name="judge")


def run_suite(folder: Path, out: Path) -> None:
    path = folder / "suite.toml"
    path.write_text(SUITE, encoding="utf-8")
    model, judge = models()
    fidelity(model, suite=path, judges=[judge], samples=2, out=out)


def run_questionnaire(folder: Path, out: Path) -> None:
    model, judge = models()
    once = QuestionnaireSettings(calls=1)
    fidelity(model, questions=SHEETS, judges=[judge], questionnaire=once, samples=2, out=out)


def run_calibration(folder: Path, out: Path) -> None:
    path = folder / "labels.csv"
    rows = [f"Ann,{task},Hm?,Answer {i}.,{i % 5 + 1}\n" for task in tasks() for i in range(6)]
    path.write_text("persona,task,question,answer,score\n" + "".join(rows), encoding="utf-8")
    calibration(path, judges=[models()[1]], calls=1, out=out)


def run_drift(folder: Path, out: Path) -> None:
    path = folder / "suite.toml"
    path.write_text(SUITE, encoding="utf-8")
    model, judge = models()
    drift(model, suite=path, judge_model=judge, pairs=6, rounds=2, batch=2, out=out)


def task_file(folder: Path, **scoring: Any) -> Path:
    path = folder / "tasks.jsonl"
    rows = [
        {"category": "talk", "id": f"t{i}", "turns": [f"Talk {i}?", "And then?"], **scoring}
        for i in range(5)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def run_effect(folder: Path, out: Path) -> None:
    model, judge = models()
    path = task_file(folder, rubric="Is it talk?")
    brief = {"lengths": ("full",), "placements": ("system",), "samples": 2}
    effect(model, tasks=path, personas="core", judge_model=judge, out=out, **brief)


def run_robustness(folder: Path, out: Path) -> None:
    path = task_file(folder, judge={"name": "regex", "pattern": "1"})
    robustness(models()[0], tasks=path, personas="mini", samples=2, out=out)


def run_consistency(folder: Path, out: Path) -> None:
    log = folder / "log.jsonl"
    turns = [("system", "You are Ada."), *[("user", "Hello."), ("assistant", "I am Eve.")] * 3]
    messages = [{"role": role, "content": f"{text} {i}"} for i, (role, text) in enumerate(turns)]
    line = json.dumps({"messages": messages, "user_prompt": "You are Tom."})
    log.write_text(f"{line}\n" * 2, encoding="utf-8")
    consistency(log, models()[1], least=0.0, out=out)


def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches so small that every command has several."""
    for module in (answers, author, personagym, suites):
        monkeypatch.setattr(module, "ROWS", 5)
    monkeypatch.setattr(task_batches, "ROWS", 12)
    monkeypatch.setattr(verdicts, "SHARD", 5)


@pytest.mark.parametrize(
    ("run", "files"),
    [
        (run_suite, "records verdicts"),
        (run_questionnaire, "records verdicts"),
        (run_calibration, "verdicts"),
        (run_drift, "records verdicts"),
        (run_effect, "records verdicts"),
        (run_robustness, "records"),
        (run_consistency, "records"),
    ],
)
def test_a_run_torn_at_any_line_ends_with_the_bytes_of_one_that_was_not(
    run: Callable[[Path, Path], None],
    files: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_at_a_time(monkeypatch)
    out = tmp_path / "run"
    run(tmp_path, out)
    for name in files.split():
        path = out / f"{name}.jsonl"
        whole = path.read_bytes()
        count = whole.count(b"\n")
        for cut in (count // 3, count - 1):
            cut_lines(path, cut)
            run(tmp_path, out)
            assert path.read_bytes() == whole, f"{name} cut after {cut} of {count} lines"


def in_bfloat16() -> LocalBackend:
    torch.manual_seed(0)
    shape = GROUPED | {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.3}
    llama = AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=torch.bfloat16)
    return LocalBackend(llama, tokenizer(), "tiny", batch_size=16, cache_bytes=1 << 24)


def test_a_torn_run_of_a_model_in_bfloat16_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "ROWS", 16)
    out, options = tmp_path / "run", {"samples": 3, "sampling": Sampling(max_new_tokens=30)}
    fidelity(in_bfloat16(), suite=suite(3), out=out, **options)
    whole = (out / "records.jsonl").read_bytes()
    cut_lines(out / "records.jsonl", 5)
    fidelity(in_bfloat16(), suite=suite(3), out=out, **options)
    assert (out / "records.jsonl").read_bytes() == whole
