"""Replies per second of a server: `holdfast serve` against `transformers serve`.

All servers run the same weights (mini) on the same machine, each in a process of its own,
and take turns under the same load, so that a slow moment of the machine hits all of them.
Clients are thin (asyncio, one connection each, no HTTP library): each sends a streamed
chat, waits for its end, and sends the next. A chat has a persona and two earlier rounds.
On a machine that does other work too, read the replies per second of a server's own
processor time, not those per second of the clock.

    python bench/serve.py                     # 16 and 64 clients, 10 seconds each
    python bench/serve.py --soak 10           # ours alone: errors, and growth in memory

Prints Markdown tables; `--json` prints the same rows as one object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import cpu, memory
from tables import table

import holdfast
from holdfast.persona.suite import load_suite

WEIGHTS = Path(holdfast.__file__).parent / "models" / "mini" / "weights"
TOKENS = 40  # of a reply at most
READY = 600.0  # seconds that a server may take to start


@dataclass(frozen=True)
class Server:
    """One contender: its name, the command that starts it on a port, and the model's name."""

    name: str
    command: tuple[str, ...]
    model: str


THEIRS = (str(Path(sys.executable).parent / "transformers"), "serve", str(WEIGHTS))
OURS = (sys.executable, "-m", "holdfast", "serve", "--model", "mini")
SERVERS = (
    Server("holdfast, none", OURS, "mini"),
    Server("holdfast, anchor", (*OURS, "--control", "anchor"), "mini"),
    Server("transformers", (*THEIRS, "--device", "cpu"), str(WEIGHTS)),
    Server(
        "transformers, continuous batching",
        # As many blocks as 64 chats need several times over; the default takes all memory.
        (*THEIRS, "--device", "cpu", "--continuous-batching", "--cb-num-blocks", "1024"),
        str(WEIGHTS),
    ),
)


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
    """The server, which may not be ready yet (`ready`); killed at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*server.command, "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | settings,
        )
        try:
            yield Running(server, port, process)
        finally:
            process.kill()
            process.wait()


def ready(at: Running) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + READY
    while time.monotonic() < end and at.process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{at.port}/health", timeout=5)
            return
        time.sleep(0.2)
    sys.exit(f"a server did not start: {at.server.name}")


def chats() -> list[list[dict[str, str]]]:
    """A persona, two rounds, and what the user says next."""
    suite, rng = load_suite("mini"), random.Random(0)
    chats = []
    for persona in suite.personas:
        texts = rng.sample(suite.starters, 3)
        chat = [{"role": "system", "content": persona.prompt}]
        for text in texts[:2]:
            chat += [{"role": "user", "content": text}]
            chat += [{"role": "assistant", "content": rng.choice(persona.passes)}]
        chats.append([*chat, {"role": "user", "content": texts[2]}])
    return chats


def requests(server: Server, port: int) -> list[bytes]:
    """The chats as HTTP requests."""
    encoded = []
    for chat in chats():
        settings = {"model": server.model, "messages": chat, "max_tokens": TOKENS, "stream": True}
        body = json.dumps(settings | {"temperature": 1.0}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        encoded.append(head.encode() + body)
    return encoded


async def client(port: int, requests: list[bytes], end: float, load: Load, seed: int) -> None:
    """One client: one reply after another on one connection."""
    rng = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.perf_counter() < end:
            began = time.perf_counter()
            writer.write(rng.choice(requests))
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


async def _under_load(port: int, requests: list[bytes], clients: int, seconds: float) -> Load:
    load, began = Load(), time.perf_counter()
    end = began + seconds
    await asyncio.gather(*(client(port, requests, end, load, i) for i in range(clients)))
    load.seconds = time.perf_counter() - began
    return load


def measure(at: Running, clients: int, seconds: float) -> Load:
    """Put a server under load.

    Args:
        at: the server.
        clients: how many ask at once.
        seconds: for how long.
    """
    before = cpu(at.process)
    load = asyncio.run(_under_load(at.port, requests(at.server, at.port), clients, seconds))
    load.cpu = cpu(at.process) - before
    return load


def rates(loads: list[Load]) -> tuple[float, float]:
    """Replies per second, and per second of the server's processor time."""
    replies = sum(len(load.whole) for load in loads)
    spent = sum(load.cpu for load in loads)
    return replies / sum(load.seconds for load in loads), replies / spent if spent else 0.0


def row(
    server: Server, clients: int, loads: list[Load], best: tuple[float, float]
) -> dict[str, Any]:
    """One line of the table; `best` are the best rates of the other servers."""
    whole = sorted(second for load in loads for second in load.whole)
    first = [second for load in loads for second in load.first]
    rate = rates(loads)
    ratios = [f"{a / b:.3g}" if b else "" for a, b in zip(rate, best, strict=True)]
    return {
        "server": server.name,
        "clients": clients,
        "replies/s": rate[0],
        "× best of theirs": ratios[0],
        "replies/CPU s": rate[1],
        "× best": ratios[1],
        "first text, median ms": 1e3 * statistics.median(first) if first else "",
        "whole, p95 ms": 1e3 * whole[int(len(whole) * 0.95)] if whole else "",
        "errors": sum(len(load.errors) for load in loads),
    }


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every server under every load, in turns."""
    loads: dict[tuple[int, Server], list[Load]] = {}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(server, args.threads)) for server in SERVERS]
        for at in servers:
            ready(at)
            measure(at, 4, 3)  # warms up
        for _ in range(args.rounds):
            for clients in args.clients:
                for at in servers:
                    load = measure(at, clients, args.seconds / args.rounds)
                    loads.setdefault((clients, at.server), []).append(load)
                    for error in load.errors[:1]:
                        print(f"{at.server.name}: {error}", file=sys.stderr)
    rows = []
    for clients in args.clients:
        theirs = [loads[clients, server] for server in SERVERS if "transformers" in server.name]
        each = [rates(some) for some in theirs]
        best = max(rate for rate, _ in each), max(rate for _, rate in each)
        rows += [row(server, clients, loads[clients, server], best) for server in SERVERS]
    return rows


def soak(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours under load for minutes, in ten parts: what is answered, and what memory is held."""
    rows = []
    # A small cache of prefixes is full soon: what grows after that is a leak.
    server = Server("holdfast, anchor", (*SERVERS[1].command, "--cache", "16"), "mini")
    with running(server, args.threads) as at:
        ready(at)
        measure(at, args.clients[0], 3)
        for part in range(10):
            load = measure(at, args.clients[0], args.soak * 6)
            rows.append(
                {
                    "minute": (part + 1) * args.soak / 10,
                    "replies": len(load.whole),
                    "errors": len(load.errors),
                    "memory, MiB": memory(at.process),
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--clients", type=int, nargs="+", default=[16, 64])
    add("--seconds", type=float, default=10.0, help="of load on each server, at each size")
    add("--rounds", type=int, default=2, help="parts that the seconds are cut into")
    add("--threads", type=int, default=os.cpu_count(), help="torch's, for every server")
    add("--soak", type=float, help="minutes of load on ours alone")
    add("--json", action="store_true")
    args = parser.parse_args()
    rows = soak(args) if args.soak else compare(args)
    what = f"{args.threads} threads, {os.cpu_count()} processors"
    print(json.dumps({"machine": what, "rows": rows}) if args.json else f"{what}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
