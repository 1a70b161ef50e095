"""What a run will take, from one measured step of its model; what `--plan` prints.

Prompts are counted in characters, since a server's tokenizer is unknown here: the measured step
says how many tokens a character of this model's prompts takes.

This module knows replies and tokens. It knows nothing of what is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from holdfast.core.backend import Ask, Backend, Sampling, price_tokens
from holdfast.core.chat import Chat

STEP = 32
"""Replies of the measured step at most."""
OF_A_MESSAGE = 16
"""Characters as which what a template writes around a message is counted."""


@dataclass(frozen=True)
class RunEstimate:
    """What a run will take."""

    replies: int
    """Replies to generate."""
    prompt_tokens: int
    """Tokens of their prompts, by the prompts' characters."""
    tokens: int
    """Tokens of them all, if they are as long as those of the measured step."""
    tokens_at_most: int
    """Tokens of them all, if each is as long as it may be."""
    tokens_per_second: float
    """Tokens a second in the measured step."""
    seconds: float
    """Seconds of the run at that rate."""
    cost: float | None = None
    """In the currency of the prices, without discounts for cached tokens; None without prices."""

    @classmethod
    def of(
        cls,
        replies: int,
        longest: int,
        *,
        answers: int,
        tokens_drawn: int,
        seconds: float,
        prompt_tokens: float = 0.0,
    ) -> RunEstimate:
        """The estimate of a run.

        Args:
            replies: the replies to generate.
            longest: tokens of a reply at most.
            answers: replies of the measured step.
            tokens_drawn: their tokens.
            seconds: what they took.
            prompt_tokens: tokens of the prompts of all replies.
        """
        tokens = round(replies * tokens_drawn / max(1, answers))
        rate = tokens_drawn / max(seconds, 1e-6)
        return cls(
            replies=replies,
            prompt_tokens=round(prompt_tokens),
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
            prompt_tokens=self.prompt_tokens * count,
            tokens=self.tokens * count,
            tokens_at_most=self.tokens_at_most * count,
            seconds=round(self.seconds * count, 1),
            cost=None if self.cost is None else self.cost * count,
        )

    def plus(self, other: RunEstimate) -> RunEstimate:
        """What both will take, one after the other; the rate is that of all their tokens."""
        tokens, seconds = self.tokens + other.tokens, self.seconds + other.seconds
        return RunEstimate(
            replies=self.replies + other.replies,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            tokens=tokens,
            tokens_at_most=self.tokens_at_most + other.tokens_at_most,
            tokens_per_second=round(tokens / seconds if seconds else 0.0, 1),
            seconds=round(seconds, 1),
            cost=add_costs((self.cost, other.cost)),
        )

    def sentence(self, beside: str) -> str:
        """The estimate in words; `beside` says what comes on top."""
        cost = "" if self.cost is None else f"; cost about {self.cost:,.4g}"
        return (
            f"{self.replies:,} replies, about {self.tokens:,} tokens (at most "
            f"{self.tokens_at_most:,}) after prompts of about {self.prompt_tokens:,} tokens, "
            f"estimated from their characters{cost}; {self.tokens_per_second:,.0f} tokens/s in the "
            f"step that was measured, so about {timedelta(seconds=round(self.seconds))}. {beside}"
        ).rstrip()


def count_characters(chat: Chat) -> int:
    """Characters of a prompt, with `OF_A_MESSAGE` for each message."""
    return sum(len(one["content"]) + OF_A_MESSAGE for one in chat)


def cost_of(model: Backend, prompt_tokens: float, tokens: float) -> float | None:
    """What a model's tokens cost; None where it has no price."""
    price: tuple[float, float] | None = getattr(model, "price", None)
    return None if price is None else price_tokens(price, prompt_tokens, tokens)


def add_costs(costs: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def estimate_asks(
    model: Backend,
    asks: Sequence[Ask],
    sampling: Sampling,
    replies: int,
    later_chats: Callable[[str], Iterable[Chat]] = lambda reply: (),
) -> RunEstimate:
    """Have a model answer up to `STEP` asks and say what all replies will take.

    Args:
        model: who answers.
        asks: the run's, or some of them; those that are asked are spread over them.
        sampling: how replies are drawn.
        replies: replies of the whole run.
        later_chats: the run's prompts that hold earlier replies, if each is the given one.
    """
    some = asks[:: max(1, -(-len(asks) // STEP))]
    start = time.monotonic()
    answers = model.reply(some, sampling)
    seconds = time.monotonic() - start
    model.forget()
    asked = max(1, sum(count_characters(ask.chat) for ask in some))
    usual = sorted((answer.text for answer in answers), key=len)[len(answers) // 2 :]
    chats = [ask.chat for ask in asks] + [*later_chats(usual[0] if usual else "")]
    per_reply = sum(map(count_characters, chats)) / max(1, len(chats))
    tokens_per_character = sum(answer.prompt_tokens for answer in answers) / asked
    estimate = RunEstimate.of(
        replies,
        sampling.max_new_tokens,
        answers=len(answers),
        tokens_drawn=sum(answer.completion_tokens for answer in answers),
        seconds=seconds,
        prompt_tokens=replies * per_reply * tokens_per_character,
    )
    return replace(estimate, cost=cost_of(model, estimate.prompt_tokens, estimate.tokens))
