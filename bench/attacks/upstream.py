"""An API behind the gateways that answers as an attack wants, and keeps what it got."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SECRET = "sk-of-the-upstream-0123456789"
PLAIN = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "there",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
_BOMB = 300 << 20


@dataclass(frozen=True)
class Request:
    """A request that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, or None."""
        with suppress(ValueError):
            return json.loads(self.body)
        return None


@dataclass
class Upstream:
    """The API; `mode` says how it answers."""

    mode: str = "plain"
    requests: list[Request] = field(default_factory=list)
    keep: bool = True
    count: int = 0
    port: int = 0

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve_connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def clear(self, mode: str = "plain") -> None:
        """Forget what came, and answer in another way from now on."""
        self.requests.clear()
        self.mode = mode

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, EOFError, asyncio.CancelledError, asyncio.LimitOverrunError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, target, headers, body)
        self.count += 1
        if self.keep:
            self.requests.append(request)
        async for piece in self._answer(request):
            if piece is None:
                return False
            writer.write(piece)
            await writer.drain()
        return True

    async def _answer(self, request: Request) -> AsyncIterator[bytes | None]:
        """Pieces of the response; None breaks the connection."""
        mode = self.mode
        if mode == "echo":
            yield _whole(json.dumps({**PLAIN, "seen": request.headers}).encode(),
                         [("x-seen", request.headers.get("authorization", ""))])  # fmt: skip
        elif mode == "echo stream":
            key = request.headers.get("authorization", "")
            yield _head(200, [("content-type", "text/event-stream"), _CHUNKED])
            for i in range(0, len(key), 3):
                yield _chunk(b"data: " + key[i : i + 3].encode() + b"\n\n" if i % 2 else
                             key[i : i + 3].encode())  # fmt: skip
            yield b"0\r\n\r\n"
        elif mode == "long error":
            yield _head(500, [("content-length", str(200 << 20))])
            for _ in range(200):
                yield bytes(1 << 20)
        elif mode == "bomb":
            yield _whole(_bomb(), [("content-encoding", "gzip")], 500)
        elif mode == "gzip":
            yield _whole(gzip.compress(json.dumps(PLAIN).encode()), [("content-encoding", "gzip")])
        elif mode == "no choices":
            yield _whole(b'{"object": "error"}')
        elif mode == "broken":
            yield _head(200, [("content-type", "text/event-stream"), _CHUNKED])
            yield _chunk(b"data: {}\n\n")
            yield None
        elif mode == "picky" and request.json and "max_tokens" in request.json:
            yield _whole(b'{"error": {"message": "use max_completion_tokens"}}', status=400)
        elif mode == "failing check" and len(self.requests) > 1:
            yield _whole(b'{"error": {"message": "no"}}', status=500)
        else:
            async for piece in _complete(request):
                yield piece


_CHUNKED = ("transfer-encoding", "chunked")


async def _complete(request: Request) -> AsyncIterator[bytes]:
    """A plain completion, streamed where that was asked for."""
    if not isinstance(request.json, dict) or not request.json.get("stream"):
        yield _whole(json.dumps(PLAIN).encode())
        return
    yield _head(200, [("content-type", "text/event-stream"), _CHUNKED])
    for word in ("Hi", " there", "."):
        delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        chunk = {**PLAIN, "object": "chat.completion.chunk", "choices": [delta]}
        yield _chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    yield _chunk(b"data: [DONE]\n\n")
    yield b"0\r\n\r\n"


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _whole(
    content: bytes, headers: list[tuple[str, str]] | None = None, status: int = 200
) -> bytes:
    length = ("content-length", str(len(content)))
    return _head(status, [("content-type", "application/json"), length, *(headers or [])]) + content


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def _bomb() -> bytes:
    """300 MB of zeros, packed."""
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(_BOMB >> 20)]
    return b"".join([*pieces, packer.flush()])
