"""Prompt share by round, layer, head and token, from records.

The prompt share of a reply is the attention that its tokens give to the system prompt. Local
models measure it; here it is averaged over conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.core.backend import Share
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.results.conversation import RoundRecord, TurnShare
from holdfast.results.drift import PromptShare, ShareDetail, TurnShares, Values

POSITIONS = 32
"""Tokens of a reply, from its first, whose shares are averaged one by one."""


def prompt_share(
    records: Sequence[RoundRecord], plan: Sequence[Conversation], rounds: int
) -> PromptShare:
    """Prompt share by round, layer and head; all None where none was measured."""
    by_conversation = np.full((len(plan), rounds + 1), np.nan)
    rows = {conversation.id: row for row, conversation in enumerate(plan)}
    answers: list[list[Share]] = [[] for _ in range(rounds + 1)]
    turns: list[list[TurnShare]] = [[] for _ in range(rounds + 1)]
    for record in records:
        shares = [answer.share for answer in record.answers if answer.share]
        answers[record.round] += shares
        if shares:
            share = float(np.mean(shares[0].heads))
            by_conversation[rows[record.conversation], record.round] = share
        if record.agent and record.agent.share:
            turns[record.round].append(record.agent.share)
    if not any(answers):
        return PromptShare()
    heads = [_mean([share.heads for share in at]) for at in answers]
    return PromptShare(
        prompt_share=numbers(mean(by_conversation)),
        prompt_share_interval=numbers(sample_of(plan).share_interval(by_conversation)),
        share_detail=ShareDetail(
            heads=[None if one is None else numbers(one) for one in heads],
            layers=[None if one is None else numbers(one.mean(axis=1)) for one in heads],
            template=[_scalar([share.heads_template for share in at]) for at in answers],
            dilution=[_scalar([share.span / share.length for share in at]) for at in answers],
            within=[_by_token(at) for at in answers],
            turns=TurnShares(list(range(1, rounds + 1)), [_by_token(at) for at in turns[1:]]),
        ),
    )


def _mean(values: Sequence[Any]) -> Array | None:
    return np.mean(np.asarray(values, float), axis=0) if values else None


def _scalar(values: Sequence[Any]) -> float | None:
    return numbers(np.mean(values)) if values else None


def _by_token(shares: Sequence[Share] | Sequence[TurnShare]) -> Values:
    """Mean share at each token of the reply, over the replies that are that long."""
    longest = min(POSITIONS, max((len(share.tokens) for share in shares), default=0))
    return [
        _scalar([share.tokens[i] for share in shares if len(share.tokens) > i])
        for i in range(longest)
    ]
