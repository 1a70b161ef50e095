"""A gateway: any OpenAI-compatible API, with the persona held by what rewrites the chat.

A chat completion's messages are rewritten as the control says (`window`, `reminder`,
`route`), its reply is checked where that is wanted (`checking`), and nothing else is
touched: bodies without anything to rewrite go on byte for byte, answers come back as they
come, errors as they are. Which control it was stands in the answer's header
`x-holdfast-control`.

The upstream's key stays here: it is in no answer and no log, and a client's own key goes on
only where the gateway has none of its own.

This module knows messages as JSON. It knows no models.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.responses import Response

from holdfast.control.rewrite import rewrite
from holdfast.core.chat import Chat, Message
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.models.api.endpoint import public_url
from holdfast.models.fact_check import METHODS
from holdfast.persona.suite import Persona
from holdfast.serve.fact_check import HEADER, checkable, checked, streamed, whole
from holdfast.serve.http import REFUSALS, bare
from holdfast.serve.http_errors import Refusal
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.protocol import ChatRequest, Holding, refusal
from holdfast.serve.requests import chosen
from holdfast.serve.stream import Stream, unless_gone

LOG = logging.getLogger("holdfast.serve")
CONTROL = "x-holdfast-control"
COMPLETIONS = "chat/completions"
# What belongs to one connection and not to what it carries (RFC 9110, 7.6.1), or to us alone.
_OWN = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "cookie",
    "set-cookie", "content-encoding", "server", "date",
}  # fmt: skip


@dataclass(frozen=True)
class Upstream:
    """Where requests go, the key for it (None: the client's), and how long an answer may take.

    Raises `ServiceError` for a text that is no base URL.
    """

    url: str
    key: str | None = None
    timeout: float = 600.0

    def __post_init__(self) -> None:
        public_url(self.url)

    @property
    def shown(self) -> str:
        """The URL without what may be secret in it."""
        return public_url(self.url)

    def place(self, path: str, query: str) -> str:
        """The URL of a path below the base."""
        return f"{self.url.rstrip('/')}/{path}" + (f"?{query}" if query else "")

    def censored(self, content: bytes) -> bytes:
        """What the upstream said without its key, which some repeat."""
        key = (self.key or "").encode()
        return content.replace(key, b"[key]") if len(key) >= 8 else content


def create_gateway(
    upstream: Upstream,
    *,
    persona: Persona | None = None,
    control: str | Control = NONE,
    verify: str | None = None,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    log_prompts: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """An ASGI application that passes OpenAI's API on, chats rewritten under a control.

    `verify` "neutral" has replies under a system prompt checked without it (`checking`). With
    `keys` a client needs one of them, and it is never passed on. `transport` is how the
    upstream is reached (by default over the network). Raises `ControlError` for a control
    that needs the weights.
    """
    limits = limits or Limits()
    control = parse(control)
    if why := _weights(control):
        raise ControlError(why)
    if verify not in (None, *METHODS):
        raise HoldfastError(f"--verify is {' or '.join(METHODS)}, not {verify!r}")
    bound = httpx.Limits(max_connections=limits.concurrency + limits.queue)
    timeout = httpx.Timeout(upstream.timeout, connect=15.0)
    client = httpx.AsyncClient(
        timeout=timeout, limits=bound, transport=transport, follow_redirects=False
    )

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = bare("Holdfast gateway", keys, limits, Metrics(), running)
    passing = _Passing(upstream, client, bool(keys), limits)

    @app.get("/health", tags=["server"], summary="Whether the gateway is ready")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok", "upstream": upstream.shown})

    described = {"content": {"application/json": {"schema": ChatRequest.model_json_schema()}}}

    @app.post(
        "/v1/chat/completions",
        tags=["openai"],
        responses=REFUSALS,
        openapi_extra={"requestBody": described},
    )
    async def chat(request: Request) -> Response:
        """A chat completion, its messages rewritten under the control."""
        body, under = rewritten(await request.body(), persona, control)
        if log_prompts:
            LOG.info("asked under %s: %s", under, body.decode("utf-8", "replace"))
        if verify and checkable(asked := json.loads(body)):
            return await passing.checked(request, asked, {CONTROL: under})
        return await passing.on(request, COMPLETIONS, body, {CONTROL: under})

    @app.api_route(
        "/v1/{path:path}",
        methods=["GET", "POST", "DELETE", "PUT", "PATCH"],
        include_in_schema=False,
    )
    async def rest(path: str, request: Request) -> Response:
        return await passing.on(request, path, await request.body(), {})

    return app


@dataclass(frozen=True)
class _Passing:
    """Passes requests on; `keyed` says that the client's key is for us alone."""

    upstream: Upstream
    client: httpx.AsyncClient
    keyed: bool
    limits: Limits

    async def on(
        self, request: Request, path: str, body: bytes, about: Mapping[str, str]
    ) -> Response:
        """The upstream's answer as it comes."""
        answer = await self._answer(request, path, body)
        headers = {**_kept(answer.headers), **about}
        if answer.status_code < 400:
            return Stream(_pieces(answer), self.limits.write_timeout, answer.status_code, headers)
        return Response(await self._content(answer), answer.status_code, headers)

    async def checked(
        self, request: Request, asked: dict[str, Any], about: Mapping[str, str]
    ) -> Response:
        """The upstream's reply once it has been checked without its system prompt."""

        async def post(one: dict[str, Any]) -> dict[str, Any] | None:
            answer = await self._answer(request, COMPLETIONS, json.dumps(one).encode())
            content = await self._content(answer)
            return _object(content) if answer.status_code < 400 else None

        answer = await self._answer(request, COMPLETIONS, json.dumps(whole(asked)).encode())
        content, headers = await self._content(answer), _kept(answer.headers)
        draft = _object(content)
        if answer.status_code >= 400 or draft is None:
            return Response(content, answer.status_code, {**headers, **about})
        completion, came = await checked(asked, draft, post)
        told = {**about, HEADER: came}
        if not asked.get("stream"):
            return JSONResponse(completion, headers=told)
        options = asked.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        told["content-type"] = "text/event-stream; charset=utf-8"
        return Stream(streamed(completion, usage), self.limits.write_timeout, 200, told)

    async def _answer(self, request: Request, path: str, body: bytes) -> httpx.Response:
        """The upstream's answer, its body still to be read."""
        query = request.url.query
        sent = self.client.build_request(
            request.method,
            self.upstream.place(path, query),
            headers=self._headers(request.headers),
            content=body,
        )
        try:
            return await unless_gone(request.receive, self.client.send(sent, stream=True))
        except httpx.TimeoutException as error:
            raise Refusal(504, f"{self.upstream.shown} did not answer in time.") from error
        except httpx.HTTPError as error:
            raise Refusal(502, f"{self.upstream.shown} cannot be reached.") from error

    async def _content(self, answer: httpx.Response) -> bytes:
        """An answer's body, whole, without the upstream's key."""
        try:
            return self.upstream.censored(await answer.aread())
        except httpx.HTTPError as error:
            raise Refusal(502, f"{self.upstream.shown} broke off.") from error
        finally:
            await answer.aclose()

    def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        headers = _kept(given)
        headers["accept-encoding"] = "identity"
        if self.upstream.key or self.keyed:
            headers.pop("authorization", None)
        if self.upstream.key:
            headers["authorization"] = f"Bearer {self.upstream.key}"
        return headers


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OWN}


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


async def _pieces(answer: httpx.Response) -> AsyncGenerator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.HTTPError as error:
        # The client's connection breaks off as the upstream's did.
        raise ConnectionResetError from error
    finally:
        await answer.aclose()


# Rewriting


def rewritten(body: bytes, persona: Persona | None, default: Control) -> tuple[bytes, str]:
    """A request's body under its control, and that control as text.

    Raises `Refusal` for a control that cannot be, and for a body that is no JSON object.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON.", code="invalid_json") from None
    if not isinstance(asked, dict):
        raise Refusal(400, "the body must be a JSON object.", code="invalid_type")
    given = asked.pop("holdfast", None)
    control = chosen(_holding(given).control, default)
    if why := _weights(control):
        raise Refusal(400, why, code="invalid_value", param="holdfast.control")
    messages = asked.get("messages")
    if isinstance(messages, list) and all(isinstance(one, dict) for one in messages):
        asked["messages"] = _under(control, _headed(messages, persona))
        if asked["messages"] == messages and given is None:
            return body, control.text
    return json.dumps(asked).encode(), control.text


def _holding(given: object) -> Holding:
    try:
        return Holding.model_validate({} if given is None else given)
    except ValidationError as error:
        errors = [{**one, "loc": ("holdfast", *one["loc"])} for one in error.errors()]
        raise refusal(errors) from error


def _weights(control: Control) -> str | None:
    if not control.needs_weights:
        return None
    return (
        f"the model is behind an API, and `{control.text}` needs its weights: use window, reminder "
        "or route."
    )


def _headed(messages: Sequence[dict[str, Any]], persona: Persona | None) -> list[dict[str, Any]]:
    """The messages with the persona's prompt in front of what the client says as system."""
    if persona is None:
        return list(messages)
    if messages and messages[0].get("role") in ("system", "developer"):
        return [_after(persona.prompt, messages[0]), *messages[1:]]
    return [{"role": "system", "content": persona.prompt}, *messages]


def _under(control: Control, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as the control leaves them; those that stay are the same objects.

    Reminders join the user's message, since not every API takes a system message in mid-chat.
    """
    shadows: Chat = tuple(_shadow(one) for one in messages)
    own = {id(shadow): one for shadow, one in zip(shadows, messages, strict=True)}
    kept: list[dict[str, Any]] = []
    reminder: str | None = None
    for shadow in rewrite(shadows, control, system_anywhere=True, user_first=True):
        if id(shadow) not in own:
            reminder = shadow["content"]
            continue
        one = own[id(shadow)]
        kept.append(one if reminder is None else _after(reminder, one))
        reminder = None
    return kept


def _shadow(one: Mapping[str, Any]) -> Message:
    """A message's role and text alone, which is what controls look at."""
    role = "system" if one.get("role") == "developer" else one.get("role")
    content = one.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    return cast(Message, {"role": role, "content": content if isinstance(content, str) else ""})


def _after(text: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """A message with a text and a blank line in front of its content, whatever its shape."""
    content = one.get("content")
    if isinstance(content, list):
        return {**one, "content": [{"type": "text", "text": f"{text}\n\n"}, *content]}
    return {**one, "content": text if content is None else f"{text}\n\n{content}"}
