"""A server on a free port of the loopback, in a thread of this process."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
import torch
import uvicorn
from fastapi import FastAPI

from holdfast.models.engine.batch import Batch
from holdfast.models.local.backend import LocalBackend
from holdfast.serve.engine.thread import EngineThread
from holdfast.serve.server import configuration
from tiny_models import model, tokenizer

DEADLINE = 180.0  # a process with torch in it may take half a minute to start on a busy machine
JSON = {"content-type": "application/json"}
SHOUT = {"role": "system", "content": "You always write in capital letters."}
TEA = {"role": "user", "content": "Do you like tea?"}


def connect(url: str, content: bytes = b"") -> socket.socket:
    """A connection to a server with some bytes on it, written by hand."""
    parts = urlsplit(url)
    connection = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=30)
    connection.sendall(content)
    return connection


def status(connection: socket.socket) -> int:
    """The status of the response that comes."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def small(kind: str = "llama", template: str = "chatml", source: str = "") -> LocalBackend:
    """A random model of two layers that never ends by itself; `source` is another template's text.

    In float64, so that no draw hangs on how a sum was rounded.
    """
    inner, words = model(kind, dtype=torch.float64), tokenizer(template)
    if source:
        words.chat_template = source
    backend = LocalBackend(inner, words, "small", cache_bytes=8 << 20)
    backend.ends = frozenset()
    return backend


@contextmanager
def serve_app(app: FastAPI) -> Iterator[str]:
    """The server's base URL, with /v1; it is stopped at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    has_limits = hasattr(app.state, "limits")  # an upstream of a test has none
    plain = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": 5}
    config = configuration(app, 5) if has_limits else uvicorn.Config(app, **plain)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    end = time.monotonic() + DEADLINE
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the server did not start"
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the server did not stop"


def closed_gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event before which no engine of this process takes a decoding step.

    A reply cannot end before a test has seen it under way, however quick the model and slow the
    test.
    """
    gate, step = threading.Event(), EngineThread._step

    def late_step(thread: EngineThread, batch: Batch) -> None:
        assert gate.wait(DEADLINE), "the gate was not opened"
        step(thread, batch)

    monkeypatch.setattr(EngineThread, "_step", late_step)
    return gate


def client(url: str, key: str = "none", **options: Any) -> openai.OpenAI:
    """The `openai` client, which tries once."""
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60, **options)


def control(text: str, **more: Any) -> dict[str, Any]:
    """`extra_body` that names a control."""
    return {"holdfast": {"control": text, **more}}


def until(condition: Any) -> None:
    """Wait for a thing to become true; it is another thread's."""
    end = time.monotonic() + DEADLINE
    turn = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        turn.wait(0.005)
