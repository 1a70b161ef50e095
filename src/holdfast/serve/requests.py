"""An order: what a checked request comes to, before anything is done about it.

The pinned persona's system prompt comes first, then what the client says as system. The
chat goes through the model's template under the request's control, and whatever cannot be
is refused here, so that no bad request gets near the engine.

This module knows chats and what the server was started with. It knows no HTTP.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from holdfast import judge
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import Chat, Message, message
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.models.engine.row import Request
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.suite import Persona
from holdfast.serve.engine_process import Remote
from holdfast.serve.engine_thread import Worker
from holdfast.serve.http_errors import Refusal
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.protocol import ChatRequest, Said

LONGEST = 4096  # tokens of a reply where neither the request nor the model says


@dataclass(frozen=True)
class Order:
    """A request, read: its control, the chat in token ids, what is ignored, replies to be had."""

    body: ChatRequest
    control: Control
    request: Request
    ignored: Sequence[str]
    choices: int


@dataclass(frozen=True)
class Completions:
    """What all completions of a server share. `control` is the default."""

    backend: LocalBackend
    worker: Worker | Remote
    metrics: Metrics
    limits: Limits
    persona: Persona | None = None
    control: Control = NONE
    judge: judge.Judge | None = field(init=False)

    def __post_init__(self) -> None:
        judged = self.persona is not None and not self.persona.needs_model
        made = judge.build(self.persona.judge) if self.persona and judged else None
        object.__setattr__(self, "judge", made)

    def read(self, body: ChatRequest) -> Order:
        """What a request comes to. Raises `Refusal` for what cannot be done."""
        body.check()
        if body.model != self.backend.name:
            raise Refusal(
                404,
                f"there is no model {body.model} here: this server has {self.backend.name}.",
                code="model_not_found",
                param="model",
            )
        choices = body.n or 1
        if choices > self.limits.choices:
            raise Refusal(
                400, f"n is at most {self.limits.choices} here.", code="invalid_value", param="n"
            )
        control = chosen(body.holdfast.control if body.holdfast else None, self.control)
        ignored = body.unknown
        request = self._request(body, control, ignored)
        return Order(body, control, request, ignored, choices)

    def _request(self, body: ChatRequest, control: Control, ignored: list[str]) -> Request:
        """The chat as the engine takes it; `ignored` gains what the template does not show."""
        options: dict[str, Any] = {}
        if body.tools and body.tool_choice != "none":
            options["tools"] = body.tools
        seed = secrets.randbits(62) if body.seed is None else body.seed
        measure = body.holdfast is None or body.holdfast.measure
        ask = Ask(chat_of(body.messages, self.persona), seed, control, measure=measure)
        try:
            request = self.backend.request(ask, options)
            if options and not self._shows(options):
                ignored.append("tools")
        except ControlError as error:
            raise Refusal(
                400, str(error), code="invalid_value", param="holdfast.control"
            ) from error
        except HoldfastError as error:
            raise Refusal(400, str(error), param="messages") from error
        except Exception as error:  # a template is a program of the model's, and may raise anything
            raise Refusal(
                400,
                f"the chat template does not take this chat ({type(error).__name__}: {error}).",
                param="messages",
            ) from error
        self._fits(request)
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        return replace(request, logprobs=logprobs, before=False)

    def _shows(self, options: Mapping[str, Any]) -> bool:
        """Whether the template does anything with the tools."""
        probe = (message("system", "x"), message("user", "y"))
        with_tools, plain = self.backend.template_with(options), self.backend.template
        return with_tools.text(with_tools.fold(probe)) != plain.text(plain.fold(probe))

    def _fits(self, request: Request) -> None:
        count, model = len(request.ids), self.backend.context
        bounds = [bound for bound in (self.limits.context, model and model - 1) if bound]
        if bounds and count > min(bounds):
            raise Refusal(
                400,
                # In OpenAI's words, which clients look for.
                f"This model's maximum context length is {min(bounds)} tokens, and the chat has "
                f"{count}: shorten it.",
                code="context_length_exceeded",
                param="messages",
            )

    def sampling(self, body: ChatRequest, request: Request) -> Sampling:
        """How the tokens of a reply are drawn; OpenAI's defaults."""
        context = self.backend.context
        room = LONGEST if context is None else context - len(request.ids)
        return Sampling(
            max_new_tokens=room if body.limit is None else body.limit,
            temperature=1.0 if body.temperature is None else body.temperature,
            # OpenAI lets top_p be 0, which is the likeliest token alone.
            top_p=1.0 if body.top_p is None else max(body.top_p, 1e-6),
            top_k=body.top_k or 0,
            stop=body.stops,
        )


def chosen(asked: str | None, default: Control) -> Control:
    """The control of a request. Files of the server's (route, prism) no client may name."""
    try:
        control = parse(asked or default)
    except ControlError as error:
        raise Refusal(400, str(error), code="invalid_value", param="holdfast.control") from error
    if (control.route, control.prism) != (None, None) and (control.route, control.prism) != (
        default.route,
        default.prism,
    ):
        raise Refusal(
            400,
            "route and prism are chosen where the server is started, not by a request.",
            code="invalid_value",
            param="holdfast.control",
        )
    return control


def chat_of(messages: Sequence[Said], persona: Persona | None) -> Chat:
    """The messages as a chat, the persona's prompt in front of what the client says as system."""
    chat = [_message(said) for said in messages]
    if persona is None:
        return tuple(chat)
    head = [persona.prompt]
    if chat and chat[0]["role"] == "system":
        head.append(chat.pop(0)["content"])
    return (message("system", "\n\n".join(filter(None, head))), *chat)


def _message(said: Said) -> Message:
    """A message as chat templates take it: arguments of tool calls as objects."""
    held = said.model_dump(exclude_none=True)
    held["role"] = "system" if said.role == "developer" else said.role
    held["content"] = said.text()
    for call in held.get("tool_calls", ()):
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            try:
                function["arguments"] = json.loads(function["arguments"])
            except ValueError:
                continue
    return cast(Message, held)
