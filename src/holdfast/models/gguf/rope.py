"""The rotary frequencies that a GGUF file states, and that transformers leaves unread.

Llama 3.1's are a tensor of divisors, one for each frequency; linear and YaRN's are named with a
factor; of some families (StarCoder 2) even the base is unread. Without them a model reads distances
that it was not trained on, which nothing shows.

This module knows the header of a file and a model's rotary embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from holdfast.control.switch import decoder_of
from holdfast.core.errors import ModelError
from holdfast.models.gguf.header import GgufHeader

_DIVISORS = "rope_freqs.weight"
_UNKNOWN = {"rope_type": "unknown"}
# Families that transformers itself reads, or that have no frequencies of this kind.
_NATIVE_FAMILIES = ("gpt-oss",)


def restore_frequencies(name: str, model: PreTrainedModel, header: GgufHeader) -> None:
    """Give a model that was read from a GGUF file the frequencies that the file states.

    Args:
        name: the model's name, for errors.
        model: the model; it is changed in place, its configuration too.
        header: the file's header.

    Raises:
        ModelError: transformers knows no such frequencies.
    """
    decoder: Any = decoder_of(model)
    if header.family in _NATIVE_FAMILIES or not hasattr(decoder, "rotary_emb"):
        return
    rotary, rope = decoder.rotary_emb, decoder.config.rope_parameters
    # Layers with a window have frequencies of their own, which no factor changes.
    prefix = "full_attention_" if "full_attention" in rope else ""
    target = rope["full_attention"] if prefix else rope
    own = getattr(rotary, f"{prefix}inv_freq", None)
    if own is None:  # every layer has a window
        return
    if not prefix and header.find("rope.dimension_count") not in (None, 2 * len(own)):
        raise _unknown_error(name)
    stated = read_parameters(header)
    if stated.items() <= target.items():
        return
    try:
        target["rope_theta"] = stated.get("rope_theta", target["rope_theta"])
        plain = getattr(type(rotary)(config=decoder.config), f"{prefix}inv_freq")
        target |= stated
        restored = type(rotary)(config=decoder.config).to(own.device)
    except (KeyError, ValueError, TypeError) as error:
        raise _unknown_error(name) from error
    divisors = read_divisors(header)
    if divisors is not None and not torch.allclose(
        getattr(restored, f"{prefix}inv_freq").cpu(), plain / divisors, rtol=1e-3, atol=0
    ):
        raise _unknown_error(name)
    decoder.rotary_emb = restored


def _unknown_error(name: str) -> ModelError:
    return ModelError(
        f"{name} states rotary frequencies that transformers does not know in GGUF files: choose"
        " the original weights, or serve it behind an API and name it api:NAME."
    )


def read_divisors(header: GgufHeader) -> Tensor | None:
    """What each frequency is divided by; None where the file has no such numbers, or all are 1."""
    divisors = header.read_floats(_DIVISORS) if _DIVISORS in header.tensors else None
    return None if divisors is None or set(divisors) == {1.0} else torch.tensor(divisors)


def read_parameters(header: GgufHeader) -> dict[str, Any]:
    """What a file states of its frequencies, by transformers' names; nothing where it does not."""
    theta = header.find("rope.freq_base")
    base = {} if theta is None else {"rope_theta": theta}
    if _DIVISORS in header.tensors:
        divisors = header.read_floats(_DIVISORS)
        if divisors is None:
            return _UNKNOWN
        if set(divisors) == {1.0}:
            return base
        bounds = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # of all Llamas
        first = {"original_max_position_embeddings": 8192}
        return base | {"rope_type": "llama3", "factor": max(divisors)} | bounds | first
    if any(one.startswith("rope_factors_") for one in header.tensors):
        return _UNKNOWN
    kind, factor = header.find("rope.scaling.type"), float(header.find("rope.scaling.factor") or 1)
    if kind in (None, "none") or factor == 1:
        return base
    scaling = {"rope_type": kind, "factor": factor}
    if first_length := header.find("rope.scaling.original_context_length"):
        scaling["original_max_position_embeddings"] = first_length
    return base | scaling
