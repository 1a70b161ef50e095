"""Write with the persona, check the facts without it: the workflow of `--verify neutral`.

A persona may help how a reply is written and hurt what it says (`effect`). So a reply that was
written under a system prompt is shown to the same model without one, which names statements
that are wrong; where it names any, the reply is written again under the persona with those
named. That is one call more for every reply, and two where something is wrong.

The check answers with one JSON object, {"wrong": [...]}. One that does not is counted as
`unclear` and the reply stays as it was: nothing is rewritten for a check that nobody can read.
A check is only as good as what the model knows without a persona.

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
from holdfast.core.chat import Chat, message
from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of

WAYS = ("neutral",)
CHECK = Sampling(max_new_tokens=300, temperature=0.0, top_p=1.0)
_ASKED = (
    "Here is a conversation and a draft of the reply to its last message, as JSON:\n\n{held}\n\n"
    "Check the draft for errors of fact, arithmetic and logic only, whatever its tone and style. "
    'Reply with one JSON object and nothing else: {{"wrong": []}} if all of it is right, or '
    '{{"wrong": ["what is wrong, and what is right instead", ...]}}.'
)
_AGAIN = (
    "These statements of your reply are wrong:\n{wrong}\nWrite the same reply again with them put "
    "right, in the same voice, without mentioning the correction."
)
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


def question(chat: Chat, draft: str) -> Chat:
    """The chat that asks what is wrong in a draft; it holds no system prompt."""
    said = [f"{m['role']}: {m['content']}" for m in chat if m["role"] != "system"]
    held = json.dumps({"conversation": said, "draft": draft}, ensure_ascii=False)
    return (message("user", _ASKED.format(held=held)),)


def wrong(text: str) -> list[str] | None:
    """The statements that a check calls wrong; None where it cannot be read."""
    found = _OBJECT.search(text)
    try:
        named = json.loads(found[0])["wrong"] if found else None
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        return None
    return [one.strip() for one in named if one.strip()]


def again(chat: Chat, draft: str, named: Sequence[str]) -> Chat:
    """The chat that asks for a draft once more, with what was wrong in it."""
    listed = "\n".join(f"- {one}" for one in named)
    asked = message("user", _AGAIN.format(wrong=listed))
    return (*chat, message("assistant", draft), asked)


class Verified:
    """A backend whose replies under a system prompt are checked without it.

    Replies to chats without one are the backend's own. `counts` holds how many were checked,
    rewritten and unclear. Everything else is the backend's.
    """

    def __init__(self, backend: Backend, way: str = WAYS[0]) -> None:
        if way not in WAYS:
            raise HoldfastError(f"--verify is {' or '.join(WAYS)}, not {way!r}")
        self._backend, self._way = backend, way
        self.counts: Counter[str] = Counter(checked=0, rewritten=0, unclear=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order; tokens are those of all its calls."""
        replies = self._backend.reply(asks, sampling)
        at = [i for i, (ask, reply) in enumerate(zip(asks, replies, strict=True))
              if _checked(ask, reply)]  # fmt: skip
        checks = self._backend.reply(
            [_branch(asks[i], question(asks[i].chat, replies[i].text), "check") for i in at], CHECK
        )
        found = [wrong(check.text) for check in checks]
        self.counts.update(checked=len(at), unclear=sum(named is None for named in found))
        for i, check in zip(at, checks, strict=True):
            replies[i] = _with_cost(replies[i], check)
        late = [(i, named) for i, named in zip(at, found, strict=True) if named]
        rewritten = self._backend.reply(
            [
                replace(
                    _branch(asks[i], again(asks[i].chat, replies[i].text, named), "again"),
                    control=asks[i].control,
                )
                for i, named in late
            ],
            sampling,
        )
        self.counts.update(rewritten=len(late))
        for (i, _), new in zip(late, rewritten, strict=True):
            replies[i] = _with_cost(new, replies[i])
        return replies

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON."""
        return {**self._backend.describe(), "verify": self._way}

    @property
    def told(self) -> str:
        """What the checks came to, in one sentence."""
        n = self.counts
        return (
            f"{n['checked']} replies were checked without the persona: {n['rewritten']} rewritten, "
            f"{n['unclear']} checks could not be read."
        )


def _checked(ask: Ask, reply: Reply) -> bool:
    whole = reply.stop in ("stop", "length") and bool(reply.text.strip())
    return whole and bool(ask.chat) and ask.chat[0]["role"] == "system"


def _branch(ask: Ask, chat: Chat, what: str) -> Ask:
    return Ask(chat, seed_of("verify", what, ask.seed), keep=False)


def _with_cost(reply: Reply, before: Reply) -> Reply:
    """The reply with the tokens of the call before it as well."""
    return replace(
        reply,
        prompt_tokens=reply.prompt_tokens + before.prompt_tokens,
        cached_tokens=reply.cached_tokens + before.cached_tokens,
        completion_tokens=reply.completion_tokens + before.completion_tokens,
    )
