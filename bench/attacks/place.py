"""What attacks share: the servers under attack, thin HTTP, and a tally of what came back."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

import processes

from attacks.upstream import Upstream

KEY = "the-key-of-the-team"
HANG = 30.0  # seconds after which a request counts as hanging
SLOW = 2.0  # seconds that /health may take under attack, on a machine that does nothing else
LOG_TAIL = 4000  # characters of a server's log that are shown with findings
USER = {"role": "user", "content": "Do you like tea?"}
PERSONA = "mini:upper-1"


@dataclass
class Target:
    """A server under attack."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    model: str
    log: IO[bytes]

    @property
    def memory(self) -> float:
        """Resident MiB."""
        return processes.memory(self.process)

    def log_tail(self) -> str:
        """The last lines that the server logged."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-LOG_TAIL:]


@dataclass
class Place:
    """The servers, and the API behind the gateways."""

    local: Target
    gateway: Target
    verifying: Target
    upstream: Upstream
    quick: bool

    @property
    def targets(self) -> tuple[Target, Target]:
        """The server and the gateway."""
        return self.local, self.gateway


@dataclass
class Answer:
    """A response; status 0 is a connection that ended without one, -1 one that hung."""

    status: int
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, or None."""
        with suppress(ValueError):
            return json.loads(self.body)
        return None


@dataclass
class Tally:
    """What one attack sent, what it got, and what is wrong with that."""

    name: str
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def expect(self, fine: bool, finding: str) -> None:
        """Note a finding unless all is fine."""
        if not fine:
            self.findings.append(finding)

    def count(self, answer: Answer, what: str, *, ours: bool = True) -> Answer:
        """Count a response; a hang, and a 5xx of ours that is no planned refusal, are findings."""
        self.requests += 1
        self.statuses[answer.status] += 1
        self.expect(answer.status != -1, f"{what}: no answer in {HANG:g} s")
        failed = answer.status >= 500 and ours
        self.expect(not failed, f"{what}: {answer.status} {answer.body[:120]!r}")
        return answer

    async def send(self, target: Target, raw: bytes, *, ours: bool = True) -> Answer:
        """Send bytes and count the response."""
        what = f"{target.name}: {raw[:90]!r}"
        return self.count(await exchange(target.port, raw), what, ours=ours)

    async def ask(self, target: Target, path: str, body: Any, **headers: str) -> Answer:
        """POST JSON with the key and count the response."""
        return await self.send(target, post(path, body, **headers))


Attack = Callable[[Place, Tally], Awaitable[None]]


def request(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """An HTTP request; a header that is given replaces the default of its name."""
    fields = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {KEY}",
        "Connection": "close",
        **({"Content-Type": "application/json"} if body else {}),
        **({"Content-Length": str(len(body))} if body or method not in ("GET", "HEAD") else {}),
    }
    for name, value in (headers or {}).items():
        own = name.replace("_", "-").title()
        fields[own] = value
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def post(path: str, body: Any, **headers: str) -> bytes:
    """A POST of JSON, or of bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", path, content, headers)


def chat(target: Target, **fields: Any) -> dict[str, Any]:
    """A small chat completion for a target."""
    return {"model": target.model, "messages": [USER], "max_tokens": 4, **fields}


async def exchange(port: int, raw: bytes, timeout: float = HANG) -> Answer:
    """Send bytes on a connection of their own, and read the response to its end."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            try:
                with suppress(OSError):  # the response may come before all was sent
                    writer.write(raw)
                    await writer.drain()
                return await read_answer(reader, bodiless=raw.startswith(b"HEAD "))
            finally:
                writer.close()
    except TimeoutError:
        return Answer(-1)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return Answer(0)


async def read_answer(reader: asyncio.StreamReader, bodiless: bool = False) -> Answer:
    """Read one response; that to HEAD has no body."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    status = int(first.split()[1])
    if bodiless or status in (204, 304):
        return Answer(status, headers)
    if headers.get(b"transfer-encoding") == b"chunked":
        body = bytearray()
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        return Answer(status, headers, bytes(body))
    length = int(headers.get(b"content-length", b"0"))
    return Answer(status, headers, await reader.readexactly(length))


@asynccontextmanager
async def watched_health(target: Target, tally: Tally) -> AsyncIterator[None]:
    """Ask for /health all the while, in a thread of its own: it must stay quick."""
    end, times, wrong = threading.Event(), [0.0], set()

    def watch() -> None:
        while not end.wait(0.05):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=HANG)
            try:
                connection.request("GET", "/health")
                status: object = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            connection.close()
            times.append(time.perf_counter() - began)
            if status != 200:
                wrong.add(status)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        end.set()
        await asyncio.to_thread(thread.join)
        slowest, name = max(times), f"{target.name}, slowest /health, s"
        tally.figures[name] = round(max(slowest, tally.figures.get(name, 0.0)), 2)
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        tally.expect(slowest < SLOW * busy, f"{target.name}: /health took {slowest:.2f} s")
        tally.expect(not wrong, f"{target.name}: /health was {wrong}")


def serve(name: str, model: str, *options: str, **settings: str) -> Target:
    """Start `holdfast serve`. Its port is known once `listen` has returned."""
    command = (sys.executable, "-m", "holdfast", "serve", "--port", "0", *options)
    log = TemporaryFile()  # noqa: SIM115 (the target keeps it)
    process = processes.start(
        command, log.fileno(), HOLDFAST_SERVE_KEY=KEY, OMP_NUM_THREADS="1", **settings
    )
    return Target(name, 0, process, model, log)


def listen(target: Target) -> None:
    """Wait for the line with a server's address."""
    assert target.process.stdout is not None
    line = target.process.stdout.readline().decode().strip()
    if not line:
        raise RuntimeError(f"the {target.name} did not start: {target.log_tail()}")
    target.port = int(line.rpartition(":")[2].partition("/")[0])


async def ready(target: Target, seconds: float = 120.0) -> bool:
    """Wait for /ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (await exchange(target.port, request("GET", "/ready"), 5)).status == 200:
            return True
        await asyncio.sleep(0.1)
    return False
