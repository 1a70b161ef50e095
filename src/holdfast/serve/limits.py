"""What a server lets in: who asks, how much at once, how large, and how slowly.

`Guard` stands before the application. It reads a request's body whole, so that nothing
behind it ever waits for a client, and it counts the requests that are under way: beyond
`concurrency` + `queue` a client is told to come back (429, Retry-After).

This module knows HTTP's envelope. It knows neither chats nor models.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.serve.http_errors import Refusal, busy

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """Bounds of a server. Bytes, tokens, seconds and numbers.

    `concurrency` rows are decoded at once and `queue` requests wait beside them; `context`
    tokens may a chat have (None: as many as the model sees); `read_timeout` bounds a body on
    its way in, `write_timeout` one piece of a stream on its way out. `hosts` are the names
    under which the server may be called (none: any), which keeps other sites' pages from a
    server without a key.
    """

    body: int = 2 << 20
    context: int | None = None
    concurrency: int = 64
    queue: int = 256
    choices: int = 8
    read_timeout: float = 30.0
    write_timeout: float = 60.0
    hosts: tuple[str, ...] = ()


class Keys:
    """API keys, compared in constant time; only their hashes are held."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys if key]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, authorization: str) -> bool:
        """Whether an Authorization header holds one of the keys; always, where there are none."""
        scheme, _, given = authorization.partition(" ")
        digest = _digest(given.strip() if scheme.lower() == "bearer" else "")
        # All are compared, so that the time taken does not tell which one was close.
        matches = [hmac.compare_digest(digest, key) for key in self._digests]
        return any(matches) or not self._digests


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Guard:
    """ASGI middleware: host, key, load and body, in this order.

    Paths under `/v1` and `/metrics` need a key, where there are keys.
    """

    def __init__(self, app: Asgi, *, keys: Keys, limits: Limits) -> None:
        self.app, self.keys, self.limits = app, keys, limits
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or tell why not."""
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
                receive = _replayed(body, receive)
            await self.app(scope, receive, send)
        except Refusal as refusal:
            await answer(refusal, send)
        finally:
            self.under_way -= counted

    def _check(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = _name(headers.get(b"host", ""))
        if self.limits.hosts and host not in self.limits.hosts:
            raise Refusal(
                403, f"this server is not called {host or 'nothing'}: use {self.limits.hosts[0]}."
            )
        path: str = scope["path"]
        closed = path == "/metrics" or path.startswith("/v1")
        if closed and not self.keys.admit(headers.get(b"authorization", "")):
            raise Refusal(
                401,
                "the API key is missing or wrong: send it as `Authorization: Bearer KEY`.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )

    def _enter(self) -> bool:
        if self.under_way >= self.limits.concurrency + self.limits.queue:
            raise busy(f"{self.under_way} requests are under way already: try again later.", 1)
        self.under_way += 1
        return True

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client left before it was there."""
        try:
            async with asyncio.timeout(self.limits.read_timeout):
                return await self._read(receive)
        except TimeoutError:
            raise Refusal(
                408, f"the body took more than {self.limits.read_timeout:g} seconds."
            ) from None

    async def _read(self, receive: Receive) -> bytes | None:
        held, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            if size <= self.limits.body:
                held += piece
            # A client that is still sending hears no answer, so the rest is read, not kept.
            if not message.get("more_body") or size > 16 * self.limits.body:
                break
        if size > self.limits.body:
            raise Refusal(
                413,
                f"the body is larger than {self.limits.body} bytes: send less.",
                code="request_too_large",
            )
        return bytes(held)


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, and then what else comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def answer(refusal: Refusal, send: Send) -> None:
    """Send a refusal."""
    headers = {"content-type": "application/json", **refusal.headers}
    headers["content-length"] = str(len(refusal.content))
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": refusal.content})
