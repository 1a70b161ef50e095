"""What a run will take, from one measured step of its model; what `--plan` prints.

This module knows replies and tokens. It knows nothing of what is asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from holdfast.core.backend import Ask, Backend, Sampling

STEP = 32
"""Replies of the measured step at most."""


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

    @classmethod
    def of(
        cls, replies: int, longest: int, *, answers: int, tokens_drawn: int, seconds: float
    ) -> RunEstimate:
        """The estimate of a run.

        Args:
            replies: the replies to generate.
            longest: tokens of a reply at most.
            answers: replies of the measured step.
            tokens_drawn: their tokens.
            seconds: what they took.
        """
        tokens = round(replies * tokens_drawn / max(1, answers))
        rate = tokens_drawn / max(seconds, 1e-6)
        return cls(
            replies=replies,
            tokens=tokens,
            tokens_at_most=replies * longest,
            tokens_per_second=round(rate, 1),
            seconds=round(tokens / rate if rate else 0.0, 1),
        )

    def times(self, count: int) -> RunEstimate:
        """What so many such runs will take, one after another."""
        return replace(
            self,
            replies=self.replies * count,
            tokens=self.tokens * count,
            tokens_at_most=self.tokens_at_most * count,
            seconds=round(self.seconds * count, 1),
        )

    def plus(self, other: RunEstimate) -> RunEstimate:
        """What both will take, one after the other; the rate is that of all their tokens."""
        tokens, seconds = self.tokens + other.tokens, self.seconds + other.seconds
        return RunEstimate(
            replies=self.replies + other.replies,
            tokens=tokens,
            tokens_at_most=self.tokens_at_most + other.tokens_at_most,
            tokens_per_second=round(tokens / seconds if seconds else 0.0, 1),
            seconds=round(seconds, 1),
        )

    def sentence(self, beside: str) -> str:
        """The estimate in words; `beside` says what comes on top."""
        return (
            f"{self.replies:,} replies, about {self.tokens:,} tokens (at most "
            f"{self.tokens_at_most:,}); {self.tokens_per_second:,.0f} tokens/s in the step that "
            f"was measured, so about {timedelta(seconds=round(self.seconds))}. {beside}"
        ).rstrip()


def estimate_asks(
    model: Backend, asks: Sequence[Ask], sampling: Sampling, replies: int
) -> RunEstimate:
    """Have a model answer up to `STEP` asks and say what all replies will take.

    Args:
        model: who answers.
        asks: the run's, or some of them; those that are asked are spread over them.
        sampling: how replies are drawn.
        replies: replies of the whole run.
    """
    some = asks[:: max(1, -(-len(asks) // STEP))]
    start = time.monotonic()
    answers = model.reply(some, sampling)
    seconds = time.monotonic() - start
    model.forget()
    return RunEstimate.of(
        replies,
        sampling.max_new_tokens,
        answers=len(answers),
        tokens_drawn=sum(answer.completion_tokens for answer in answers),
        seconds=seconds,
    )
