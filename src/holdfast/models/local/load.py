"""A model's name to a `LocalBackend`: its files are found, read, and put on a device.

This module knows names and files. What a model does with a chat is `backend`'s matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from holdfast.models.local import weights
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.template import Template


def load(
    name: str,
    *,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    device_map: str | Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    cache_bytes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> LocalBackend:
    """Load `mini`, a folder, or a hub id.

    `dtype` "auto" is float32 on a CPU for models below a billion parameters and bfloat16 on
    a GPU; `device` "auto" is the first of CUDA, MPS and the CPU that is there, over several
    GPUs where one is too small. `batch_size` rows are decoded at once (256 for small models,
    32 for others) and `cache_bytes` of keys and values kept (a quarter of the device's
    memory). Raises `ModelError`, one sentence on what to do, for a name
    that is not found, weights that cannot be read, or a model that is not a chat model.
    """
    path, config, tokenizer = _read_small_files(name)
    Template(tokenizer, name, options)  # before the weights: what is missing is said sooner
    return LocalBackend(
        weights.model(name, path, config, dtype=dtype, device=device, device_map=device_map),
        tokenizer,
        name,
        batch_size=batch_size,
        cache_bytes=cache_bytes,
        options=options,
        digest=weights.file_hash(path) or getattr(config, "_commit_hash", None),
    )


def outline(name: str) -> LocalBackend:
    """A model without its weights: it reads chats and says what it cannot do, and answers none.

    Raises `ModelError` as `load` does.
    """
    _, config, tokenizer = _read_small_files(name)
    return LocalBackend(weights.outline(config), tokenizer, name, cache_bytes=0)


def _read_small_files(name: str) -> tuple[str, PreTrainedConfig, PreTrainedTokenizerBase]:
    """Where a model's files are, and the small ones."""
    path = weights.source(name)
    with weights.explained(name):
        return path, AutoConfig.from_pretrained(path), AutoTokenizer.from_pretrained(path)
