"""The formats of logs: which records are theirs, and how one becomes a chat.

    holdfast    {"conversation", "round", "score"…}              a line of our server's own log
    sillytavern {"character_name"…}, then {"name", "mes"…}       a chat of the front end
    sharegpt    {"conversations": [{"from", "value"}…]}          data of fine-tuning
    promptfoo   {"prompt": {"raw"}, "response": {"output"}…}     a result of `promptfoo eval`
    langfuse    {"input", "output", "sessionId"…}                a trace or a generation
    anthropic   {"system", "messages": […], "model"…}            requests of the Messages API
    openai      {"messages": […]}, {"choices": […]}              chats, stored completions
    csv         a table with named columns (`tables`)
    inspect     an `.eval` file (`inspect_log`)

docs/reference/logs.md has an example of each. Readers are pure: a record in, a chat out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.core.errors import RunError
from holdfast.core.records import read_record
from holdfast.evals.logs.chat import (
    Record,
    RecordedChat,
    ServerLine,
    Unfit,
    read_messages,
    reply_of,
    request_of,
    text_of,
)
from holdfast.results.watch import ReplyRecord


@dataclass(frozen=True)
class Format:
    """A format whose records are chats, or requests and their replies."""

    claims: Callable[[Record], bool]
    """Whether a record looks like one of its own."""
    read: Callable[[Record], RecordedChat | ServerLine | None]
    """What a record holds; None for one that is no chat and no fault either."""


def _openai(record: Record) -> RecordedChat:
    about = _about(record)
    request = _request(record)
    messages = request.get("messages", request.get("input"))
    if messages is None:
        raise Unfit("a completion without its messages: export them too, as “messages”")
    prompt, turns = read_messages(messages)
    system = text_of(request.get("system")) or prompt
    answer = next((record[key] for key in ("reply", "response", "result") if key in record), None)
    if answer is None and "choices" in record:
        answer = record
    if answer is None:
        return RecordedChat(turns, system=system, **about)
    reply = ("assistant", reply_of(answer))
    return RecordedChat((*turns, reply), system=system, complete=False, **about)


def _request(record: Record) -> Record:
    """The request of a record: its own `request` beside the response, or the record itself."""
    inner = record.get("request")
    return inner if isinstance(inner, dict) else record


def _is_openai(record: Record) -> bool:
    return "messages" in _request(record) or "choices" in record


def _about(record: Record) -> dict[str, Any]:
    """What a record says of its chat."""
    id, time, model, persona = (record.get(key) for key in ("id", "time", "model", "persona"))
    # Ids of completions are those of the reply, not of the conversation.
    own = None if id is None or str(id).startswith(("chatcmpl-", "msg_")) else str(id)
    return {
        "id": own,
        "control": str(record.get("control") or "none"),
        "time": seconds(time if time is not None else record.get("created")),
        "model": None if model is None else str(model),
        "persona": persona if isinstance(persona, str) else None,
        "user_prompt": _text(record.get("user_prompt")),
    }


def _anthropic(record: Record) -> RecordedChat:
    params = record.get("params")
    if isinstance(params, dict):
        result = record.get("result")
        answer = {"result": result} if isinstance(result, dict) else {}
        record = {**params, **answer}
    return _openai(record)


def _is_anthropic(record: Record) -> bool:
    if isinstance(record.get("params"), dict):
        return True
    request = _request(record)
    if not isinstance(messages := request.get("messages"), list):
        return False
    blocks = [
        part
        for one in messages
        if isinstance(one, dict) and isinstance(one.get("content"), list)
        for part in one["content"]
        if isinstance(part, dict)
    ]
    own = any(part.get("type") in ("tool_use", "tool_result", "thinking") for part in blocks)
    response = record.get("response")
    replied = isinstance(response, dict) and response.get("type") == "message"
    return "system" in request or own or replied


def _sharegpt(record: Record) -> RecordedChat:
    prompt, turns = read_messages(record.get("conversations", record.get("conversation")))
    return RecordedChat(turns, system=text_of(record.get("system")) or prompt, **_about(record))


def _promptfoo(record: Record) -> RecordedChat:
    prompt, response = record.get("prompt"), record.get("response")
    raw = prompt.get("raw") if isinstance(prompt, dict) else prompt
    output = response.get("output") if isinstance(response, dict) else None
    if output is None:
        raise Unfit(f"its provider gave no output ({record.get('error') or 'no reason is given'})")
    provider = record.get("provider")
    model = provider.get("id") if isinstance(provider, dict) else provider
    name = None if model is None else str(model)
    if (dialogue := _find_dialogue(record)) is not None:
        # A simulated user talked to the agent, whose system prompt the prompt is.
        prompt, turns = read_messages(dialogue)
        variables = record.get("vars")
        user = variables.get("instructions") if isinstance(variables, dict) else None
        return RecordedChat(turns, system=prompt or _text(raw), user_prompt=_text(user), model=name)
    system, turns = request_of(decode_json(raw))
    whole = (*turns, ("assistant", reply_of(output)))
    return RecordedChat(whole, system=system, complete=False, model=name)


def _find_dialogue(record: Record) -> list[Any] | None:
    """The dialogue of promptfoo's simulated user, which its output only shows as a text."""
    response = record.get("response")
    metadata = response.get("metadata") if isinstance(response, dict) else None
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    return messages if isinstance(messages, list) and messages else None


def _langfuse(record: Record) -> RecordedChat | None:
    kind = record.get("type")
    if isinstance(kind, str) and kind.upper() != "GENERATION":
        return None  # spans, events and tools around the generations
    system, turns = request_of(decode_json(record.get("input")))
    reply = reply_of(decode_json(record.get("output")))
    session = _first(record, "sessionId", "session_id")
    return RecordedChat(
        (*turns, ("assistant", reply)),
        system=system,
        id=None if session is None else str(session),
        time=seconds(_first(record, "timestamp", "startTime", "start_time")),
        model=_text(_first(record, "model", "providedModelName", "provided_model_name")),
        complete=False,
    )


def _is_langfuse(record: Record) -> bool:
    own = {"sessionId", "session_id", "traceId", "trace_id", "startTime", "start_time"}
    return {"input", "output"} <= record.keys() and bool(own & record.keys())


def _holdfast(record: Record) -> ServerLine:
    line = {"persona": "", "control": "none", "score": None, **record}
    try:
        return ServerLine(read_record(ReplyRecord, line, "it"))
    except RunError as error:
        raise Unfit(str(error)) from error


FORMATS = {
    "holdfast": Format(lambda one: "round" in one and "messages" not in one, _holdfast),
    "sharegpt": Format(lambda one: "conversations" in one, _sharegpt),
    "promptfoo": Format(lambda one: isinstance(one.get("prompt"), dict), _promptfoo),
    "langfuse": Format(_is_langfuse, _langfuse),
    "anthropic": Format(_is_anthropic, _anthropic),
    "openai": Format(_is_openai, _openai),
}
"""Formats of records, in the order in which they are tried."""
WHOLE = ("sillytavern", "csv", "inspect")
"""Formats of whole files."""
NAMES = (*FORMATS, *WHOLE)
FORMAT_HELP = f"Format of the log, by default recognised: {', '.join(NAMES)}."
"""The help of the option that names one."""
NEWEST_FIRST = ("langfuse",)
"""Formats whose exports are in no order of time."""


def decode_json(value: object) -> object:
    """A text that holds JSON as its value, as in columns of tables; all else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def seconds(value: object) -> float | None:
    """Seconds since 1970 of a number or of an ISO date, None where there is neither."""
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _first(record: Record, *keys: str) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
