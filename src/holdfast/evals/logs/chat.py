"""A recorded chat, and how messages of many tools become its turns.

Roles go by many names (`ROLES`), texts are strings or lists of parts. This module knows messages.
It knows no format and no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.results.watch import ReplyRecord

Record = Mapping[str, Any]
"""A JSON object, or a row of a table."""
RoleAndText = tuple[str, str]
"""A role (user, assistant or tool) and a text."""
ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human", "customer", "client", "visitor", "guest", "end_user", "requester",
             "contact", "caller"),
    "assistant": ("assistant", "gpt", "chatgpt", "bing", "bard", "model", "ai", "bot", "chatbot",
                  "agent", "support", "support_agent", "operator", "representative", "advisor"),
    "tool": ("tool", "function", "function_call", "observation"),
}  # fmt: skip
"""Our names of the roles, and theirs, in any case, with spaces or hyphens for underscores."""
_OURS = {theirs: ours for ours, names in ROLES.items() for theirs in names}
_TEXTS = ("text", "content", "message", "input", "question", "query", "prompt")
_REPLIES = ("output", "answer", "response", "reply", "completion")


class Unfit(Exception):
    """A record that its format cannot read; the message says why."""


@dataclass(frozen=True)
class RecordedChat:
    """A chat of a log."""

    turns: tuple[RoleAndText, ...]
    """What was said, without system messages."""
    where: str = ""
    """The file and the line."""
    system: str | None = None
    """The system prompt."""
    id: str | None = None
    """The conversation, where the log names it."""
    user_prompt: str | None = None
    """The simulated user's prompt, where the log has it."""
    persona: str | None = None
    """Id of its persona, where the log names it."""
    control: str = "none"
    """The control, as text."""
    model: str | None = None
    time: float | None = None
    """Seconds since 1970."""
    complete: bool = True
    """False for a request and the reply to it, of whose conversation other lines may have more."""

    def __post_init__(self) -> None:
        roles = [role for role, _ in self.turns]
        if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
            raise Unfit("a chat needs at least one user message and a reply to it")


@dataclass(frozen=True)
class ServerLine:
    """A line of our server's own log."""

    record: ReplyRecord
    """The reply, its score, and perhaps its texts."""
    where: str = ""
    """The file and the line."""

    @property
    def chat(self) -> RecordedChat:
        """The user's message and the reply.

        Raises:
            Unfit: the line has no texts.
        """
        one = self.record
        if one.user is None or one.reply is None:
            raise Unfit("a line of the server without texts: they are there with --log-prompts")
        return RecordedChat(
            (("user", one.user), ("assistant", one.reply)),
            self.where,
            id=one.conversation,
            control=one.control,
            model=one.model,
            time=one.time,
            complete=False,
        )


def read_messages(messages: object) -> tuple[str | None, tuple[RoleAndText, ...]]:
    """The system prompt of some messages, and their turns.

    System messages after the first turn are left out, and so are messages without text of the
    assistant, as calls of tools are.

    Raises:
        Unfit: there is no list of messages, or one has no role or no text.
    """
    if not isinstance(messages, list):
        raise Unfit("messages is a list")
    prompts: list[str] = []
    turns: list[RoleAndText] = []
    for message in messages:
        role, text = _read_message(message)
        if role == "system":
            prompts += [text] if not turns and text.strip() else []
        elif text.strip() or role == "user":
            turns.append((role, text))
    return "\n\n".join(prompts) or None, tuple(turns)


def _read_message(message: object) -> RoleAndText:
    table = message if isinstance(message, Mapping) else {}
    label = next((table[key] for key in ("role", "from", "sender", "type") if key in table), None)
    name = re.sub(r"[\s-]+", "_", label.strip().lower()) if isinstance(label, str) else ""
    role = _OURS.get(name)
    content = next((table[key] for key in ("content", "value", "text") if key in table), None)
    # An assistant that calls tools, or refuses, has no content.
    empty = content is None and role != "assistant"
    if role is None or empty or not isinstance(content, str | list | None):
        names, no_role = ", ".join(ROLES), f"; “{name[:30]}” is none" if name and not role else ""
        raise Unfit(f"a message has a role ({names}) and a text as content{no_role}")
    if isinstance(content, list) and role == "user" and _only_results(content):
        role = "tool"
    refusal = table.get("refusal")
    return role, text_of(refusal if content is None else content)


def _only_results(parts: list[Any]) -> bool:
    """True where a user's message brings results of tools alone, as Anthropic's do."""
    kinds = [part.get("type") for part in parts if isinstance(part, Mapping)]
    return bool(kinds) and all(kind == "tool_result" for kind in kinds)


def text_of(content: object) -> str:
    """A message's text: the content itself, or its text parts joined; "" where it has none."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        texts = [part.get("text", part.get("refusal")) for part in parts]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def request_of(value: object) -> tuple[str | None, tuple[RoleAndText, ...]]:
    """The system prompt and the turns of what a tool calls an input: messages, or a text."""
    if isinstance(value, str) and value.strip():
        return None, (("user", value),)
    if isinstance(value, list):
        return read_messages(value)
    if isinstance(value, Mapping):
        if isinstance(value.get("args"), list) and isinstance(value.get("kwargs"), Mapping):
            return _call(value["args"], value["kwargs"])
        if value.get("messages"):
            return request_of(value["messages"])
        system, text = value.get("system"), _text_under(value, (*_TEXTS, *_only(value)))
        if text is not None:
            return text_of(system) or None, (("user", text),)
    raise Unfit("its input is neither messages nor a text")


def _call(args: list[Any], kwargs: Record) -> tuple[str | None, tuple[RoleAndText, ...]]:
    """The request in a function's arguments: the first that can be one."""
    lists = [value for value in kwargs.values() if isinstance(value, list)]
    for value in (*args, *lists, _text_under(kwargs, (*_TEXTS, *_only(kwargs)))):
        try:
            return request_of(value)
        except Unfit:
            continue
    raise Unfit("no argument of its function is messages or a text")


def _only(table: Record) -> tuple[str, ...]:
    """The key of a table that has no other: the variable of a template, under any name."""
    return tuple(table) if len(table) == 1 else ()


def reply_of(value: object) -> str:
    """The text of what a tool calls an output: a text, a message, or messages."""
    if isinstance(value, Mapping):
        if isinstance(choices := value.get("choices"), list) and choices:
            return reply_of(choices[0])
        if isinstance(message := value.get("message"), Mapping):
            return reply_of(message)
        if isinstance(value.get("messages"), list):
            return reply_of(value["messages"])
        if isinstance(content := value.get("content"), list):
            return text_of(content)
        value = _text_under(value, (*_REPLIES, *_TEXTS)) or value.get("refusal")
    if isinstance(value, list):
        replies = [text for role, text in read_messages(value)[1] if role == "assistant"]
        value = replies[-1] if replies else None
    if not isinstance(value, str) or not value.strip():
        raise Unfit("it has no reply")
    return value


def _text_under(table: Record, keys: tuple[str, ...]) -> str | None:
    texts = (table[key] for key in keys if isinstance(table.get(key), str))
    return next((text for text in texts if text.strip()), None)
