"""The conversations that reach the last round, where others end before.

A log has chats of several lengths, and self-chat may fill the context. The start of all
conversations beside the end of the long ones would compare different conversations, so what is
said of both ends is said of those that have both.

This module knows judged conversations, and no log.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.evals.conversation.curves import curves
from holdfast.evals.conversation.judging import stability_scores
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.prompt_share import prompt_share
from holdfast.results.conversation import JudgedConversation, RoundRecord
from holdfast.results.drift import FullLength


def full_length(
    conversations: Sequence[JudgedConversation],
    records: Sequence[RoundRecord],
    plan: Sequence[Conversation],
    rounds: int,
) -> FullLength | None:
    """What is found over those with a score at the last round; None where all have one, or none.

    Args:
        conversations: the judged conversations, in the plan's order.
        records: the records of the run.
        plan: the conversations.
        rounds: R, the rounds of the longest.
    """
    reach = ~np.isnan(stability_scores(conversations, rounds + 1)[:, -1])
    if reach.all() or not reach.any():
        return None
    part = [conversation for conversation, there in zip(plan, reach, strict=True) if there]
    ids = {conversation.id for conversation in part}
    return FullLength(
        len(part),
        curves([one for one in conversations if one.id in ids], part, rounds),
        prompt_share([one for one in records if one.conversation in ids], part, rounds),
    )
