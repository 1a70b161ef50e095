"""A model's files: where they are, and what they hash to.

This module knows names and files. It loads nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import ModelError
from holdfast.core.settings import expand_home
from holdfast.models.catalogue import CATALOGUE, MINI, find_model
from holdfast.models.fetch import fetch
from holdfast.models.ollama_store import OLLAMA, find_weights

ADAPTER = "adapter_config.json"
# Files of more bytes in all are hashed by headers, sizes and samples: all of them takes minutes.
HASH_LIMIT = 1 << 30
_SAMPLES, _SAMPLE = 64, 4096  # samples of a file, and bytes of each
# The name of a GGUF file that is one of several.
_PART = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.gguf$", re.IGNORECASE)


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are."""

    path: str
    """A folder on this machine, or a hub id."""
    gguf: str | None = None
    """The GGUF file in the folder, if the weights are in one."""
    adapter: str | None = None
    """The folder of a PEFT adapter that goes onto the weights."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What `from_pretrained` needs beside the path."""
        return {"gguf_file": self.gguf} if self.gguf else {}


def find_source(name: str, base: str | None = None) -> ModelSource:
    """Find the files of a model.

    Args:
        name: `mini`, a short name of `holdfast models list`, a folder, a GGUF file, the folder of
            a PEFT adapter, a hub id, or `ollama:NAME` for weights in Ollama's store.
        base: the model that an adapter goes onto, in place of the one that it names.

    Raises:
        ModelError: a folder or file holds no model.
    """
    if name == "mini":
        if not (MINI / "config.json").exists():
            raise ModelError(f"the embedded model is not in this installation ({MINI} is missing).")
        return ModelSource(str(MINI))
    if name.startswith(OLLAMA):
        weights = find_weights(name)
        return ModelSource(str(weights.parent), gguf=weights.name)
    place = expand_home(name)  # which leaves the home of nobody as it is
    try:
        is_folder, exists = place.is_dir(), place.exists()
    except OSError as error:  # too long for a name, or in a folder that may not be read
        raise ModelError(
            f"{name[:80]} cannot be looked up: {error.strerror}. Give a folder, a file or a hub id."
        ) from error
    if is_folder:
        return _find_in_folder(name, place, base)
    if exists:
        if place.suffix.lower() != ".gguf":
            raise ModelError(f"{name} is a file and no GGUF file: pass the model's folder.")
        return _find_gguf(name, place)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no folder or file {name}: check the path.")
    if any(model.name == name for model in CATALOGUE):
        return find_source(str(fetch(find_model(name))))
    return ModelSource(name)


def _find_in_folder(name: str, folder: Path, base: str | None) -> ModelSource:
    """The source in a folder: a model of transformers, an adapter, or one GGUF file."""
    files = sorted(file.name for file in folder.glob("*.gguf") if "mmproj" not in file.name)
    if _is_adapter(folder):
        return _find_adapter(name, folder, base)
    is_model = (folder / "config.json").exists()
    if is_model and (_list_weights(folder) or not files):
        return ModelSource(str(folder))
    if len(files) == 1 or (files and _PART.search(files[0])):
        return _find_gguf(name, folder / files[0])
    if files:
        raise ModelError(f"{name} holds {len(files)} GGUF files: name one, as in {name}/{files[0]}")
    raise ModelError(f"{name} holds no model: it has no config.json, no adapter and no GGUF file.")


def _find_gguf(name: str, file: Path) -> ModelSource:
    """The source of a GGUF file, which must be whole."""
    if _PART.search(file.name):
        raise ModelError(
            f"{name} is in parts, of which one alone is read: join them, as by `llama-gguf-split"
            f" --merge {file.name} whole.gguf`."
        )
    return ModelSource(str(file.parent), gguf=file.name)


def _is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter alone; some trainers leave the base's config in it, too."""
    is_model = (folder / "config.json").exists() and _list_weights(folder)
    return (folder / ADAPTER).exists() and not is_model


def _find_adapter(name: str, folder: Path, base: str | None) -> ModelSource:
    """The source of an adapter: the files of the model that it was trained on, and its own."""
    try:
        about = dict(json.loads((folder / ADAPTER).read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(
            f"{folder / ADAPTER} cannot be read ({error}): copy the adapter here once more."
        ) from error
    if not any(folder.glob("adapter_model*")):
        raise ModelError(
            f"{name} is an adapter without its adapter_model.safetensors: copy it here."
        )
    trained_on = base or about.get("base_model_name_or_path")
    if not trained_on:
        raise ModelError(f"{name} is an adapter that names no model: name it with `base`.")
    if _is_adapter(expand_home(str(trained_on))):
        raise ModelError(
            f"{name} is an adapter on {trained_on}, which is an adapter itself: merge that one into"
            " its model, and name the result with `base`."
        )
    try:
        source = find_source(str(trained_on))
    except ModelError as error:
        raise base_error(name, str(trained_on), error) from error
    return replace(source, adapter=str(folder))


def base_error(name: str, base: str, error: ModelError) -> ModelError:
    """The error for an adapter whose base cannot be had; `error` says why."""
    reason = str(error).removesuffix(".")
    return ModelError(
        f"{name} is an adapter on {base}, which is not here ({reason}): name the model with `base`."
    )


def _list_weights(folder: Path) -> list[Path]:
    """The files of a model's own weights in a folder."""
    names = ("model*.safetensors", "pytorch_model*.bin")
    return [file for one in names for file in folder.glob(one)]


def hash_source(source: ModelSource) -> str | None:
    """sha256 over a model's weights, and its adapter's; None if they are not in a folder here."""
    own = _hash([Path(source.path) / source.gguf]) if source.gguf else hash_files(source.path)
    if own is None or source.adapter is None:
        return own
    adapter = hash_files(source.adapter) or _hash(sorted(Path(source.adapter).glob("*.bin")))
    return hashlib.sha256(f"{own} {adapter}".encode()).hexdigest()


def hash_files(path: str) -> str | None:
    """sha256 over a folder's safetensors in order of name; None if the folder has none."""
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    return _hash(files) if files else None


def _hash(files: Sequence[Path]) -> str:
    """sha256 over files; over headers, sizes and samples if they have over `HASH_LIMIT` bytes."""
    whole = sum(file.stat().st_size for file in files) <= HASH_LIMIT
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            if whole:
                digest.update(stream.read())
            else:
                digest.update(stream.read(min(struct.unpack("<Q", stream.read(8))[0], 1 << 26)))
                for k in range(_SAMPLES):
                    stream.seek(size * k // _SAMPLES)
                    digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def hash_parameters(model: PreTrainedModel) -> str:
    """sha256 over a model in memory: each tensor's name, shape, dtype and sum.

    Raises `ModelError` where weights are offloaded, and so not at hand.
    """
    digest = hashlib.sha256()
    with torch.inference_mode():
        for name, tensor in model.state_dict().items():
            if tensor.is_meta:
                raise ModelError(
                    f"{type(model).__name__} has its weights offloaded, so that nothing tells them"
                    " from others: load it by holdfast.load, or give `digest`."
                )
            total = float(tensor.double().sum()) if tensor.device.type != "mps" else 0.0
            entry = [name, list(tensor.shape), str(tensor.dtype), repr(total)]
            digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


# What a configuration says of its own saving, and not of the model.
_INCIDENTAL = {"architectures", "dtype", "transformers_version", "quantization_config"}


def hash_settings(
    config: PreTrainedConfig, ends: Iterable[int], tokenizer: PreTrainedTokenizerBase
) -> dict[str, str]:
    """sha256 over what beside the weights makes a model's replies, for the manifest.

    Args:
        config: the configuration. Where the model lies and in what numbers it runs does not count.
        ends: ids of the tokens that end a reply.
        tokenizer: the tokenizer; a slow one shows its vocabulary alone.
    """
    if tokenizer.is_fast:
        backend: Any = tokenizer
        parts = json.loads(backend.backend_tokenizer.to_str())
        parts |= {"truncation": None, "padding": None}  # of the last call
    else:
        parts = tokenizer.get_vocab()
    settings = [_without_incidentals(config.to_dict()), sorted(ends)]
    template = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()
    return {
        "configuration": _hash_json(settings),
        "tokenizer": _hash_json(parts),
        "template": template,
    }


def _without_incidentals(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {str(name): one for name, one in value.items() if name not in _INCIDENTAL}
    return {n: _without_incidentals(one) for n, one in kept.items() if not n.startswith("_")}


def _hash_json(value: Any) -> str:
    text = json.dumps(value, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
