"""The gateway's application: which requests are rewritten, which pass, and which are refused.

    POST /v1/chat/completions, /v1/responses, /v1/messages    rewritten under persona and control
    GET /v1/models, /v1/models/…                              forwarded, with aliases (`models`)
    the paths of `pass_through`                               forwarded as they are
    anything else                                             refused

The response's header `x-holdfast-control` names the control. The upstream's key appears in no
response and no log. A client's own key is forwarded only if the gateway has none.

This module knows HTTP. It knows no models.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.responses import Response

from holdfast.control import router
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.models.fact_check import METHODS
from holdfast.models.thinking import split_thought
from holdfast.persona.suite import Persona
from holdfast.serve.access import Keys
from holdfast.serve.gateway.client_pool import ClientPool
from holdfast.serve.gateway.fact_check import (
    HEADER,
    as_events,
    check_draft,
    is_checkable,
    without_stream,
)
from holdfast.serve.gateway.models import ModelList
from holdfast.serve.gateway.paths import METHODS as HTTP_METHODS
from holdfast.serve.gateway.paths import MODELS, REWRITTEN, PathRule, passes, read_rule
from holdfast.serve.gateway.readiness import Readiness, add_health
from holdfast.serve.gateway.rewriting import (
    CHAT,
    DIALECTS,
    MESSAGES,
    ChooseAdapter,
    Dialect,
    RewrittenRequest,
    Rules,
    refusal,
    rewrite_body,
    roles_and_texts,
)
from holdfast.serve.gateway.upstream import REPLY_BYTES, Proxy, Upstream, with_headers
from holdfast.serve.http import CHAT_BODY, ERROR_RESPONSES, base_app
from holdfast.serve.http_errors import RequestError
from holdfast.serve.json_body import LARGE_BODY, Json, object_or_none
from holdfast.serve.limits import KEY_NAME, ROUTE, Limits
from holdfast.serve.live.reply import LiveReply, conversation_id
from holdfast.serve.live.traffic import LiveSettings
from holdfast.serve.live.watches import Watches, add_traffic
from holdfast.serve.live.wire_reply import read_wire_reply
from holdfast.serve.metrics import Metrics
from holdfast.serve.page import PageSettings, add_page
from holdfast.serve.stream import EVENTS, StreamingAnswer
from holdfast.serve.tenants.config import Alias
from holdfast.serve.tenants.live import LiveTenants
from holdfast.serve.tenants.quotas import Quotas

LOG = logging.getLogger("holdfast.serve")
CONTROL = "x-holdfast-control"
_OBJECT_BODY = {
    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
}
_LONGEST_MODEL = 200  # characters of a model's name, which a client chooses, in the log
# A chat whose replies are to be judged is rewritten beside the event loop, as a large one is. A
# control's name may be written with escapes.
_SLOW = re.compile(rb"auto:|\\u00")


def create_gateway(
    upstream: Upstream,
    *,
    persona: Persona | None = None,
    control: str | Control = NONE,
    lock: bool | None = None,
    verify: str | None = None,
    pass_through: Sequence[str] = (),
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    log_prompts: bool = False,
    traffic: LiveSettings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    tenants: LiveTenants | None = None,
    choose: ChooseAdapter | None = None,
) -> FastAPI:
    """Build an ASGI application that forwards an API and rewrites its chats under a control.

    Args:
        upstream: the API behind the gateway.
        persona: goes before every chat.
        control: the control of requests that name none, one that rewrites the chat.
        lock: whether requests that choose another control are refused; by default if there is
            a persona.
        verify: "neutral" checks replies under a system prompt without it (`fact_check`).
        pass_through: paths that are forwarded as they are (`paths.read_rule`), beside models.
        keys: API keys of which a client needs one; they are never forwarded.
        limits: what a request may cost; by default `Limits()`.
        log_prompts: also log what is said.
        traffic: how the persona's traffic is watched; by default `LiveSettings()`.
        transport: how the upstream is reached; by default over the network.
        tenants: aliases, routes and keys of a file (`tenants.config`).
        choose: says which adapter of the upstream answers a chat, for a control `prism:PATH`
            (`adapter_choice.AdapterChoice.choose`).

    Raises:
        ControlError: `control` needs the weights, or a judge that is not there.
        ServiceError: one of `pass_through` is no path.
        HoldfastError: there is no such way to verify.
    """
    # Long: a line for each parameter.
    limits, live, own_keys = limits or Limits(), tenants or LiveTenants(), Keys(keys)
    control = parse(control)
    _check(control, verify, persona, choose is not None)
    rules = Rules(persona, control, persona is not None if lock is None else lock, None, choose)
    pool = ClientPool(upstream.timeout, limits.concurrency + limits.queue, transport)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        live.watch()
        yield
        live.stop()
        await pool.aclose()
        await asyncio.to_thread(watches.stop)

    live.serve(own_keys, _check_alias)
    metrics = Metrics()
    app = base_app("Holdfast gateway", own_keys, limits, metrics, lifespan, live)
    proxy = Proxy(upstream, pool, own_keys, limits, metrics)
    add_health(app, Readiness(upstream, pool))
    keyed, choice = bool(own_keys), _Choice(rules, live, lock)
    add_page(app, PageSettings(None, persona, control.text, "", keyed, rules.lock, weights=False))
    watches = Watches(persona, control, metrics, traffic, live)
    add_traffic(app, watches)
    for dialect in DIALECTS:
        route = _RewritingRoute(
            dialect, choice, proxy, bool(verify), log_prompts, watches, live.quotas
        )
        _add_chat_route(app, route)

    models = ModelList(proxy, live, control)
    _add_other_paths(app, proxy, tuple(map(read_rule, pass_through)), models, live)
    return app


def _check(control: Control, verify: str | None, persona: Persona | None, gated: bool) -> None:
    """Raise `HoldfastError` for what no gateway can do."""
    if why := refusal(control, persona, gated):
        raise ControlError(why)
    router.check(control.route)
    if verify not in (None, *METHODS):
        raise HoldfastError(f"`verify` is {' or '.join(METHODS)}, not {verify!r}")


def _check_alias(alias: Alias) -> None:
    """Raise `HoldfastError` for an alias that a gateway cannot serve."""
    if alias.control is not None:
        if why := refusal(alias.control, alias.persona):
            raise ControlError(f"alias {alias.name}: {why}")
        router.check(alias.control.route)


@dataclass(frozen=True)
class _Choice:
    """Which rules a request is under."""

    own: Rules
    """Those of the gateway."""
    tenants: LiveTenants
    """Aliases, routes and keys."""
    lock: bool | None
    """The operator's choice, if there is one."""

    @property
    def slow(self) -> bool:
        """Whether a request that names no control may take long to rewrite."""
        return self.own.choose is not None or self.tenants.judges(self.own.control)

    def rules(self, model: object, route: str | None, key: str) -> Rules:
        """The rules of a request. Raises `RequestError` where its key may not use them."""
        alias = self.tenants.pick(model, route, key)
        if alias is None:
            return self.own
        lock = self.lock if alias.lock is None else alias.lock
        if alias.model is None and model not in (None, alias.name):
            self.tenants.check_own_model(key)
        return Rules(
            alias.persona,
            alias.control or self.own.control,
            alias.persona is not None if lock is None else lock,
            alias.model,
            self.own.choose if alias.control in (None, self.own.control) else None,
        )


@dataclass(frozen=True)
class _RewritingRoute:
    """A route whose requests are rewritten."""

    dialect: Dialect
    choice: _Choice
    proxy: Proxy
    verify: bool
    log_prompts: bool
    watches: Watches
    quotas: Quotas

    async def answer(self, request: Request) -> Response:
        body, scope = await request.body(), request.scope

        def rules(model: object) -> Rules:
            return self.choice.rules(model, scope[ROUTE], scope[KEY_NAME])

        work = (body, rules, self.dialect)
        slow = len(body) > LARGE_BODY or self.choice.slow or _SLOW.search(body) is not None
        chat = await asyncio.to_thread(rewrite_body, *work) if slow else rewrite_body(*work)
        about = {CONTROL: chat.control.text.encode("ascii", "backslashreplace").decode()}
        if self.log_prompts:
            LOG.info("asked under %s: %s", about[CONTROL], json.dumps(chat.fields))
        if self.verify and self.dialect is CHAT and is_checkable(chat.fields, chat.chat):
            return await self._forward_checked(request, chat, about)
        start = time.time()
        on_end = partial(self._record_reply, request, chat, start)
        return await self.proxy.forward(request, self.dialect.path, chat.body, about, on_end)

    def _record_reply(
        self, request: Request, chat: RewrittenRequest, start: float, content: bytes, whole: bool
    ) -> None:
        """Count a reply's tokens for its key, and hand a whole reply to the watch."""
        answer = read_wire_reply(content)
        whole = whole and not answer.failed
        finish = answer.finish if whole else "incomplete"
        self.proxy.metrics.count_reply(chat.control, finish, answer.tokens, time.time() - start)
        if key := request.scope[KEY_NAME]:
            # Where the upstream does not say, four bytes count as a token.
            tokens = answer.tokens or (len(chat.body) // 4, len(answer.text.encode()) // 4)
            self.quotas.add(key, sum(tokens))
        live = self.watches.over(chat.persona)
        if live is None or not whole or not chat.watch:
            return
        live.reply(
            LiveReply(
                turns=roles_and_texts(chat.chat, self.dialect),
                text=split_thought(answer.text).reply,
                control=chat.control,
                model=str(chat.fields.get("model", ""))[:_LONGEST_MODEL],
                id=conversation_id(request.headers, chat.fields),
                began=start,
                tokens=answer.tokens,
                finish=answer.finish,
            )
        )

    async def _forward_checked(
        self, request: Request, chat: RewrittenRequest, about: Mapping[str, str]
    ) -> Response:
        """Forward a request; the reply is checked without its system prompt before it is sent."""
        fields, proxy, start = chat.fields, self.proxy, time.time()

        async def post(one: dict[str, Any]) -> dict[str, Any] | None:
            try:
                answer = await proxy.send(request, CHAT.path, json.dumps(one).encode())
                content = await proxy.read(answer, REPLY_BYTES)
            except RequestError:  # which is logged; the draft is good enough
                return None
            return object_or_none(content) if content and answer.status_code < 400 else None

        answer = await proxy.send(request, CHAT.path, json.dumps(without_stream(fields)).encode())
        if answer.status_code >= 400:
            return await proxy.pass_error_on(answer, about)
        whole = await proxy.read(answer, REPLY_BYTES)
        if whole is None:
            raise proxy.unusable_error("sent a reply that is too long")
        draft = object_or_none(whole)
        if draft is None:
            headers = proxy.headers(answer, about)
            return with_headers(Response(whole, answer.status_code), headers)
        completion, outcome = await check_draft(fields, chat.chat, draft, post)
        self._record_reply(request, chat, start, json.dumps(completion).encode(), True)
        extra = {**about, HEADER: outcome}
        if not fields.get("stream"):
            return Json(completion, headers=extra)
        options = fields.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        events = as_events(completion, usage)
        return StreamingAnswer(events, proxy.limits.write_timeout, headers=EVENTS | extra)


def _add_chat_route(app: FastAPI, route: _RewritingRoute) -> None:
    app.post(
        f"/v1/{route.dialect.path}",
        tags=["anthropic" if route.dialect is MESSAGES else "openai"],
        summary="A chat, its messages rewritten under the control",
        responses=ERROR_RESPONSES,
        openapi_extra=CHAT_BODY if route.dialect is CHAT else _OBJECT_BODY,
    )(route.answer)


def _add_other_paths(
    app: FastAPI,
    proxy: Proxy,
    further: Sequence[PathRule],
    models: ModelList,
    tenants: LiveTenants,
) -> None:
    """Forward models and what is allowed as it is, and refuse the rest.

    A key of certain aliases reaches the models alone: what passes is under no alias.
    """

    @app.api_route("/v1/{path:path}", methods=list(HTTP_METHODS), include_in_schema=False)
    async def rest(path: str, request: Request) -> Response:
        if path in REWRITTEN:
            raise RequestError(405, "chats are sent with POST.", headers={"allow": "POST"})
        restricted = tenants.is_restricted(request.scope[KEY_NAME])
        open_paths = MODELS if restricted else (*MODELS, *further)
        if not passes(open_paths, request.method, path):
            raise RequestError(
                403,
                f"the gateway does not forward {request.method} /v1/{path[:200]}: an operator "
                "allows a path with --pass-through.",
                code="path_not_allowed",
            )
        own = await models.answer(request, path) if request.method == "GET" else None
        return own or await proxy.forward(request, path, await request.body(), {})
