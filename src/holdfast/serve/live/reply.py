"""A reply that has ended, and the id of its conversation, as routes hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.control import Control
from holdfast.evals.watch.conversations import Turns

ID_HEADER = "x-conversation-id"
_LONGEST_ID = 512


@dataclass(frozen=True, kw_only=True)
class LiveReply:
    """A reply that has ended, as a route hands it over."""

    turns: Turns
    """Roles and texts of the request's messages."""
    text: str
    """The reply's text."""
    control: Control
    """The control of the request."""
    model: str
    id: str | None = None
    """The conversation's id, where the request names one."""
    score: float | None = None
    """Its score, where the route has it already."""
    began: float = 0.0
    """When the request came, in seconds since 1970."""
    tokens: tuple[int, int] | None = None
    """Tokens of the prompt and of the reply, where they are known."""
    finish: str = "stop"
    """Why it ended."""


def conversation_id(headers: Mapping[str, str], fields: Mapping[str, Any]) -> str | None:
    """The conversation's id: the header `X-Conversation-Id`, or `metadata.conversation_id`."""
    metadata = fields.get("metadata")
    own = metadata.get("conversation_id") if isinstance(metadata, dict) else None
    id = headers.get(ID_HEADER) or own
    return id[:_LONGEST_ID] if isinstance(id, str) and id else None
