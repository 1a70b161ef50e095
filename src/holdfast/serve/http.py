"""The application that server and gateway start from: guard, metrics, errors and API docs.

Every error has the body of `http_errors`, whatever went wrong. The routes `/` and `/v1`
are left to the caller. This module knows HTTP. It knows no chats.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from holdfast.core.version import __version__
from holdfast.serve.access import Keys, route_path
from holdfast.serve.http_errors import RequestError, error_response
from holdfast.serve.limits import KEY_NAME, Asgi, AsgiMessage, Guard, Limits, Receive, Scope, Send
from holdfast.serve.metrics import Metrics
from holdfast.serve.protocol import ChatRequest, ErrorBody, invalid_request
from holdfast.serve.stream import ClientLeft
from holdfast.serve.tenants.live import LiveTenants

LOG = logging.getLogger("holdfast.serve")
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 415, 429, 500, 503)
}
# The body of a chat completion in the API's docs; routes read it themselves, out of the event loop.
CHAT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}},
        },
    }
}
REQUEST_ID = b"x-request-id"
_PLAIN_ID = re.compile(rb"[\w.:-]{1,128}")
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def base_app(
    title: str,
    keys: Keys,
    limits: Limits,
    metrics: Metrics,
    lifespan: Lifespan,
    tenants: LiveTenants,
) -> FastAPI:
    """Build an application that has `/metrics`, `/docs` and `/openapi.json`.

    The page at `/docs` takes its scripts from this server, not from elsewhere.

    Args:
        title: the API's name in its docs.
        keys: API keys of which a request needs one; none opens the API. `access.OPEN` needs none.
        limits: what a request may cost.
        metrics: where requests are counted.
        lifespan: what runs while the application does.
        tenants: aliases, routes and keys.
    """
    app = FastAPIOffline(
        title=title,
        version=__version__,
        redoc_url=None,
        static_url="/docs-files",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.limits = limits
    _describe_chat_request(app)
    app.add_middleware(Guard, keys=keys, limits=limits, tenants=tenants)
    _allow_origins(app, limits.origins)
    app.add_middleware(RequestLog, metrics=metrics)

    @app.exception_handler(RequestError)
    async def refuse_request(request: Request, error: RequestError) -> Response:
        return error_response(error, route_path(request.scope))

    @app.exception_handler(RequestValidationError)
    async def refuse_invalid(request: Request, error: RequestValidationError) -> Response:
        return error_response(invalid_request(error.errors()), route_path(request.scope))

    @app.exception_handler(HTTPException)
    async def refuse_path(request: Request, error: HTTPException) -> Response:
        scope = request.scope
        return error_response(_path_error(scope["path"], error), route_path(scope))

    @app.exception_handler(ClientLeft)
    async def end_abandoned(request: Request, error: ClientLeft) -> Response:
        return Response(status_code=499)  # nobody reads it; the log and the metrics do

    @app.get(
        "/metrics", tags=["server"], summary="Figures for Prometheus", responses=ERROR_RESPONSES
    )
    async def figures() -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    return app


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let browsers show responses to the pages of these origins."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],  # clients have some of their own, as OpenAI's x-stainless-…
            expose_headers=[
                "retry-after",
                "x-holdfast-control",
                "x-holdfast-verify",
                "x-request-id",
            ],
        )


def _describe_chat_request(app: FastAPI) -> None:
    """Add the schema that `CHAT_BODY` refers to."""
    document = app.openapi
    own = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = {**own.pop("$defs", {}), "ChatRequest": own}

    def with_chat_request() -> dict[str, Any]:
        schema = document()
        schema["components"]["schemas"].update(parts)
        return schema

    app.openapi = with_chat_request  # type: ignore[method-assign]


def _path_error(path: str, error: HTTPException) -> RequestError:
    """The error of a path or method that nothing answers."""
    missing = f"there is no {path} here."
    if path == "/v1":
        missing = "/v1 is the base URL for clients; the page for a browser is at /."
    messages = {404: missing, 405: "this method is not allowed."}
    message = messages.get(error.status_code, str(error.detail))
    return RequestError(error.status_code, message, headers=error.headers)


class RequestLog:
    """ASGI middleware: counts responses, logs one line for each, and turns a bug into a 500.

    The line has method, path, status, seconds, the request's id and its key's name, and nothing
    of what a client wrote. The id is the client's own `x-request-id`, or a new one; the response
    has it too.
    """

    def __init__(self, app: Asgi, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, name = time.perf_counter(), 0, _request_id(scope)

        async def send_with_id(message: AsgiMessage) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                if all(header.lower() != REQUEST_ID for header, _ in headers):
                    headers.append((REQUEST_ID, name.encode()))
                message = {**message, "headers": headers}
            await send(message)

        line = f"{scope['method']} {_loggable(scope['path'])}"
        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            LOG.exception("%s failed (%s)", line, name)
            if status:
                raise
            error = RequestError(500, "the server failed on this request; its log says why.")
            await error_response(error, route_path(scope))(scope, receive, send_with_id)
        finally:
            status = status or 499  # the client left before there was an answer
            self.metrics.requests.labels(str(status)).inc()
            key = f" key={scope[KEY_NAME]}" if scope.get(KEY_NAME) else ""
            LOG.info("%s %d %.3fs %s%s", line, status, time.perf_counter() - start, name, key)


def _request_id(scope: Scope) -> str:
    """The client's id of a request where it is a plain one, or a new one."""
    own = next((value for header, value in scope["headers"] if header.lower() == REQUEST_ID), b"")
    return own.decode() if _PLAIN_ID.fullmatch(own) else f"req_{secrets.token_hex(12)}"


def _loggable(path: str) -> str:
    """A path that cannot break out of its log line."""
    return path[:200].encode("unicode_escape").decode()
