"""Servers of chats under load: started as processes, asked over HTTP by thin clients.

Clients are asyncio, one connection each, no HTTP library: each sends a streamed chat, waits for
its end, and sends the next. What they saw comes with the server's own processor time, which is
what to read on a machine that does other work too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from processes import cpu, kill

READY = 600.0  # seconds that a server may take to start

Draw = Callable[[random.Random], Mapping[str, Any]]
"""The body of a client's next request, without the model's name."""


@dataclass(frozen=True)
class Server:
    """One contender: its name, the command that starts it on a port, and the model's name."""

    name: str
    command: tuple[str, ...]
    model: str
    settings: tuple[tuple[str, str], ...] = ()
    """Of its environment."""


@dataclass
class Load:
    """What clients saw: seconds to the first text and to the end of each reply, and errors."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0  # the server's, all threads


@dataclass(frozen=True)
class Running:
    """A server's process and where it listens."""

    server: Server
    port: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(server: Server, threads: int) -> Iterator[Running]:
    """The server, which may not be ready yet (`ready`); killed with its processes at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # A bench that is told to end (`timeout`) ends its servers, which have sessions of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    common = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*server.command, "--port", str(port)],
            stdout=None if os.environ.get("VERBOSE") else log,
            stderr=subprocess.STDOUT,
            env=os.environ | common | dict(server.settings),
            start_new_session=True,
        )
        try:
            yield Running(server, port, process)
        finally:
            kill(process)


def ready(at: Running) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + READY
    while time.monotonic() < end and at.process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{at.port}/health", timeout=5)
            return
        time.sleep(0.2)
    sys.exit(f"a server did not start: {at.server.name} (VERBOSE=1 shows what it prints)")


def _encode(at: Running, body: Mapping[str, Any]) -> bytes:
    """A body as an HTTP request."""
    text = json.dumps({"model": at.server.model, "stream": True, **body}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{at.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


async def _client(at: Running, draw: Draw, end: float, load: Load, seed: int) -> None:
    """One client: one reply after another on one connection."""
    rng = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    try:
        while time.perf_counter() < end:
            request = _encode(at, draw(rng))
            began = time.perf_counter()
            writer.write(request)
            first = await _read_reply(reader)
            load.first.append(first - began)
            load.whole.append(time.perf_counter() - began)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        load.errors.append(f"{type(error).__name__}: {error}"[:200])
    finally:
        writer.close()


async def _read_reply(reader: asyncio.StreamReader) -> float:
    """Read one streamed reply; the time at which its first text came."""
    status = await reader.readline()
    if b" 200 " not in status:
        raise ValueError((status + await reader.read(300)).decode("utf-8", "replace"))
    first = None
    while (line := await reader.readline()) not in (b"0\r\n", b""):
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise ValueError(str(chunk["error"]))
            texts = [choice["delta"].get("content") for choice in chunk["choices"]]
            if first is None and any(texts):
                first = time.perf_counter()
    if not line:
        raise ValueError("the server hung up")
    await reader.readline()
    return first or time.perf_counter()


async def _under_load(at: Running, draw: Draw, clients: int, seconds: float, seed: int) -> Load:
    load, began = Load(), time.perf_counter()
    end = began + seconds
    await asyncio.gather(
        *(_client(at, draw, end, load, seed + client) for client in range(clients))
    )
    load.seconds = time.perf_counter() - began
    return load


def measure(at: Running, draw: Draw, clients: int, seconds: float, seed: int = 0) -> Load:
    """Put a server under load.

    Args:
        at: the server.
        draw: the body of each request.
        clients: how many ask at once.
        seconds: for how long they begin new requests; those that are open then are waited for.
        seed: of what the first client draws; the next one has the next.
    """
    before = cpu(at.process)
    load = asyncio.run(_under_load(at, draw, clients, seconds, seed))
    load.cpu = cpu(at.process) - before
    for error in load.errors[:1]:
        print(f"{at.server.name}: {error}", file=sys.stderr)
    return load


def rates(loads: Sequence[Load]) -> tuple[float, float]:
    """Replies per second, and per second of the server's processor time."""
    replies = sum(len(load.whole) for load in loads)
    work = sum(load.cpu for load in loads)
    return replies / sum(load.seconds for load in loads), replies / work if work else 0.0


def times(loads: Sequence[Load]) -> dict[str, Any]:
    """What clients waited, as columns of a table."""
    whole = sorted(second for load in loads for second in load.whole)
    first = [second for load in loads for second in load.first]
    return {
        "first text, median ms": 1e3 * statistics.median(first) if first else "",
        "whole, p95 ms": 1e3 * whole[int(len(whole) * 0.95)] if whole else "",
        "errors": sum(len(load.errors) for load in loads),
    }
