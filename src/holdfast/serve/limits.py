"""What a server admits: API keys, host names, load, and the size and speed of bodies.

`Guard` runs before the application. It reads a request's body to its end, so that nothing behind
it waits for a client, and it counts the requests in flight: beyond `concurrency` + `queue` a
client gets 429 with Retry-After.

This module knows HTTP's envelope. It knows neither chats nor models.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.serve.http_errors import RequestError, too_busy

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """Bounds of a server."""

    body: int = 2 << 20
    """Bytes of a request's body."""
    context: int | None = None
    """Tokens of a chat; None is the model's own context."""
    concurrency: int = 64
    """Rows that are decoded at once."""
    queue: int = 256
    """Requests that may wait beside them."""
    choices: int = 8
    """Replies to one request (`n`)."""
    read_timeout: float = 30.0
    """Seconds that a body may take to arrive."""
    write_timeout: float = 60.0
    """Seconds that a client may take to read one piece of a stream."""
    hosts: tuple[str, ...] = ()
    """Host names that the server answers to; none means any. It keeps the pages of other sites
    away from a server without a key."""


class Keys:
    """API keys, compared in constant time; only their hashes are kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys if key]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, authorization: str) -> bool:
        """True if an Authorization header holds one of the keys, or if there are no keys."""
        scheme, _, key = authorization.partition(" ")
        digest = _digest(key.strip() if scheme.lower() == "bearer" else "")
        # All are compared, so that the time taken does not tell which one was close.
        matches = [hmac.compare_digest(digest, one) for one in self._digests]
        return any(matches) or not self._digests


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Guard:
    """ASGI middleware that checks host, key, load and body, in this order.

    Paths under `/v1` and `/metrics` need a key where the server has keys.
    """

    def __init__(self, app: Asgi, *, keys: Keys, limits: Limits) -> None:
        self.app, self.keys, self.limits = app, keys, limits
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or answer with the error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        counted = False
        try:
            self._check(scope)
            if scope["method"] == "POST":
                counted = self._enter()
                body = await self._body(scope, receive)
                if body is None:
                    return
                receive = _with_body(body, receive)
            await self.app(scope, receive, send)
        except RequestError as error:
            await send_error(error, send)
        finally:
            self.in_flight -= counted

    def _check(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = _host_name(headers.get(b"host", ""))
        if self.limits.hosts and host not in self.limits.hosts:
            raise RequestError(
                403, f"this server is not called {host or 'nothing'}: use {self.limits.hosts[0]}."
            )
        path: str = scope["path"]
        protected = path == "/metrics" or path.startswith("/v1")
        if protected and not self.keys.admit(headers.get(b"authorization", "")):
            raise RequestError(
                401,
                "the API key is missing or wrong: send it as `Authorization: Bearer KEY`.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )

    def _enter(self) -> bool:
        if self.in_flight >= self.limits.concurrency + self.limits.queue:
            raise too_busy(f"{self.in_flight} requests are in flight already: try again later.", 1)
        self.in_flight += 1
        return True

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None if the client left before it arrived."""
        try:
            async with asyncio.timeout(self.limits.read_timeout):
                return await self._read(receive)
        except TimeoutError:
            raise RequestError(
                408, f"the body took more than {self.limits.read_timeout:g} seconds."
            ) from None

    async def _read(self, receive: Receive) -> bytes | None:
        content, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            if size <= self.limits.body:
                content += piece
            # A client that still sends does not read, so the rest is read and thrown away.
            if not message.get("more_body") or size > 16 * self.limits.body:
                break
        if size > self.limits.body:
            raise RequestError(
                413,
                f"the body is larger than {self.limits.body} bytes: send less.",
                code="request_too_large",
            )
        return bytes(content)


def _host_name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _with_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body in one piece, and afterwards what the client sends."""
    delivered = False

    async def receive_body() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


async def send_error(error: RequestError, send: Send) -> None:
    """Send an error as the whole response."""
    headers = {"content-type": "application/json", **error.headers}
    headers["content-length"] = str(len(error.content))
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": pairs})
    await send({"type": "http.response.body", "body": error.content})
