"""A model's name to a folder that vLLM reads: safetensors, a configuration and a tokenizer.

vLLM reads folders and hub ids by itself. GGUF files, and with them the short names of the
catalogue, are unpacked once into Holdfast's cache.

This module knows names and files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from holdfast.core.errors import ModelError
from holdfast.models.fetch import cache_folder
from holdfast.models.local.files import find_source, model_errors
from holdfast.models.local.weights import load_weights


def dense_folder(name: str) -> str:
    """The folder of a model, or its hub id; unpacks a GGUF file at the first call.

    Args:
        name: `mini`, a short name of `holdfast models list`, a folder, a GGUF file or a hub id.

    Raises:
        ModelError: a folder or file holds no model, or an adapter.
    """
    source = find_source(name)
    if source.adapter is not None:
        raise ModelError(f"{name} is an adapter: merge it first, or serve it with vLLM's LoRA.")
    if source.gguf is None:
        return source.path
    file = Path(source.path) / source.gguf
    place = cache_folder() / "vllm" / f"{file.stem}-{file.stat().st_size}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as whole, model_errors(name):
            arguments: dict[str, Any] = {"trust_remote_code": False, **source.arguments}
            config = AutoConfig.from_pretrained(source.path, **arguments)
            folder = Path(whole) / "model"
            load_weights(name, source, config, dtype="float32", device="cpu").save_pretrained(
                folder
            )
            AutoTokenizer.from_pretrained(source.path, **arguments).save_pretrained(folder)
            folder.replace(place)
    return str(place)
