"""A log of traffic, replayed: chats with their texts, or a server's own lines.

A line is a JSON object of one of three forms:

    {"messages": […], "id"?, "control"?, "model"?, "time"?}      a whole conversation
    {"messages": […], "reply": TEXT, "id"?, "control"?, …}       a request, and the reply to it
    {"conversation", "round", "score", "control", "reply"?, …}   a server's line (`ReplyRecord`)

A server's line is judged again where it has the reply's text, and keeps its score without one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from holdfast.core.errors import HoldfastError
from holdfast.core.records import read_record
from holdfast.evals.watch.conversations import Turns
from holdfast.evals.watch.traffic import Observation, Traffic
from holdfast.results.watch import ReplyRecord

_ROLES = ("system", "developer", "user", "assistant", "tool")


def replay(path: Path, traffic: Traffic) -> Iterator[list[Observation]]:
    """The replies of each line of a log, in its order, taken into account.

    Args:
        path: the log.
        traffic: takes the replies.

    Raises:
        HoldfastError: names the file and the line that cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _replies(traffic, line, f"{path}, line {number}")
    except OSError as error:
        raise HoldfastError(f"{path} could not be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise HoldfastError(
            f"{path} is not UTF-8 (byte {error.start}): convert it first"
        ) from error


def _replies(traffic: Traffic, line: str, where: str) -> list[Observation]:
    record = _object(line, where)
    if "messages" in record:
        return _chat(traffic, record, where)
    filled = {"persona": traffic.persona.id, "control": "none", "score": None, **record}
    try:
        return [traffic.take(read_record(ReplyRecord, filled, where))]
    except HoldfastError as error:
        raise HoldfastError(str(error) if where in str(error) else f"{where}: {error}") from error


def _chat(traffic: Traffic, record: Mapping[str, Any], where: str) -> list[Observation]:
    turns = _turns(record, where)
    id, time, model = (record.get(name) for name in ("id", "time", "model"))
    about: dict[str, Any] = {
        "id": None if id is None else str(id),
        "control": str(record.get("control", "none")),
        "time": time if isinstance(time, int | float) else None,
        "model": None if model is None else str(model),
    }
    if "reply" in record:
        pairs = [(turns, text_of(record["reply"]))]
    else:
        pairs = [(turns[:i], text) for i, (role, text) in enumerate(turns) if role == "assistant"]
        about["id"] = about["id"] or f"the conversation of {where}"
    replies = [traffic.observe(before, reply, **about) for before, reply in pairs]
    observations = [one for one in replies if one is not None]
    if not observations:
        _fail(where, "a chat needs a user message and a reply")
    return observations


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        _fail(where, f"not JSON ({error})")
    if not isinstance(record, dict):
        _fail(where, "a line is an object, with messages or with conversation, round and score")
    return record


def _turns(record: Mapping[str, Any], where: str) -> Turns:
    messages = record["messages"]
    if not isinstance(messages, list):
        _fail(where, "messages is a list")
    turns: list[tuple[str, str]] = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _ROLES:
            _fail(where, f"a message has a role ({', '.join(_ROLES)})")
        turns.append((str(role), text_of(message.get("content"))))
    return turns


def text_of(content: object) -> str:
    """A message's text: the content itself, or its text parts joined; "" where it has none."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _fail(where: str, problem: str) -> NoReturn:
    raise HoldfastError(f"{where}: {problem}")
