"""What a training begins with: defaults by the model's size and device, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from holdfast.core.errors import HoldfastError
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.permix.prepare import estimate_training, prepare
from holdfast.training.permix.settings import (
    LORA_RATE,
    NARROW_LORA_RATE,
    NEXT_PROMPTS,
    NO_RESULT,
    DataSettings,
    PermixSettings,
    TrainerSettings,
)


def test_defaults_go_by_the_model_s_size_and_its_device() -> None:
    lora = PermixSettings(rank=16)
    laptop = TrainerSettings.of(lora, 135_000_000, "cpu")
    assert (laptop.prompts, laptop.rollouts, laptop.temperature) == (4, 4, 0.7)
    assert (laptop.learning_rate, laptop.max_new_tokens) == (NARROW_LORA_RATE, 32)
    wider = TrainerSettings.of(lora, 500_000_000, "cpu")
    assert (wider.prompts, wider.temperature, wider.learning_rate) == (4, 1.0, LORA_RATE)
    card = TrainerSettings.of(lora, 4_000_000_000, "cuda")
    assert (card.prompts, card.rollouts, card.temperature, card.max_new_tokens) == (8, 8, 1.0, 64)
    assert TrainerSettings.of(PermixSettings(), 4_000_000_000, "cuda").learning_rate == 1e-6
    settings = PermixSettings(prompts=3, data=DataSettings(tasks="mine.jsonl"))
    trainer = TrainerSettings.of(settings, 135_000_000, "cpu")
    assert (trainer.prompts, trainer.max_new_tokens) == (3, 512)


def test_what_changes_no_result_is_a_setting_of_the_trainer() -> None:
    assert set(NO_RESULT) <= set(TrainerSettings.__dataclass_fields__)


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_share_of_the_memory_that_there_is_not_is_refused(share: float) -> None:
    with pytest.raises(HoldfastError, match="above 0 and at most 1"):
        TrainerSettings(vllm_memory=share)


def test_two_gpus_in_one_process_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(HoldfastError, match=r"2 GPUs and one process: .*accelerate launch"):
        prepare("mini", PermixSettings(), dtype="auto", device="auto")


def test_a_plan_knows_the_longest_prompt_of_all_and_the_replies_of_the_trial(
    tmp_path: Path,
) -> None:
    def write_tasks(name: str, last: str) -> Path:
        questions = [f"What is {n} + 1?" for n in range(99)] + [last]
        rows = [{"question": one, "answer": str(i)} for i, one in enumerate(questions, 1)]
        file = tmp_path / name
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return file

    def plan(file: Path, **changes: object) -> TrainingEstimate:
        data = DataSettings(tasks=str(file), personas="mini")
        settings = PermixSettings(steps=2, rank=4, prompts=4, rollouts=4, data=data, **changes)
        training = prepare("mini", settings, dtype="auto", device="cpu")
        return estimate_training(training, settings)

    short = plan(write_tasks("short.jsonl", "What is 99 + 1?"))
    long = plan(write_tasks("long.jsonl", "word " * 400 + "What is 99 + 1?"))
    assert long.memory_gb > 1.2 * short.memory_gb
    untried = plan(tmp_path / "short.jsonl", trial=False)
    assert short.prompts == untried.prompts + 48 and short.tokens > untried.tokens
    imitation = plan(tmp_path / "short.jsonl", trial=False, arm="rft")
    assert imitation.prompts == 2 * 16 + 2 * NEXT_PROMPTS


@pytest.mark.parametrize("long", ["question", "plant"])
def test_a_prompt_without_room_for_a_reply_in_the_context_is_refused(
    long: str, tmp_path: Path
) -> None:
    file, words = tmp_path / "tasks.jsonl", "word " * 3000
    first = {"question": "What, you wonder, is 1 + 1?", "answer": "2"}
    in_question = {"question": f"{words}What is 2 + 1?", "answer": "3"}
    in_plant = {"question": "What is 2 + 1?", "plant": words, "answer": "3"}
    rows = [first, in_question if long == "question" else in_plant]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = PermixSettings(data=DataSettings(tasks=str(file), personas="mini"))
    with pytest.raises(HoldfastError, match=r"up to 48 more, and the model reads 2,048: take long"):
        prepare("mini", settings, dtype="auto", device="cpu")
