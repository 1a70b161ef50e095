"""What a run of conversations will take, from one measured step.

The first conversations are asked their probes at round 0, as the run would ask them. Their replies
say how long replies are and how fast tokens come at that width; the plan says how many replies
there are. Later rounds have longer prompts, which this does not know: it is an estimate from below.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import OpenConversation, SelfChat

STEP = 8
"""Conversations of the measured step."""


@dataclass(frozen=True)
class RunEstimate:
    """What a run will take."""

    replies: int
    """Replies to generate."""
    tokens: int
    """Tokens of them all, if they are as long as those of the measured step."""
    tokens_at_most: int
    """Tokens of them all, if each is as long as it may be."""
    tokens_per_second: float
    """Tokens a second in the measured step."""
    seconds: float
    """Seconds of the run at that rate."""

    def times(self, count: int) -> RunEstimate:
        """What so many such runs will take, one after another."""
        return replace(
            self,
            replies=self.replies * count,
            tokens=self.tokens * count,
            tokens_at_most=self.tokens_at_most * count,
            seconds=round(self.seconds * count, 1),
        )

    def sentence(self) -> str:
        """The estimate in words."""
        return (
            f"{self.replies:,} replies, about {self.tokens:,} tokens (at most "
            f"{self.tokens_at_most:,}); {self.tokens_per_second:,.0f} tokens/s in the step that "
            f"was measured, so about {timedelta(seconds=round(self.seconds))}. Longer prompts of "
            "later rounds, capability questions and a screening come on top."
        )


def estimate(chat: SelfChat, planned: Sequence[Conversation]) -> RunEstimate:
    """Measure one step of a run and say what the whole will take; nothing is recorded.

    Args:
        chat: the models and what is asked in a round.
        planned: the conversations, those under each control counted.
    """
    began = time.monotonic()
    some = [OpenConversation(one) for one in planned[:STEP]]
    answers = [answer for record in chat.hold(some, 0).records for answer in record.answers]
    seconds = max(time.monotonic() - began, 1e-6)
    drawn = sum(answer.tokens[2] for answer in answers)
    replies = sum(_replies(chat, one) for one in planned)
    tokens = round(replies * drawn / max(1, len(answers)))
    rate = drawn / seconds
    return RunEstimate(
        replies=replies,
        tokens=tokens,
        tokens_at_most=replies * chat.protocol.sampling.max_new_tokens,
        tokens_per_second=round(rate, 1),
        seconds=round(tokens / rate if rate else 0.0, 1),
    )


def _replies(chat: SelfChat, planned: Conversation) -> int:
    """Replies of one conversation: probes at round 0, then turns, twins and probes."""
    protocol = chat.protocol
    recorded = planned.script is not None
    rounds = protocol.rounds
    if planned.script is not None:
        rounds = min(rounds, len(planned.script) // 2)
    twin, user = protocol.filler and not recorded, protocol.user_persona and not recorded
    first = protocol.runs * (1 + planned.floor) + 2 * user
    turns = 0 if recorded else 2 * rounds - 1 + twin * rounds
    return first + turns + rounds * (protocol.runs + user + protocol.history_floor + twin)
