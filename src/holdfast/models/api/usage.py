"""What a backend has used: tokens, requests and money."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What a backend has used so far."""

    prompt_tokens: int = 0
    """Tokens of all prompts."""
    cached_tokens: int = 0
    """Prompt tokens that the server did not compute again."""
    completion_tokens: int = 0
    """Tokens of all replies."""
    requests: int = 0
    """Requests sent, retries included."""
    retries: int = 0
    """Requests that repeated another."""
    estimated: int = 0
    """Replies whose tokens are our estimate, because the server sent no counts."""
    cost: float | None = None
    """In the currency of the prices, without discounts for cached tokens; None without prices."""
