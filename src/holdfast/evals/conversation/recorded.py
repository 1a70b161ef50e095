"""Recorded chats in place of self-chat: production logs, or another tool's conversations.

A file is JSONL, one chat a line: {"messages": [{"role", "content"}, …], "persona": ID},
where `persona` may be left out if there is only one. The reader drops system and developer
messages (the persona's prompt replaces them), assistant messages before the first user message,
and a last user message without a reply. It joins consecutive messages of one role.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.persona.suite import Persona

_ROLES = ("system", "developer", "user", "assistant")


def read_history(
    path: Path, personas: Sequence[Persona], seed: int = 0
) -> tuple[Conversation, ...]:
    """The recorded chats as planned conversations. Raises HoldfastError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise HoldfastError(f"{path} could not be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise HoldfastError(
            f"{path} is not UTF-8 (byte {error.start}); convert it first"
        ) from error
    by_id = {persona.id: persona for persona in personas}
    chats: list[Conversation] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        record = _parsed(line, where)
        persona = _persona(record, by_id, where)
        script = _turns(record, where)
        at = len(chats)
        starter = script[0]
        conversation_seed = seed_of(seed, "conversation", at)
        chats.append(Conversation(at, persona, persona, starter, conversation_seed, script))
    if not chats:
        raise HoldfastError(f"{path} holds no chats; each line is one, with its messages")
    return tuple(chats)


def _parsed(line: str, where: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        _fail(where, f"not JSON ({error})")
    if not isinstance(record, dict) or not isinstance(record.get("messages"), list):
        _fail(where, 'a chat is an object with a list of "messages"')
    return record


def _persona(record: Mapping[str, Any], by_id: Mapping[str, Persona], where: str) -> Persona:
    name = record.get("persona")
    if name is None and len(by_id) == 1:
        return next(iter(by_id.values()))
    if name is None:
        _fail(where, 'no "persona"; name one in the line, or choose one with --agent')
    if name not in by_id:
        _fail(where, f"the persona {name!r} is not among those chosen")
    return by_id[name]


def _turns(record: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The turns, user first, each the joined messages of one side."""
    turns: list[tuple[str, str]] = []
    for message in record["messages"]:
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if role not in _ROLES or not isinstance(content, str):
            _fail(where, f"a message has a role ({', '.join(_ROLES)}) and a text as content")
        if role in ("system", "developer") or (role == "assistant" and not turns):
            continue
        if turns and turns[-1][0] == role:
            turns[-1] = (role, f"{turns[-1][1]}\n\n{content}")
        else:
            turns.append((role, content))
    texts = [text for _, text in turns]
    if len(texts) < 2:
        _fail(where, "a chat needs at least one user message and one reply")
    return tuple(texts[: len(texts) // 2 * 2])


def _fail(where: str, problem: str) -> NoReturn:
    raise HoldfastError(f"{where}: {problem}")
