"""Runs of few steps on a random model: what they leave, how they go on, what they refuse."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trl import GRPOTrainer  # type: ignore[attr-defined]
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

import tiny_models
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import message
from holdfast.core.errors import HoldfastError, ModelError, RunError
from holdfast.core.records import as_record
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local import load as local
from holdfast.models.local.backend import LocalBackend
from holdfast.persona import pool
from holdfast.training.permix import fit
from holdfast.training.permix.grpo import MixedGRPOTrainer, last_checkpoint
from holdfast.training.permix.metrics import PATIENCE, MetricsLog, read_metrics
from holdfast.training.permix.mixing import NOBODY, PersonaMix
from holdfast.training.permix.task_reward import Reward
from holdfast.training.permix.train import train

from .conftest import short

KEYS = {"arm", "steps", "reward_first", "reward_last", "seconds", "checkpoint"}


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_leaves_a_model_for_every_command_its_steps_and_a_page(
    train_small: Any, tmp_path: Path, folder: str
) -> None:
    out = tmp_path / "run"
    result = train_small(out)
    assert as_record(result.summary).keys() >= KEYS
    assert [line.step for line in read_metrics(out)] == [1, 2, 3, 4]
    assert all(line.kl is not None for line in read_metrics(out))
    model = local.load(str(result.checkpoint))
    chat = (message("system", "You help."), message("user", "Hello?"))
    assert model.reply([Ask(chat, 0)], Sampling(max_new_tokens=3))[0].completion_tokens == 3
    first = load_file(Path(folder) / "model.safetensors")
    assert any(not torch.equal(first[name], tensor) for name, tensor in weights(out).items())
    assert "Under mixed personas the reward goes" in (out / "report.html").read_text("utf-8")
    # Done is done: the same call is answered from the folder.
    assert train_small(out).summary == result.summary


@pytest.mark.parametrize("arm", ["permix", "sft"])
def test_a_training_that_diverges_leaves_no_model(
    train_small: Any, tmp_path: Path, arm: str
) -> None:
    with pytest.raises(HoldfastError, match="diverged: its numbers are not finite at step"):
        train_small(tmp_path / "run", arm=arm, learning_rate=1e30)
    assert not (tmp_path / "run" / "model").exists()


def test_the_reference_of_the_kl_is_the_model_before_training_also_of_an_adapter(
    train_small: Any, tmp_path: Path
) -> None:
    """TRL would read the reference from the adapter's base, which is far from it."""
    train_small(tmp_path / "one", rank=4, steps=2, learning_rate=1e-1)
    train_small(tmp_path / "two", model=str(tmp_path / "one" / "adapter"), steps=2, beta=0.5)
    first, second = (line.kl or 0.0 for line in read_metrics(tmp_path / "two"))
    assert first == 0 < second


@pytest.mark.parametrize("name", ["learning_rate", "beta", "temperature"])
def test_numbers_that_are_none_are_refused(train_small: Any, tmp_path: Path, name: str) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(HoldfastError, match=r"(0 or more|above 0)\."):
            train_small(tmp_path / "run", **{name: value})


def test_only_the_tokens_of_completions_are_scored_and_they_score_as_in_trl(
    train_small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Triton TRL scores the prompts' tokens too, which are most of them."""
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    positions: list[int] = []
    ours = MixedGRPOTrainer._get_per_token_logps_and_entropies
    tiles = ChunkedLogProbFunction.forward

    def both(self: Any, *args: Any, **options: Any) -> Any:
        result = ours(self, *args, **options)
        count = len(positions)
        theirs = GRPOTrainer._get_per_token_logps_and_entropies(self, *args, **options)
        assert positions[count - 1] < positions[count]
        pairs.append((result[0].detach(), theirs[0].detach()))
        return result

    def count_positions(ctx: Any, hidden: torch.Tensor, *rest: Any) -> Any:
        positions.append(len(hidden))
        return tiles(ctx, hidden, *rest)

    monkeypatch.setattr(MixedGRPOTrainer, "_get_per_token_logps_and_entropies", both)
    monkeypatch.setattr(ChunkedLogProbFunction, "forward", staticmethod(count_positions))
    train_small(tmp_path, steps=1)
    assert pairs
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(train_small: Any, tmp_path: Path) -> None:
    calls = 0

    def dies(task: Task, reply: str) -> float:
        nonlocal calls
        calls += 1
        if calls > 4 * 8:
            raise RuntimeError("killed")
        return short(task, reply)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_small(whole, steps=5)
    with pytest.raises(RuntimeError, match="killed"):
        train_small(cut, steps=5, verify=dies)
    items = (cut / "items.jsonl").read_text("utf-8")
    (cut / "items.jsonl").write_text(items.partition("\n")[2], "utf-8")  # as without a trial
    with pytest.raises(RunError, match="trains on other tasks, as its trial chose them"):
        train_small(cut, steps=5)
    (cut / "items.jsonl").write_text(items, "utf-8")
    # What a kill in the middle of saving leaves is not gone on from.
    shutil.copytree(cut / "checkpoints" / "checkpoint-4", cut / "checkpoints" / "checkpoint-5")
    (cut / "checkpoints" / "checkpoint-5" / "trainer_state.json").unlink()
    train_small(cut, steps=5)
    assert same(whole, cut)
    assert read_metrics(whole) == read_metrics(cut)


def test_a_run_that_was_moved_has_its_model_and_page_where_it_is_now(
    train_small: Any, tmp_path: Path
) -> None:
    train_small(tmp_path / "before", steps=1)
    (tmp_path / "before").rename(tmp_path / "after")
    result = train_small(tmp_path / "after", steps=1)
    assert result.checkpoint == tmp_path / "after" / "model"
    assert result.summary.report == str(tmp_path / "after" / "report.html")


def test_a_run_that_goes_on_calls_no_tied_weights_missing(
    train_small: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tied"
    tied: Any = deepcopy(tiny_models.model())
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    tied.save_pretrained(path)
    tiny_models.tokenizer().save_pretrained(path)
    out = tmp_path / "run"
    train_small(out, model=str(path), steps=2)
    shutil.rmtree(out / "model")
    (out / "summary.json").unlink()
    trainers = logging.getLogger("transformers.trainer")
    trainers.addHandler(caplog.handler)
    train_small(out, model=str(path), steps=2)
    trainers.removeHandler(caplog.handler)
    assert "lm_head.weight" not in load_file(out / "model" / "model.safetensors")
    assert not [one.message for one in caplog.records if "missing keys" in one.message]


@pytest.mark.parametrize("state", [None, "", '{"global_step": 3, "log'])
def test_a_checkpoint_whose_state_is_missing_or_torn_is_passed_over(
    tmp_path: Path, state: str | None
) -> None:
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}", "utf-8")
    torn = tmp_path / "checkpoint-3" / "trainer_state.json"
    torn.unlink() if state is None else torn.write_text(state, "utf-8")
    shutil.copytree(tmp_path / "checkpoint-2", tmp_path / "checkpoint-2.kept")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert last_checkpoint(tmp_path / "nothing") is None


def test_an_interrupt_is_waited_out_to_the_end_of_the_step_and_nothing_is_lost(
    train_small: Any, tmp_path: Path
) -> None:
    calls = 0

    def interrupts(task: Task, reply: str) -> float:
        nonlocal calls
        calls += 1
        if calls == 2 * 8 + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return short(task, reply)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_small(whole)
    with pytest.raises(KeyboardInterrupt):
        train_small(cut, verify=interrupts, save_every=100)
    assert [line.step for line in read_metrics(cut)] == [1, 2, 3]
    assert not (cut / "summary.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(RunError, match="holds another run"):
        train_small(cut, beta=0.5)
    train_small(cut)
    assert same(whole, cut)


@pytest.mark.parametrize("per", ["prompt", "rollout"])
def test_the_prompts_that_the_trainer_asks_are_those_that_were_drawn(
    per: str, train_small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    original = Reward.__call__

    def watch(self: Reward, **columns: Any) -> list[float]:
        if "row" in columns:
            calls.append(columns)
        return original(self, **columns)

    monkeypatch.setattr(Reward, "__call__", watch)
    train_small(tmp_path / "run", mixing=per, bare=0.3, steps=6)
    people = pool.load("mini", split="train")
    rows = list(PersonaMix(len(people), 0.3, per, 0).rows(7, 12, 4))
    prompts = [None if r.persona == NOBODY else people[r.persona].text for r in rows]
    groups = 1 if per == "rollout" else 4
    chats = [prompt for step in calls for prompt in step["prompts"]]
    systems = [m[0]["content"] if m[0]["role"] == "system" else None for m in chats]
    assert systems == [text for text in prompts for _ in range(groups)]
    for i in range(0, len(systems), 4):
        assert len({m[-1]["content"] for m in chats[i : i + 4]}) == 1
        assert per == "rollout" or len(set(systems[i : i + 4])) == 1
    # Nothing that names a persona is among what a reward is called with.
    texts = {one.text for one in people} | {one.id for one in people}
    for step in calls:
        rest = {k: v for k, v in step.items() if k not in ("prompts", "completions")}
        assert not texts & {str(x) for v in rest.values() if isinstance(v, list) for x in v}


def test_a_rollout_ends_where_a_reply_does_and_the_files_of_the_model_say_so(
    train_small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The template closes a reply by another token than the model's files name."""
    ends = []

    def watch(self: Reward, **columns: Any) -> list[float]:
        ends.append(self.ends)
        return [0.0, 1.0] * (len(columns["item"]) // 2)

    monkeypatch.setattr(Reward, "__call__", watch)
    run = train_small(tmp_path / "run", steps=1)
    own = local.load(folder)
    assert isinstance(own, LocalBackend) and len(own.ends) == 2
    assert ends[0] == {*own.ends, own.tokenizer.pad_token_id}
    config = json.loads((Path(run.checkpoint) / "generation_config.json").read_text("utf-8"))
    assert config["eos_token_id"] == sorted(own.ends)


def test_without_personas_no_prompt_has_one(train_small: Any, tmp_path: Path) -> None:
    train_small(tmp_path / "run", arm="rlvr", steps=2, beta=0.0)
    lines = read_metrics(tmp_path / "run")
    assert all(list(line.by_persona or {}) == ["none"] for line in lines)
    assert all(line.kl is None for line in lines)


def test_imitation_trains_on_gold_answers_as_many_rows_a_step(
    train_small: Any, tmp_path: Path
) -> None:
    result = train_small(tmp_path / "run", arm="sft", steps=3)
    lines = read_metrics(tmp_path / "run")
    assert not list(tmp_path.glob("run/model/*.bin"))
    assert len(lines) == 3 and (lines[0].loss or 0) > (lines[-1].loss or 0) > 0
    assert result.summary.means.reward_first is not None
    assert result.summary.means.tokens > 3 * 8 * 8  # rows of more than a few tokens each
    assert "imitating gold answers" in (tmp_path / "run" / "report.html").read_text("utf-8")


@pytest.fixture
def whole_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of a random model, which the limit of tokens cuts, count as ended."""
    reply = LocalBackend.reply

    def end(self: LocalBackend, *args: Any) -> list[Reply]:
        return [replace(one, stop="stop") for one in reply(self, *args)]

    monkeypatch.setattr(LocalBackend, "reply", end)


@pytest.mark.usefixtures("whole_replies")
@pytest.mark.parametrize("arm", ["sft", "rft"])
def test_imitation_that_goes_on_from_a_checkpoint_has_the_metrics_of_a_whole_run(
    train_small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_small(whole, arm=arm)
    end_step = MetricsLog.end_step

    def dies(self: MetricsLog, step: int, *rest: Any) -> Any:
        if step == 4:
            raise RuntimeError("killed")
        return end_step(self, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "end_step", dies)
        with pytest.raises(RuntimeError, match="killed"):
            train_small(cut, arm=arm)
    train_small(cut, arm=arm)
    assert read_metrics(whole) == read_metrics(cut)


@pytest.mark.usefixtures("whole_replies")
def test_imitation_of_its_own_trains_on_right_replies_alone_and_goes_on_after_a_kill(
    train_small: Any, tmp_path: Path
) -> None:
    calls = 0

    def dies(task: Task, reply: str) -> float:
        nonlocal calls
        calls += 1
        if calls > 64 + 24:  # the first replies that the trained model gives
            raise RuntimeError("killed")
        return short(task, reply)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result = train_small(whole, arm="rft", steps=3)
    assert result.summary.beta is None and result.summary.means.reward_first is not None
    with pytest.raises(RuntimeError, match="killed"):
        train_small(cut, arm="rft", steps=3, verify=dies)
    replies = [json.loads(line) for line in (cut / "answers.jsonl").open(encoding="utf-8")]
    assert len(replies) == 3 * 8 and 0 < sum(one["right"] for one in replies) < len(replies)
    assert all(one["right"] == (short(None, one["reply"]) > 0) for one in replies)  # type: ignore[arg-type]
    train_small(cut, arm="rft", steps=3)
    assert same(whole, cut)


def test_a_model_that_is_never_right_has_nothing_of_its_own_to_imitate(
    train_small: Any, tmp_path: Path
) -> None:
    with pytest.raises(HoldfastError, match="none of 24 replies of the untrained model was right"):
        train_small(tmp_path / "run", arm="rft", steps=3, verify=lambda task, reply: 0.0)


def test_an_adapter_is_kept_and_merged_into_a_model_that_answers_as_both_do(
    train_small: Any, tmp_path: Path, folder: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = tmp_path / "run"
    train_small(out, rank=4, steps=2, learning_rate=1e-2)
    base = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.arange(30, 60)[None]
    with torch.no_grad():
        plain = base(ids).logits
        both = PeftModel.from_pretrained(base, str(out / "adapter"))(ids).logits
        whole = AutoModelForCausalLM.from_pretrained(out / "model")(ids).logits
    assert torch.allclose(both, whole, atol=1e-4)
    assert not torch.allclose(plain, whole, atol=1e-4)
    assert local.load(str(out / "model")).template
    assert not list(out.glob("adapter/*.bin"))  # the trainer's settings are a pickle


@pytest.mark.parametrize(("arm", "step"), [("permix", "2 prompts with 4 rollouts each"),
                                           ("sft", "8 answers")])  # fmt: skip
def test_an_adapters_card_says_what_it_is_and_how_it_was_trained(
    train_small: Any, tmp_path: Path, folder: str, arm: str, step: str
) -> None:
    out = tmp_path / "run"
    train_small(out, arm=arm, rank=4, steps=1, command="holdfast permix train --rank 4")
    card = (out / "adapter" / "README.md").read_text("utf-8")
    assert f"# Adapter for {folder}\n" in card and "Model ID" not in card
    assert "    holdfast permix train --rank 4\n" in card
    assert f"(rank 4) by the arm {arm}" in card and f"- {step} in a step" in card
    assert f"--model FOLDER --base {folder}\n" in card and "../summary.json" in card
    # Beside checkpoints TRL and PEFT would write templates, which name other links and models.
    assert list((out / "checkpoints").glob("checkpoint-*/adapter_model.safetensors"))
    assert not list((out / "checkpoints").rglob("README.md"))


def test_a_lora_on_an_adapter_is_refused(train_small: Any, tmp_path: Path) -> None:
    """It would name the base of the first adapter, without that adapter, as its own."""
    train_small(tmp_path / "one", rank=4, steps=1)
    more: dict[str, Any] = {"model": str(tmp_path / "one" / "adapter"), "steps": 1}
    with pytest.raises(ModelError, match=r"name a base that lacks it: .* \(the folder model/"):
        train_small(tmp_path / "two", rank=4, **more)
    train_small(tmp_path / "two", **more)


def test_rewards_without_any_variance_stop_the_run(train_small: Any, tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="every group of rollouts had one reward"):
        train_small(tmp_path / "run", verify=lambda task, reply: 0.0, steps=20)
    assert len(read_metrics(tmp_path / "run")) == PATIENCE


def test_a_step_in_parts_is_the_step_whole(train_small: Any, tmp_path: Path) -> None:
    train_small(tmp_path / "one", steps=2)
    train_small(tmp_path / "two", steps=2, parts=2)
    one, two = (read_metrics(tmp_path / name)[0] for name in ("one", "two"))
    assert one.reward == two.reward and one.by_persona == two.by_persona


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"arm": "dpo"}, "there is no arm 'dpo'"),
        ({"arm": "rlvr", "mixing": "rollout"}, "no personas to mix"),
        ({"arm": "sft", "mixing": "rollout"}, "no rollouts"),
        ({"arm": "rft", "mixing": "rollout"}, "no rollouts"),
        ({"bare": 1.0}, "no prompt has a persona"),
        ({"mixing": "rollout", "vllm": "server"}, "one prompt of each group"),
        ({"rollouts": 1}, "at least 2 rollouts"),
        ({"prompts": 3, "parts": 5}, "cannot be dealt evenly"),
        ({"scale": "all"}, "no scale"),
        ({"beta": -1.0}, "0 or more"),
        ({"steps": 0}, "at least 1 step"),
        ({"reading": "kind"}, "no reading"),
    ],
)
def test_what_would_train_something_else_is_refused_in_one_sentence(
    wrong: dict[str, Any], sentence: str, train_small: Any, tmp_path: Path
) -> None:
    with pytest.raises(HoldfastError, match=sentence):
        train_small(tmp_path / "run", **wrong)


def test_a_model_behind_an_api_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="runs on this machine"):
        train("api:x", out=tmp_path)


def test_the_manifest_holds_what_determines_the_result(train_small: Any, tmp_path: Path) -> None:
    train_small(tmp_path / "run", steps=1)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))
    assert manifest["recipe"]["beta"] == 0.04 and manifest["mixing"] == "prompt" and manifest["trl"]
    splits = Counter(one["split"] for one in (*manifest["personas"], *manifest["held_out"]))
    assert splits == {"train": 24, "held-out": 13}
    lines = (tmp_path / "run" / "items.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 7


def test_options_of_the_template_hold_where_answers_are_imitated_and_measured(
    train_small: Any, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Path(folder) / "chat_template.jinja"
    before = template.read_text(encoding="utf-8")
    trainers: list[Any] = []
    build, load = fit.sft_trainer, local.load
    options: list[Any] = []

    def build_trainer(*args: Any) -> Any:
        trainers.append(build(*args))
        return trainers[-1]

    def record(name: str, **arguments: Any) -> Any:
        options.append(arguments.get("options"))
        return load(name, **arguments)

    monkeypatch.setattr(fit, "sft_trainer", build_trainer)
    monkeypatch.setattr(local, "load", record)
    try:
        template.write_text("{{ 'calm' if calm else '' }}" + before, encoding="utf-8")
        train_small(tmp_path / "run", arm="sft", steps=1, verify=short, options={"calm": True})
    finally:
        template.write_text(before, encoding="utf-8")
    (trainer,) = trainers
    ids = trainer.train_dataset[0]["input_ids"]
    assert trainer.processing_class.decode(ids).startswith("calm")
    assert options == [{"calm": True}] * 2  # before training, and after


@pytest.mark.parametrize(("shows", "said"), [(True, ""), (False, "without their thoughts")])
def test_a_thinking_model_imitates_its_own_thoughts_too(
    train_small: Any,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shows: bool,
    said: str,
) -> None:
    template = Path(folder) / "chat_template.jinja"
    before = template.read_text(encoding="utf-8")
    trainers: list[Any] = []
    build, reply = fit.sft_trainer, LocalBackend.reply

    def think(self: LocalBackend, *args: Any) -> list[Reply]:
        return [
            replace(one, text="blue", stop="stop", thought="hm" if i else None)
            for i, one in enumerate(reply(self, *args))
        ]

    def build_trainer(*args: Any) -> Any:
        trainers.append(build(*args))
        return trainers[-1]

    monkeypatch.setattr(LocalBackend, "reply", think)
    monkeypatch.setattr(fit, "sft_trainer", build_trainer)
    try:
        if shows:
            template.write_text(tiny_models.QWEN3, encoding="utf-8")
        train_small(tmp_path / "run", arm="rft", steps=1)
    finally:
        template.write_text(before, encoding="utf-8")
    (trainer,) = trainers
    texts = [trainer.processing_class.decode(row["input_ids"]) for row in trainer.train_dataset]
    thoughts = ["<think>\n\n</think>", *["<think>\nhm\n</think>"] * (len(texts) - 1)]
    for text, thought in zip(texts, thoughts, strict=True):
        assert (f"assistant\n{thought}\n\nblue<|im_end|>" in text) == shows
    assert said in capsys.readouterr().err
