"""The engine in a process of its own answers as one in this process does, and may be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from holdfast.core.errors import ModelError
from holdfast.models.local import load as local
from holdfast.serve.app import create_app
from holdfast.serve.engine import process as engine_process
from holdfast.serve.engine.process import EngineProcess
from holdfast.serve.engine.worker import EngineSpec, Ready
from serve.running import SHOUT, TEA, client, control, serve_app, until

RECIPE = EngineSpec("mini", rows=4, cache_bytes=8 << 20)


@pytest.fixture(scope="module")
def remote() -> Iterator[tuple[EngineProcess, str]]:
    """A server whose engine is another process, and its URL."""
    engine = EngineProcess(RECIPE)
    with serve_app(create_app(local.outline("mini"), remote=engine)) as url:
        yield engine, url
    assert not engine.alive


@pytest.fixture(scope="module")
def inside() -> Iterator[str]:
    """A server with its engine in this process."""
    with serve_app(create_app(local.load("mini", cache_bytes=8 << 20))) as url:
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
    options = {"model": "mini", "messages": [SHOUT, TEA], "seed": 3, "max_tokens": 30}
    whole = client(remote[1]).chat.completions.create(**options)  # type: ignore[call-overload]
    text = whole.choices[0].message.content
    stream = client(remote[1]).chat.completions.create(**options, stream=True)  # type: ignore[call-overload]
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == text and sum(map(bool, pieces)) > 1
    stop = text[len(text) // 2 :][:3]
    cut = client(remote[1]).chat.completions.create(**options, stop=[stop])  # type: ignore[call-overload]
    assert cut.choices[0].message.content == text[: text.index(stop)]


@contextmanager
def still(engine: EngineProcess) -> Iterator[None]:
    """The engine does nothing while the block runs."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(engine.pid, signal.SIGCONT)


def test_a_client_that_leaves_frees_its_row(remote: tuple[EngineProcess, str]) -> None:
    engine, url = remote
    body = {"model": "mini", "messages": [TEA], "max_tokens": 1500, "stream": True}
    with still(engine):
        with (
            httpx.Client(timeout=30) as http,
            http.stream("POST", f"{url}/chat/completions", json=body) as answer,
        ):
            lines = answer.iter_lines()  # held on to: once it is collected the client has left
            next(lines)
            assert len(engine._jobs) == 1
        until(lambda: not engine._jobs)
    reply = client(url).chat.completions.create(model="mini", messages=[TEA])  # type: ignore[list-item]
    assert reply.choices[0].finish_reason == "stop"
    assert (engine.running, engine.waiting) == (0, 0)


def test_what_cannot_be_loaded_is_said_in_the_models_own_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    engine = EngineProcess(EngineSpec(str(tmp_path), rows=1))
    with pytest.raises(ModelError, match="cannot be loaded"):
        engine.ready()
    engine.stop()
    assert not engine.alive


def metric(url: str, name: str) -> float:
    lines = httpx.get(url.replace("/v1", "/metrics"), timeout=30).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def probe(url: str, path: str) -> int:
    return httpx.get(url.replace("/v1", path), timeout=30).status_code


CHAT: dict[str, Any] = {"model": "mini", "messages": [TEA]}


def test_an_engine_that_is_killed_fails_what_is_under_way_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = EngineProcess(RECIPE, silence=600.0)
    may_load, load = threading.Event(), engine_process._Worker.load

    def late_load(worker: engine_process._Worker, stopping: threading.Event) -> Ready:
        assert may_load.wait(60)
        return load(worker, stopping)

    with (
        serve_app(create_app(local.outline("mini"), remote=engine)) as url,
        ThreadPoolExecutor() as pool,
    ):
        assert probe(url, "/ready") == 200
        assert engine.pid is not None
        monkeypatch.setattr(engine_process._Worker, "load", late_load)
        os.kill(engine.pid, signal.SIGSTOP)  # nothing comes of it before it is killed
        stream = client(url).chat.completions.create(**CHAT, stream=True)
        next(stream)
        whole = pool.submit(httpx.post, f"{url}/chat/completions", json=CHAT, timeout=60)
        until(lambda: len(engine._jobs) == 2)
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="is being restarted"):
            list(stream)
        assert whole.result().status_code == 503 and whole.result().headers["retry-after"]
        answer = httpx.post(f"{url}/chat/completions", json=CHAT | {"stream": True}, timeout=60)
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert answer.json()["error"]["code"] == "engine_unavailable"
        assert (probe(url, "/health"), probe(url, "/ready")) == (200, 503)
        assert metric(url, "holdfast_engine_up") == 0
        may_load.set()
        until(lambda: engine.up)
        assert probe(url, "/ready") == 200
        assert metric(url, "holdfast_engine_restarts_total") == 1
        reply = client(url).chat.completions.create(**CHAT)
        assert reply.choices[0].message.content
    assert not engine.alive


class _Pipe:
    """The server's end of a pipe, which is still being written to when its process is killed."""

    def __init__(self) -> None:
        self.killed, self.closed, self.ended = (threading.Event() for _ in range(3))
        self.closed_early = False

    def send(self, message: object) -> None:
        if message is not None:
            assert self.killed.wait(30)
            return
        self.closed_early = self.closed.wait(0.2)
        self.ended.set()

    def close(self) -> None:
        self.closed.set()


def test_a_pipe_is_closed_only_when_nobody_writes_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = _Pipe()
    process = SimpleNamespace(start=list, join=lambda *patience: None, kill=pipe.killed.set)
    context = SimpleNamespace(Pipe=lambda: (pipe, _Pipe()), Process=lambda **options: process)
    monkeypatch.setattr(engine_process.multiprocessing, "get_context", lambda kind: context)
    worker = engine_process._Worker(RECIPE)
    worker.send((1,))
    worker.end()
    assert pipe.closed.is_set() and pipe.ended.wait(30)
    assert not pipe.closed_early


def test_an_engine_that_stands_still_is_noticed_and_replaced() -> None:
    engine = EngineProcess(RECIPE, silence=600.0)
    with (
        serve_app(create_app(local.outline("mini"), remote=engine)) as url,
        ThreadPoolExecutor() as pool,
    ):
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        # More than a pipe holds: whoever writes to it would wait for the engine.
        large = {"model": "mini", "messages": [{"role": "user", "content": "tea " * 300}]}
        some = [
            pool.submit(httpx.post, f"{url}/chat/completions", json=large, timeout=60)
            for _ in range(150)
        ]
        until(lambda: not engine.up)
        assert (probe(url, "/health"), probe(url, "/ready")) == (200, 503)
        engine.silence = 5.0
        assert {one.result().status_code for one in some} == {503}
        engine.silence = 600.0  # the next one may be slow here
        until(lambda: engine.up)
        assert engine.pid != pid
        assert client(url).chat.completions.create(**CHAT).choices[0].message.content


def test_an_engine_that_takes_no_step_is_replaced() -> None:
    engine = EngineProcess(RECIPE, stall=2.0)
    with serve_app(create_app(local.outline("mini"), remote=engine)) as url:
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)
        with ThreadPoolExecutor() as pool:
            pool.submit(httpx.post, f"{url}/chat/completions", json=CHAT, timeout=60)
            end = time.monotonic() + 60
            while engine.restarts == 0 and time.monotonic() < end:
                engine._ticks = 0  # it reports, but no step
                time.sleep(0.05)
        until(lambda: engine.restarts == 1 and engine.up)
        assert probe(url, "/ready") == 200


def test_restarts_wait_longer_and_longer_and_a_hopeless_engine_is_not_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = EngineProcess(RECIPE)
    engine.ready()
    waits: list[float] = []
    monkeypatch.setattr(engine_process, "_Worker", _Broken)

    def wait(seconds: float | None = None) -> bool:
        waits.append(seconds or 0)
        return len(waits) > 10

    monkeypatch.setattr(engine._stopping, "wait", wait)
    engine._up = False
    worker = engine._worker
    assert not engine._replace()
    assert waits[:3] == [0.5, 1.0, 2.0] and max(waits) == engine_process.LONGEST_DELAY
    assert not engine.alive
    worker.end()


class _Broken:
    """A process of an engine whose model cannot be loaded any more."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    def load(self, stopping: threading.Event) -> None:
        raise ModelError("no memory")

    def end(self) -> None: ...


def test_a_signal_to_the_whole_group_lets_streams_finish(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfast", "serve", "--model", "mini", "--port", "0"]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            body = CHAT | {"stream": True, "max_tokens": 200, "n": 4, "temperature": 1.5}

            def read(barrier: threading.Barrier) -> list[str]:
                with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=60) as one:
                    lines = one.iter_lines()
                    first = next(lines)
                    barrier.wait(60)
                    return [first, *lines]

            with ThreadPoolExecutor(7) as pool:
                barrier = threading.Barrier(7)
                streams = [pool.submit(read, barrier) for _ in range(6)]
                barrier.wait(60)
                os.killpg(process.pid, signal.SIGTERM)
                for stream in streams:
                    text = "\n".join(stream.result())
                    assert "error" not in text and text.rstrip().endswith("data: [DONE]")
                    assert text.count('"finish_reason": "') == 4
            assert process.wait(60) is not None
        finally:
            process.kill()
            process.wait()


def test_an_engine_that_dies_while_it_loads_is_said() -> None:
    engine = EngineProcess(RECIPE)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="ended while it loaded"):
        engine.ready()
    engine.stop()
