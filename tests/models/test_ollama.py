"""Models of Ollama: names and store, API, and the weights where a control needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors import Actor
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import message
from holdfast.core.control import parse
from holdfast.core.errors import ModelError, ServiceError
from holdfast.models.load import load
from holdfast.models.local.files import find_source
from holdfast.models.ollama import OllamaBackend, ollama_url
from holdfast.models.ollama_store import find_weights
from models.api.test_client import Server, completion, server

__all__ = ["server"]
HELLO = (message("user", "Hello"),)


def pull(store: Path, path: str, *layers: str, blob: bool = True) -> Path:
    """A model in a store, as Ollama leaves it."""
    kinds = {"model": "1" * 64, "template": "2" * 64, "params": "3" * 64, "adapter": "4" * 64}
    entries = [
        {"mediaType": f"application/vnd.ollama.image.{one}", "digest": f"sha256:{kinds[one]}"}
        for one in layers
    ]
    manifest = store / "manifests" / path
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": entries}), encoding="utf-8")
    weights = store / "blobs" / f"sha256-{kinds['model']}"
    weights.parent.mkdir(exist_ok=True)
    if blob:
        weights.write_bytes(b"GGUF")
    return weights


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("qwen3", "registry.ollama.ai/library/qwen3/latest"),
        ("qwen3:0.6b", "registry.ollama.ai/library/qwen3/0.6b"),
        ("mine/bot:v1", "registry.ollama.ai/mine/bot/v1"),
        ("hf.co/owner/repo:Q4_K_M", "hf.co/owner/repo/Q4_K_M"),
    ],
)
def test_weights_are_found_through_the_manifest(store: Path, name: str, path: str) -> None:
    weights = pull(store, path, "template", "model", "params")
    assert find_weights(f"ollama:{name}") == weights
    source = find_source(f"ollama:{name}")
    assert (source.path, source.gguf) == (str(weights.parent), weights.name)


@pytest.mark.parametrize("name", ["../../etc", "a/../b", "x:..", ":y", "a\\b"])
def test_a_name_never_leaves_the_store(store: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no name of Ollama's"):
        find_weights(f"ollama:{name}")


def test_what_a_store_lacks_is_one_sentence(store: Path) -> None:
    with pytest.raises(ModelError, match="ollama pull qwen3"):
        find_weights("ollama:qwen3")
    pull(store, "registry.ollama.ai/library/bare/latest", "template")
    with pytest.raises(ModelError, match="no weights"):
        find_weights("ollama:bare")
    pull(store, "registry.ollama.ai/library/tuned/latest", "model", "adapter")
    with pytest.raises(ModelError, match="adapter"):
        find_weights("ollama:tuned")
    pull(store, "registry.ollama.ai/library/bad/latest", "model").unlink()
    with pytest.raises(ModelError, match="is missing"):
        find_weights("ollama:bad")
    (store / "manifests/registry.ollama.ai/library/bad/latest").write_text("[]")
    with pytest.raises(ModelError, match="no manifest"):
        find_weights("ollama:bad")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://localhost:11434/v1"),
        ("0.0.0.0", "http://localhost:11434/v1"),
        ("box:8080", "http://box:8080/v1"),
        ("box", "http://box:11434/v1"),
        ("https://box", "https://box:443/v1"),
        ("http://box/", "http://box:80/v1"),
        ("https://box:8443/ollama/", "https://box:8443/ollama/v1"),
        ('"box:8080"', "http://box:8080/v1"),
        (":8080", "http://localhost:8080/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::]:8080", "http://localhost:8080/v1"),
    ],
)
def test_the_address_is_ollamas_own(
    host: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    if host:
        monkeypatch.setenv("OLLAMA_HOST", host)
    assert ollama_url() == url


@pytest.mark.parametrize("host", ["box:port", "box:99999", "[::1"])
def test_what_is_no_address_is_one_sentence(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    with pytest.raises(ServiceError, match="OLLAMA_HOST must be an address as in"):
        load("ollama:qwen3")


@pytest.fixture
def ollama(server: Server, store: Path) -> OllamaBackend:
    """A model behind a scripted server; its weights are an actor."""
    loads: list[str] = []

    def load_weights(name: str) -> Any:
        loads.append(name)
        return Actor(lambda ask: Reply("from the weights"), name=name)

    backend = OllamaBackend("qwen3:0.6b", load_weights, base_url=server.url)
    backend.loads = loads  # type: ignore[attr-defined]
    return backend


def test_replies_come_from_ollama(server: Server, ollama: OllamaBackend) -> None:
    server.answer = lambda request: (200, completion("Hello from Ollama."))
    (reply,) = ollama.reply([Ask(HELLO, 0)], Sampling(max_new_tokens=8))
    assert reply.text == "Hello from Ollama."
    (request,) = server.requests
    assert request["model"] == "qwen3:0.6b" and server.paths == ["/v1/chat/completions"]
    assert ollama.name == "ollama:qwen3:0.6b" and not ollama.local
    assert ollama.refusal(parse("window:3")) is None
    assert ollama.cost is None


def test_a_control_of_the_attention_moves_the_run_to_the_weights(
    server: Server, store: Path, ollama: OllamaBackend
) -> None:
    pull(store, "registry.ollama.ai/library/qwen3/0.6b", "model")
    assert ollama.refusal(parse("anchor")) is None
    assert ollama.local and ollama.loads == ["ollama:qwen3:0.6b"]
    (reply,) = ollama.reply([Ask(HELLO, 0)], Sampling())
    assert reply.text == "from the weights" and server.requests == []


def test_a_control_of_the_attention_without_weights_is_refused_in_a_sentence(
    ollama: OllamaBackend,
) -> None:
    why = ollama.refusal(parse("anchor"))
    assert why is not None and "needs the weights" in why and "ollama pull" in why
    assert not ollama.local


def test_lm_studio_is_an_api_of_its_own_name() -> None:
    backend = load("lmstudio:qwen3", api_key="x")
    assert backend.name == "lmstudio:qwen3"
    with pytest.raises(ModelError, match="needs a name"):
        load("ollama:")
