"""Chat requests, read: from a checked body to token ids that the engine can continue.

The system prompt is the pinned persona's, followed by the client's own. The chat goes through the
model's template under the request's control. Everything that cannot be done is refused here, so
that no bad request reaches the engine.

This module knows chats and how the server was started. It knows no HTTP.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from holdfast import judge
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import Chat, Message, message, system_message
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ContextError, ControlError, HoldfastError
from holdfast.models.local.tool_calls import CallFormat, find_call_format
from holdfast.models.template_options import RESERVED_NAMES
from holdfast.persona.suite import Persona
from holdfast.serve.grammars import grammar_of
from holdfast.serve.http_errors import RequestError, invalid_value, unsupported_value
from holdfast.serve.limits import Limits
from holdfast.serve.live.traffic import LiveTraffic
from holdfast.serve.metrics import Metrics
from holdfast.serve.protocol import ChatMessage, ChatRequest, HoldfastOptions

if TYPE_CHECKING:  # the gateway reads controls here, and runs without torch
    from holdfast.models.engine.request import Request
    from holdfast.models.engine.shaping import Shaping
    from holdfast.models.local.backend import LocalBackend
    from holdfast.serve.engine.process import EngineProcess
    from holdfast.serve.engine.thread import EngineThread

# Arguments of `apply_chat_template` that no client may set. `split_special_tokens=false` lets user
# text forge turns: that is the operator's to say.
_RESERVED = RESERVED_NAMES | {"split_special_tokens"}
_THINKING = {"enable_thinking", "thinking"}  # options of a template that touch no message
LONGEST = 4096  # tokens of a reply where neither the request nor the model says
LONGEST_LIMIT = 131_072  # that a request may set there: a row draws a number for each at its start


@dataclass(frozen=True)
class CompletionPlan:
    """What a request asks of the engine."""

    body: ChatRequest
    control: Control
    """Its control, or the server's default."""
    request: Request
    """The chat in token ids."""
    ignored: Sequence[str]
    """Fields that change nothing."""
    choices: int
    """Number of replies."""
    tools: CallFormat | None = None
    """The format in which the replies may call tools; None where they may not."""
    conversation: str | None = None
    """The conversation's id, where the request names one."""


@dataclass(frozen=True)
class CompletionContext:
    """What all completions of a server share."""

    backend: LocalBackend
    engine: EngineThread | EngineProcess
    metrics: Metrics
    limits: Limits
    persona: Persona | None = None
    control: Control = NONE
    lock: bool = False
    live: LiveTraffic | None = None
    judge: judge.Judge | None = field(init=False)

    def __post_init__(self) -> None:
        own = self.persona.build_judge() if self.persona else None
        object.__setattr__(self, "judge", own)

    def read(self, body: ChatRequest) -> CompletionPlan:
        """Read a request. Raises `RequestError` for what cannot be done."""
        body.check()
        if body.model != self.backend.name:
            raise RequestError(
                404,
                f"there is no model {body.model[:200]!r} here: this server has "
                f"{self.backend.name}.",
                code="model_not_found",
                param="model",
            )
        if self._longest_chat is not None and len(body.messages) > self._longest_chat:
            raise self._too_long("more")  # before a template renders tens of thousands of them
        choices = body.n or 1
        if choices > self.limits.choices:
            raise invalid_value("n", f"n is at most {self.limits.choices} here.")
        if self.lock:
            options = {"chat_template_kwargs": body.chat_template_kwargs}
            check_locked({**(body.model_extra or {}), **options})
        control = pick_control(body.options, self.control, self.lock)
        ignored = body.unknown
        request = self._request(body, control, ignored)
        calls = find_call_format(self._template) if _may_call(body) else None
        return CompletionPlan(body, control, request, ignored, choices, calls)

    def _request(self, body: ChatRequest, control: Control, ignored: list[str]) -> Request:
        """The chat in token ids. Adds `chat_template_kwargs` to `ignored` if they do nothing."""
        options = self._template_options(body)
        seed = secrets.randbits(62) if body.seed is None else body.seed
        own = self.persona.judge if self.persona else None
        chat = read_chat(body.messages, self.persona)
        ask = Ask(chat, seed, control, measure=body.options.measure, judge=own)
        try:
            request = self.backend.request(ask, options, self._longest_chat)
            lacks_tools = _may_call(body) and not self._calls_tools(options)
            own_options = body.chat_template_kwargs
            if own_options and not self._template_uses(own_options):
                ignored.append("chat_template_kwargs")
        except ControlError as error:
            raise invalid_value("holdfast.control", str(error)) from error
        except ContextError as error:
            raise self._too_long("many more") from error
        except HoldfastError as error:
            raise RequestError(400, str(error), param="messages") from error
        except Exception as error:  # a template is a program of the model's, and may raise anything
            raise RequestError(
                400,
                f"the chat template does not take this chat ({type(error).__name__}: {error}).",
                param="messages",
            ) from error
        if lacks_tools:
            raise unsupported_value(
                "tools",
                "this model's chat template has no tool calls in a format that the server reads: "
                "leave tools out, or set tool_choice to none.",
            )
        request = self.add_options(request, body)
        if request.shaping and request.shaping.grammar:
            self._check_thinking(request)
        return request

    def add_options(self, request: Request, body: ChatRequest) -> Request:
        """Add what the body asks for beside its chat. Raises `RequestError` if it is too long."""
        if self._longest_chat is not None and len(request.ids) > self._longest_chat:
            raise self._too_long(str(len(request.ids)))
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        if self.backend.context is None and (body.limit or 0) > LONGEST_LIMIT:
            why = f"a reply of this model has {LONGEST_LIMIT} tokens at most: lower max_tokens."
            raise invalid_value("max_tokens", why)
        return replace(request, logprobs=logprobs, plain_share=False, shaping=_shaping(body))

    def _check_thinking(self, request: Request) -> None:
        """Refuse a grammar for a reply that begins with a thought."""
        if self.backend.thoughts.opens(request.ids):
            raise unsupported_value(
                "response_format",
                "the chat template opens a thought, which a grammar would be for: switch thinking "
                'off, as in chat_template_kwargs {"enable_thinking": false}.',
            )

    def _template_options(self, body: ChatRequest) -> dict[str, Any]:
        options = dict(body.chat_template_kwargs or {})
        if names := options.keys() & _RESERVED:
            raise invalid_value(
                f"chat_template_kwargs.{min(names)}",
                f"chat_template_kwargs may not set {min(names)}: it is a field of its own.",
            )
        effort = body.reasoning_effort
        if effort is not None:
            if "reasoning_effort" not in self._template:
                raise unsupported_value(
                    "reasoning_effort",
                    "this model's chat template takes no reasoning_effort: leave it out.",
                )
            options["reasoning_effort"] = effort
        return {**options, "tools": body.tools} if _may_call(body) else options

    def _calls_tools(self, options: Mapping[str, Any]) -> bool:
        """True if the template shows tools, and asks for calls that `tool_calls` reads."""
        readable = find_call_format(self._template) is not None
        return readable and self._template_uses({"tools": options["tools"]})

    @property
    def _template(self) -> str:
        return str(self.backend.tokenizer.chat_template)

    def _template_uses(self, options: Mapping[str, Any]) -> bool:
        """True if the template renders the options, such as tools."""
        probe = (message("system", "x"), message("user", "y"))
        with_tools, plain = self.backend.template_with(options), self.backend.template
        return with_tools.text(with_tools.fold(probe)) != plain.text(plain.fold(probe))

    @property
    def _longest_chat(self) -> int | None:
        """Tokens of a chat at most; None if nothing bounds them."""
        model = self.backend.context
        bounds = [bound for bound in (self.limits.context, model and model - 1) if bound]
        return min(bounds, default=None)

    def _too_long(self, count: str) -> RequestError:
        return RequestError(
            400,
            # In OpenAI's words, which clients look for.
            f"This model's maximum context length is {self._longest_chat} tokens, and the chat has "
            f"{count}: shorten it.",
            code="context_length_exceeded",
            param="messages",
        )

    def sampling(self, body: ChatRequest, request: Request) -> Sampling:
        """How to sample the reply, with OpenAI's defaults."""
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


def _shaping(body: ChatRequest) -> Shaping | None:
    """How the request wants the logits changed."""
    from holdfast.models.engine.shaping import Shaping

    own = Shaping(
        min_p=body.min_p or 0.0,
        repetition_penalty=1.0 if body.repetition_penalty is None else body.repetition_penalty,
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        grammar=grammar_of(body),
    )
    return own or None


def _may_call(body: ChatRequest) -> bool:
    return bool(body.tools) and body.tool_choice != "none"


def pick_control(options: HoldfastOptions, default: Control, lock: bool = False) -> Control:
    """The control of a request. A client may not name files of the server (route, prism).

    Args:
        options: of the request.
        default: the server's.
        lock: whether the request may name no other, nor leave its reply out of the watch.

    Raises:
        RequestError: there is no such control, or the client may not choose it.
    """
    text = options.control
    if lock and text is not None and text != default.text:
        raise RequestError(
            403,
            f"the control is locked to `{default.text}` here: leave holdfast.control out.",
            code="locked",
            param="holdfast.control",
        )
    if lock and not options.watch:
        raise RequestError(
            403,
            "every reply is watched where the control is locked: leave holdfast.watch out.",
            code="locked",
            param="holdfast.watch",
        )
    try:
        control = parse(text or default)
    except ControlError as error:
        raise invalid_value("holdfast.control", str(error)) from error
    files = (control.route, control.prism)
    if files not in ((None, None), (default.route, default.prism)):
        raise invalid_value(
            "holdfast.control",
            "route and prism are chosen where the server is started, not by a request.",
        )
    return control


def check_locked(fields: Mapping[str, Any], further: Collection[str] = ()) -> None:
    """Refuse fields that would change how a locked persona reaches the model.

    Args:
        fields: the request's body.
        further: fields that are refused beside those of chat templates.

    Raises:
        RequestError: with the field's name.
    """
    options = fields.get("chat_template_kwargs")
    own_options = isinstance(options, dict) and options.keys() <= _THINKING
    for name in ("chat_template", "chat_template_kwargs", *sorted(further)):
        if fields.get(name) is None or (name == "chat_template_kwargs" and own_options):
            continue
        raise RequestError(
            403,
            f"the persona is locked here, and {name} could go round it: leave it out.",
            code="locked",
            param=name,
        )


def read_chat(messages: Sequence[ChatMessage], persona: Persona | None) -> Chat:
    """The messages as a chat, the persona's prompt before the client's own system prompt."""
    chat = [_message(one) for one in messages]
    if persona is None:
        return tuple(chat)
    head = [persona.prompt]
    if chat and chat[0]["role"] == "system":
        head.append(chat.pop(0)["content"])
    return (system_message("\n\n".join(filter(None, head)), persona.authors_note), *chat)


def _message(one: ChatMessage) -> Message:
    """A message as chat templates take it: with the arguments of tool calls as objects."""
    fields = one.model_dump(exclude_none=True)
    fields["role"] = "system" if one.role == "developer" else one.role
    fields["content"] = one.text()
    for call in fields.get("tool_calls", ()):
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            try:
                function["arguments"] = json.loads(function["arguments"])
            except (ValueError, RecursionError):
                continue
    return cast(Message, fields)
