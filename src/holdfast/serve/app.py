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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.responses import Response

from holdfast.control import auto, router
from holdfast.core.backend import Backend
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, ModelError, ServiceError
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Persona
from holdfast.serve.access import Keys
from holdfast.serve.completion import RETRY, Completion
from holdfast.serve.engine.process import EngineProcess
from holdfast.serve.engine.thread import EngineThread
from holdfast.serve.http import CHAT_BODY, ERROR_RESPONSES, base_app
from holdfast.serve.http_errors import RequestError, unavailable, unknown_model
from holdfast.serve.json_body import LARGE_BODY, Json, read_object
from holdfast.serve.limits import KEY_NAME, ROUTE, Limits
from holdfast.serve.live.reply import conversation_id
from holdfast.serve.live.traffic import LiveSettings
from holdfast.serve.live.watches import Watches, add_traffic
from holdfast.serve.metrics import Metrics
from holdfast.serve.ollama.routes import Ollama
from holdfast.serve.page import PageSettings, add_page
from holdfast.serve.protocol import ChatRequest, invalid_request, model_card
from holdfast.serve.requests import CompletionContext, CompletionPlan
from holdfast.serve.stream import EVENTS, StreamingAnswer, events, until_client_leaves, with_end
from holdfast.serve.tenants.config import Alias
from holdfast.serve.tenants.live import LiveTenants

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

LOG = logging.getLogger("holdfast.serve")
# A grammar, or a chat whose replies are to be judged, is read beside the event loop, as a large
# chat is. Names may be written with escapes.
_SLOW = re.compile(rb"response_format|guided_|structured_outputs|auto:|\\u00")


def create_app(
    backend: Backend,
    *,
    persona: Persona | None = None,
    control: str | Control = NONE,
    lock: bool | None = None,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    log_prompts: bool = False,
    traffic: LiveSettings | None = None,
    remote: EngineProcess | None = None,
    tenants: LiveTenants | None = None,
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
        traffic: how the persona's traffic is watched; by default `LiveSettings()`.
        remote: the engine in a process of its own, for which this waits; by default it is a
            thread that starts and ends with the application.
        tenants: aliases, routes and keys of a file (`tenants.config`).

    Raises:
        ModelError: the model is behind an API, or the engine's process cannot load it.
        ControlError: the model cannot be put under `control`.
        ServiceError: a key is empty, or the file names what the model cannot do.
    """
    # Long: a line for each parameter.
    from holdfast.models.local.backend import LocalBackend

    limits, live, own_keys = limits or Limits(), tenants or LiveTenants(), Keys(keys)
    if not isinstance(backend, LocalBackend):
        raise ModelError(f"{backend.name} is behind an API: serve it with --upstream URL.")
    if remote is not None:
        backend.engine.no_anchor = remote.ready()
    control = _check_control(backend, parse(control), persona)
    engine = remote or EngineThread(backend.engine, backend.ends, limits.concurrency)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        live.watch()
        yield
        live.stop()
        await asyncio.to_thread(engine.stop)
        await asyncio.to_thread(watches.stop)

    live.serve(own_keys, lambda alias: _check_alias(backend, alias))
    metrics = _watch_engine(engine)
    app = base_app("Holdfast", own_keys, limits, metrics, lifespan, live)
    locks = bool(persona and own_keys) if lock is None else lock
    watches = Watches(persona, control, metrics, traffic, live)
    add_traffic(app, watches)
    context = CompletionContext(
        backend, engine, metrics, limits, persona, control, locks, watches.own
    )
    note, keyed = NOTES.get(backend.name, ""), bool(own_keys)
    add_page(app, PageSettings(backend.name, persona, control.text, note, keyed, locks))
    _add_model_routes(app, context, live)
    _CompletionsRoute(context, live, lock, log_prompts, watches).add_to(app)
    return app


def _check_alias(backend: LocalBackend, alias: Alias) -> None:
    """Raise `HoldfastError` for an alias that this server cannot serve."""
    if alias.model not in (None, backend.name):
        raise ServiceError(
            f"alias {alias.name}: this server has {backend.name}, not {alias.model}: leave model "
            "out."
        )
    if alias.control is not None:
        _check_control(backend, alias.control, alias.persona)


def _check_control(backend: LocalBackend, control: Control, persona: Persona | None) -> Control:
    """The control, if the model can be put under it; else raise `ControlError`."""
    if why := auto.refusal(control, persona.judge if persona else None):
        raise ControlError(why)
    if control.needs_weights and (why := backend.refusal(control)):
        raise ControlError(why)
    router.check(control.route)
    # The answers are kept: finding them out takes passes, which would wait for those of the engine.
    for own in ("anchor", "boost:2"):
        backend.refusal(parse(own))
    return control


def _watch_engine(engine: EngineProcess | EngineThread) -> Metrics:
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


def _add_model_routes(app: FastAPI, context: CompletionContext, tenants: LiveTenants) -> None:
    """Add /health, /ready and /v1/models."""
    backend, created = context.backend, int(time.time())

    def card(name: str, control: Control, persona: Persona | None) -> dict[str, Any]:
        own = model_card(name, created, control, persona)
        return {**own, "max_model_len": backend.context}

    def cards() -> dict[str, dict[str, Any]]:
        """The model, and its aliases."""
        own = {backend.name: card(backend.name, context.control, context.persona)}
        for alias in tenants.current.aliases.values():
            own[alias.name] = card(alias.name, alias.control or context.control, alias.persona)
        return own

    @app.get("/health", tags=["server"], summary="Whether the server is alive")
    async def health() -> Json:
        """503 if only a restart of the server helps."""
        if not context.engine.alive:
            raise RequestError(503, "the engine has ended for good: restart the server.")
        return Json({"status": "ok", "model": backend.name})

    @app.get("/ready", tags=["server"], summary="Whether the server answers")
    async def ready() -> Json:
        """503 while the engine is being restarted or does not react."""
        if not context.engine.up:
            raise unavailable("the engine does not answer at the moment: try again.", RETRY)
        return Json({"status": "ok", "model": backend.name})

    @app.get("/v1/models", tags=["openai"], summary="The model that is served")
    async def models(request: Request) -> Json:
        own = cards()
        names = tenants.visible(own, request.scope[KEY_NAME])
        return Json({"object": "list", "data": [own[name] for name in names]})

    @app.get("/v1/models/{name:path}", tags=["openai"], responses=ERROR_RESPONSES)
    async def model(name: str, request: Request) -> Json:
        """One model by its name."""
        own = cards()
        if name not in tenants.visible(own, request.scope[KEY_NAME]):
            raise unknown_model(name)
        return Json(own[name])


class _CompletionsRoute:
    """/v1/chat/completions.

    Args:
        context: the server's own persona and control.
        tenants: aliases, routes and keys.
        lock: whether requests may choose no control; None is the rule of `create_app`.
        log_prompts: also log what is said.
        watches: over the traffic of each persona.
    """

    def __init__(
        self,
        context: CompletionContext,
        tenants: LiveTenants,
        lock: bool | None,
        log_prompts: bool,
        watches: Watches,
    ) -> None:
        self.context, self.tenants, self.watches = context, tenants, watches
        self.lock, self.log_prompts = lock, log_prompts
        self._contexts: dict[str, tuple[Alias, CompletionContext]] = {}

    def add_to(self, app: FastAPI) -> None:
        """Add the route, and Ollama's."""
        Ollama(self.context, self.pick, self.record_end, self.tenants).add_to(app)
        app.post(
            "/v1/chat/completions",
            tags=["openai"],
            responses=ERROR_RESPONSES,
            openapi_extra=CHAT_BODY,
        )(self.chat)

    async def chat(self, request: Request) -> Response:
        """A chat completion, streamed where `stream` is true."""
        content, scope = await request.body(), request.scope
        slow = len(content) > LARGE_BODY or _SLOW.search(content) is not None
        slow = slow or self.tenants.judges(self.context.control)
        work = (content, scope[ROUTE], scope[KEY_NAME])
        plan, context, messages = (
            await asyncio.to_thread(self._read, *work) if slow else self._read(*work)
        )
        own = conversation_id(request.headers, plan.body.model_extra or {})
        completion = Completion(context, replace(plan, conversation=own))
        if self.log_prompts:
            LOG.info("%s asked: %s", completion.id, messages)
        if plan.body.stream:
            end = partial(self.record_end, completion, scope[KEY_NAME])
            chunks = events(with_end(completion.chunks(), end))
            return StreamingAnswer(chunks, context.limits.write_timeout, headers=EVENTS)
        try:
            return Json(await until_client_leaves(request.receive, completion.whole()))
        finally:
            self.record_end(completion, scope[KEY_NAME])

    def _read(
        self, content: bytes, route: str | None, key: str
    ) -> tuple[CompletionPlan, CompletionContext, str]:
        """A request's plan, what it is under, and its messages for the log."""
        fields = read_object(content)
        context, alias = self.pick(fields.get("model"), route, key)
        if alias is not None and fields.get("model") == alias:
            fields["model"] = context.backend.name
        try:
            body = ChatRequest.model_validate(fields)
        except ValidationError as error:
            raise invalid_request(error.errors()) from None
        messages = json.dumps(fields["messages"]) if self.log_prompts else ""
        return context.read(body), context, messages

    def pick(
        self, model: object, route: str | None, key: str
    ) -> tuple[CompletionContext, str | None]:
        """What a request is under, and the alias that decides it, where one does."""
        alias = self.tenants.pick(model, route, key)
        return (self._context(alias), alias.name) if alias else (self.context, None)

    def _context(self, alias: Alias) -> CompletionContext:
        """The context of an alias, with its judge; made anew once the file has changed."""
        entry = self._contexts.get(alias.name)
        if entry is None or entry[0] is not alias:
            lock = self.lock if alias.lock is None else alias.lock
            context = replace(
                self.context,
                persona=alias.persona,
                control=alias.control or self.context.control,
                lock=bool(alias.persona and self.tenants.keys) if lock is None else lock,
                live=self.watches.of(alias),
            )
            entry = self._contexts[alias.name] = (alias, context)
        return entry[1]

    def record_end(self, completion: Completion, key: str) -> None:
        """Count a completion's tokens for its key, and log it."""
        if key:
            self.tenants.quotas.add(key, completion.tokens)
        if self.log_prompts:
            LOG.info("%s answered: %s", completion.id, completion.texts)
