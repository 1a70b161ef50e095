"""Requests that carry the conversation so far become conversations, each once.

A log of requests has a conversation of five rounds five times, each longer by a round. A request
whose conversation a later one continues is left out, and so is a whole chat that its id has again,
grown. Requests of one id that bring their last message only are put one after the other, in the
order of their times.

This module knows chats. It knows no files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from holdfast.evals.logs.chat import RecordedChat, RoleAndText


def join_chats(chats: Sequence[RecordedChat]) -> list[RecordedChat]:
    """The conversations of a log, in the order in which they begin.

    Args:
        chats: its chats; those that are not `complete`, or have one id, may be parts of each other.
    """
    by_id: dict[str, list[RecordedChat]] = {}
    chains: list[RecordedChat] = []
    for chat in chats:
        if chat.id is None:
            chains.append(chat)
        else:
            by_id.setdefault(chat.id, []).append(chat)
    for own in by_id.values():
        chains += _in_turn(own)
    continued_marks = {mark for chat in chains for mark in _beginnings(chat.turns)}
    order = {chat.where: i for i, chat in enumerate(chats)}
    conversations = [
        chat for chat in chains if chat.complete or _mark(chat.turns) not in continued_marks
    ]
    return sorted(conversations, key=lambda chat: order.get(chat.where, len(order)))


def _in_turn(own: Sequence[RecordedChat]) -> list[RecordedChat]:
    """The requests of one conversation, those with new messages only appended to it."""
    if all(chat.time is not None for chat in own):
        own = sorted(own, key=lambda chat: chat.time or 0.0)
    conversations: list[RecordedChat] = []
    for chat in own:
        before = conversations[-1] if conversations else None
        if before is not None and chat.turns[: len(before.turns)] == before.turns:
            conversations[-1] = replace(chat, where=before.where)
        elif before is not None and _is_last_message(chat):
            conversations[-1] = replace(before, turns=before.turns + chat.turns)
        else:
            conversations.append(chat)
    return conversations


def _is_last_message(chat: RecordedChat) -> bool:
    """Whether a request brings its conversation's last message alone."""
    return not chat.complete and not any(role == "assistant" for role, _ in chat.turns[:-1])


def _beginnings(turns: Sequence[RoleAndText]) -> Iterator[bytes]:
    """Marks of the beginnings of a chat that end with a reply, itself left out."""
    hasher = hashlib.blake2b(digest_size=16)
    for i, turn in enumerate(turns[:-1]):
        hasher.update(_bytes(turn))
        if turn[0] == "assistant" and i:
            yield hasher.copy().digest()


def _mark(turns: Sequence[RoleAndText]) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    for turn in turns:
        hasher.update(_bytes(turn))
    return hasher.digest()


def _bytes(turn: RoleAndText) -> bytes:
    role, text = (part.encode("utf-8", "backslashreplace") for part in turn)
    return b"%d %b %d %b" % (len(role), role, len(text), text)
