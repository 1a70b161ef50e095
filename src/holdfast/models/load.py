"""A model's name to the backend that answers for it.

    mini              the embedded model
    a folder          a Hugging Face folder on this machine
    owner/name        a model of the Hugging Face hub
    api:NAME          a model that an OpenAI-compatible API serves as NAME
    vllm:NAME         any of the others, in vLLM in this process

This module knows names. It imports what a backend needs only when that backend is loaded.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError

API = "api:"
VLLM = "vllm:"
# The packages of the extra `local`, by the names they are imported under.
_LOCAL = {"accelerate", "huggingface_hub", "safetensors", "tokenizers", "torch", "transformers"}


def load(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    **options: Any,
) -> Backend:
    """Load a model by its name.

    Args:
        name: `mini`, a folder, a hub id or `api:NAME`.
        base_url: the API's address; by default the environment's (OPENAI_BASE_URL).
        api_key: the API's key; by default the environment's (OPENAI_API_KEY).
        dtype: of a model on this machine: "float32", "bfloat16", "float16" or "auto".
        device: of a model on this machine: "cpu", "cuda", "mps" or "auto".
        **options: further arguments of `holdfast.models.local.load.load`, of `ApiBackend`, or of
            `vllm.LLM`.

    Raises:
        ModelError: there is no such model, or the extra that it needs is not installed.
    """
    if not name.removeprefix(API).removeprefix(VLLM).strip():
        raise ModelError("a model needs a name: mini, a folder, a hub id or api:NAME.")
    if name.startswith(API):
        from holdfast.models.api.client import ApiBackend

        return ApiBackend(name.removeprefix(API), base_url=base_url, api_key=api_key, **options)
    if name.startswith(VLLM):
        return _load_into_vllm(name.removeprefix(VLLM), dtype=dtype, **options)
    backend: Backend = import_local(name).load(name, dtype=dtype, device=device, **options)
    return backend


def _load_into_vllm(name: str, **options: Any) -> Backend:
    try:
        from holdfast.models.vllm.backend import load as load_into_vllm
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in {*_LOCAL, "vllm"}:
            raise
        raise ModelError(
            f"vllm:{name} needs {missing.name}: install vLLM, and 'holdfast[vllm]' beside it."
        ) from missing
    backend: Backend = load_into_vllm(name, **options)
    return backend


def import_local(name: str) -> ModuleType:
    """Import `holdfast.models.local.load`, which loads the model `name`.

    Raises `ModelError` where a package of the extra `local` is not installed.
    """
    try:
        from holdfast.models.local import load as local
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _LOCAL:
            raise
        raise ModelError(
            f"{name} would run on this machine, which needs {missing.name}: "
            "pip install 'holdfast[local]'."
        ) from missing
    return local
