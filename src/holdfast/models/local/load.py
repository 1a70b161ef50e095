"""A model's name to a `LocalBackend`: its files are found, read, and put on a device.

This module knows names and files. What a model does with a chat is `backend`'s matter.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from holdfast.models.dense_copy import dense_source
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.files import find_source, hash_source
from holdfast.models.local.template import Template
from holdfast.models.local.weights import (
    build_empty_model,
    load_first_layer_weights,
    load_weights,
    read_small_files,
)


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
        batch_size: rows decoded at once; by default what `weights.default_rows` says.
        cache_bytes: bytes of keys and values kept between calls; by default a quarter of the
            device's memory.
        options: options of the chat template (`enable_thinking`, for instance).
        base: the model that an adapter goes onto, in place of the one that it names.

    Raises:
        ModelError: the name is not found, the files cannot be read, or the model is no chat model.
    """
    source = find_source(name, base)
    files = dense_source(name, source)
    config, tokenizer = read_small_files(name, files)
    if base and source.adapter is None:
        print(f"{name} is no adapter, so that its base {base} is left out", file=sys.stderr)
    # The template is checked before the weights are read, so that its errors come sooner.
    Template(tokenizer, name, options)
    return LocalBackend(
        load_weights(name, files, config, dtype=dtype, device=device, device_map=device_map),
        tokenizer,
        name,
        batch_size=batch_size,
        cache_bytes=cache_bytes,
        options=options,
        digest=hash_source(source) or getattr(config, "_commit_hash", None),
    )


def outline(
    name: str, *, options: Mapping[str, Any] | None = None, base: str | None = None
) -> LocalBackend:
    """Load a model without its weights, to read chats and ask for refusals; it cannot answer.

    Args:
        name: as in `load`.
        options: options of the chat template.
        base: the model that an adapter goes onto, in place of the one that it names.

    Raises:
        ModelError: as `load`.
    """
    config, tokenizer = read_small_files(name, dense_source(name, find_source(name, base)))
    return LocalBackend(build_empty_model(config), tokenizer, name, cache_bytes=0, options=options)


class FirstLayer(NamedTuple):
    """What a gate reads of a model, without the rest of it."""

    model: PreTrainedModel
    """Embeddings and layer 0."""
    template: Template
    """The chat template."""
    digest: str | None
    """What identifies the weights (`LocalBackend.digest`)."""


def load_first_layer(name: str, *, dtype: str = "auto", device: str = "auto") -> FirstLayer:
    """Load a model's embeddings and layer 0, with the arguments of `load`.

    Raises `ModelError` as `load` does.
    """
    source = find_source(name)
    files = dense_source(name, source)
    config, tokenizer = read_small_files(name, files)
    return FirstLayer(
        load_first_layer_weights(name, files, config, dtype, device),
        Template(tokenizer, name),
        hash_source(source) or getattr(config, "_commit_hash", None),
    )
