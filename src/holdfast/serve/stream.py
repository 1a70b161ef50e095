"""Responses that end when the client leaves: server-sent events, and single answers.

    data: {JSON}\\n\\n … data: [DONE]\\n\\n

While a response is being made or sent, a listener waits for the client's disconnect. A client that
does not read for too long counts as gone. This module knows ASGI. It knows no chats.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.responses import Response

from holdfast.serve.http_errors import RequestError
from holdfast.serve.json_body import write_json
from holdfast.serve.limits import Receive, Scope, Send

_T = TypeVar("_T")
DONE = b"data: [DONE]\n\n"


def event(data: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + write_json(data) + b"\n\n"


class ClientLeft(Exception):
    """The client has left."""


async def until_client_leaves(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """Await the work. If the client leaves first, cancel it and raise `ClientLeft`."""
    task, listener = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, listener}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        for future in (task, listener):
            future.cancel()
        await asyncio.gather(task, listener, return_exceptions=True)


async def with_end(pieces: AsyncGenerator[_T], on_end: Callable[[], None]) -> AsyncGenerator[_T]:
    """The pieces as they come; `on_end` is called once they end, or the client leaves."""
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    finally:
        on_end()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class StreamingAnswer(Response):
    """A response whose pieces are sent as they come.

    Args:
        pieces: the body, piece by piece.
        timeout: seconds that the client may take to read one piece; then the response ends.
        status: the HTTP status.
        headers: the response's headers.
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
        """Send the response until it ends or the client leaves."""
        with suppress(ClientLeft, TimeoutError, OSError):
            await until_client_leaves(receive, self._send(send))

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
    """Chunks as server-sent events; an error on the way becomes an event with OpenAI's error."""
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield event(chunk)
        except RequestError as error:
            yield event(error.body)
        yield DONE
