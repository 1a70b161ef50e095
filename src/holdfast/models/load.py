"""A model's name to the backend that answers for it.

    mini              the embedded model
    a folder          a Hugging Face folder on this machine
    owner/name        a model of the Hugging Face hub
    api:NAME          a model that an OpenAI-compatible API serves as NAME

This module knows names. What a backend needs is imported only when it is asked for.
"""

from __future__ import annotations

from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError

API = "api:"
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
    """The backend of a model: `mini`, a folder, a hub id or `api:NAME`.

    `base_url` and `api_key` are for APIs, by default those of the environment
    (OPENAI_BASE_URL, OPENAI_API_KEY); `dtype` and `device` are for models on this
    machine. `options` go to `holdfast.local.load` or to `holdfast.api.ApiBackend`.
    Raises `ModelError` where there is no such model or the extra it needs is missing.
    """
    if not name.removeprefix(API).strip():
        raise ModelError("a model needs a name: mini, a folder, a hub id or api:NAME.")
    if name.startswith(API):
        from holdfast.models.api.client import ApiBackend

        return ApiBackend(name.removeprefix(API), base_url=base_url, api_key=api_key, **options)
    made: Backend = here(name).load(name, dtype=dtype, device=device, **options)
    return made


def here(name: str) -> Any:
    """The module `holdfast.local`. Raises `ModelError` where what it needs is missing."""
    try:
        from holdfast.models.local import model as local
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _LOCAL:
            raise
        raise ModelError(
            f"{name} would run on this machine, which needs {missing.name}: "
            "pip install 'holdfast[local]'."
        ) from missing
    return local
