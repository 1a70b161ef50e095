"""Errors that a client receives, in OpenAI's shape.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

Under /api, which is for Ollama's clients, the error is the message alone.

The status decides which exception the `openai` package raises: 400 BadRequestError, 401
AuthenticationError, 403 PermissionDeniedError, 404 NotFoundError, 422
UnprocessableEntityError, 429 RateLimitError, 500 and up InternalServerError.

This module knows statuses and sentences. It knows no requests and no models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
}


class RequestError(Exception):
    """A request that the server refuses, or fails to serve.

    Args:
        status: the HTTP status.
        message: one sentence on what to do.
        code: OpenAI's error code, where there is one.
        param: the field of the request that is wrong.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The response's body."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def content(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.body).encode()


def invalid_value(param: str, message: str) -> RequestError:
    """The error of a field whose value is wrong."""
    return RequestError(400, message, code="invalid_value", param=param)


def unsupported_value(param: str, message: str) -> RequestError:
    """The error of a field whose value asks for what this server cannot do."""
    return RequestError(400, message, code="unsupported_value", param=param)


def too_busy(message: str, seconds: float) -> RequestError:
    """The error of a server at its limit: try again after some seconds."""
    return RequestError(429, message, code="rate_limit_exceeded", headers=_retry_after(seconds))


def unavailable(message: str, seconds: float) -> RequestError:
    """The error of a server whose engine is away: try again after some seconds."""
    return RequestError(503, message, code="engine_unavailable", headers=_retry_after(seconds))


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(max(1, round(seconds)))}


def unknown_model(name: str) -> RequestError:
    """The error for a model that is not in the list."""
    return RequestError(404, f"there is no model {name[:200]!r} here.", code="model_not_found")


def error_response(error: RequestError, path: str) -> Response:
    """An error as the whole response to a request of a path below the mount.

    Ollama's clients, whose paths are under /api, read a sentence where OpenAI's read an object.
    """
    of_ollama = path.startswith("/api/")
    content = json.dumps({"error": error.message}).encode() if of_ollama else error.content
    return Response(content, error.status, error.headers, "application/json")
