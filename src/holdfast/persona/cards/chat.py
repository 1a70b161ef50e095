"""SillyTavern's chats: JSONL whose first line names the two, and a message on each other line.

    {"user_name": "Sam", "character_name": "Ada", "chat_metadata": {…}}
    {"name": "Ada", "is_user": false, "is_system": false, "mes": "Good evening."}

Notes of the front end itself (`is_system`) are left out. Of several swipes the one that was kept
counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.chat import Chat, Message, message
from holdfast.core.errors import PersonaError
from holdfast.persona.files import read_json_lines


@dataclass(frozen=True)
class RolePlayChat:
    """A chat of SillyTavern."""

    character: str
    """The character's name."""
    user: str
    """The user's name."""
    messages: Chat
    """The messages, without a system prompt."""
    left_out: int
    """Lines that are no message: notes of the front end, and empty ones."""


def is_role_play(path: Path) -> bool:
    """True for a file whose first line is the head of such a chat."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline(1 << 20).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(head, dict) and "character_name" in head


def read_role_play(path: Path) -> RolePlayChat:
    """The chat in a JSONL file of SillyTavern.

    Raises:
        PersonaError: it is none, naming file and line.
    """
    head, *lines = read_json_lines(path, "chats", "name a JSONL file of SillyTavern", PersonaError)
    if not isinstance(head.fields.get("character_name"), str):
        raise PersonaError(f"{head.where}: a chat of SillyTavern names its character there.")
    messages, left_out = [], 0
    for line in lines:
        try:
            one = read_line(line.fields)
        except ValueError as error:
            raise PersonaError(f"{line.where}: {error}.") from None
        if one is None:
            left_out += 1
        else:
            messages.append(one)
    user = head.fields.get("user_name")
    has_name = isinstance(user, str) and user not in ("", "unused")
    return RolePlayChat(
        head.fields["character_name"], str(user) if has_name else "User", tuple(messages), left_out
    )


def read_line(line: Mapping[str, Any]) -> Message | None:
    """The message on a line after the head; None for a note of the front end, or no text.

    Raises:
        ValueError: it has no text.
    """
    text = line.get("mes")
    if not isinstance(text, str):
        raise ValueError("“mes” is missing or no text")
    if line.get("is_system") is True or not text.strip():
        return None
    return message("user" if line.get("is_user") is True else "assistant", text)
