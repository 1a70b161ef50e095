"""Messages, and the two views of one self-chat.

A self-chat is a list of *turns*, the utterances in order: turn 0 is the user
model's starter, turn 1 the agent's reply, and so on, so that round r is turns
2r-2 and 2r-1 and a history of r complete rounds has 2r turns. Each model sees
the same turns from its own side, under its own system prompt.

This module knows roles and text. It knows no tokens, no templates and no models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

Role = Literal["system", "user", "assistant", "tool"]


class Message(TypedDict):
    """One message of a chat, in OpenAI's shape; what tools add is for the chat template."""

    role: Role
    content: str
    reasoning_content: NotRequired[str]
    """The thought before a reply, which some chat templates show again."""
    name: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    note: NotRequired[str]
    """On a system message: what the control note:d says instead of it; no model sees this field."""


Chat = tuple[Message, ...]
Thoughts = Mapping[int, str]
"""What a model thought before it said a turn, by the turn's place."""
_NO_THOUGHTS: Thoughts = {}


def message(role: Role, content: str) -> Message:
    """A `Message`."""
    return {"role": role, "content": content}


def system_message(prompt: str, note: str | None = None) -> Message:
    """A system message.

    Args:
        prompt: the system prompt.
        note: what the control note:d says; by default the prompt.
    """
    first = message("system", prompt)
    if note:
        first["note"] = note
    return first


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_surrogates(one: Message) -> Message:
    """A message whose content UTF-8 can encode: logs in JSON may hold half an emoji."""
    if one["content"].isascii():
        return one
    return {**one, "content": replace_surrogates(one["content"])}


def has_prompt(chat: Chat) -> bool:
    """Whether a chat opens with a system prompt that is not blank."""
    return bool(chat) and chat[0]["role"] == "system" and bool(chat[0]["content"].strip())


def first_turn(chat: Chat) -> Chat:
    """The chat through its first user message; all of it where there is none."""
    places = (i + 1 for i, one in enumerate(chat) if one["role"] == "user")
    return chat[: next(places, len(chat))]


def _system(prompt: str | None, note: str | None = None) -> Chat:
    return (system_message(prompt, note),) if prompt else ()


def _messages(turns: Sequence[str], roles: tuple[Role, Role], thoughts: Thoughts) -> Chat:
    """The turns under alternating roles, with the assistant's thoughts beside its replies."""
    messages = []
    for i, text in enumerate(turns):
        one = message(roles[i % 2], text)
        if one["role"] == "assistant" and i in thoughts:
            one["reasoning_content"] = thoughts[i]
        messages.append(one)
    return tuple(messages)


def agent_view(
    system: str | None,
    turns: Sequence[str],
    question: str | None = None,
    thoughts: Thoughts = _NO_THOUGHTS,
    note: str | None = None,
) -> Chat:
    """The agent's chat: user turns are the user's, its own replies the assistant's.

    `question` (a probe) takes the place of the next user turn: with it `turns` end with a
    reply, without it they end with a user turn. `thoughts` are the agent's own, by turn.
    `note` is what the control note:d says in place of the system prompt.
    """
    messages = [*turns, question] if question is not None else list(turns)
    if len(messages) % 2 != 1:
        raise ValueError("the agent answers a user message: pass an odd number of turns")
    return _system(system, note) + _messages(messages, ("user", "assistant"), thoughts)


def user_view(
    system: str | None,
    turns: Sequence[str],
    *,
    folded: bool = False,
    thoughts: Thoughts = _NO_THOUGHTS,
) -> Chat:
    """The user model's chat: it spoke first, so its own turns are the assistant's.

    `folded` serves templates that demand a user message first: the starter and
    the first reply become one user message that reports them (Li et al. 2024 do
    the same; the wording is ours).
    """
    if not turns or len(turns) % 2:
        raise ValueError("the user model answers a reply: pass a non-empty even number of turns")
    roles: tuple[Role, Role] = ("assistant", "user")
    messages = _messages(turns, roles, thoughts)
    if not folded:
        return _system(system) + messages
    opening = f'You opened by asking me: "{turns[0]}"\nI answered: "{turns[1]}"'
    return (*_system(system), message("user", opening), *messages[2:])
