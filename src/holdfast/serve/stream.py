"""Answers that a client may leave: a stream of server-sent events, or one that is waited for.

    data: {JSON}\\n\\n … data: [DONE]\\n\\n

While an answer is on its way somebody listens for the client's leaving, and a client that
takes nothing for too long has left. This module knows ASGI. It knows no chats.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.responses import Response

from holdfast.serve.http_errors import Refusal
from holdfast.serve.limits import Receive, Scope, Send

_T = TypeVar("_T")
DONE = b"data: [DONE]\n\n"


def event(data: Mapping[str, Any]) -> bytes:
    """One event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


class Gone(Exception):
    """The client has left."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """What the work comes to; `Gone`, and the work cancelled, where the client leaves first."""
    task, listener = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({task, listener}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        for one in (task, listener):
            one.cancel()
        await asyncio.gather(task, listener, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Stream(Response):
    """Pieces of an answer, each sent as it comes.

    A piece that is not taken within `timeout` seconds ends it.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        timeout: float,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        del self.headers["content-length"]
        self.pieces, self.timeout = pieces, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, unless the client leaves."""
        with suppress(Gone, TimeoutError, OSError):
            await unless_gone(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        async with aclosing(self.pieces) as pieces:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            async for piece in pieces:
                async with asyncio.timeout(self.timeout):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


EVENTS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


async def events(chunks: AsyncGenerator[Mapping[str, Any]]) -> AsyncGenerator[bytes]:
    """Chunks as server-sent events; what goes wrong on the way is one with OpenAI's error."""
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield event(chunk)
        except Refusal as refusal:
            yield event(refusal.body)
        yield DONE
