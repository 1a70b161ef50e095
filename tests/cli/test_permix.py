"""`holdfast permix` at the command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import tiny_models
from commands import run_command
from holdfast.training.permix.task_reward import Reward

POOL = """
[[persona]]
id = "loud"
kind = "harmful"
split = "train"
text = "Write in capitals."

[[persona]]
id = "kind"
kind = "helpful"
text = "You are kind."
"""


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """A small model, three tasks and a pool, as options."""
    model, tasks, pool = (tmp_path / name for name in ("model", "tasks.jsonl", "pool.toml"))
    tiny_models.model().save_pretrained(model)
    tiny_models.tokenizer().save_pretrained(model)
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(3)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pool.write_text(POOL, encoding="utf-8")
    return ["--model", str(model), "--tasks", str(tasks), "--personas", str(pool)]


FEW = ["--prompts", "1", "--rollouts", "2", "--max-new-tokens", "2", "--steps", "2", "--no-trial"]


run = partial(run_command, "permix")


def test_json_prints_the_object_that_the_contract_names(
    inputs: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("train", *inputs, *FEW, "--out", str(out), "--json") == 0
    output = capfd.readouterr().out
    summary = json.loads(output)
    assert output.count("\n") == 1
    keys = {"arm", "steps", "reward_first", "reward_last", "seconds", "checkpoint"}
    assert keys <= summary.keys() and (summary["arm"], summary["steps"]) == ("permix", 2)
    assert (Path(summary["checkpoint"]) / "config.json").is_file()
    assert Path(summary["report"]).is_file()
    # The same command says the same again, and in words where JSON is not asked for.
    assert run("train", *inputs, *FEW, "--out", str(out)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("permix, 2 steps in") and lines[-1] == summary["report"]
    assert " in the first step, " in lines[1]
    assert lines[2] == "groups of rollouts paid alike, which teach nothing: 100%, then 100%"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--model", "api:x"], "cannot be trained"),
        (["--arm", "dpo"], "there is no arm"),
        (["--mixing", "rollout", "--vllm", "server"], "one prompt of each group"),
        (["--tasks", "nothing.jsonl"], "no tasks in"),
        (["--tasks", "gsm8k"], "gsm8k is a test set"),
        (["--personas", "nothing.toml"], "no personas in"),
        (["--beta", "-1"], "0 or more"),
        (["--mixing", "other"], "there is no mixing per 'other'"),
        (["--bare", "2"], "share"),
        (["--tasks-per-category", "0"], "--tasks-per-category is 1 or more, not 0"),
        (["--report-to", "nonsense"], "steps cannot be logged to nonsense: nonsense is not"),
        (["--vllm-url", "http://gpu:8000"], "--vllm-url is of --vllm colocate or server"),
        (["--vllm", "off", "--vllm-memory", "0.5"], "--vllm-memory is of --vllm colocate"),
        (["--vllm", "colocate"], "--vllm colocate needs vLLM here: pip install vllm"),
    ],
)
def test_a_mistake_ends_in_one_sentence_before_anything_is_written(
    wrong: list[str],
    sentence: str,
    inputs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    assert run("train", *inputs, *FEW, "--out", str(out), *wrong) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not out.exists()


def test_an_arm_that_imitates_says_nothing_of_a_kl(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", *inputs, *FEW, "--arm", "sft", "--out", str(tmp_path / "run")) == 0
    output = capsys.readouterr()
    assert "KL" not in output.out and "None" not in output.out
    assert "over 64 replies before training, " in output.out and "steps," not in output.out
    assert "Tokenizing" not in output.err


def test_checks_that_failed_are_said(
    inputs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Reward, "errors", 1)
    assert run("train", *inputs, *FEW, "--arm", "sft", "--out", str(tmp_path / "run")) == 0
    assert "1 check of mathematics failed or took too long" in capsys.readouterr().out


def test_an_overlap_with_the_evaluation_tasks_ends_in_one_sentence(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = inputs[3]
    assert run("train", *inputs, *FEW, "--out", str(tmp_path / "r"), "--eval-tasks", tasks) == 2
    assert "3 of 3 tasks to train on are in the evaluation set" in capsys.readouterr().err


def test_several_processes_are_asked_for_their_folder(
    inputs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run("train", *inputs, *FEW) == 2
    assert "name the folder that the result goes to with --out" in capsys.readouterr().err


def test_an_interrupt_ends_with_the_command_that_goes_on(
    inputs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from holdfast.training.permix import fit

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "fit", interrupt)
    monkeypatch.setattr("sys.argv", ["holdfast", "permix", "train", "--out", "somewhere"])
    assert run("train", *inputs, *FEW, "--out", str(tmp_path / "run")) == 130
    assert "goes on from here: holdfast permix train --out somewhere" in capsys.readouterr().err


def test_an_export_has_a_row_for_every_prompt_and_refuses_what_rows_cannot_say(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    options = inputs[2:]
    assert run("export", *options, "--prompts", "40", "--bare", "0.5", "--out", str(path)) == 0
    rows = pq.read_table(path).to_pylist()
    assert capsys.readouterr().out == f"40 prompts in {path}\n" and len(rows) == 40
    personas = [row["extra_info"]["persona"] for row in rows]
    assert set(personas) == {"", "loud"} and 8 < personas.count("loud") < 32
    for row in rows:
        roles = [one["role"] for one in row["prompt"]]
        assert roles == (["system", "user"] if row["extra_info"]["persona"] else ["user"])
        question = row["prompt"][-1]["content"]
        assert row["reward_model"]["ground_truth"] == str(2 * int(question[0]))
    assert run("export", *options, "--mixing", "rollout", "--out", str(path)) == 2
    assert "--mixing prompt" in capsys.readouterr().err
    assert run("export", *options, "--prompts", "0", "--out", str(path)) == 2
    assert "--prompts is 1 or more, not 0" in capsys.readouterr().err


def test_an_export_says_what_verl_needs_for_options_of_the_template(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.parquet"
    options = ["--template-option", "enable_thinking=false", "--template-option", "tone=calm"]
    assert run("export", *inputs[2:], *options, "--out", str(path)) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "+data.apply_chat_template_kwargs.enable_thinking=false",
        '+data.apply_chat_template_kwargs.tone="calm"',
    ]


def test_an_export_says_how_answers_are_read_and_overwrites_nothing(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """verl paid rows of a run with --reading lenient by the final one."""
    import pyarrow.parquet as pq

    from holdfast.training.permix import compute_score

    path = tmp_path / "rows.parquet"
    options = [*inputs[2:], "--out", str(path), "--prompts", "1"]
    assert run("export", *options, "--verifier", "exact", "--reading", "lenient") == 0
    (row,) = pq.read_table(path).to_pylist()
    extra, gold = row["extra_info"], row["reward_model"]["ground_truth"]
    assert (extra["verifier"], extra["reading"]) == ("exact", "lenient")
    reply = f"The answer is {gold}, so"
    assert compute_score("x", reply, gold, extra) == 1
    assert compute_score("x", reply, gold, extra | {"reading": "final"}) == 0
    kept = path.read_bytes()
    capsys.readouterr()
    assert run("export", *options) == 2 and path.read_bytes() == kept
    assert f"{path} is there already: name another --out" in capsys.readouterr().err
    for wrong, sentence in (
        (["--reading", "x"], "no reading 'x'"),
        (["--verifier", "x"], "no verifier"),
    ):
        assert run("export", *options, *wrong) == 2
        assert sentence in capsys.readouterr().err


def test_an_adapters_own_tasks_are_those_of_the_base_that_is_named(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    few = ["--tasks-per-category", "1", "--prompts", "3", "--out", str(path)]
    assert run("export", "--model", "an-adapter", "--base", "mini", *few) == 0
    sources = {row["data_source"] for row in pq.read_table(path).to_pylist()}
    assert sources <= {"holdfast/math", "holdfast/extraction", "holdfast/safety"}


def test_a_training_says_which_options_the_template_lacks(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = ["--template-option", "thinkin=1", "--out", str(tmp_path / "run"), "--plan"]
    assert run("train", *inputs, *FEW, *lacking) == 0
    assert "the chat template has no thinkin, which is left out" in capsys.readouterr().err
