"""The application: OpenAI's chat completions over a model on this machine.

`create_app` is the whole of it, and any ASGI server runs it. What the routes share is one
`Completions`, one `Worker` and one `Metrics`; what stands before them is `limits.Guard`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from holdfast.core.backend import Backend
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Persona
from holdfast.serve.completion import Completion
from holdfast.serve.engine_process import Remote
from holdfast.serve.engine_thread import Worker
from holdfast.serve.http import REFUSALS, bare
from holdfast.serve.http_errors import Refusal
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.page import add_page
from holdfast.serve.protocol import ChatRequest
from holdfast.serve.requests import Completions
from holdfast.serve.stream import EVENTS, Stream, events, unless_gone

LOG = logging.getLogger("holdfast.serve")
LARGE = 65_536  # bytes of a body from which on reading the chat would keep others waiting


def create_app(
    backend: Backend,
    *,
    persona: Persona | None = None,
    control: str | Control = NONE,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    log_prompts: bool = False,
    remote: Remote | None = None,
) -> FastAPI:
    """An ASGI application that serves a local model.

    `persona` is put in front of every chat, `control` is the default of requests that name
    none; with `keys` every request to /v1 and /metrics needs one of them. The engine is a
    thread that starts and ends with the application, or `remote`, for which this waits; then
    `backend` is the model's outline. Raises `ModelError` for a model behind an API and
    `ControlError` for a control that this model cannot be put under.
    """
    from holdfast.models.local.backend import LocalBackend

    limits = limits or Limits()
    if not isinstance(backend, LocalBackend):
        raise ModelError(f"{backend.name} is behind an API: serve it with --upstream URL.")
    if remote is not None:
        backend.engine.no_anchor = remote.ready()
    control = parse(control)
    if control.needs_weights and (why := backend.refusal(control)):
        raise ControlError(why)
    # Known from now on: finding out takes a pass, which would have to wait for the worker's.
    backend.refusal(parse("anchor"))
    worker = remote or Worker(backend.engine, backend.ends, limits.concurrency)
    metrics = Metrics()
    metrics.watch("holdfast_rows_running", "Replies under way", lambda: worker.running)
    metrics.watch("holdfast_rows_waiting", "Replies that wait for a row", lambda: worker.waiting)
    metrics.watch("holdfast_decoding_steps", "Steps since the start", lambda: worker.steps)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        await asyncio.to_thread(worker.stop)

    app = bare("Holdfast", keys, limits, metrics, running)
    completions = Completions(backend, worker, metrics, limits, persona, control)
    add_page(
        app,
        model=backend.name,
        note=NOTES.get(backend.name, ""),
        persona=persona,
        control=control.text,
        locked=bool(keys),
    )

    @app.get("/health", tags=["server"], summary="Whether the server is ready")
    async def health() -> JSONResponse:
        if not worker.alive:
            raise Refusal(503, "the engine has ended: restart the server.")
        return JSONResponse({"status": "ok", "model": backend.name})

    def card() -> dict[str, Any]:
        about = {"control": control.text, "persona": persona.id if persona else None}
        return {
            "id": backend.name, "object": "model", "created": started, "owned_by": "holdfast",
            "max_model_len": backend.context, "holdfast": about,
        }  # fmt: skip

    started = int(time.time())

    @app.get("/v1/models", tags=["openai"], summary="The model that is served")
    async def models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card()]})

    @app.get("/v1/models/{name:path}", tags=["openai"], responses=REFUSALS)
    async def model(name: str) -> JSONResponse:
        """One model by its name."""
        if name != backend.name:
            raise Refusal(404, f"there is no model {name} here.", code="model_not_found")
        return JSONResponse(card())

    @app.post("/v1/chat/completions", tags=["openai"], responses=REFUSALS)
    async def chat(body: ChatRequest, request: Request) -> Response:
        """A chat completion, streamed where `stream` is true."""
        large = int(request.headers.get("content-length", 0)) > LARGE
        read = completions.read
        made = Completion(completions, await asyncio.to_thread(read, body) if large else read(body))
        if log_prompts:
            LOG.info("%s asked: %s", made.id, body.model_dump_json(include={"messages"}))
        if body.stream:
            return Stream(events(noted(made)), limits.write_timeout, headers=EVENTS)
        try:
            whole = await unless_gone(request.receive, made.whole())
        finally:
            note(made)
        return JSONResponse(whole)

    def note(made: Completion) -> None:
        if log_prompts:
            LOG.info("%s answered: %s", made.id, made.texts)

    async def noted(made: Completion) -> AsyncGenerator[dict[str, Any]]:
        try:
            async with aclosing(made.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            note(made)

    return app
