"""A gateway in front of any OpenAI-compatible API that holds the persona by rewriting the chat.

The gateway rewrites the messages of a chat completion under the control (`window`, `reminder`,
`route`) and, with `--verify`, checks the reply (`fact_check`). It changes nothing else: a body
without anything to rewrite is forwarded byte for byte, and responses and errors come back as they
are. The response's header `x-holdfast-control` names the control.

The upstream's key appears in no response and no log. A client's own key is forwarded only if the
gateway has none.

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
from holdfast.serve.fact_check import HEADER, as_events, check_draft, checkable, unstreamed
from holdfast.serve.http import ERROR_RESPONSES, base_app
from holdfast.serve.http_errors import RequestError
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.protocol import ChatRequest, HoldfastOptions, invalid_request
from holdfast.serve.requests import pick_control
from holdfast.serve.stream import StreamingAnswer, until_client_leaves

LOG = logging.getLogger("holdfast.serve")
CONTROL = "x-holdfast-control"
COMPLETIONS = "chat/completions"
# Headers of one connection and not of the message (RFC 9110, 7.6.1), and headers that are ours.
_CONNECTION_HEADERS = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "cookie",
    "set-cookie", "content-encoding", "server", "date",
}  # fmt: skip


@dataclass(frozen=True)
class Upstream:
    """The API behind the gateway. Raises `ServiceError` if `url` is no base URL."""

    url: str
    """Its base URL."""
    key: str | None = None
    """Its key; None forwards the client's."""
    timeout: float = 600.0
    """Seconds that a response may take."""

    def __post_init__(self) -> None:
        public_url(self.url)

    @property
    def public(self) -> str:
        """The base URL without credentials."""
        return public_url(self.url)

    def url_for(self, path: str, query: str) -> str:
        """The URL of a path below the base URL."""
        return f"{self.url.rstrip('/')}/{path}" + (f"?{query}" if query else "")

    def without_key(self, content: bytes) -> bytes:
        """A body of the upstream without its key, which some APIs repeat."""
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
    """Build an ASGI application that forwards OpenAI's API and rewrites chats under a control.

    Args:
        upstream: the API behind the gateway.
        persona: goes before every chat.
        control: the control of requests that name none: window, reminder or route.
        verify: "neutral" checks replies under a system prompt without it (`fact_check`).
        keys: API keys of which a client needs one; they are never forwarded.
        limits: what a request may cost; by default `Limits()`.
        log_prompts: also log what is said.
        transport: how the upstream is reached; by default over the network.

    Raises:
        ControlError: `control` needs the weights.
        HoldfastError: there is no such way to verify.
    """
    limits = limits or Limits()
    control = parse(control)
    if why := _weights_refusal(control):
        raise ControlError(why)
    if verify not in (None, *METHODS):
        raise HoldfastError(f"--verify is {' or '.join(METHODS)}, not {verify!r}")
    connections = httpx.Limits(max_connections=limits.concurrency + limits.queue)
    timeout = httpx.Timeout(upstream.timeout, connect=15.0)
    client = httpx.AsyncClient(
        timeout=timeout, limits=connections, transport=transport, follow_redirects=False
    )

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = base_app("Holdfast gateway", keys, limits, Metrics(), running)
    proxy = _Proxy(upstream, client, bool(keys), limits)

    @app.get("/health", tags=["server"], summary="Whether the gateway is ready")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok", "upstream": upstream.public})

    described = {"content": {"application/json": {"schema": ChatRequest.model_json_schema()}}}

    @app.post(
        "/v1/chat/completions",
        tags=["openai"],
        responses=ERROR_RESPONSES,
        openapi_extra={"requestBody": described},
    )
    async def chat(request: Request) -> Response:
        """A chat completion, its messages rewritten under the control."""
        body, text = rewrite_body(await request.body(), persona, control)
        if log_prompts:
            LOG.info("asked under %s: %s", text, body.decode("utf-8", "replace"))
        if verify and checkable(fields := json.loads(body)):
            return await proxy.forward_checked(request, fields, {CONTROL: text})
        return await proxy.forward(request, COMPLETIONS, body, {CONTROL: text})

    @app.api_route(
        "/v1/{path:path}",
        methods=["GET", "POST", "DELETE", "PUT", "PATCH"],
        include_in_schema=False,
    )
    async def rest(path: str, request: Request) -> Response:
        return await proxy.forward(request, path, await request.body(), {})

    return app


@dataclass(frozen=True)
class _Proxy:
    """Forwards requests to the upstream."""

    upstream: Upstream
    client: httpx.AsyncClient
    keyed: bool
    """True if the client's key is the gateway's, and so is not forwarded."""
    limits: Limits

    async def forward(
        self, request: Request, path: str, body: bytes, about: Mapping[str, str]
    ) -> Response:
        """Forward a request; the upstream's response is sent as it comes."""
        answer = await self._answer(request, path, body)
        headers = {**_passed_headers(answer.headers), **about}
        if answer.status_code < 400:
            return StreamingAnswer(
                _pieces(answer), self.limits.write_timeout, answer.status_code, headers
            )
        return Response(await self._content(answer), answer.status_code, headers)

    async def forward_checked(
        self, request: Request, fields: dict[str, Any], about: Mapping[str, str]
    ) -> Response:
        """Forward a request; the reply is checked without its system prompt before it is sent."""

        async def post(one: dict[str, Any]) -> dict[str, Any] | None:
            answer = await self._answer(request, COMPLETIONS, json.dumps(one).encode())
            content = await self._content(answer)
            return _object(content) if answer.status_code < 400 else None

        answer = await self._answer(request, COMPLETIONS, json.dumps(unstreamed(fields)).encode())
        content, headers = await self._content(answer), _passed_headers(answer.headers)
        draft = _object(content)
        if answer.status_code >= 400 or draft is None:
            return Response(content, answer.status_code, {**headers, **about})
        completion, outcome = await check_draft(fields, draft, post)
        extra = {**about, HEADER: outcome}
        if not fields.get("stream"):
            return JSONResponse(completion, headers=extra)
        options = fields.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        extra["content-type"] = "text/event-stream; charset=utf-8"
        return StreamingAnswer(as_events(completion, usage), self.limits.write_timeout, 200, extra)

    async def _answer(self, request: Request, path: str, body: bytes) -> httpx.Response:
        """The upstream's response, its body still unread."""
        query = request.url.query
        sent = self.client.build_request(
            request.method,
            self.upstream.url_for(path, query),
            headers=self._headers(request.headers),
            content=body,
        )
        try:
            return await until_client_leaves(request.receive, self.client.send(sent, stream=True))
        except httpx.TimeoutException as error:
            raise RequestError(504, f"{self.upstream.public} did not answer in time.") from error
        except httpx.HTTPError as error:
            raise RequestError(502, f"{self.upstream.public} cannot be reached.") from error

    async def _content(self, answer: httpx.Response) -> bytes:
        """A response's whole body, without the upstream's key."""
        try:
            return self.upstream.without_key(await answer.aread())
        except httpx.HTTPError as error:
            raise RequestError(502, f"{self.upstream.public} broke off.") from error
        finally:
            await answer.aclose()

    def _headers(self, own: Mapping[str, str]) -> dict[str, str]:
        headers = _passed_headers(own)
        headers["accept-encoding"] = "identity"
        if self.upstream.key or self.keyed:
            headers.pop("authorization", None)
        if self.upstream.key:
            headers["authorization"] = f"Bearer {self.upstream.key}"
        return headers


def _passed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in headers.items() if name.lower() not in _CONNECTION_HEADERS
    }


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


async def _pieces(answer: httpx.Response) -> AsyncGenerator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.HTTPError as error:
        # The client's connection breaks as the upstream's did.
        raise ConnectionResetError from error
    finally:
        await answer.aclose()


# Rewriting


def rewrite_body(body: bytes, persona: Persona | None, default: Control) -> tuple[bytes, str]:
    """Rewrite a request's body under its control.

    Args:
        body: the body as it came.
        persona: goes before the chat.
        default: the control of a request that names none.

    Returns:
        The body to forward, and its control as text.

    Raises:
        RequestError: the body is no JSON object, or its control needs the weights.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not valid JSON.", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise RequestError(400, "the body must be a JSON object.", code="invalid_type")
    options = fields.pop("holdfast", None)
    control = pick_control(_options(options).control, default)
    if why := _weights_refusal(control):
        raise RequestError(400, why, code="invalid_value", param="holdfast.control")
    messages = fields.get("messages")
    if isinstance(messages, list) and all(isinstance(one, dict) for one in messages):
        fields["messages"] = _rewrite(control, _with_persona(messages, persona))
        if fields["messages"] == messages and options is None:
            return body, control.text
    return json.dumps(fields).encode(), control.text


def _options(value: object) -> HoldfastOptions:
    try:
        return HoldfastOptions.model_validate({} if value is None else value)
    except ValidationError as error:
        errors = [{**one, "loc": ("holdfast", *one["loc"])} for one in error.errors()]
        raise invalid_request(errors) from error


def _weights_refusal(control: Control) -> str | None:
    if not control.needs_weights:
        return None
    return (
        f"the model is behind an API, and `{control.text}` needs its weights: use window, reminder "
        "or route."
    )


def _with_persona(
    messages: Sequence[dict[str, Any]], persona: Persona | None
) -> list[dict[str, Any]]:
    """The messages with the persona's prompt before the client's own system prompt."""
    if persona is None:
        return list(messages)
    if messages and messages[0].get("role") in ("system", "developer"):
        return [_prefixed(persona.prompt, messages[0]), *messages[1:]]
    return [{"role": "system", "content": persona.prompt}, *messages]


def _rewrite(control: Control, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages under the control; those that stay are the same objects.

    A reminder joins the user's message, since not every API takes a system message in mid-chat.
    """
    shadows: Chat = tuple(_shadow(one) for one in messages)
    own = {id(shadow): one for shadow, one in zip(shadows, messages, strict=True)}
    result: list[dict[str, Any]] = []
    reminder: str | None = None
    for shadow in rewrite(shadows, control, system_anywhere=True, user_first=True):
        if id(shadow) not in own:
            reminder = shadow["content"]
            continue
        one = own[id(shadow)]
        result.append(one if reminder is None else _prefixed(reminder, one))
        reminder = None
    return result


def _shadow(one: Mapping[str, Any]) -> Message:
    """A message's role and text, which is all that controls read."""
    role = "system" if one.get("role") == "developer" else one.get("role")
    content = one.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    return cast(Message, {"role": role, "content": content if isinstance(content, str) else ""})


def _prefixed(text: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """A message with a text and a blank line before its content, whatever its shape."""
    content = one.get("content")
    if isinstance(content, list):
        return {**one, "content": [{"type": "text", "text": f"{text}\n\n"}, *content]}
    return {**one, "content": text if content is None else f"{text}\n\n{content}"}
