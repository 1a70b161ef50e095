"""Write with the persona, check the facts without it: the method of `--verify neutral`.

A persona may improve how a reply is written and spoil what it says (`holdfast effect` measures
both). So the model writes a reply under its system prompt, and then checks that reply without
one. If the check names wrong statements, the model writes the reply again under the persona,
with those statements named. This costs one call more per reply, and two where something is wrong.

The check answers with one JSON object, {"wrong": [...]}. An answer that cannot be read counts as
`unclear`, and so does a rewrite that failed or has no text: the reply stays as it was. A check
knows only what the model knows without a persona.

This module knows chats and a backend. It knows no facts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.chat import Chat, has_prompt, message
from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of

METHODS = ("neutral",)
CHECK = Sampling(max_new_tokens=300, temperature=0.0, top_p=1.0)
_CHECK_PROMPT = (
    "Here is a conversation and a draft of the reply to its last message, as JSON:\n\n"
    "{conversation}\n\n"
    "Check the draft for errors of fact, arithmetic and logic only, whatever its tone and style. "
    'Reply with one JSON object and nothing else: {{"wrong": []}} if all of it is right, or '
    '{{"wrong": ["what is wrong, and what is right instead", ...]}}.'
)
_REWRITE_PROMPT = (
    "These statements of your reply are wrong:\n{wrong}\nWrite the same reply again with them put "
    "right, in the same voice, without mentioning the correction."
)
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


def ask_for_check(chat: Chat, draft: str) -> Chat:
    """Return the chat that asks what is wrong in a draft; it has no system prompt."""
    lines = [f"{m['role']}: {m['content']}" for m in chat if m["role"] != "system"]
    conversation = json.dumps({"conversation": lines, "draft": draft}, ensure_ascii=False)
    return (message("user", _CHECK_PROMPT.format(conversation=conversation)),)


def read_check(text: str) -> list[str] | None:
    """Return the statements that a check calls wrong; None if the check cannot be read."""
    match = _OBJECT.search(text)
    try:
        statements = json.loads(match[0])["wrong"] if match else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(statements, list) or not all(isinstance(one, str) for one in statements):
        return None
    return [one.strip() for one in statements if one.strip()]


def ask_for_rewrite(chat: Chat, draft: str, wrong: Sequence[str]) -> Chat:
    """Return the chat that asks for the draft once more and names its wrong statements."""
    lines = "\n".join(f"- {statement}" for statement in wrong)
    request = message("user", _REWRITE_PROMPT.format(wrong=lines))
    return (*chat, message("assistant", draft), request)


class FactCheckedBackend:
    """A backend whose replies under a system prompt are checked without it.

    Replies to chats without a system prompt are the backend's own, and so is everything else.

    Attributes:
        backend: the backend.
        counts: how many replies were `checked` and `rewritten`, and for how many the check or the
            rewrite was `unclear`.
    """

    def __init__(self, backend: Backend, method: str = METHODS[0]) -> None:
        if method not in METHODS:
            raise HoldfastError(f"`verify` is {' or '.join(METHODS)}, not {method!r}")
        self.backend, self._method = backend, method
        self.counts: Counter[str] = Counter(checked=0, rewritten=0, unclear=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """Return one reply per ask, in order, with the tokens of all its calls."""
        replies = self.backend.reply(asks, sampling)
        checkable = [
            i for i, (ask, reply) in enumerate(zip(asks, replies, strict=True))
            if _is_checkable(ask, reply)
        ]  # fmt: skip
        wrong = self._check(asks, replies, checkable)
        drafts = {i: replies[i] for i in wrong}
        chats = [ask_for_rewrite(asks[i].chat, drafts[i].text, wrong[i]) for i in wrong]
        rewrites = self.backend.reply(
            [
                replace(asks[i], chat=chat, seed=_make_seed(asks[i], "again"), keep=False)
                for i, chat in zip(wrong, chats, strict=True)
            ],
            sampling,
        )
        for i, rewrite in zip(wrong, rewrites, strict=True):
            better, other = (rewrite, drafts[i]) if _has_text(rewrite) else (drafts[i], rewrite)
            replies[i] = _add_cost(better, other)
        rewritten = sum(map(_has_text, rewrites))
        self.counts.update(rewritten=rewritten, unclear=len(wrong) - rewritten)
        return replies

    def _check(
        self, asks: Sequence[Ask], replies: list[Reply], checkable: Sequence[int]
    ) -> dict[int, list[str]]:
        """Check replies, add the checks' cost to them, and return wrong statements by index."""
        checks = self.backend.reply(
            [
                Ask(
                    ask_for_check(asks[i].chat, replies[i].text),
                    _make_seed(asks[i], "check"),
                    keep=False,
                )
                for i in checkable
            ],
            CHECK,
        )
        wrong = [read_check(check.text) for check in checks]
        unclear = sum(statements is None for statements in wrong)
        self.counts.update(checked=len(checkable), unclear=unclear)
        for i, check in zip(checkable, checks, strict=True):
            replies[i] = _add_cost(replies[i], check)
        return {i: facts for i, facts in zip(checkable, wrong, strict=True) if facts}

    def describe(self) -> Mapping[str, object]:
        """Return what determines the replies, as JSON."""
        return {**self.backend.describe(), "verify": self._method}

    @property
    def summary(self) -> str:
        """The counts in one sentence."""
        n = self.counts
        return (
            f"{n['checked']} replies were checked without the persona: {n['rewritten']} rewritten, "
            f"{n['unclear']} checks or rewrites could not be read."
        )


def _is_checkable(ask: Ask, reply: Reply) -> bool:
    return _has_text(reply) and has_prompt(ask.chat)


def _has_text(reply: Reply) -> bool:
    """False for a reply that failed, did not fit or is empty."""
    return reply.stop in ("stop", "length") and bool(reply.text.strip())


def _make_seed(ask: Ask, call: str) -> int:
    return seed_of("verify", call, ask.seed)


def _add_cost(reply: Reply, other: Reply) -> Reply:
    """Return the reply with another call's tokens added to its own."""
    return replace(
        reply,
        prompt_tokens=reply.prompt_tokens + other.prompt_tokens,
        cached_tokens=reply.cached_tokens + other.cached_tokens,
        completion_tokens=reply.completion_tokens + other.completion_tokens,
    )
