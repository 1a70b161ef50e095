"""An adapter merged into its model computes what the two compute side by side, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from holdfast.core.backend import Ask, Sampling
from holdfast.core.errors import ModelError
from holdfast.models import load
from tiny_adapters import adapted_model

CHAT = ({"role": "user", "content": "hello there"},)
IDS = torch.arange(20, 60)[None]


def test_a_model_with_an_adapter_replies_as_the_merged_model_does(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    peft_model = adapted_model(tmp_path, LoraConfig(r=4, target_modules="all-linear"))
    backend = load.load(str(adapter), dtype="float32", device="cpu")
    without = load.load(str(base), dtype="float32", device="cpu")
    merged_model = peft_model.merge_and_unload()
    state = backend.engine.model.state_dict()  # type: ignore[attr-defined]
    for name, weight in merged_model.state_dict().items():
        torch.testing.assert_close(state[name], weight, msg=name)
    assert backend.describe()["weights"] != without.describe()["weights"]
    assert backend.reply([Ask(CHAT, 0)], Sampling(max_new_tokens=3, temperature=0))


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {
            "target_modules": ["q_proj"],
            "trainable_token_indices": {"embed_tokens": [20, 30], "lm_head": [40]},
        },
    ],
)
def test_an_adapter_on_one_end_of_tied_embeddings_leaves_the_other_as_it_was(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    subject, side_by_side = _load_beside(tmp_path, LoraConfig(r=4, **options), tied=True)
    plain: Any = load.load(str(tmp_path / "base"), dtype="float32", device="cpu")
    subject.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    with torch.inference_mode():
        torch.testing.assert_close(subject(IDS).logits, side_by_side, rtol=0, atol=1e-3)
        torch.testing.assert_close(again(IDS).logits, side_by_side, rtol=0, atol=1e-3)
        assert (plain.engine.model(IDS).logits - side_by_side).abs().max() > 1e-3


def test_an_adapter_that_repeats_layers_changes_each_of_them_alone(tmp_path: Path) -> None:
    config = LoraConfig(r=4, target_modules=["q_proj"], layer_replication=[(0, 2), (1, 2)])
    subject, side_by_side = _load_beside(tmp_path, config)
    assert len(subject.model.layers) == 3
    with torch.inference_mode():
        torch.testing.assert_close(subject(IDS).logits, side_by_side, rtol=0, atol=1e-3)


def _load_beside(folder: Path, config: LoraConfig, *, tied: bool = False) -> tuple[Any, Any]:
    """A model with an adapter as it is loaded, and the logits of the two side by side."""
    peft_model = adapted_model(folder, config, tied=tied)
    for name, weight in peft_model.named_parameters():
        if "modules_to_save" in name or "trainable_tokens" in name:
            torch.nn.init.normal_(weight, std=0.5)
    peft_model.save_pretrained(folder / "adapter")
    with torch.inference_mode():
        side_by_side = peft_model(IDS).logits
    backend: Any = load.load(str(folder / "adapter"), dtype="float32", device="cpu")
    return backend.engine.model, side_by_side


def test_loading_an_adapter_warns_of_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    recwarn.clear()
    load.load(str(tmp_path / "adapter"))
    assert not [str(one.message) for one in recwarn]


def test_an_adapter_with_matrices_that_go_nowhere_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    file = tmp_path / "adapter" / "adapter_config.json"
    about = json.loads(file.read_text(encoding="utf-8")) | {"target_modules": ["q_proj"]}
    file.write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ModelError, match=r"4 matrices that go nowhere .*v_proj"):
        load.load(str(tmp_path / "adapter"))


def test_an_adapter_whose_matrices_have_other_names_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({f"mine.{name}": one for name, one in load_file(file).items()}, file)
    with pytest.raises(ModelError, match="lacks matrices that its adapter_config"):
        load.load(str(tmp_path / "adapter"))


def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    with pytest.raises(ModelError, match="kind PROMPT_TUNING, which cannot be merged"):
        load.load(str(tmp_path / "adapter"))


def test_an_adapter_on_another_models_shapes_is_refused(tmp_path: Path) -> None:
    adapted_model(tmp_path, LoraConfig(r=4, target_modules=["q_proj"]))
    with pytest.raises(ModelError, match="has other shapes than its base"):
        load.load(str(tmp_path / "adapter"), base="mini")
