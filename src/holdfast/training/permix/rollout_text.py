"""Question and reply in what trainers hand over: prompts and completions as texts or messages.

This module knows texts. It knows no gold answers and no trainer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.models.thinking import TAG_MARKS, TAGS

# What tokenizers write for their special tokens: <|im_end|>, </s>, <end_of_turn>, [/INST].
_SPECIAL_TOKEN = re.compile(
    r"(?:<[|｜][^<>\s]*[|｜]>|</?(?:s|pad|unk|[be]os|eo[dt]|(?:start|end)_of_\w+|turn\|)>"
    r"|\[/?(?:INST|PAD|EOS|SEP|CLS)\])\Z",
    re.IGNORECASE,
)


def read_reply(query: str, prompt: str) -> str:
    """The reply of a query, without the special tokens at its end.

    Args:
        query: The prompt and the reply, decoded with special tokens.
        prompt: The prompt.

    Raises:
        HoldfastError: The query does not begin with the prompt.
    """
    reply = _after(query, prompt).rstrip()
    while match := _SPECIAL_TOKEN.search(reply):
        rest = reply[: match.start()]
        # </s> of <s>17</s> strikes out, and the end of a thought is no end of the reply.
        if match[0] in TAG_MARKS or ("/" in match[0] and match[0].replace("/", "") in rest):
            break
        reply = rest.rstrip()
    return reply


def read_completion(completion: Any) -> str:
    """The text of a completion, which is a text or a list of messages.

    "" where the last message is not the model's, as where tools were called to the end.
    """
    if isinstance(completion, str):
        return completion
    is_reply = bool(completion) and completion[-1]["role"] == "assistant"
    return _text(completion[-1]) if is_reply else ""


def is_cut(ids: Sequence[int], ends: Collection[int]) -> bool:
    """Whether the limit of tokens cut a completion: it ends in none of the tokens that end one.

    Args:
        ids: Its token ids; without any nobody knows.
        ends: The ids that end a reply; without any nothing counts as cut.
    """
    return bool(ends) and len(ids) > 0 and int(ids[-1]) not in ends


def find_question(prompt: Any) -> str:
    """The user's last message of a prompt."""
    if isinstance(prompt, str):
        return prompt
    requests = [_text(one) for one in prompt if one["role"] == "user"]
    return requests[-1] if requests else ""


def find_opening(prompt: Any) -> str:
    """What opens a thought at the end of a prompt, as some templates do; "" where nothing does.

    Args:
        prompt: A rendered chat, or messages, whose last may begin the reply.
    """
    text = prompt if isinstance(prompt, str) else _prefill(prompt)
    return next((tag for tag in TAGS if text.rstrip().endswith(tag)), "")


def _after(query: str, prompt: str) -> str:
    """What follows the prompt, whose blanks may differ: it was encoded and decoded again."""
    if query.startswith(prompt):
        return query[len(prompt) :]
    places = [i for i, char in enumerate(query) if not char.isspace()]
    length = len("".join(prompt.split()))
    if "".join(query.split())[:length] != "".join(prompt.split()):
        raise HoldfastError(
            "a query does not begin with its prompt, so that the reply cannot be told from it: "
            "OpenRLHF passes queries, prompts and labels in this order."
        )
    return query[places[length] :] if length < len(places) else ""


def _prefill(prompt: Any) -> str:
    """The beginning of the reply that a prompt of messages ends with."""
    return _text(prompt[-1]) if prompt and prompt[-1]["role"] == "assistant" else ""


def _text(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content may be a list of parts, or missing beside a call."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content if part.get("type") == "text")
