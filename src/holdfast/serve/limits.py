"""What a server admits: callers, host names, load, and the size and speed of bodies.

`Guard` runs before the application. It reads a request's body to its end, so that nothing behind
it waits for a client, and it counts the requests in flight: beyond `concurrency` + `queue` a
client gets 429 with Retry-After.

This module knows HTTP's envelope. It knows neither chats nor models.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import ServiceError
from holdfast.serve.access import (
    READING,
    Keys,
    check_key,
    check_media_type,
    check_open,
    check_origin,
    check_path,
    has_body,
    route_path,
)
from holdfast.serve.http_errors import RequestError, error_response, too_busy
from holdfast.serve.tenants.live import LiveTenants

Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

# What the guard notes in a request's scope.
KEY_NAME, ROUTE = "holdfast.key", "holdfast.route"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\sA-Z*]+")
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
    headers: int = 32 << 10
    """Bytes of a request's headers."""
    connections: int = 4096
    """Open connections, and at most half the files that the process may open. Beyond it the one
    that has waited longest for a request is closed."""
    head_timeout: float = 10.0
    """Seconds that a request's headers may take to arrive."""
    read_timeout: float = 30.0
    """Seconds that a body may take to arrive."""
    write_timeout: float = 60.0
    """Seconds that a client may take to read one piece of a stream."""
    hosts: tuple[str, ...] = ()
    """Host names that the server answers to; none means any. It keeps the pages of other sites
    away from a server without a key."""
    origins: tuple[str, ...] = ()
    """Origins of other sites' pages that may call the server, as in "https://bot.example"."""

    def __post_init__(self) -> None:
        """Raise `ServiceError` for an origin that no browser sends."""
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ServiceError(
                    f"{origin!r} is no origin: write it as browsers do, without a path, as in "
                    "https://bot.example or http://localhost:3000."
                )


class Guard:
    """ASGI middleware that checks host, path, origin, key, media type, load and body, in order.

    `access` says which paths need a key. A HEAD request is answered as GET, so that every rule
    behind this one is GET's.
    """

    def __init__(self, app: Asgi, *, keys: Keys, limits: Limits, tenants: LiveTenants) -> None:
        self.app, self.keys, self.limits, self.tenants = app, keys, limits, tenants
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or answer with the error."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        counted = False
        try:
            headers = _headers(scope)
            self._take_route(scope)
            self._check(scope, headers)
            check_media_type(scope, headers)
            if scope["method"] not in READING or route_path(scope).startswith("/v1"):
                counted = self._enter()
                if rule := self.tenants.rule(scope[KEY_NAME]):
                    self.tenants.quotas.enter(rule)
            if scope["method"] not in READING or has_body(headers):
                body = await self._read_in_time(receive)
                if body is None:
                    return
                receive = _with_body(body, receive)
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _without_body(send)
            await self.app(scope, receive, send)
        except RequestError as error:
            await error_response(error, route_path(scope))(scope, receive, send)
        finally:
            self.in_flight -= counted

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop with the server; WebSockets are for those with a key, as requests are."""
        if scope["type"] == "websocket":
            try:
                self._check({**scope, "method": "GET"}, _headers(scope))
            except RequestError:
                await send({"type": "websocket.close", "code": 1008})
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope, headers: Mapping[bytes, str]) -> None:
        host = _host_name(headers.get(b"host", ""))
        if self.limits.hosts and host not in self.limits.hosts:
            raise RequestError(
                403, f"this server is not called {host or 'nothing'}: use {self.limits.hosts[0]}."
            )
        check_path(scope)
        check_origin(scope, headers, self.limits.origins)
        name = scope[KEY_NAME] = check_key(scope, headers, self.keys)
        is_chat = route_path(scope).startswith(("/v1/", "/api/"))
        if not is_chat and self.tenants.is_restricted(name):
            check_open(scope, name)

    def _take_route(self, scope: Scope) -> None:
        """Take a tenant's route off the path, as a mount would."""
        tenants = self.tenants.current  # another one from line to line
        route = tenants.route_of(route_path(scope))
        scope[ROUTE] = tenants.routes[route] if route else None
        if route:
            scope["root_path"] = f"{scope.get('root_path', '').rstrip('/')}{route}"

    def _enter(self) -> bool:
        if self.in_flight >= self.limits.concurrency + self.limits.queue:
            raise too_busy(f"{self.in_flight} requests are in flight already: try again later.", 1)
        self.in_flight += 1
        return True

    async def _read_in_time(self, receive: Receive) -> bytes | None:
        """The whole body, or None if the client left before it arrived."""
        try:
            async with asyncio.timeout(self.limits.read_timeout):
                return await self._read_whole(receive)
        except TimeoutError:
            raise RequestError(
                408,
                f"the body took more than {self.limits.read_timeout:g} seconds.",
                headers={"connection": "close"},
            ) from None

    async def _read_whole(self, receive: Receive) -> bytes | None:
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


def _headers(scope: Scope) -> dict[bytes, str]:
    """The headers by name, one that comes twice joined: a server further on may read the other."""
    headers: dict[bytes, str] = {}
    for name, raw in scope["headers"]:
        name, value = name.lower(), raw.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _host_name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _with_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body in one piece, and afterwards what the client sends."""
    delivered = False

    async def receive_body() -> AsgiMessage:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def _without_body(send: Send) -> Send:
    """A `send` of the head alone; the length in it stays that of the body."""

    async def send_head(message: AsgiMessage) -> None:
        if message["type"] != "http.response.start":
            more = message.get("more_body", False)
            message = {"type": "http.response.body", "body": b"", "more_body": more}
        await send(message)

    return send_head
