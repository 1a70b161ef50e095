"""What a training begins with: defaults by the model's size and device, and what is refused."""

from __future__ import annotations

import pytest
import torch

from holdfast.core.errors import HoldfastError
from holdfast.training.permix.prepare import prepare
from holdfast.training.permix.settings import (
    LAPTOP_LORA_RATE,
    NO_RESULT,
    DataSettings,
    PermixSettings,
    TrainerSettings,
)


def test_defaults_go_by_the_model_s_size_and_its_device() -> None:
    lora = PermixSettings(rank=16)
    laptop = TrainerSettings.of(lora, 135_000_000, "cpu")
    assert (laptop.prompts, laptop.rollouts, laptop.temperature) == (4, 4, 0.7)
    assert (laptop.learning_rate, laptop.max_new_tokens) == (LAPTOP_LORA_RATE, 32)
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
