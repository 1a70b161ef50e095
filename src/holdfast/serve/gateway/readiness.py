"""Whether the API behind the gateway answers, asked at most once every few seconds.

This module knows HTTP. It knows no chats.
"""

from __future__ import annotations

import asyncio
import time

import httpx
from fastapi import FastAPI

from holdfast.serve.gateway.client_pool import ClientPool
from holdfast.serve.gateway.upstream import Upstream
from holdfast.serve.http_errors import unavailable
from holdfast.serve.json_body import Json

LIFETIME = 5.0  # seconds that an answer counts, so that nobody makes the gateway ask for ever
PATIENCE = 3.0  # seconds that the API may take
_PATH = "models"


class Readiness:
    """Asks the API for its models, which every OpenAI-compatible one lists.

    Args:
        upstream: the API.
        pool: the gateway's connections.
    """

    def __init__(self, upstream: Upstream, pool: ClientPool) -> None:
        self._upstream, self._pool = upstream, pool
        self._lock = asyncio.Lock()
        self._last_ask, self._why = -LIFETIME, ""

    async def why_not(self) -> str:
        """Why the API does not answer; empty if it does, even with an error of the client's."""
        async with self._lock:
            if time.monotonic() - self._last_ask >= LIFETIME:
                self._why = await self._ask()
                self._last_ask = time.monotonic()
            return self._why

    async def _ask(self) -> str:
        url, headers = self._upstream.url_for(_PATH, ""), self._upstream.key_headers(_PATH)
        try:
            async with self._pool.client().stream(
                "GET", url, headers=headers, timeout=PATIENCE
            ) as answer:
                status = answer.status_code
        except httpx.HTTPError as error:
            return f"it cannot be reached ({type(error).__name__})"
        return f"it answers with {status}" if status >= 500 else ""


def add_health(app: FastAPI, readiness: Readiness) -> None:
    """Add /health and /ready."""

    @app.get("/health", tags=["server"], summary="Whether the gateway is alive")
    async def health() -> Json:
        return Json({"status": "ok"})  # asked without a key: the address is nobody's

    @app.get("/ready", tags=["server"], summary="Whether the API behind the gateway answers")
    async def ready() -> Json:
        """503 while it does not; asked at most every few seconds."""
        if why := await readiness.why_not():
            raise unavailable(f"the upstream: {why}.", LIFETIME)
        return Json({"status": "ok"})
