"""Quantised weights are read as what they are, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedConfig

from holdfast.core.errors import ModelError
from holdfast.models.local.load import load, load_first_layer
from holdfast.models.quantisation import quantisation, refuse_format
from tiny_models import model, tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model's folder."""
    model().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


def add_scales(folder: Path) -> None:
    """Halve a layer's weights into eight bits, with a scale of two beside them."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.0.mlp.up_proj"
    weights[f"{name}.weight"] = (weights[f"{name}.weight"] / 2).to(torch.float8_e4m3fn)
    weights[f"{name}.weight_scale"] = torch.tensor(2.0)
    save_file(weights, file, metadata={"format": "pt"})


def test_weights_of_mlx_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="quantised for MLX, which transformers does not read"):
        refuse_format("mine", PreTrainedConfig(quantization={"bits": 4, "group_size": 64}))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"quant_method": "modelopt"}, "modelopt"),
        ({"quant_method": "exl2"}, "exl2"),
        ({"quant_method": "hqq"}, "hqq"),
        ({}, "a method without a name"),
    ],
)
def test_a_quantisation_that_transformers_skips_is_refused(
    settings: dict[str, Any], name: str
) -> None:
    config = PreTrainedConfig(quantization_config=settings)
    with pytest.raises(ModelError, match=f"mine is quantised with {name}, whose weights"):
        refuse_format("mine", config)


def test_old_settings_of_bitsandbytes_have_its_name() -> None:
    assert quantisation(PreTrainedConfig(quantization_config={"load_in_4bit": True})) == (
        "bitsandbytes"
    )


def test_scales_that_are_left_unread_are_refused(folder: Path) -> None:
    add_scales(folder)
    for read in (load, load_first_layer):
        with pytest.raises(ModelError, match=r"1 tensors .*read \(model.layers.0.mlp.up_proj.w"):
            read(str(folder))


def test_layers_of_another_task_are_left_unread(folder: Path) -> None:
    file = folder / "model.safetensors"
    vision = {"vision.proj.weight": torch.ones(2), "vision.proj.bias": torch.ones(2)}
    save_file({**load_file(file), **vision}, file, metadata={"format": "pt"})
    assert load(str(folder))
    assert load_first_layer(str(folder))
