"""An upstream that answers as a function says, and the gateway before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from holdfast.serve.gateway import Upstream, create_gateway
from serve.running import serve_app

KEY = "sk-upstream-secret"
PLAIN = {
    "id": "x",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
    ],
}


def make_answer(
    *pieces: bytes, status: int = 200, headers: Any = None, error: Exception | None = None
) -> httpx.Response:
    """A response whose body comes in pieces, and then breaks if there is an error."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if error is not None:
            raise error

    return httpx.Response(status, headers=headers, content=body())


class FakeUpstream:
    """The requests that an upstream got, and how it answers."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.answer = answer or (lambda request: make_answer(json.dumps(PLAIN).encode()))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)

    @property
    def body(self) -> Any:
        """The last request's."""
        return json.loads(self.requests[-1].content)

    @property
    def paths(self) -> list[str]:
        """Method and path of every request."""
        return [f"{request.method} {request.url.path}" for request in self.requests]


@contextmanager
def gateway(there: FakeUpstream, *, key: str | None = KEY, **options: Any) -> Iterator[str]:
    """The base URL of a gateway before an upstream."""
    place = {name: options.pop(name) for name in ("timeout", "retries") if name in options}
    upstream = Upstream("http://upstream.test/v1", key, **place)
    app = create_gateway(upstream, transport=httpx.MockTransport(there), **options)
    with serve_app(app) as url:
        yield url
