"""A model's name to a folder that vLLM reads: safetensors, a configuration and a tokenizer.

vLLM reads folders and hub ids by itself. GGUF files, and with them the short names of the
catalogue, are unpacked once into Holdfast's cache.

This module knows names and files.
"""

from __future__ import annotations

from holdfast.core.errors import ModelError
from holdfast.models.dense_copy import dense_copy
from holdfast.models.local.files import find_source


def dense_folder(name: str) -> str:
    """The folder of a model, or its hub id; unpacks a GGUF file at the first call.

    Args:
        name: `mini`, a short name of `holdfast models list`, a folder, a GGUF file or a hub id.

    Raises:
        ModelError: a folder or file holds no model, or an adapter, or cannot be unpacked.
    """
    source = find_source(name)
    if source.adapter is not None:
        raise ModelError(f"{name} is an adapter: merge it first, or serve it with vLLM's LoRA.")
    if source.gguf is None:
        return source.path
    try:
        return str(dense_copy(name, source))
    except OSError as error:
        raise ModelError(f"{name} cannot be unpacked for vLLM: {error}.") from error
