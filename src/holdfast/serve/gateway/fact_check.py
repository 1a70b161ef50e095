"""`--verify neutral` in the gateway: a reply under a persona is checked without it, then sent.

The gateway asks the upstream three times, as `models.fact_check` does: for the draft, for a check
of it without the system prompt, and, if the check names an error, for the draft again. The check
needs the whole draft, so a streamed reply arrives in one piece. What is not one plain reply in
text is forwarded unchecked: tools, several choices, log-probabilities, an upstream's error.

This module knows OpenAI's JSON. How it is sent is the gateway's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from holdfast.core.chat import Chat
from holdfast.models.fact_check import CHECK, ask_for_check, ask_for_rewrite, read_check
from holdfast.serve.stream import DONE, event

HEADER = "x-holdfast-verify"
Post = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]
_PROMPT_ROLES = ("system", "developer")
_REASONING_TOKENS = 4096  # of a check by a model that reasons first
# Fields that ask for more than a reply's text.
_BEYOND_TEXT = ("tools", "functions", "logprobs", "audio", "response_format")


def is_checkable(fields: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> bool:
    """True if a request asks for one reply in text under a system prompt.

    Args:
        fields: the request's body.
        messages: its messages before the control, which may drop some; the check reads all.
    """
    outgoing = fields["messages"]
    if not all(map(_is_plain, [*messages, *outgoing])):
        return False
    has_prompt = bool(outgoing) and outgoing[0]["role"] in _PROMPT_ROLES
    return (
        has_prompt and fields.get("n") in (None, 1) and not any(fields.get(n) for n in _BEYOND_TEXT)
    )


def _is_plain(one: object) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("content"), str)
        and one.get("role") in ("system", "developer", "user", "assistant")
    )


async def check_draft(
    fields: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]],
    draft: dict[str, Any],
    post: Post,
) -> tuple[dict[str, Any], str]:
    """Check a draft, and have it written again if it is wrong.

    Args:
        fields: the request's body.
        messages: its messages before the control, which may repeat the system prompt.
        draft: the upstream's completion.
        post: sends a body and returns the completion, or None if there was none.

    Returns:
        The completion to send, and "right", "rewritten" or "unclear" (then it is the draft).
    """
    text = _text(draft)
    if not text:
        return draft, "unclear"
    check = await _check(fields, messages, text, post)
    facts = read_check(_text(check) or "") if check else None
    if facts is None:
        return _with_usage(draft, check), "unclear"
    if not facts:
        return _with_usage(draft, check), "right"
    chat = cast(Chat, tuple(fields["messages"]))
    messages = list(ask_for_rewrite(chat, text, facts))
    new = await post({**without_stream(fields), "messages": messages})
    if not new or not _text(new):
        return _with_usage(draft, check), "unclear"
    return _with_usage(new, draft, check), "rewritten"


async def _check(
    fields: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], text: str, post: Post
) -> dict[str, Any] | None:
    """The check of a draft.

    Models that reason take neither `max_tokens` nor a temperature, so a check that fails is
    asked for once more as they want it.
    """
    chat = [one for one in messages if one["role"] not in _PROMPT_ROLES]
    question = list(ask_for_check(cast(Chat, tuple(chat)), text))
    common = {"model": fields.get("model"), "messages": question}
    plain = {**common, "temperature": CHECK.temperature, "max_tokens": CHECK.max_new_tokens}
    reasoning = {**common, "max_completion_tokens": _REASONING_TOKENS}
    forms = [reasoning] if "max_completion_tokens" in fields else [plain, reasoning]
    for form in forms:
        if (check := await post(form)) is not None:
            return check
    return None


def without_stream(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same request, for a reply in one piece."""
    return {name: v for name, v in fields.items() if name not in ("stream", "stream_options")}


async def as_events(completion: Mapping[str, Any], usage: bool) -> AsyncGenerator[bytes]:
    """A completion as the events of a stream."""
    choices = completion.get("choices")
    head = {k: v for k, v in completion.items() if k not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    chunks: list[dict[str, Any]] = []
    for one in choices if isinstance(choices, list) and choices else [{}]:
        choice = one if isinstance(one, dict) else {}
        delta = choice.get("message") or {"role": "assistant", "content": None}
        chunks += [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": choice.get("finish_reason")}]},
        ]
    if usage:
        chunks.append({"choices": [], "usage": completion.get("usage")})
    for one in chunks:
        yield event({**head, **one})
    yield DONE


def _text(completion: Mapping[str, Any]) -> str | None:
    """The text of a completion's only reply; None if it is something else."""
    try:
        reply = completion["choices"][0]["message"]
        text = reply["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return text if isinstance(text, str) and not reply.get("tool_calls") else None


def _with_usage(completion: dict[str, Any], *others: Mapping[str, Any] | None) -> dict[str, Any]:
    """The completion with the tokens of the other calls added to its own."""
    usages = [one.get("usage") for one in (completion, *others) if one]
    counts = [one for one in usages if isinstance(one, dict)]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    total = {n: sum(one[n] for one in counts if isinstance(one.get(n), int)) for n in names}
    own = completion.get("usage")
    return {**completion, "usage": {**own, **total}} if isinstance(own, dict) else completion
