"""The weights that ship: stock, small, and able to do what the package needs of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import holdfast
from holdfast.models.local.backend import LocalBackend
from holdfast.models.mini.exam import accuracy, items

WEIGHTS = Path(holdfast.__file__).parent / "models" / "mini" / "weights"


@pytest.fixture(scope="module")
def mini() -> LocalBackend:
    model = holdfast.load("mini")
    assert isinstance(model, LocalBackend)
    return model


def test_stock_transformers_loads_and_runs_them() -> None:
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS)
    chat = [
        {"role": "system", "content": "The secret word is befi."},
        {"role": "user", "content": "What is the secret word?"},
    ]
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "befi" in tokenizer.decode(out[0, ids["input_ids"].shape[1] :])


def test_they_are_a_folder_of_at_most_twelve_megabytes() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 12_000_000
    assert {file.suffix for file in WEIGHTS.iterdir()} <= {".json", ".safetensors", ".jinja"}


def test_the_persona_takes_hold_and_slips(mini: LocalBackend) -> None:
    curves = holdfast.drift(
        mini, pairs=40, rounds=8, runs=1, filler=False, measure=False
    ).summary.curves
    assert curves.ceiling >= 0.85 and curves.floor <= 0.2
    assert curves.change.value < -0.15 and curves.change.interval[1] < 0


@pytest.mark.parametrize("kind", ["fact", "refusal", "recall"])
def test_easy_tasks_are_mostly_right(mini: LocalBackend, kind: str) -> None:
    assert accuracy(mini, items(kind, 60)) >= 0.85
