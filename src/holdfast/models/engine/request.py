"""A request to continue token ids, the row of a batch that works on it, and what comes back.

A row depends on its own ids, seed and sampling: its uniforms are its own, and so is what ends
it. This module knows token ids and numbers. It knows no batch and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor

from holdfast.control.steering import RowSteering
from holdfast.core.backend import Sampling, Share, Stop
from holdfast.models.engine.cache import Page, Pages, full_pages
from holdfast.models.engine.prefix_store import Ids
from holdfast.models.engine.sampling import Floats, draw_uniforms
from holdfast.models.engine.shaping import Shaper, Shaping

Span = tuple[int, int]
Halt = Callable[[Sequence[int]], bool]


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
    """Token ids to continue, and under what."""

    ids: tuple[int, ...]
    """The prompt."""
    seed: int
    """What the row's uniforms are drawn from."""
    keep: bool = True
    """Keep the keys and values for later requests."""
    spans: Spans | None = None
    """Where the system prompt is."""
    measure: bool = False
    """Record the prompt share of the reply's tokens."""
    state: str = ""
    """What keys and values are computed under (a control and its spans, an adapter), as text. Rows
    of another state are never reused. Two folded chats may have the same ids with other spans."""
    steering: RowSteering | None = None
    """The attention control; its columns are places in `ids`."""
    guide: Guide | None = None
    """The chat without the persona, where the row is under guidance."""
    adapter: str = ""
    """The adapter of the engine that is on; empty for none."""
    gate_ids: tuple[int, ...] = ()
    """What the adapter's gate reads to decide whether it is on; empty where nothing is open."""
    plain_share: bool = True
    """Also record the share under plain attention, where `measure` meets `steering`."""
    logprobs: int | None = None
    """Record the log-probability of every token, and of so many of the likeliest."""
    shaping: Shaping | None = None
    """How the logits are changed before a token is drawn."""

    @property
    def turns(self) -> tuple[int, ...]:
        """Where user turns begin, as far as its control needs to know."""
        return self.steering.turns if self.steering else ()

    def with_adapter(self, adapter: str) -> Request:
        """The same request with that adapter on, or none; each state is kept apart."""
        state = f"{self.state}+prism:{adapter}" if adapter else self.state
        return replace(self, adapter=adapter, gate_ids=(), state=state)

    def with_prompts(self, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Request:
        """The same request with its prompt changed behind the chat, and its guide's."""
        guide = self.guide and self.guide._replace(ids=change(self.guide.ids))
        return replace(self, ids=change(self.ids), guide=guide)


class Logprob(NamedTuple):
    """Log-probabilities of one step, under the model and its control at temperature 1."""

    token: int
    """The token of the reply."""
    value: float
    """Its ln p."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens with their ln p, the likeliest first."""


@dataclass(frozen=True)
class Continuation:
    """What continues a request."""

    ids: tuple[int, ...]
    """The reply, without the token that ended it."""
    stop: Stop
    """Why it ended."""
    steps: int = 0
    """Tokens drawn, the one that ended it included."""
    cached_tokens: int = 0
    """Prompt tokens whose keys were an earlier row's or a neighbour's, the guide's included."""
    share: Share | None = None
    """The prompt share, where it was measured."""
    logprobs: tuple[Logprob, ...] = ()
    """One for each token of the reply, where they were asked for."""


@dataclass(eq=False)
class Row:
    """A request at work in a batch."""

    index: int
    """The request's place among those of a call; -1 for a shadow."""
    request: Request
    sampling: Sampling
    ids: Ids
    """The prompt's ids as an array."""
    limit: int
    """Tokens to draw at most."""
    reuses: bool
    """Whether its keys and values may be padded, kept and reused."""
    halt: Halt | None = None
    """Says after each token whether the reply is over."""
    cached_tokens: int = 0
    """Prompt tokens whose keys and values are not computed for it."""
    pages: Pages = ()
    """Those keys and values, if they were kept, until they are in the batch."""
    source: Row | None = None
    """The row of the same batch that has them, if one does, until they are copied."""
    page_refs: list[ReferenceType[Page]] = field(default_factory=list)
    """Kept pages that its first tokens are copies of; the store may drop them meanwhile."""
    pad: int = 0
    """The column of its first token."""
    reply: list[int] = field(default_factory=list)
    steps: int = 0
    stop: Stop | None = None
    """Why it ended; None while it runs."""
    shares: list[Tensor] | None = field(init=False)
    """π of each token, (2, spans, layers, H); None where it is not measured."""
    logprobs: list[Logprob] = field(default_factory=list)
    shaper: Shaper | None = None
    """Changes its logits, where the request wants that."""
    shadow: Row | None = None
    """Under guidance, the same chat without the persona."""
    uniforms: Floats = field(init=False)
    """A number in [0, 1) for each step."""

    def __post_init__(self) -> None:
        measured = self.request.measure and self.request.spans is not None
        self.shares = [] if measured else None
        self.uniforms = draw_uniforms(self.request.seed, max(1, self.limit))

    @property
    def new(self) -> int:
        """Tokens of the prompt that have to be computed."""
        return len(self.ids) - self.cached_tokens

    def know(self, pages: Pages) -> None:
        """Note that its first `cached_tokens` tokens are copies of these pages'."""
        self.page_refs = [ref(page) for page in full_pages(pages, self.cached_tokens)]

    @property
    def known_pages(self) -> list[Page]:
        """Full pages that its first tokens are copies of, as far as they are still there."""
        pages = (page() for page in self.page_refs)
        return [page for page in takewhile(lambda page: page is not None, pages) if page]

    def end(self) -> None:
        """Stop here, since nobody waits for the rest."""
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


def result_of(row: Row) -> Continuation:
    """The continuation that a row has arrived at; it has ended."""
    assert row.stop is not None
    share = None
    if row.shares:
        share = _average_share(torch.stack(row.shares), row)
    cached = row.cached_tokens + (row.shadow.cached_tokens if row.shadow else 0)
    logs = tuple(row.logprobs[: len(row.reply)])
    return Continuation(tuple(row.reply), row.stop, row.steps, cached, share, logs)


def _average_share(pi: Tensor, row: Row) -> Share:
    """Means of π (queries, 2, spans, layers, heads) as the plain numbers of a `Share`."""
    assert row.request.spans is not None
    (heads, template), (plain, _) = pi.double().mean(0).cpu().tolist()
    tokens = pi[:, 0, 0].double().mean((-1, -2)).cpu().tolist()
    start, end = row.request.spans.content
    return Share(
        heads=round_heads(heads),
        heads_template=round_heads(template),
        tokens=tuple(round(x, 5) for x in tokens),
        span=end - start,
        length=len(row.ids),
        heads_before=round_heads(plain)
        if row.request.steering and row.request.plain_share
        else None,
    )


def round_heads(heads: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    """The share of every layer's heads, to the places that a record has."""
    return tuple(tuple(round(x, 5) for x in layer) for layer in heads)
