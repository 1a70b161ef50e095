"""Which conversation a request belongs to, and which round of it a reply is.

A request brings the whole chat. A conversation is recognised by

    its id           where the request names one
    its history      the messages up to the last reply are those that the reply before ended with
    its opening      the first user message and the first reply are known

and is new otherwise. A whole chat of a log is its own conversation, and numbers its rounds itself.
A round is a user turn, consecutive user messages being one, and the reply to
it. What the assistant says before the first user message, such as a greeting, is no reply. System
messages are left out: they are the deployment's.

Only hashes are kept. Beyond `CAPACITY` conversations or histories the least recently used are
forgotten; a conversation that goes on afterwards counts as new. Two conversations that were the
same, word for word, since their opening count as one from where they part.

This module knows messages. It knows no scores.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

Turns = Sequence[tuple[str, str]]
"""Roles and texts of a chat's messages."""
CAPACITY = 50_000


class ReplyPlace(NamedTuple):
    """Where a reply belongs."""

    conversation: str
    """Hash that names the conversation."""
    round: int
    """The user turns so far."""
    is_new: bool
    """Whether the conversation was not known."""


class Conversations:
    """The conversations of a deployment."""

    def __init__(self) -> None:
        self._ends: OrderedDict[str, str] = OrderedDict()  # histories, and openings
        # The last round and request of each conversation with an id.
        self._last_by_name: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._count = 0

    def locate(self, turns: Turns, id: str | None = None) -> ReplyPlace:
        """The place of the reply to a chat.

        Args:
            turns: the messages of the chat, which ends before the reply.
            id: the conversation's id, where the request names one.
        """
        own = _without_system(turns)
        count = max(_rounds(own), default=0)
        if id is not None:
            return self._by_id(id, count, own)
        known_name, history = None, _history(own)
        if history:
            known_name = self._find(_hash(history)) or self._find(_opening(history))
        if known_name is not None:
            return ReplyPlace(known_name, count, False)
        self._count += 1
        return ReplyPlace(_hash([("new", f"{self._count}"), *own]), count, True)

    def in_chat(self, id: str, round: int) -> ReplyPlace:
        """The place of a reply in a whole chat.

        Args:
            id: what names the chat.
            round: the user turns of the chat up to the reply.
        """
        name = _hash([("id", id)])
        last, request = self._last_by_name.get(name, (0, ""))
        return self._note(name, round, (max(last, round), request))

    def remember(self, place: ReplyPlace, turns: Turns, reply: str) -> None:
        """Recognise the conversation by the chat that ends with this reply to a user."""
        whole = [*_without_system(turns), ("assistant", reply)]
        for key in (_hash(whole), _opening(whole)):
            self._ends[key] = place.conversation
            self._ends.move_to_end(key)
        while len(self._ends) > 2 * CAPACITY:
            self._ends.popitem(last=False)

    def _find(self, key: str) -> str | None:
        if key not in self._ends:
            return None
        self._ends.move_to_end(key)
        return self._ends[key]

    def _by_id(self, id: str, count: int, turns: Turns) -> ReplyPlace:
        name, request = _hash([("id", id)]), _hash(turns)
        last, before = self._last_by_name.get(name, (0, ""))
        # A client may send the last messages only, which are fewer turns than the conversation
        # has; the same request again asks for another reply to the same turn, and one that ends
        # with a tool's answer for the turn's reply.
        if count <= last:
            is_same = request == before or turns[-1][0] == "tool"
            count = last if is_same else last + 1
        return self._note(name, count, (count, request))

    def _note(self, name: str, round: int, last: tuple[int, str]) -> ReplyPlace:
        """A reply's place in a conversation with an id, whose last round and request are kept."""
        is_new = name not in self._last_by_name
        self._last_by_name[name] = last
        self._last_by_name.move_to_end(name)
        if len(self._last_by_name) > CAPACITY:
            self._last_by_name.popitem(last=False)
        return ReplyPlace(name, round, is_new)


def last_replies(turns: Turns) -> dict[int, int]:
    """The position of the assistant's last text in each round, by the round.

    What an assistant says before it calls a tool is no reply of its own.
    """
    positions: dict[int, int] = {}
    messages = zip(_rounds(turns), turns, strict=True)
    for i, (round, (role, text)) in enumerate(messages):
        if role == "assistant" and round and text.strip():
            positions[round] = i
    return positions


def _without_system(turns: Turns) -> list[tuple[str, str]]:
    return [turn for turn in turns if turn[0] in ("user", "assistant", "tool")]


def _rounds(turns: Turns) -> list[int]:
    """The round of each message: the user turns up to it, consecutive messages being one."""
    roles = [role for role, _ in turns]
    begins = [role == "user" and before != "user" for before, role in pairwise(["", *roles])]
    return list(accumulate(map(int, begins)))


def _history(turns: Turns) -> Turns:
    """The messages up to the last reply."""
    replies = _replies(turns)
    return turns[: replies[-1] + 1] if replies else ()


def _opening(turns: Turns) -> str:
    """Hash of the messages up to the first reply."""
    return _hash([("opening", ""), *turns[: _replies(turns)[0] + 1]])


def _replies(turns: Turns) -> list[int]:
    """Places of the assistant's messages after the first user message.

    A greeting before it is the same in every conversation, so it recognises none.
    """
    messages = zip(_rounds(turns), turns, strict=True)
    return [i for i, (round, (role, _)) in enumerate(messages) if round and role == "assistant"]


def _hash(turns: Turns) -> str:
    text = json.dumps([[role, content] for role, content in turns])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
