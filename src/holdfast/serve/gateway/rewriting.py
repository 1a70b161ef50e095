"""A request's chat under a persona and a control, in three protocols.

    protocol           system prompt              messages
    chat/completions   the first message          messages
    responses          instructions               input
    messages           system                     messages     (Anthropic's)

The persona's prompt goes before the client's own. A reminder or note joins a user's message, since
not every API takes a system message in mid-chat. A body without anything to rewrite stays as it
came, byte for byte.

An upstream may read a body otherwise than this module: a name twice, or in other case
(`Messages`). Such bodies are refused.

This module knows messages as JSON. It knows no models and no HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from holdfast.control import auto
from holdfast.control.rewrite import rewrite
from holdfast.core.chat import Chat, Message, Role, message
from holdfast.core.control import NONE, Control
from holdfast.core.errors import HoldfastError
from holdfast.core.records import Record
from holdfast.models.thinking import shows_thoughts, split_thought
from holdfast.persona.suite import Persona
from holdfast.serve.http_errors import RequestError, invalid_value, unsupported_value
from holdfast.serve.json_body import read_unique
from holdfast.serve.live.wire_reply import content_text, items_text
from holdfast.serve.protocol import HoldfastOptions, invalid_request
from holdfast.serve.requests import check_locked, pick_control

ChooseAdapter = Callable[[Chat, Control], str | None]
"""The adapter that answers a chat under a control, by name; None for the base model."""


@dataclass(frozen=True)
class Dialect:
    """Where a protocol has its chat."""

    path: str
    """The path below `/v1/`."""
    prompt: str | None
    """The field of the system prompt; None if it is the first message."""
    messages: str
    """The field of the messages."""
    text_part: str = "text"
    """The type of a user's text part."""


CHAT = Dialect("chat/completions", None, "messages")
RESPONSES = Dialect("responses", "instructions", "input", "input_text")
MESSAGES = Dialect("messages", "system", "messages")
DIALECTS = (CHAT, RESPONSES, MESSAGES)

# Fields that hold a chat in some protocol, or a part of one that is kept elsewhere.
_CHAT_FIELDS = frozenset({"messages", "input", "system", "instructions", "prompt", "holdfast"})
_STORED_CHAT = ("previous_response_id", "conversation", "prompt")
_PROMPT_ROLES = ("system", "developer")


@dataclass(frozen=True)
class Rules:
    """What a gateway does to every chat."""

    persona: Persona | None = None
    """Goes before the chat."""
    control: Control = NONE
    """The control of requests that name none."""
    lock: bool = False
    """Whether a request may choose no control of its own."""
    model: str | None = None
    """Asked in place of the model that the request names."""
    choose: ChooseAdapter | None = None
    """Says which adapter of the API answers a chat, for `prism:PATH`."""


@dataclass(frozen=True)
class RewrittenRequest:
    """A request under its control."""

    body: bytes
    """What is forwarded."""
    fields: Record
    """The same, read."""
    control: Control
    chat: Sequence[Record]
    """The messages with the persona, before the control."""
    persona: Persona | None
    watch: bool = True
    """Whether the reply counts as live traffic."""


def rewrite_body(
    body: bytes, rules: Rules | Callable[[object], Rules], dialect: Dialect = CHAT
) -> RewrittenRequest:
    """Rewrite a request's body.

    Args:
        body: the body as it came.
        rules: persona, control, lock; or a function that says them for a model's name.
        dialect: the protocol.

    Raises:
        RequestError: the body cannot be understood, its control needs the weights or cannot judge
            its replies, or it chooses what is locked.
    """
    fields = read_unique(body)
    if callable(rules):
        rules = rules(fields.get("model"))
    own = fields.pop("holdfast", None)
    options = _options(own)
    control = pick_control(options, rules.control, rules.lock)
    if why := refusal(control, rules.persona, rules.choose is not None):
        raise invalid_value("holdfast.control", why)
    _check(fields, rules, control, dialect)
    original = dict(fields)
    try:
        own_fields = _with_persona(fields, rules.persona, dialect)
        fields = _apply_control(control, own_fields, dialect, rules.persona)
        if rules.model is not None:
            fields["model"] = rules.model
        if control.prism is not None and rules.choose is not None:
            _, turns, system = _parts(own_fields, dialect)
            if adapter := rules.choose((*system, *map(_shadow, turns)), control):
                fields["model"] = adapter
        if fields != original or own is not None:
            body = json.dumps(fields).encode()
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply.", code="invalid_json") from None
    except HoldfastError as error:  # as of a judge that does not get through a reply
        raise RequestError(400, str(error), param=dialect.messages) from error
    chat = _items(own_fields, dialect)
    return RewrittenRequest(body, fields, control, chat, rules.persona, options.watch)


def roles_and_texts(chat: Sequence[Record], dialect: Dialect) -> list[tuple[str, str]]:
    """The turns of a chat as controls and judges read them."""
    return [(one["role"], one["content"]) for one in map(_shadow, _turns(chat, dialect))]


def refusal(control: Control, persona: Persona | None, gated: bool = False) -> str | None:
    """Why an API cannot be put under a control, or None.

    `gated` says that the gateway has the gate of `prism:PATH`, whose adapter the API has.
    """
    inside = control.steers or control.guidance is not None
    if control.needs_weights and (inside or not gated):
        return (
            f"the model is behind an API, and `{control.text}` needs its weights: use window, "
            "reminder, note, auto or route."
        )
    return auto.refusal(control, persona.judge if persona else None)


# Reading


def _options(value: object) -> HoldfastOptions:
    try:
        return HoldfastOptions.model_validate({} if value is None else value)
    except ValidationError as error:
        errors = [{**one, "loc": ("holdfast", *one["loc"])} for one in error.errors()]
        raise invalid_request(errors) from error


def _check(fields: Record, rules: Rules, control: Control, dialect: Dialect) -> None:
    """Raise `RequestError` for a body whose chat the upstream may find elsewhere than we do."""
    for name in fields:
        plain = name.strip().casefold()
        if name != plain and plain in _CHAT_FIELDS:
            raise invalid_value(name, f"there is no field {name[:100]!r}: write {plain}.")
    if rules.lock:
        own = {dialect.prompt, dialect.messages}
        check_locked(fields, _CHAT_FIELDS - own)
    if dialect is RESPONSES and control.rewrites:
        for name in _STORED_CHAT:
            if fields.get(name) is not None:
                raise unsupported_value(
                    name,
                    f"`{control.text}` cannot rewrite messages that are kept behind the API: leave "
                    f"{name} out and send the whole chat as input, or use the control none.",
                )
    value = fields.get(dialect.messages)
    if isinstance(value, str) and dialect is RESPONSES:
        return
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RequestError(
            400, f"{dialect.messages} must be a list of objects.",
            code="invalid_type", param=dialect.messages,
        )  # fmt: skip


# The persona


def _with_persona(fields: Record, persona: Persona | None, dialect: Dialect) -> Record:
    """The fields with the persona's prompt before the client's own."""
    if persona is None:
        return fields
    if dialect.prompt is None:
        messages = fields[dialect.messages]
        if messages and messages[0].get("role") in _PROMPT_ROLES:
            head = _prepend_text(persona.prompt, messages[0], dialect)
            return {**fields, dialect.messages: [head, *messages[1:]]}
        head = {"role": "system", "content": persona.prompt}
        return {**fields, dialect.messages: [head, *messages]}
    own = fields.get(dialect.prompt)
    if not isinstance(own, str | list | None):
        raise RequestError(400, f"{dialect.prompt} must be text.", param=dialect.prompt)
    prompt = _prepend_text(persona.prompt, {"content": own or None}, dialect)["content"]
    return {**fields, dialect.prompt: prompt}


def _prepend_text(text: str, one: Mapping[str, Any], dialect: Dialect) -> Record:
    """A message with a text and a blank line before its content, whatever its shape."""
    content = one.get("content")
    if isinstance(content, list):
        return {**one, "content": [{"type": dialect.text_part, "text": f"{text}\n\n"}, *content]}
    return {**one, "content": text if content is None else f"{text}\n\n{content}"}


def _append_text(text: str, one: Mapping[str, Any], dialect: Dialect) -> Record:
    """A message with a blank line and a text after its content, whatever its shape."""
    content = one.get("content")
    if isinstance(content, list):
        return {**one, "content": [*content, {"type": dialect.text_part, "text": f"\n\n{text}"}]}
    return {**one, "content": text if content is None else f"{content}\n\n{text}"}


# The control


def _apply_control(
    control: Control, fields: Record, dialect: Dialect, persona: Persona | None
) -> Record:
    """The fields under the control; messages that stay are the same objects."""
    head, turns, system = _parts(fields, dialect)
    shadows = tuple(_shadow(turn) for turn in turns)
    judge, note = (persona.judge, persona.authors_note) if persona else (None, None)
    chat: Chat = rewrite(
        (*system, *shadows), control, system_anywhere=True, user_first=True, judge=judge, note=note
    )
    stays = not system or (bool(chat) and chat[0] is system[0])
    body = _merge_turns(chat[1:] if system and stays else chat, shadows, turns, dialect)
    result = dict(fields)
    if not stays and dialect.prompt:
        result.pop(dialect.prompt, None)
    if not isinstance(fields[dialect.messages], str):
        result[dialect.messages] = [*(head if stays else ()), *body]
    return result


def _parts(fields: Record, dialect: Dialect) -> tuple[list[Record], list[list[Record]], Chat]:
    """The items of the head, the turns, and the system prompts as one message or none."""
    items = _items(fields, dialect)
    count = _head_size(items, dialect)
    prompt = fields.get(dialect.prompt) if dialect.prompt else None
    texts = [content_text(prompt)] if prompt else []
    texts += [content_text(one.get("content")) for one in items[:count]]
    system = (message("system", "\n\n".join(texts)),) if texts else ()
    return items[:count], list(_turns(items[count:], dialect)), system


def _merge_turns(
    chat: Chat, shadows: Chat, turns: Sequence[list[Record]], dialect: Dialect
) -> Iterator[Record]:
    """The turns that stay; a reminder or note joins the user's message beside it."""
    own = {id(shadow): turn for shadow, turn in zip(shadows, turns, strict=True)}
    result: list[list[Record]] = []
    waiting: list[str] = []  # texts that no turn has yet
    for shadow in chat:
        if id(shadow) not in own:
            waiting.append(shadow["content"])
            continue
        turn = own[id(shadow)]
        if shadow["role"] == "user":
            for text in reversed(waiting):
                turn = [_prepend_text(text, turn[0], dialect), *turn[1:]]
        else:
            _add_after(result, waiting, dialect)
        waiting = []
        result.append(turn)
    _add_after(result, waiting, dialect)
    return (item for turn in result for item in turn)


def _add_after(turns: list[list[Record]], texts: Sequence[str], dialect: Dialect) -> None:
    for text in texts:
        turns[-1] = [*turns[-1][:-1], _append_text(text, turns[-1][-1], dialect)]


def _items(fields: Record, dialect: Dialect) -> list[Record]:
    value = fields[dialect.messages]
    return [{"role": "user", "content": value}] if isinstance(value, str) else list(value)


def _head_size(items: Sequence[Record], dialect: Dialect) -> int:
    """How many items at the start are system prompts."""
    if dialect is MESSAGES:
        return 0
    count = 0
    while count < len(items) and items[count].get("role") in _PROMPT_ROLES:
        count += 1
    return min(count, 1) if dialect is CHAT else count


def _turns(items: Sequence[Record], dialect: Dialect) -> Iterator[list[Record]]:
    """Items that a window keeps or drops together: reasoning and calls, or the calls' results."""
    turn: list[Record] = []
    for one in items:
        together = dialect is RESPONSES and turn and _role(one) == _role(turn[-1]) != "user"
        if turn and not together:
            yield turn
            turn = []
        turn.append(one)
    if turn:
        yield turn


def _shadow(turn: Sequence[Record]) -> Message:
    """A turn's role and text without thoughts, which is all that controls and judges read."""
    role, text = _role(turn[0]), items_text(turn)
    if role == "assistant" and shows_thoughts(text):  # which takes less than to split them off
        text = split_thought(text).reply
    return cast(Message, {"role": role, "content": text})


def _role(one: Mapping[str, Any]) -> Role:
    """An item's role, in which a tool's result is `tool`."""
    role, kind, content = one.get("role"), str(one.get("type")), one.get("content")
    if role is None:  # an item of the Responses API that is no message
        is_result = kind.endswith(("_output", "_response"))
        return "tool" if is_result else "assistant"
    if role == "user" and isinstance(content, list):
        kinds = [part.get("type") for part in content if isinstance(part, dict)]
        if any(str(kind).endswith("tool_result") for kind in kinds):
            return "tool"
    return cast(Role, "system" if role == "developer" else role)
