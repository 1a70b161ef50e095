"""A model's name to the backend that answers for it.

    mini              the embedded model
    a folder          a Hugging Face folder on this machine
    owner/name        a model of the Hugging Face hub
    api:NAME          a model that an OpenAI-compatible API serves as NAME
    vllm:NAME         any of the others, in vLLM in this process
    ollama:NAME       a model of Ollama on this machine (`models.ollama`)
    lmstudio:NAME     a model that LM Studio serves at http://localhost:1234

This module knows names. It imports what a backend needs only when that backend is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError
from holdfast.core.extras import extra_of, install
from holdfast.models.ollama_store import OLLAMA

API = "api:"
VLLM = "vllm:"
LM_STUDIO = "lmstudio:"
BEHIND_URL = (API, LM_STUDIO)
"""Prefixes of names whose weights are out of reach."""
SERVERS = (*BEHIND_URL, OLLAMA)
"""Prefixes of names that a server answers for."""
LM_STUDIO_URL = "http://localhost:1234/v1"


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
        name: `mini`, a folder, a hub id, `api:NAME`, `ollama:NAME` or `lmstudio:NAME`.
        base_url: the API's address; by default the environment's (OPENAI_BASE_URL).
        api_key: the API's key; by default the environment's (OPENAI_API_KEY).
        dtype: of a model on this machine: "float32", "bfloat16", "float16" or "auto".
        device: of a model on this machine: "cpu", "cuda", "mps" or "auto".
        **options: further arguments of `holdfast.models.local.load.load`, of `ApiBackend`, or of
            `vllm.LLM`.

    Raises:
        ModelError: there is no such model, the extra that it needs is not installed, or an option
            is none of such a model's.
    """
    if not isinstance(name, str):
        raise ModelError(f'a model is named by text, as in holdfast.load("mini"), not {name!r}.')
    server = next((prefix for prefix in SERVERS if name.startswith(prefix)), "")
    model = name.removeprefix(server)
    if not model.removeprefix(VLLM).strip():
        raise ModelError(
            "a model needs a name: mini, a folder, a hub id, api:NAME, ollama:NAME, lmstudio:NAME."
        )
    if server:
        here = {} if server == OLLAMA else {"dtype": dtype, "device": device}
        _refuse_unread(name, base=options.pop("base", None), **here)
    if server == OLLAMA:
        options |= {"base_url": base_url, "api_key": api_key}
        return _load_from_ollama(model, {"dtype": dtype, "device": device}, **options)
    if server:
        from holdfast.models.api.client import ApiBackend

        base_url = base_url or (LM_STUDIO_URL if server == LM_STUDIO else None)
        api = ApiBackend(model, base_url=base_url, api_key=api_key, **options)
        api.name = name
        return api
    if name.startswith(VLLM):
        options.pop("base", None)  # adapters are refused there
        return _load_into_vllm(name.removeprefix(VLLM), dtype=dtype, **options)
    backend: Backend = import_local(name).load(name, dtype=dtype, device=device, **options)
    return backend


def _refuse_unread(name: str, **options: str | None) -> None:
    """Refuse options of weights that a server has."""
    for option, value in options.items():
        if value not in (None, "auto"):
            raise ModelError(f"{option} is for models loaded here, not for {name}: leave it out.")


def _load_from_ollama(
    model: str,
    loading: Mapping[str, str],
    *,
    template_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Backend:
    """A model of Ollama; `loading` says how its weights are loaded where a control needs them."""
    from holdfast.models.ollama import OllamaBackend

    def load_weights(name: str) -> Backend:
        weights: Backend = import_local(name).load(name, options=template_options, **loading)
        return weights

    if template_options:
        print(
            f"{OLLAMA}{model}: Ollama renders chats by itself, so that template options are left "
            "out unless a control needs the weights",
            file=sys.stderr,
        )
    return OllamaBackend(model, load_weights, **options)


def _load_into_vllm(name: str, **options: Any) -> Backend:
    # vLLM logs to standard output, which is for results.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    try:
        from holdfast.models.vllm.backend import load as load_into_vllm
    except ModuleNotFoundError as missing:
        if extra_of(missing) != "local" and missing.name != "vllm":
            raise
        raise ModelError(
            f"vllm:{name} needs {missing.name}: install vLLM, and {install('vllm')}."
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
        if extra_of(missing) != "local":
            raise
        raise ModelError(
            f"{name} would run on this machine, which needs {missing.name}: {install('local')}."
        ) from missing
    return local
