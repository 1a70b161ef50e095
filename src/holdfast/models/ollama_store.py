"""Ollama's store on this machine: where the weights of `ollama:NAME` are.

The store is a folder of manifests and blobs:

    manifests/registry.ollama.ai/library/qwen3/0.6b    JSON: layers with mediaType and digest
    blobs/sha256-…                                     a layer; the model's is a GGUF file

Source: ollama/ollama, types/model/name.go and server/manifest.go. This module knows files.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from holdfast.core.errors import ModelError

OLLAMA = "ollama:"
_WEIGHTS = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_REGISTRY, _LIBRARY, _TAG = "registry.ollama.ai", "library", "latest"
_SYSTEM_STORE = Path("/usr/share/ollama/.ollama/models")


def find_weights(name: str) -> Path:
    """The GGUF file of a model in Ollama's store.

    Args:
        name: the model's name, with `ollama:`.

    Raises:
        ModelError: the store has no such model, or not its weights alone.
    """
    name = name.removeprefix(OLLAMA)
    path = _find_manifest(name)
    stores = _list_stores()
    for store in stores:
        manifest = store / "manifests" / path
        if manifest.is_file():
            return _find_blob(name, store, manifest)
    places = " or ".join(map(str, stores))
    raise ModelError(
        f"{OLLAMA}{name} is not in Ollama's store ({places}): run `ollama pull {name}`, or set "
        "OLLAMA_MODELS to its folder."
    )


def _list_stores() -> list[Path]:
    own = os.environ.get("OLLAMA_MODELS")
    return [Path(own)] if own else [Path.home() / ".ollama" / "models", _SYSTEM_STORE]


def _find_manifest(name: str) -> Path:
    """Where a name's manifest is below `manifests`: host, namespace, model, tag."""
    base, _, tag = name.rpartition("/")
    model, colon, tag = tag.partition(":")
    parts = [*filter(None, base.split("/")), model]
    if any(part in ("", ".", "..") or "\\" in part for part in (*parts, tag if colon else "x")):
        raise ModelError(f"{OLLAMA}{name} is no name of Ollama's: write it as `ollama list` does.")
    defaults = [_REGISTRY, _LIBRARY][: max(0, 3 - len(parts))]
    return Path(*defaults, *parts, tag if colon else _TAG)


def _find_blob(name: str, store: Path, manifest: Path) -> Path:
    try:
        layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        kinds = {layer["mediaType"]: str(layer["digest"]) for layer in layers}
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(
            f"{manifest} is no manifest of Ollama's: run `ollama pull {name}`."
        ) from None
    if _ADAPTER in kinds:
        raise ModelError(f"{OLLAMA}{name} has an adapter, which is not read: name a merged model.")
    if _WEIGHTS not in kinds:
        raise ModelError(f"{OLLAMA}{name} has no weights in its manifest: name another model.")
    digest = kinds[_WEIGHTS].replace(":", "-")
    blob = store / "blobs" / digest
    if "/" in digest or not blob.is_file():
        raise ModelError(f"{blob} is missing: run `ollama pull {name}`.")
    return blob
