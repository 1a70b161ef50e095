"""`--verify neutral` in the gateway: a reply under a persona is checked without it, then sent.

The three calls of `verify`, asked of the upstream: the draft, the check of it without a system
prompt, and where that names something, the draft once more. A draft has to be whole before it
can be checked, so a streamed reply comes in one piece. What is no plain reply in text is passed
on unchecked: tools, several choices, log-probabilities, an upstream's error.

This module knows OpenAI's JSON. How it is sent is the gateway's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from holdfast.models.fact_check import CHECK, check_chat, read_check, rewrite_chat

HEADER = "x-holdfast-verify"
Post = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]
# A reply that these ask for is more than its text.
_MORE = ("tools", "functions", "logprobs", "audio", "response_format")


def checkable(asked: Mapping[str, Any]) -> bool:
    """Whether a request is for one reply in text under a system prompt."""
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(_plain(one) for one in messages):
        return False
    prompted = bool(messages) and messages[0]["role"] in ("system", "developer")
    return prompted and asked.get("n") in (None, 1) and not any(asked.get(n) for n in _MORE)


def _plain(one: object) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("content"), str)
        and one.get("role") in ("system", "developer", "user", "assistant")
    )


async def checked(
    asked: Mapping[str, Any], draft: dict[str, Any], post: Post
) -> tuple[dict[str, Any], str]:
    """The completion to send for a draft, and what the check came to.

    `post` sends a request that is not streamed and gives its answer, None where there was none.
    What it came to is "right", "rewritten" or "unclear"; the draft stays where it is unclear.
    """
    text = _text(draft)
    if not text:
        return draft, "unclear"
    chat = tuple(asked["messages"])
    check = await post(
        {
            "model": asked.get("model"),
            "messages": list(check_chat(chat, text)),
            "temperature": CHECK.temperature,
            "max_tokens": CHECK.max_new_tokens,
        }
    )
    named = read_check(_text(check) or "") if check else None
    if named is None:
        return _with_usage(draft, check), "unclear"
    if not named:
        return _with_usage(draft, check), "right"
    new = await post({**whole(asked), "messages": list(rewrite_chat(chat, text, named))})
    if not new or not _text(new):
        return _with_usage(draft, check), "unclear"
    return _with_usage(new, draft, check), "rewritten"


def whole(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The request for the same reply in one piece."""
    return {name: v for name, v in asked.items() if name not in ("stream", "stream_options")}


async def streamed(completion: Mapping[str, Any], usage: bool) -> AsyncGenerator[bytes]:
    """A completion as the events of a stream."""
    choice = completion["choices"][0]
    head = {k: v for k, v in completion.items() if k not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    delta = {"role": "assistant", "content": _text(completion)}
    told: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": choice.get("finish_reason")}]},
    ]
    if usage:
        told.append({"choices": [], "usage": completion.get("usage")})
    for one in told:
        yield f"data: {json.dumps({**head, **one})}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _text(completion: Mapping[str, Any]) -> str | None:
    """The text of a completion's only reply; None where it is something else."""
    try:
        said = completion["choices"][0]["message"]
        text = said["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return text if isinstance(text, str) and not said.get("tool_calls") else None


def _with_usage(completion: dict[str, Any], *others: Mapping[str, Any] | None) -> dict[str, Any]:
    """The completion with the tokens of the other calls added to its own."""
    found = [one.get("usage") for one in (completion, *others) if one]
    counted = [one for one in found if isinstance(one, dict)]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    total = {n: sum(one[n] for one in counted if isinstance(one.get(n), int)) for n in names}
    own = completion.get("usage")
    return {**completion, "usage": {**own, **total}} if isinstance(own, dict) else completion
