"""`auto:`: a control that acts only while the persona slips.

Before the user's message i, the replies so far have scores s₁ … sₙ by the persona's judge, and
`last` of them the mean m. The control acts on the message where

    m < (s₁ + s₂)/2 - drop          or, with `below`, where m < below

so that nothing is added while the persona holds. The decision for a message stays: it depends on
nothing after it. So a reminder stays where it was given, a provider's prefix cache
keeps what it has, and any process that has the chat and the judge decides alike.

A judge that fits only the persona's probes scores ordinary replies low from the first on: by `drop`
they never make the control act, by `below` they always do. This module knows scores and messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from holdfast import judge as judges
from holdfast.core.chat import Chat
from holdfast.core.control import AutoControl, Control
from holdfast.core.errors import ControlError
from holdfast.judge import Judge

FIRST = 2
"""Replies that are the standard of their conversation."""
_LONGEST = 20_000  # characters of a reply that are judged
Spec = Mapping[str, object]


def refusal(control: Control, judge: Spec | None) -> str | None:
    """Why a control cannot act under a judge, or None: `auto:` needs one that is a rule."""
    if control.auto is None or (judge is not None and not judges.needs_model(judge)):
        return None
    return (
        f"`{control.text}` acts by the score of the replies: it needs a persona whose judge is a "
        "rule, and no rubric."
    )


def find_acts(control: Control, body: Chat, judge: Spec | None) -> list[bool]:
    """Decide for each message of a chat whether the control acts before it.

    Args:
        control: one with `auto`.
        body: the messages without the system prompt.
        judge: the description of the persona's judge.

    Raises:
        ControlError: there is no judge, or only a model can judge.
    """
    if why := refusal(control, judge):
        raise ControlError(why)
    assert control.auto is not None
    spec = json.dumps(judge, sort_keys=True)
    acts: list[bool] = []
    scores: list[float] = []
    for one in body:
        acts.append(falls(control.auto, scores))
        if one["role"] == "assistant" and one["content"].strip():
            scores.append(_score(spec, one["content"][:_LONGEST]))
    return acts


def falls(auto: AutoControl, scores: Sequence[float]) -> bool:
    """Whether the last scores of a conversation are too low."""
    if not scores:
        return False
    recent = scores[-auto.last :]
    mean = sum(recent) / len(recent)
    if auto.below is not None:
        return mean < auto.below
    first = scores[:FIRST]
    return mean < sum(first) / len(first) - auto.drop


@lru_cache(maxsize=1024)
def _score(spec: str, text: str) -> float:
    return _judge(spec)(text).value


@lru_cache(maxsize=64)
def _judge(spec: str) -> Judge:
    return judges.build(json.loads(spec))
