"""The sockets of a server, with bounds on connections that have sent no whole request yet.

uvicorn reads a head of any length for as long as it takes. Here a head has `Limits.headers` bytes
and `Limits.head_timeout` seconds, a response whose request never ends closes its connection, and
beyond `Limits.connections` the connection that has waited longest for a request is closed: clients
that send nothing cannot keep others out. Nor can those that do not read: a connection ends once
its client has read nothing of what waits for it for `Limits.write_timeout` seconds.

This module knows bytes and connections. It knows no routes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from dataclasses import replace
from typing import Any

import uvicorn
from fastapi import FastAPI

from holdfast.serve.access import route_path
from holdfast.serve.http_errors import error_response, unavailable
from holdfast.serve.limits import Asgi, AsgiMessage, Limits, Receive, Scope, Send

# Connections get one open file in two; the model, the upstream and pipes need the others.
_SHARE = 2


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve until interrupted; replies under way are finished first, for half a minute at most.

    Args:
        app: the application, made by `create_app` or `create_gateway`.
        listener: the socket to listen on.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    for name in ("uvicorn", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    settings = configuration(app)
    gc.freeze()  # what is here now stays: looking through it again and again takes time
    uvicorn.Server(settings).run(sockets=[listener])


def configuration(app: FastAPI, graceful: int = 30) -> uvicorn.Config:
    """uvicorn's settings with the application's limits.

    Args:
        app: the application; its `state.limits` has the bounds.
        graceful: seconds that replies under way may take once the server stops.
    """
    limits: Limits = app.state.limits
    limits = replace(limits, connections=min(limits.connections, _raise_file_limit() // _SHARE))
    return uvicorn.Config(
        _QuietStop(app),
        http=_protocol(limits),
        h11_max_incomplete_event_size=limits.headers,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=graceful,
    )


class _QuietStop:
    """ASGI middleware: what the server no longer waits for ends without a traceback.

    uvicorn cancels requests that are under way too long after it was told to stop, or told twice.
    Told twice it cancels the lifespan too, whose end it has not asked for.
    """

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; one that is cancelled before its answer began gets a 503."""
        if scope["type"] == "lifespan":
            await self.app(scope, _until_cancelled(receive), send)
            return
        started = False

        async def send_and_note(message: AsgiMessage) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if not started:
                error = unavailable("the server is stopping: try again.", 5)
                await error_response(error, route_path(scope))(scope, receive, send)


def _until_cancelled(receive: Receive) -> Receive:
    """The messages of a lifespan, whose cancellation is its end like any other."""

    async def receive_or_end() -> AsgiMessage:
        try:
            return await receive()
        except asyncio.CancelledError:
            return {"type": "lifespan.shutdown"}

    return receive_or_end


def _raise_file_limit() -> int:
    """Files that this process may open, after raising its soft limit as far as it goes."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 1024
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    return 65_536 if soft == resource.RLIM_INFINITY else soft


def _protocol(limits: Limits) -> Any:
    """uvicorn's protocol with bounds; without httptools h11, which bounds heads' size alone."""
    try:
        from holdfast.serve.connection import BoundedProtocol
    except ModuleNotFoundError:
        return "h11"
    return type("Connection", (BoundedProtocol,), {"limits": limits})
