"""Logits changed for one row before its token is drawn, in the order and by the words of vLLM.

    grammar              tokens that cannot come next get −∞
    repetition_penalty   of tokens in prompt or reply: x / r if x > 0, else x · r  (1909.05858)
    frequency_penalty    x − f · (how often the token is in the reply)
    presence_penalty     x − p  if the token is in the reply
    min_p                tokens with p(token) < min_p · p(likeliest) get −∞, at the temperature

A row's log-probabilities and its prompt share are those before all of this. This module knows
token ids and numbers. It knows no text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Bits = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Shaping:
    """What a request wants changed."""

    min_p: float = 0.0
    """Tokens less likely than this share of the likeliest one are never drawn; 0 is off."""
    repetition_penalty: float = 1.0
    """Above 1 tokens that were there already become less likely; 1 is off."""
    frequency_penalty: float = 0.0
    """Taken off once for each time that a token is in the reply."""
    presence_penalty: float = 0.0
    """Taken off once for each token that is in the reply."""
    grammar: str = ""
    """What the reply must be, as `grammar.Grammars` takes it; empty is anything."""

    def __bool__(self) -> bool:
        return self != Shaping()


class Matcher(Protocol):
    """Follows one reply through a grammar."""

    def advance(self, token: int | None) -> Bits | None:
        """Take the token drawn last, and say which may come next.

        None means that the grammar cannot be followed further: it takes too much work.
        """


@dataclass
class Shaper:
    """Changes the logits of one row, token by token."""

    shaping: Shaping
    """What the request wants changed."""
    temperature: float
    """The row's, which `min_p` needs."""
    prompt: Sequence[int]
    """The row's prompt, which the repetition penalty counts."""
    matcher: Matcher | None = None
    """Follows the grammar, where there is one."""
    lost: bool = False
    """Whether the grammar could not be followed further."""
    _counts: dict[int, int] = field(default_factory=dict)
    _tokens: set[int] = field(default_factory=set)
    _read: int = 0

    def __post_init__(self) -> None:
        self._tokens.update(map(int, self.prompt))

    def __call__(self, logits: Tensor, reply: Sequence[int]) -> Tensor:
        """The logits (vocabulary,) of the token that follows `reply`, changed."""
        for token in reply[self._read :]:
            self._counts[token] = self._counts.get(token, 0) + 1
            self._tokens.add(token)
        fresh, self._read = reply[self._read :], len(reply)
        x = logits.float().clone()
        if self.matcher is not None:
            x = self._apply_grammar(x, self.matcher, fresh[-1] if fresh else None)
        x = self._penalise(x)
        if self.shaping.min_p > 0 and self.temperature > 0:
            least = x.max() + self.temperature * math.log(self.shaping.min_p)
            x = x.masked_fill(x < least, -torch.inf)
        return x

    def _apply_grammar(self, x: Tensor, matcher: Matcher, token: int | None) -> Tensor:
        bits = matcher.advance(token)
        if bits is None:
            self.lost = True
            return torch.full_like(x, torch.nan)  # the row ends as an error, the others go on
        mask = torch.zeros(len(x), dtype=torch.bool)
        mask[: len(bits)] = torch.from_numpy(bits[: len(x)])
        return x.masked_fill(~mask.to(x.device), -torch.inf)

    def _penalise(self, x: Tensor) -> Tensor:
        shaping = self.shaping
        if shaping.repetition_penalty != 1:
            ids = torch.tensor(sorted(self._tokens), device=x.device)
            r = shaping.repetition_penalty
            x[ids] = torch.where(x[ids] > 0, x[ids] / r, x[ids] * r)
        if self._counts and (shaping.frequency_penalty or shaping.presence_penalty):
            ids = torch.tensor(list(self._counts), device=x.device)
            counts = torch.tensor(list(self._counts.values()), device=x.device)
            x[ids] -= shaping.frequency_penalty * counts + shaping.presence_penalty
        return x


def make_shaper(
    shaping: Shaping | None,
    temperature: float,
    prompt: Sequence[int],
    match: Callable[[str], Matcher] | None,
) -> Shaper | None:
    """The shaper of a row, or None where nothing is to be changed.

    Args:
        shaping: what the request wants.
        temperature: the row's.
        prompt: the row's prompt.
        match: makes the matcher of a grammar.

    Raises:
        ValueError: there is a grammar and nothing to follow it with.
    """
    if not shaping:
        return None
    if shaping.grammar and match is None:
        raise ValueError("this engine has no tokenizer to follow a grammar with")
    own = match(shaping.grammar) if shaping.grammar and match else None
    return Shaper(shaping, temperature, prompt, own)
