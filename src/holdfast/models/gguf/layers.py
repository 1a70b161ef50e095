"""What a GGUF file says of a model's layers, and transformers leaves unread.

Tensors that a family does not have in transformers are dropped without a word: a Llama with biases
(Granite's code models) would be computed without them.

This module knows the header of a file and a model's layers. `rope` knows frequencies.
"""

from __future__ import annotations

from math import prod
from typing import Any

from transformers import PreTrainedModel

from holdfast.control.switch import decoder_of
from holdfast.core.errors import ModelError
from holdfast.models.gguf.header import GgufHeader

# Layers of Gemma's largest models, whose scores are scaled by the width of the model and not by
# that of a head; llama.cpp knows them by this number, too.
_LARGEST = {"gemma2": 46, "gemma3": 62}


def restore_layers(name: str, model: PreTrainedModel, header: GgufHeader) -> None:
    """Give a model that was read from a GGUF file what the file states of its attention.

    Args:
        name: the model's name, for errors.
        model: the model; it is changed in place, its configuration too.
        header: the file's header.

    Raises:
        ModelError: the layers have tensors that transformers does not read.
    """
    _refuse_unread_tensors(name, model, header)
    decoder: Any = decoder_of(model)
    config = decoder.config
    if header.family == "phi3":
        config.sliding_window = header.find("attention.sliding_window") or None
    if _LARGEST.get(header.family) == config.num_hidden_layers:
        config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads
        for layer in decoder.layers:
            layer.self_attn.scaling = config.query_pre_attn_scalar**-0.5


def _refuse_unread_tensors(name: str, model: PreTrainedModel, header: GgufHeader) -> None:
    """Refuse layers that have more biases and scales than the model reads."""
    layers: int = decoder_of(model).config.num_hidden_layers
    stated = {
        tensor: prod(info.shape)
        for tensor, info in header.tensors.items()
        if tensor.startswith("blk.") and not tensor.endswith(".weight")
        if int(tensor.split(".")[1]) < layers  # beyond is what predicts several tokens at once
    }
    own = [x.numel() for key, x in model.state_dict().items() if not key.endswith(".weight")]
    if sum(stated.values()) > sum(own):
        raise ModelError(
            f"the layers of {name} have tensors that transformers does not read from GGUF files"
            f" ({next(iter(stated))}, …), so that it would be another model: choose the original"
            " weights, or serve it behind an API and name it api:NAME."
        )
