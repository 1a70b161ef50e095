"""A model of Ollama: behind its API, or its weights on this machine where a control needs them.

    ollama:NAME    NAME as `ollama list` has it: qwen3, qwen3:0.6b, hf.co/owner/name:Q4_K_M

Replies come from Ollama's own engine until somebody asks whether the model can be put under a
control that needs the weights. If they are in Ollama's store on this machine they are then loaded
into the local engine, and all further replies come from there, so that the arms of a comparison
share one engine. Commands that need the weights anyway (`explain`, `serve`, `prism`) read them from
the store.

This module knows backends. Where the weights are is `ollama_store`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.control import Control
from holdfast.core.errors import ModelError, ServiceError
from holdfast.models.api.client import ApiBackend
from holdfast.models.ollama_store import OLLAMA, find_weights

# Where OLLAMA_HOST has a scheme and no port.
_PORTS = {"http": 80, "https": 443}


def ollama_url() -> str:
    """Ollama's base URL for OpenAI's protocol, from OLLAMA_HOST as Ollama's own client reads it.

    Raises:
        ServiceError: OLLAMA_HOST is no address.
    """
    host = os.environ.get("OLLAMA_HOST", "").strip(" \"'")
    scheme, _, place = host.rpartition("://")
    scheme = scheme.lower()
    if place.count(":") > 1 and not place.startswith("["):  # IPv6 without brackets has no port
        place = f"[{place}]"
    try:
        parts = urlsplit(f"{scheme or 'http'}://{place}")
        name, port = parts.hostname or "localhost", parts.port or _PORTS.get(scheme, 11434)
    except ValueError as error:
        raise ServiceError(
            f"OLLAMA_HOST must be an address as in localhost:11434, not {host!r}."
        ) from error
    name = "localhost" if name in ("0.0.0.0", "::") else name
    host_name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{host_name}:{port}{parts.path.rstrip('/')}/v1"


class OllamaBackend:
    """A `Backend` over Ollama's API, and over its weights once a control needs them.

    Args:
        name: the model's name, without `ollama:`.
        base_url: Ollama's base URL with /v1; by default `ollama_url()`.
        load_weights: loads the model of a name into the local engine.
        options: further arguments of `ApiBackend`.
    """

    def __init__(
        self,
        name: str,
        load_weights: Callable[[str], Backend],
        *,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        self.name = f"{OLLAMA}{name}"
        self._load_weights = load_weights
        api = ApiBackend(name, base_url=base_url or ollama_url(), **options)
        api.name = self.name
        self._active: Backend = api

    @property
    def local(self) -> bool:
        """True once the weights are loaded."""
        return self._active.local

    @property
    def context(self) -> int | None:
        """Tokens the model can see; None while Ollama answers, which does not say."""
        return self._active.context

    @property
    def user_first(self) -> bool:
        """Whether a chat must open with a user message."""
        return self._active.user_first

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order."""
        return self._active.reply(asks, sampling)

    def refusal(self, control: Control) -> str | None:
        """Why the model cannot be put under a control; one that needs the weights loads them."""
        if control.needs_weights and not self._active.local:
            try:
                find_weights(self.name)
            except ModelError as error:
                return f"`{control.text}` needs the weights, and {error}"
            self._active = self._load_weights(self.name)
        return self._active.refusal(control)

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-likelihoods, where the weights are loaded."""
        return self._active.likelihoods(asks, options)

    def count(self, text: str) -> int:
        """Tokens in a text; an estimate while Ollama answers."""
        return self._active.count(text)

    def forget(self) -> None:
        """Drop all state between calls."""
        self._active.forget()

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON."""
        return self._active.describe()

    def __getattr__(self, name: str) -> Any:
        """What one of the two engines has beyond the protocol, such as `cost`."""
        return getattr(self._active, name)
