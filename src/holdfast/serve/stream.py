"""Answers that a client may leave: a stream of server-sent events, or one that is waited for.

    data: {JSON}\\n\\n … data: [DONE]\\n\\n

While an answer is on its way somebody listens for the client's leaving, and a client that
takes nothing for too long has left. This module knows ASGI. It knows no chats.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.responses import Response

from holdfast.serve.limits import Receive, Scope, Send
from holdfast.serve.refusal import Refusal

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


class EventStream(Response):
    """Chunks as server-sent events, each sent as it comes.

    What goes wrong after the first chunk is an event with OpenAI's error object. A piece that
    is not taken within `timeout` seconds ends the stream.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[Mapping[str, Any]], timeout: float) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.chunks, self.timeout = chunks, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await unless_gone(receive, self._send(send))
        except (Gone, TimeoutError, OSError):
            return

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            async for chunk in self.chunks:
                await self._write(send, event(chunk))
        except Refusal as refusal:
            await self._write(send, event(refusal.body))
        await self._write(send, DONE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self.timeout):
            await send({"type": "http.response.body", "body": body, "more_body": True})
