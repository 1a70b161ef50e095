"""What the server of a model and the gateway have in common: guard, metrics, errors, docs.

Every answer that is no completion has OpenAI's error object, whatever went wrong. `/` is
left free. This module knows HTTP. It knows no chats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.core.version import __version__
from holdfast.serve.http_errors import Refusal
from holdfast.serve.limits import Asgi, Guard, Keys, Limits, Message, Receive, Scope, Send
from holdfast.serve.metrics import Metrics
from holdfast.serve.protocol import Problems, refusal
from holdfast.serve.stream import Gone

LOG = logging.getLogger("holdfast.serve")
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problems} for status in (400, 401, 403, 404, 408, 413, 429, 500, 503)
}
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def bare(
    title: str, keys: Sequence[str], limits: Limits, metrics: Metrics, lifespan: Lifespan
) -> FastAPI:
    """An application without routes of its own but `/metrics`, `/docs` and `/openapi.json`.

    What the page at `/docs` needs comes from here too, and not from elsewhere.
    """
    app = FastAPIOffline(
        title=title,
        version=__version__,
        redoc_url=None,
        static_url="/docs-files",
        lifespan=lifespan,
    )
    app.add_middleware(Guard, keys=Keys(keys), limits=limits)
    app.add_middleware(Noted, metrics=metrics)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return shown(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return shown(refusal(error.errors()))

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        said = {404: f"there is no {request.url.path} here.", 405: "this method is not allowed."}
        message = said.get(error.status_code, str(error.detail))
        return shown(Refusal(error.status_code, message, headers=error.headers))

    @app.exception_handler(Gone)
    async def gone(request: Request, error: Gone) -> Response:
        return Response(status_code=499)  # nobody reads it; the log and the metrics do

    @app.get("/metrics", tags=["server"], summary="Figures for Prometheus", responses=REFUSALS)
    async def figures() -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    return app


def shown(error: Refusal) -> Response:
    """A refusal as a response."""
    return Response(error.content, error.status, error.headers, "application/json")


class Noted:
    """ASGI middleware: counts answers, logs one line each, and turns a bug into a 500.

    The line has method, path, status and seconds: nothing that a client said.
    """

    def __init__(self, app: Asgi, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            LOG.exception("%s %s failed", scope["method"], _line(scope["path"]))
            if status:
                raise
            error = Refusal(500, "the server failed on this request; its log says why.")
            await shown(error)(scope, receive, sending)
        finally:
            self.metrics.requests.labels(str(status or 499)).inc()
            seconds = time.perf_counter() - began
            LOG.info("%s %s %d %.3fs", scope["method"], _line(scope["path"]), status, seconds)


def _line(path: str) -> str:
    """A path that cannot break out of its line of the log."""
    return path[:200].encode("unicode_escape").decode()
