"""Inspect's own command on our models and records: evaluations, drift as a task, logs and views."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval as evaluate
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.model import get_model

import holdfast
from actors import Actor, suite
from commands import run_command
from holdfast.core.backend import Ask, Reply
from holdfast.evals.inspect import provider, registry
from holdfast.evals.inspect.export import export
from holdfast.persona.suite import load_suite

SOURCE = Path(__file__).parents[3] / "src"
OWN = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match

@task
def capitals():
    chat = "You always write in capital letters."
    samples = [Sample(input="Hello there.", target="HELLO", metadata={"n": n}) for n in range(3)]
    from inspect_ai.solver import generate, system_message
    return Task(dataset=samples, solver=[system_message(chat), generate()], scorer=match("any"))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Inspect finds this checkout's entry point."""
    folder = tmp_path_factory.mktemp("installed")
    about = folder / "holdfast_here-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: holdfast-here\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[inspect_ai]\nholdfast = holdfast.inspect.registry\n")
    return {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}


def inspect(env: dict[str, str], folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("inspect")), *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def logs(folder: Path) -> list[EvalLog]:
    return [read_eval_log(info, resolve_attachments=True) for info in list_eval_logs(str(folder))]


def metrics(log: EvalLog, number: int = 0) -> dict[str, float]:
    assert log.results is not None
    return {name: metric.value for name, metric in log.results.scores[number].metrics.items()}


@pytest.fixture(scope="module")
def eval_logs(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, EvalLog]:
    """A task of a user's own and the drift task, in one call of the installed command."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    args = ["--model", "holdfast/mini", "-M", "control=anchor", "--max-tokens", "60"]
    options = ["-T", "pairs=6", "-T", "rounds=2", "--display", "plain", "--log-dir", "logs"]
    process = inspect(environment, folder, "eval", "own.py", "holdfast/drift", *args, *options)
    assert process.returncode == 0, process.stdout + process.stderr
    return {log.eval.task.removeprefix("holdfast/"): log for log in logs(folder / "logs")}


def test_an_evaluation_of_ones_own_runs_under_a_control(eval_logs: dict[str, EvalLog]) -> None:
    log = eval_logs["capitals"]
    assert log.status == "success" and log.eval.model == "holdfast/mini"
    assert log.eval.model_args == {"control": "anchor"}
    for sample in log.samples or ():
        assert sample.output.completion.isupper()
        assert sample.output.metadata == {"control": "anchor"}
        assert sample.output.usage is not None and sample.output.usage.output_tokens > 0


def test_the_drift_task_holds_the_conversations_of_holdfast_drift(
    eval_logs: dict[str, EvalLog],
) -> None:
    log = eval_logs["drift"]
    sampling = holdfast.Sampling(max_new_tokens=60)
    own = holdfast.drift(
        holdfast.load("mini"),
        pairs=6,
        rounds=2,
        control="anchor",
        sampling=sampling,
        filler=False,
        history_floor=False,
        user_persona=False,
        measure=False,
    )
    talks = {talk.id: talk for talk in own.conversations}
    curves = own.summary.curves
    for sample in log.samples or ():
        rounds = talks[sample.metadata["conversation"]].rounds[1:]
        texts = [text for at in rounds for text in (at.user, at.agent)]
        assert [message.text for message in sample.messages[1:]] == texts
    values = metrics(log)
    for r, (value, band) in enumerate(zip(curves.stability, curves.interval, strict=True)):
        assert values[f"r{r:02d}"] == pytest.approx(value, abs=1e-4)
        assert [values[f"r{r:02d}_lo"], values[f"r{r:02d}_hi"]] == pytest.approx(band, abs=2e-4)
    assert values["floor"] == curves.floor
    assert values["change"] == pytest.approx(curves.change.value, abs=1e-4)


def test_probes_never_enter_the_conversation_and_both_system_prompts_are_sent(
    eval_logs: dict[str, EvalLog],
) -> None:
    for sample in eval_logs["drift"].samples or ():
        agent, user = sample.metadata["agent"], sample.metadata["user"]
        calls = [event for event in sample.events if isinstance(event, ModelEvent)]
        inputs = [[message.text for message in event.input] for event in calls]
        probes = set(agent["probes"])
        assert all(not probes & set(texts[:-1]) for texts in inputs)
        assert {texts[0] for texts in inputs} >= {agent["prompt"], user["prompt"]}
        # The user's model is never under the control of the agent's.
        under = {
            (texts[0] == user["prompt"], (event.output.metadata or {})["control"])
            for texts, event in zip(inputs, calls, strict=True)
            if event.input[0].role == "system"
        }
        assert under == {(False, "anchor"), (True, "none")}


@pytest.fixture
def run_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The drift task in this process, answered by an actor."""
    assert registry.drift
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))

    def run(actor: Actor, control: str = "none", **changes: Any) -> EvalLog:
        monkeypatch.setattr(provider, "load", lambda name, **options: actor)
        settings: dict[str, Any] = {"suite": "mini", "pairs": 3, "rounds": 2} | changes
        return evaluate(
            "holdfast/drift",
            model=get_model("holdfast/actor", memoize=False, control=control),
            task_args=settings,
            log_dir=str(tmp_path / "logs"),
            display="none",
        )[0]

    return run


def test_a_cached_reply_is_of_the_same_sample_model_and_control(run_task: Any) -> None:
    first, again, other = Actor(), Actor(), Actor()
    assert run_task(first, cache=True).status == "success"
    assert run_task(again, cache=True).status == "success" and not again.calls
    assert run_task(other, control="window:1", cache=True).status == "success"
    call_count = sum(len(call) for call in other.calls)
    assert call_count == sum(len(call) for call in first.calls)


def test_without_a_cache_every_call_is_made(run_task: Any) -> None:
    first, again = Actor(), Actor()
    run_task(first)
    run_task(again)
    assert sum(map(len, again.calls)) == sum(map(len, first.calls)) > 0


def overflowing(longest: int) -> Actor:
    def answer(ask: Ask) -> Reply:
        full = len(ask.chat) > longest
        return Reply("", "overflow") if full else Reply("fine")

    return Actor(answer)


def test_rounds_that_do_not_fit_are_missing_and_never_zero(run_task: Any) -> None:
    log = run_task(overflowing(4), rounds=4)
    (sample, *_) = log.samples
    score = sample.scores["persona_judge"].value
    values = metrics(log)
    for missing in (score["r02"], score["r04"], values["r02"], values["r04"]):
        assert isnan(missing)
    assert not isnan(score["r00"]) and not isnan(values["r00"])


def test_a_conversation_that_never_began_is_an_error(run_task: Any) -> None:
    log = run_task(overflowing(0))
    assert log.status == "error" and "no room for a round" in log.error.message


def test_a_plan_that_cannot_be_made_is_refused(run_task: Any) -> None:
    with pytest.raises(PrerequisiteError, match="no persona"):
        run_task(Actor(), agent="nobody")
    with pytest.raises(PrerequisiteError, match="a number or “all”, not 'many'"):
        run_task(Actor(), pairs="many")


def test_mini_speaks_its_own_world_and_other_models_meet_core(run_task: Any) -> None:
    log = run_task(Actor(), suite=None, pairs=1, rounds=1)
    assert log.eval.dataset.name == load_suite("core").name


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    controls = ["none", "window:1"]
    small = {"suite": suite(), "pairs": 5, "rounds": 2, "questions": "none"}
    holdfast.compare(Actor(), controls=controls, out=tmp_path / "run", **small)  # type: ignore[arg-type]
    return tmp_path / "run"


def test_an_exported_comparison_opens_in_the_installed_viewer(
    run_folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    assert run_command("export", run_folder, "--inspect", tmp_path / "logs" / "run.eval") == 0
    dump = inspect(environment, tmp_path, "log", "dump", "logs/run.eval")
    assert dump.returncode == 0, dump.stderr
    log = json.loads(dump.stdout)
    assert log["status"] == "success" and len(log["samples"]) == 10
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    for row, score in zip(summary["rows"], log["results"]["scores"], strict=True):
        assert score["name"] == row["control"]
        curve = [score["metrics"][f"r{r:02d}"]["value"] for r in range(3)]
        assert curve == pytest.approx(row["curve"], abs=1e-4)
    for sample in log["samples"]:
        assert [m["role"] for m in sample["messages"]] == ["system", *["user", "assistant"] * 2]
        assert len(sample["store"]["rounds"]) == 3
    bundle = inspect(
        environment, tmp_path, "view", "bundle", "--log-dir", "logs", "--output-dir", "b"
    )
    assert bundle.returncode == 0, bundle.stderr
    listing = json.loads((tmp_path / "b" / "logs" / "listing.json").read_text(encoding="utf-8"))
    ((name, header),) = listing.items()
    assert name == "run.eval" and header["task"] == "holdfast/compare"


def test_the_exported_log_says_what_the_run_says(tmp_path: Path) -> None:
    own = holdfast.drift(Actor(), suite=suite(), pairs=5, rounds=2, out=tmp_path / "run")
    log = read_eval_log(str(export(tmp_path / "run", tmp_path / "run.json")))
    values = metrics(log)
    assert [values[f"r{r:02d}"] for r in range(3)] == pytest.approx(own.stability, abs=1e-4)
    assert log.eval.eval_id and log.eval.model == "holdfast/actor"


def test_recorded_chats_are_exported_with_the_scores_of_their_replies(tmp_path: Path) -> None:
    turns = [
        ("user", "Which word?"),
        ("assistant", "amber"),
        ("user", "Again?"),
        ("assistant", "no"),
    ]
    chat = {"messages": [{"role": role, "content": text} for role, text in turns]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(chat) + "\n", encoding="utf-8")
    agents = [suite().personas[0].id]
    options: dict[str, Any] = {"history": tmp_path / "chats.jsonl", "agents": agents}
    holdfast.drift(None, suite=suite(), out=tmp_path / "run", **options)
    log = read_eval_log(str(export(tmp_path / "run", tmp_path / "run.eval")))
    (sample,) = log.samples or ()
    assert [message.text for message in sample.messages[1:]] == [text for _, text in turns]
    values = metrics(log)
    assert (values["r01"], values["r02"]) == (1.0, 0.0) and "r00" not in values
    assert values["change"] == -1.0


def test_a_run_that_is_not_finished_is_exported_as_far_as_it_is(run_folder: Path) -> None:
    lines = (run_folder / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    part = [line for line in lines if json.loads(line)["conversation"] < 4]
    (run_folder / "records.jsonl").write_text("".join(part), encoding="utf-8")
    log = read_eval_log(str(export(run_folder, run_folder.parent / "part.eval")))
    assert log.status == "cancelled" and len(log.samples or ()) == 4
    assert log.results is not None and len(log.results.scores) == 1


def test_a_run_that_was_stopped_between_rounds_is_cancelled_and_has_no_output_yet(
    run_folder: Path,
) -> None:
    lines = (run_folder / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    part = [line for line in lines if json.loads(line)["round"] == 0]
    (run_folder / "records.jsonl").write_text("".join(part), encoding="utf-8")
    log = read_eval_log(str(export(run_folder, run_folder.parent / "part.json")))
    assert log.status == "cancelled"
    assert {sample.output.completion for sample in log.samples or ()} == {""}


@pytest.mark.parametrize(
    ("folder", "out", "message"),
    [
        (".", "run.eval", "holds no run"),
        ("run", "run.txt", "ends in .eval or .json"),
        ("effect", "run.eval", "is a run of effect"),
        ("empty", "run.eval", "has no records"),
    ],
)
def test_what_cannot_be_exported_ends_in_one_sentence(
    folder: str, out: str, message: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = run_folder.parent
    for name, manifest in (
        ("effect", {"command": "effect"}),
        ("empty", json.loads((run_folder / "manifest.json").read_text(encoding="utf-8"))),
    ):
        (at / name).mkdir()
        (at / name / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert run_command("export", at / folder, "--inspect", at / out) == 2
    assert message in capsys.readouterr().err
