"""A connection with bounds on a client that has sent no whole request yet, on httptools.

uvicorn makes a protocol of this class for each connection. A head has `Limits.headers` bytes and
`Limits.head_timeout` seconds, and a connection ends once its client has read nothing of what waits
for it for `Limits.write_timeout` seconds (`serve.server` says why).

This module knows bytes and one connection's state. It knows no routes.
"""

from __future__ import annotations

import asyncio
import re
from asyncio.events import TimerHandle
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.serve.http_errors import RequestError
from holdfast.serve.limits import Limits

_H2C = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n|\Z)", re.IGNORECASE)


def without_h2c(data: bytes) -> bytes:
    """The beginning of a request without the offer to go on in HTTP/2, which Java's client makes.

    A server may leave it; the parser would take the body for HTTP/2.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _H2C.sub(b"", head) + end + rest if end and _H2C.search(head) else data


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    A message is its head and its body. `_heading` is true from the end of one message to the
    end of the next one's head, and `_changes` counts its changes.
    """

    limits: Limits
    """The bounds; a server's own, on a class of its own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._heading, self._pending, self._changes = True, 0, 0
        self._timer: TimerHandle | None = None
        self._reader_timer: TimerHandle | None = None
        self._running: Any = None
        self.waiting_since = self.loop.time()
        super().connection_made(transport)
        self._arm()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_watching()
        # uvicorn tells the last of the requests that were sent at once, which may still wait.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        self._watch_reader()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_watching()
        if self.transport.is_closing():  # the rest has to be taken, too
            self._watch_reader()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        # In a body that nobody has answered yet, or in a head.
        cycle = self._running
        fresh = cycle is self.cycle and cycle is not None and not cycle.response_started
        self._refuse(400, "this is no valid HTTP request.", fresh and not self._heading)

    def data_received(self, data: bytes) -> None:
        changes = self._changes
        if self._heading:
            data = without_h2c(data)
        super().data_received(data)
        if self._heading and self._changes == changes and not self.transport.is_closing():
            self._pending += len(data)
            self._arm()
            if self._pending > self.limits.headers:
                self._refuse(431, f"the headers have more than {self.limits.headers} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._heading:  # what follows a body in pieces is nobody's
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._heading, self._changes = False, self._changes + 1
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._heading, self._pending, self._changes = True, 0, self._changes + 1
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.waiting_since = self.loop.time()
        if not self._heading and not self.pipeline:
            self._arm()  # the client still sends; it gets a moment to read the response
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()

    @property
    def busy(self) -> bool:
        """True while a response is under way."""
        return self.cycle is not None and not self.cycle.response_complete

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.head_timeout, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.busy:
            self._arm()
        elif self._heading and self._pending:
            self._refuse(408, f"the headers took more than {self.limits.head_timeout:g} seconds.")
        else:
            self.transport.close()
            self._watch_reader()

    def _watch_reader(self) -> None:
        """Abort the connection once nothing of what waits for the client is taken."""
        if self._reader_timer is None:
            waits = self.transport.get_write_buffer_size()
            self._reader_timer = self.loop.call_later(
                self.limits.write_timeout, self._look_at_reader, waits
            )

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _look_at_reader(self, before: int) -> None:
        self._reader_timer = None
        waits = self.transport.get_write_buffer_size()
        if waits and waits >= before:
            self.transport.abort()
        elif waits:
            self._watch_reader()

    def _refuse(self, status: int, message: str, unanswered: bool = False) -> None:
        """Answer with an error, unless a response is under way, and close the connection."""
        if unanswered or not self.busy:
            content = RequestError(status, message).content
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
            head += "connection: close\r\n\r\n"
            self.transport.write(head.encode() + content)
        self.transport.close()
        self._watch_reader()

    def _make_room(self) -> None:
        """Close the connection that has waited longest if there are too many."""
        if len(self.connections) <= self.limits.connections:
            return
        some = [
            one
            for one in self.connections
            if isinstance(one, BoundedProtocol) and not one.transport.is_closing()
        ]
        if len(some) <= self.limits.connections:
            return
        idle = [one for one in some if not one.busy and one is not self]
        if idle:
            min(idle, key=lambda one: one.waiting_since).transport.abort()
        else:
            self._refuse(503, f"{self.limits.connections} connections are busy: try again later.")
