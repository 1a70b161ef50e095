"""A model's name to a `LocalBackend`: its files are found, read, and put on a device.

This module knows names and files. What a model does with a chat is `backend`'s matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.files import Source, check_hub, find_source, hash_source, model_errors
from holdfast.models.local.template import Template
from holdfast.models.local.weights import empty_model, load_weights, refuse_format


def load(
    name: str,
    *,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    device_map: str | Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    cache_bytes: int | None = None,
    options: Mapping[str, Any] | None = None,
    base: str | None = None,
) -> LocalBackend:
    """Load a model for this machine.

    Args:
        name: `mini`, a short name of the catalogue, a folder, a GGUF file, the folder of a PEFT
            adapter, or a hub id.
        dtype: "float32", "bfloat16", "float16" or a torch dtype. "auto" is bfloat16 on a GPU, and
            on a CPU that multiplies it in hardware (for models of 50 million parameters or more);
            on other CPUs it is float32 for models below a billion parameters.
        device: "cpu", "cuda", "mps" or another of torch's. "auto" is the first of CUDA, MPS and
            the CPU that exists, and several GPUs if one is too small.
        device_map: a map of accelerate's, in place of `device`.
        batch_size: rows decoded at once; by default 256 for small models and 32 for others.
        cache_bytes: bytes of keys and values kept between calls; by default a quarter of the
            device's memory.
        options: options of the chat template (`enable_thinking`, for instance).
        base: the model that an adapter goes onto, in place of the one that it names.

    Raises:
        ModelError: the name is not found, the files cannot be read, or the model is no chat model.
    """
    source, config, tokenizer = _read_small_files(name, base)
    # The template is checked before the weights are read, so that its errors come sooner.
    Template(tokenizer, name, options)
    return LocalBackend(
        load_weights(name, source, config, dtype=dtype, device=device, device_map=device_map),
        tokenizer,
        name,
        batch_size=batch_size,
        cache_bytes=cache_bytes,
        options=options,
        digest=hash_source(source) or getattr(config, "_commit_hash", None),
    )


def outline(name: str) -> LocalBackend:
    """Load a model without its weights, to read chats and ask for refusals; it cannot answer.

    Raises `ModelError` as `load` does.
    """
    _, config, tokenizer = _read_small_files(name)
    return LocalBackend(empty_model(config), tokenizer, name, cache_bytes=0)


def _read_small_files(
    name: str, base: str | None = None
) -> tuple[Source, PreTrainedConfig, PreTrainedTokenizerBase]:
    """Return where a model's files are, its configuration and its tokenizer."""
    source = find_source(name, base)
    if not Path(source.path).is_dir():
        check_hub(source.path)
    with model_errors(name):
        config = AutoConfig.from_pretrained(
            source.path, trust_remote_code=False, **source.arguments
        )
        refuse_format(name, config)
        tokenizer = AutoTokenizer.from_pretrained(
            source.path, trust_remote_code=False, **source.arguments
        )
        return source, config, tokenizer
