"""A model from a GGUF file computes what the model computes that the file was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import (
    AutoConfig,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    StableLmConfig,
    Starcoder2Config,
)

from holdfast.core.errors import ModelError
from holdfast.models.gguf import layers
from holdfast.models.local.files import find_source
from holdfast.models.local.weights import load_weights
from tiny_gguf import random_model, write_family
from tiny_models import GROUPED, WINDOW

IDS = torch.arange(3, 60)[None]
GEMMA: dict[str, Any] = GROUPED | {"head_dim": 8, "sliding_window": WINDOW}
SIX = GEMMA | {"num_hidden_layers": 6}  # the sixth has no window
STEEP = {"rope_type": "default", "rope_theta": 1e6}


def far(factor: float) -> dict[str, Any]:
    return {"full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": factor},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}  # fmt: skip


def state_factor(file: Any) -> None:
    file.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    file.add_rope_scaling_factor(8.0)


def read(file: Path) -> Any:
    source = find_source(str(file))
    return load_weights("it", source, AutoConfig.from_pretrained(source.path, **source.arguments))


@pytest.mark.parametrize(
    ("family", "config", "state"),
    [
        ("llama", LlamaConfig(**GROUPED), None),
        ("phi3", Phi3Config(**GROUPED), None),
        ("phi3", Phi3Config(**GROUPED, sliding_window=WINDOW), None),
        ("starcoder2", Starcoder2Config(**GROUPED), None),
        ("starcoder2", Starcoder2Config(**GROUPED, rope_parameters=STEEP), None),
        ("gemma2", Gemma2Config(**GEMMA, query_pre_attn_scalar=256), None),
        ("gemma3", Gemma3TextConfig(**SIX, query_pre_attn_scalar=256), None),
        ("gemma3", Gemma3TextConfig(**SIX, rope_parameters=far(8.0)), state_factor),
    ],
)
def test_a_file_gives_the_logits_of_the_model_that_it_was_made_from(
    tmp_path: Path, family: str, config: PreTrainedConfig, state: Any
) -> None:
    network = random_model(config)
    more = {} if state is None else {"state": state}
    subject = read(write_family(tmp_path / "tiny.gguf", network, family, **more))
    with torch.inference_mode():
        torch.testing.assert_close(subject(IDS).logits, network(IDS).logits)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("gemma2", Gemma2Config(**GEMMA, query_pre_attn_scalar=8)),
        ("gemma3", Gemma3TextConfig(**SIX, query_pre_attn_scalar=8)),
    ],
)
def test_scores_of_the_largest_gemmas_are_scaled_by_the_width_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, config: PreTrainedConfig
) -> None:
    monkeypatch.setattr(layers, "_LARGEST", {family: config.num_hidden_layers})
    network = random_model(config)
    subject = read(write_family(tmp_path / "tiny.gguf", network, family))
    with torch.inference_mode():
        torch.testing.assert_close(subject(IDS).logits, network(IDS).logits)


@pytest.mark.parametrize("where", ["attention_bias", "mlp_bias"])
def test_biases_that_transformers_would_leave_out_are_refused(tmp_path: Path, where: str) -> None:
    network = random_model(LlamaConfig(**GROUPED, **{where: True}))
    with pytest.raises(ModelError, match=r"tensors that transformers does not read .*bias"):
        read(write_family(tmp_path / "tiny.gguf", network, "llama"))


def test_a_rotated_part_of_heads_that_transformers_does_not_read_is_refused(tmp_path: Path) -> None:
    half = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    network = random_model(StableLmConfig(**GROUPED, rope_parameters=half))
    file = write_family(
        tmp_path / "tiny.gguf", network, "stablelm", state=lambda x: x.add_rope_dimension_count(4)
    )
    with pytest.raises(ModelError, match="states rotary frequencies that transformers"):
        read(file)
