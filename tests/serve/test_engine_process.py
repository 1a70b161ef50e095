"""The engine in a process of its own answers as one in this process does, and may be lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from holdfast.core.errors import ModelError
from holdfast.models.local import load as local
from holdfast.serve.app import create_app
from holdfast.serve.engine_process import EngineProcess, EngineSpec
from serve.running import SHOUT, TEA, client, control, served, until

RECIPE = EngineSpec("mini", rows=4, cache_bytes=8 << 20)


@pytest.fixture(scope="module")
def remote() -> Iterator[tuple[EngineProcess, str]]:
    """A server whose engine is another process, and its URL."""
    made = EngineProcess(RECIPE)
    with served(create_app(local.outline("mini"), remote=made)) as url:
        yield made, url
    assert not made.alive


@pytest.fixture(scope="module")
def inside() -> Iterator[str]:
    """A server with its engine in this process."""
    with served(create_app(local.load("mini", cache_bytes=8 << 20))) as url:
        yield url


@pytest.mark.parametrize("name", ["none", "anchor", "guidance:1.5", "window:1", "boost:4"])
def test_replies_are_those_of_an_engine_in_this_process(
    remote: tuple[EngineProcess, str], inside: str, name: str
) -> None:
    replies = [
        client(url).chat.completions.create(
            model="mini",
            messages=[SHOUT, TEA],
            seed=7,
            n=2,
            max_tokens=20,
            logprobs=True,
            extra_body=control(name),
        )
        for url in (remote[1], inside)
    ]
    one, other = (reply.model_dump(exclude={"id", "created"}) for reply in replies)
    for choice, same in zip(one["choices"], other["choices"], strict=True):
        assert choice["message"] == same["message"]
        for token, twin in zip(
            choice["logprobs"]["content"], same["logprobs"]["content"], strict=True
        ):
            assert token["logprob"] == pytest.approx(twin["logprob"], abs=1e-3)
    share = one["holdfast"]["prompt_share"]
    assert share == pytest.approx(other["holdfast"]["prompt_share"], abs=1e-4)


def test_a_reply_comes_in_pieces_and_stops_where_it_is_told(
    remote: tuple[EngineProcess, str],
) -> None:
    asked = {"model": "mini", "messages": [SHOUT, TEA], "seed": 3, "max_tokens": 30}
    whole = client(remote[1]).chat.completions.create(**asked)  # type: ignore[call-overload]
    text = whole.choices[0].message.content
    stream = client(remote[1]).chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == text and sum(map(bool, pieces)) > 1
    stop = text[len(text) // 2 :][:3]
    cut = client(remote[1]).chat.completions.create(**asked, stop=[stop])  # type: ignore[call-overload]
    assert cut.choices[0].message.content == text[: text.index(stop)]


@contextmanager
def still(made: EngineProcess) -> Iterator[None]:
    """The engine does nothing while the block runs."""
    assert made._process.pid is not None
    os.kill(made._process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(made._process.pid, signal.SIGCONT)


def test_a_client_that_leaves_frees_its_row(remote: tuple[EngineProcess, str]) -> None:
    made, url = remote
    body = {"model": "mini", "messages": [TEA], "max_tokens": 1500, "stream": True}
    with still(made):
        with (
            httpx.Client(timeout=30) as http,
            http.stream("POST", f"{url}/chat/completions", json=body) as answer,
        ):
            lines = answer.iter_lines()  # held on to: once it is collected the client has left
            next(lines)
            assert len(made._jobs) == 1
        until(lambda: not made._jobs)
    reply = client(url).chat.completions.create(model="mini", messages=[TEA])  # type: ignore[list-item]
    assert reply.choices[0].finish_reason == "stop"
    assert (made.running, made.waiting) == (0, 0)


def test_what_cannot_be_loaded_is_said_in_the_models_own_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    made = EngineProcess(EngineSpec(str(tmp_path), rows=1))
    with pytest.raises(ModelError, match="cannot be loaded"):
        made.ready()
    made.stop()
    assert not made.alive


def test_a_lost_engine_fails_what_is_under_way_and_the_health_check() -> None:
    made = EngineProcess(RECIPE)
    with served(create_app(local.outline("mini"), remote=made)) as url:
        assert made._process.pid is not None
        os.kill(made._process.pid, signal.SIGSTOP)  # nothing comes of it before it is killed
        stream = client(url).chat.completions.create(
            model="mini",
            messages=[TEA],  # type: ignore[list-item]
            stream=True,
        )
        next(stream)
        os.kill(made._process.pid, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="engine's process has ended"):
            list(stream)
        until(lambda: not made.alive)
        with pytest.raises(openai.InternalServerError, match="engine's process has ended"):
            client(url).chat.completions.create(model="mini", messages=[TEA])  # type: ignore[list-item]
        assert httpx.get(url.removesuffix("/v1") + "/health").status_code == 503


def test_an_engine_that_dies_while_it_loads_is_said() -> None:
    made = EngineProcess(RECIPE)
    made._process.kill()
    with pytest.raises(ModelError, match="ended while it loaded"):
        made.ready()
    made.stop()
