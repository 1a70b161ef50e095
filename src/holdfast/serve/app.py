"""The application: OpenAI's chat completions over a model on this machine.

`create_app` builds it, and any ASGI server runs it. Its routes share one `CompletionContext`, one
engine and one `Metrics`; `limits.Guard` runs before them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.responses import Response

from holdfast.core.backend import Backend
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Persona
from holdfast.serve.completion import RETRY, Completion
from holdfast.serve.engine.process import EngineProcess
from holdfast.serve.engine.thread import EngineThread
from holdfast.serve.http import CHAT_BODY, ERROR_RESPONSES, base_app
from holdfast.serve.http_errors import RequestError, unavailable
from holdfast.serve.json_body import read_object
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.page import add_page
from holdfast.serve.protocol import ChatRequest, invalid_request
from holdfast.serve.requests import CompletionContext, CompletionPlan
from holdfast.serve.stream import EVENTS, StreamingAnswer, events, until_client_leaves

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

LOG = logging.getLogger("holdfast.serve")
# Reading a longer chat (in bytes), or a grammar, in the event loop would keep others waiting.
LARGE_BODY = 65_536
_GRAMMAR = re.compile(rb"response_format|guided_|structured_outputs")


def create_app(
    backend: Backend,
    *,
    persona: Persona | None = None,
    control: str | Control = NONE,
    lock: bool | None = None,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    log_prompts: bool = False,
    remote: EngineProcess | None = None,
) -> FastAPI:
    """Build an ASGI application that serves a local model.

    Args:
        backend: the model; only its outline (`models.local.load.outline`) where `remote` is given.
        persona: goes before every chat.
        control: the control of requests that name none.
        lock: whether requests that choose another control are refused; by default if there are
            a persona and keys. The live page compares controls, so it needs False.
        keys: API keys; with them every request needs one but those to `access.OPEN`.
        limits: what a request may cost; by default `Limits()`.
        log_prompts: also log what is said.
        remote: the engine in a process of its own, for which this waits; by default it is a
            thread that starts and ends with the application.

    Raises:
        ModelError: the model is behind an API, or the engine's process cannot load it.
        ControlError: the model cannot be put under `control`.
        ServiceError: a key is empty.
    """
    from holdfast.models.local.backend import LocalBackend

    limits = limits or Limits()
    if not isinstance(backend, LocalBackend):
        raise ModelError(f"{backend.name} is behind an API: serve it with --upstream URL.")
    if remote is not None:
        backend.engine.no_anchor = remote.ready()
    control = _check_control(backend, parse(control))
    engine = remote or EngineThread(backend.engine, backend.ends, limits.concurrency)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.stop)

    metrics = _watched(engine)
    app = base_app("Holdfast", keys, limits, metrics, lifespan)
    locks = bool(persona and keys) if lock is None else lock
    context = CompletionContext(backend, engine, metrics, limits, persona, control, locks)
    add_page(
        app,
        model=backend.name,
        note=NOTES.get(backend.name, ""),
        persona=persona,
        control=control.text,
        locked=bool(keys),
    )
    _add_routes(app, context, log_prompts)
    return app


def _add_routes(app: FastAPI, context: CompletionContext, log_prompts: bool) -> None:
    _add_model_routes(app, context)
    _add_chat_route(app, context, log_prompts)


def _check_control(backend: LocalBackend, control: Control) -> Control:
    """The control, if the model can be put under it; else raise `ControlError`."""
    if control.needs_weights and (why := backend.refusal(control)):
        raise ControlError(why)
    # The answer is kept: finding it out takes a pass, which would have to wait for the engine's.
    backend.refusal(parse("anchor"))
    return control


def _watched(engine: EngineProcess | EngineThread) -> Metrics:
    """Metrics that read the engine's state when Prometheus asks."""
    metrics = Metrics()
    metrics.watch("holdfast_rows_running", "Replies under way", lambda: engine.running)
    metrics.watch("holdfast_rows_waiting", "Replies that wait for a row", lambda: engine.waiting)
    metrics.watch("holdfast_decoding_steps", "Steps since the engine's start", lambda: engine.steps)
    metrics.watch("holdfast_engine_up", "1 while the engine answers", lambda: engine.up)
    metrics.watch(
        "holdfast_engine_restarts_total",
        "Engines that took the place of a dead or stuck one",
        lambda: engine.restarts,
    )
    return metrics


def _add_model_routes(app: FastAPI, context: CompletionContext) -> None:
    """Add /health, /ready and /v1/models."""
    backend, persona = context.backend, context.persona
    card = {
        "id": backend.name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "holdfast",
        "max_model_len": backend.context,
        "holdfast": {
            "control": context.control.text,
            "persona": persona.id if persona else None,
        },
    }

    @app.get("/health", tags=["server"], summary="Whether the server is alive")
    async def health() -> JSONResponse:
        """503 if only a restart of the server helps."""
        if not context.engine.alive:
            raise RequestError(503, "the engine has ended for good: restart the server.")
        return JSONResponse({"status": "ok", "model": backend.name})

    @app.get("/ready", tags=["server"], summary="Whether the server answers")
    async def ready() -> JSONResponse:
        """503 while the engine is being restarted or does not react."""
        if not context.engine.up:
            raise unavailable("the engine does not answer at the moment: try again.", RETRY)
        return JSONResponse({"status": "ok", "model": backend.name})

    @app.get("/v1/models", tags=["openai"], summary="The model that is served")
    async def models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card]})

    @app.get("/v1/models/{name:path}", tags=["openai"], responses=ERROR_RESPONSES)
    async def model(name: str) -> JSONResponse:
        """One model by its name."""
        if name != backend.name:
            raise RequestError(404, f"there is no model {name} here.", code="model_not_found")
        return JSONResponse(card)


def _add_chat_route(app: FastAPI, context: CompletionContext, log_prompts: bool) -> None:
    """Add /v1/chat/completions."""

    def read(content: bytes) -> tuple[CompletionPlan, str]:
        """A request's plan, and its messages for the log."""
        fields = read_object(content)
        try:
            body = ChatRequest.model_validate(fields)
        except ValidationError as error:
            raise invalid_request(error.errors()) from None
        return context.read(body), json.dumps(fields["messages"]) if log_prompts else ""

    @app.post(
        "/v1/chat/completions",
        tags=["openai"],
        responses=ERROR_RESPONSES,
        openapi_extra=CHAT_BODY,
    )
    async def chat(request: Request) -> Response:
        """A chat completion, streamed where `stream` is true."""
        content = await request.body()
        slow = len(content) > LARGE_BODY or _GRAMMAR.search(content) is not None
        plan, messages = await asyncio.to_thread(read, content) if slow else read(content)
        completion = Completion(context, plan)
        if log_prompts:
            LOG.info("%s asked: %s", completion.id, messages)
        if plan.body.stream:
            chunks = events(logged_chunks(completion))
            return StreamingAnswer(chunks, context.limits.write_timeout, headers=EVENTS)
        try:
            return JSONResponse(await until_client_leaves(request.receive, completion.whole()))
        finally:
            log_texts(completion)

    def log_texts(completion: Completion) -> None:
        if log_prompts:
            LOG.info("%s answered: %s", completion.id, completion.texts)

    async def logged_chunks(completion: Completion) -> AsyncGenerator[dict[str, Any]]:
        try:
            async with aclosing(completion.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            log_texts(completion)
