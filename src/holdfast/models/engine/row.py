"""A request on its way: what is asked, what has been found and drawn, and what comes of it.

A row depends on its own ids, seed and sampling: its uniforms are its own, and so is what
ends it. This module knows token ids and numbers. It knows no batch and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from holdfast.control.steering import Held
from holdfast.core.backend import Sampling, Share, Stop
from holdfast.models.engine import sampling as draws
from holdfast.models.engine.cache import Ids, Layers

Span = tuple[int, int]
Halt = Callable[[Sequence[int]], bool]
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Spans(NamedTuple):
    """Token ranges [start, end) of the system prompt: its content, and the message as rendered."""

    content: Span
    template: Span


class Guide(NamedTuple):
    """The same chat without the persona, and how far to go from it (α = 1 is off)."""

    ids: tuple[int, ...]
    strength: float


@dataclass(frozen=True)
class Request:
    """Token ids to continue.

    `keep` keeps the keys and values for later requests. `state` names what they were
    computed under (a control, an adapter): rows of another state are never reused.
    `held` is the attention control, its columns being places in `ids`; `adapter` is one of the
    engine's by name, and `gated` asks that adapter's own gate whether it is on. `logprobs`
    asks for the log-probability of every token of the reply, and of so many of the likeliest
    beside it. `before` wants what plain attention would have given, where `measure` meets `held`.
    """

    ids: tuple[int, ...]
    seed: int
    keep: bool = True
    spans: Spans | None = None
    measure: bool = False
    state: str = ""
    held: Held | None = None
    guide: Guide | None = None
    adapter: str = ""
    gated: bool = False
    before: bool = True
    logprobs: int | None = None

    def switched(self, adapter: str) -> Request:
        """The same with that adapter on, or none; what is kept under it is kept apart."""
        state = f"{self.state}+prism:{adapter}" if adapter else self.state
        return replace(self, adapter=adapter, gated=False, state=state)


class Logprob(NamedTuple):
    """ln p of a drawn token under the model and its control, temperature 1, and of the likeliest.

    `top` are pairs of token id and ln p, the likeliest first.
    """

    token: int
    value: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Result:
    """The continuation, without the token that ended it; `steps` counts that one too.

    `cached` counts the tokens of the guide as well, where there is one.
    """

    ids: tuple[int, ...]
    stop: Stop
    steps: int = 0
    cached: int = 0
    share: Share | None = None
    logprobs: tuple[Logprob, ...] = ()


@dataclass(eq=False)
class Row:
    """A request on its way: what was found for it, and what it has produced."""

    index: int
    request: Request
    sampling: Sampling
    ids: Ids
    limit: int
    reuses: bool
    halt: Halt | None = None
    cached: int = 0
    layers: Layers | None = None
    pad: int = 0
    reply: list[int] = field(default_factory=list)
    steps: int = 0
    stop: Stop | None = None
    shares: list[Tensor] | None = None
    logprobs: list[Logprob] = field(default_factory=list)
    shadow: Row | None = None
    uniforms: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.uniforms = draws.uniforms([self.request.seed], max(1, self.limit)).numpy()[0]

    @property
    def new(self) -> int:
        """Tokens of the prompt that have to be computed."""
        return len(self.ids) - self.cached

    def end(self) -> None:
        """Stop here: nobody waits for the rest."""
        for row in filter(None, (self, self.shadow)):
            row.stop = "stop"

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Add a drawn token to the reply, or end it."""
        self.steps += 1
        if token in ends:
            self.stop = "stop"
            return
        self.reply.append(token)
        if self.halt is not None and self.halt(self.reply):
            self.stop = "stop"
        elif self.steps == self.limit:
            self.stop = "length" if self.limit == self.sampling.max_new_tokens else "overflow"


def result_of(row: Row) -> Result:
    """What came of a row that has ended."""
    assert row.stop is not None
    share = None
    if row.shares:
        share = _share(torch.stack(row.shares), row)
    cached = row.cached + (row.shadow.cached if row.shadow else 0)
    logs = tuple(row.logprobs[: len(row.reply)])
    return Result(tuple(row.reply), row.stop, row.steps, cached, share, logs)


def _share(pi: Tensor, row: Row) -> Share:
    """Means of π (queries, 2, spans, layers, heads) as the plain numbers of a `Share`."""
    assert row.request.spans is not None
    (heads, template), (before, _) = pi.double().mean(0).cpu().tolist()
    tokens = pi[:, 0, 0].double().mean((-1, -2)).cpu().tolist()
    start, end = row.request.spans.content
    return Share(
        heads=_rounded(heads),
        heads_template=_rounded(template),
        tokens=tuple(round(x, 5) for x in tokens),
        span=end - start,
        length=len(row.ids),
        heads_before=_rounded(before) if row.request.held and row.request.before else None,
    )


def _rounded(heads: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(x, 5) for x in layer) for layer in heads)
