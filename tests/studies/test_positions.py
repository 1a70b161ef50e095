"""Training on with other positions: where gaps fall, and what a folder of weights is."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import mini_train as train
import positions
import pytest
import torch
from mini_dialogue import dialogue
from positions import REACH, VARIANTS, Variant, draw_positions, folder, recipe
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from holdfast.core.errors import RunError
from holdfast.models.local import files


@pytest.fixture(scope="module")
def step():  # type: ignore[no-untyped-def]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(files.find_source("mini").path)
    return next(train.batches(tokenizer, recipe(1)))


def test_gaps_fall_before_user_turns_under_a_persona_and_nowhere_else(step) -> None:  # type: ignore[no-untyped-def]
    gap_count = 0
    for ids, _ in step:
        places_moved = draw_positions(ids, random.Random(0))
        jumps = places_moved.diff(dim=1)
        assert (jumps >= 1).all()
        for row, jump in zip(ids, jumps, strict=True):
            places = (jump > 1).nonzero().flatten() + 1
            assert (row[places] == positions._USER).all()
            prompted = bool((row == positions._SYSTEM).any())
            assert prompted or not len(places)
            assert places_moved.max() < ids.shape[1] + REACH + 16  # each gap is rounded
            gap_count += len(places)
    assert gap_count


def test_a_fixed_draw_gives_fixed_gaps(step) -> None:  # type: ignore[no-untyped-def]
    ids = step[0][0]
    assert torch.equal(draw_positions(ids, random.Random(5)), draw_positions(ids, random.Random(5)))


def test_the_control_variant_draws_what_training_drew() -> None:
    control = VARIANTS["control"]
    assert control is not None
    for seed in range(20):
        assert control.dialogue(random.Random(seed)) == dialogue(random.Random(seed))


def test_long_variants_alone_have_long_dialogues_under_a_persona() -> None:
    def longest(variant: Variant) -> int:
        chats = (variant.dialogue(random.Random(seed)) for seed in range(300))
        return max(len(chat) // 2 for chat in chats if chat[0]["role"] == "system")

    assert longest(Variant()) == 3
    assert longest(Variant((1, 8))) == 8


def test_weights_are_trained_once_and_another_recipes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recipe
    small = {"tokens": 96, "parts": 1, "widths": (48,)}
    monkeypatch.setattr(positions, "recipe", lambda steps: replace(real(steps), **small))
    start = Path(files.find_source("mini").path)
    assert folder("shipped", start, 1, tmp_path) == start
    at = folder("linear", start, 1, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(at)
    assert model.config.rope_parameters["factor"] == 4
    assert files.hash_files(str(at)) != files.hash_files(str(start))
    time = (at / "model.safetensors").stat().st_mtime_ns
    assert folder("linear", start, 1, tmp_path) == at
    assert (at / "model.safetensors").stat().st_mtime_ns == time
    with pytest.raises(RunError, match="another start or recipe"):
        folder("linear", start, 2, tmp_path)
