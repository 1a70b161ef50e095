"""One batch under way: prefill, decoding token by token, and what is left of each row.

Rows lie flush right in one block of keys and values (`holdfast.cache`). Prefill runs
over groups of rows with about as many new tokens each, where a row with fewer encodes
a few of its cached tokens again. A row that has ended leaves, and its keys and values
go to the prefix store.

A row under guidance has a shadow, the same chat without the persona, in the same batch:

    log p = log p₀ + α (log p₁ - log p₀)

is what both draw from with the same uniforms, so that both go on with the same token.

This module knows no text, and not where a row's cached prefix came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from holdfast import sampling as draws
from holdfast.backend import Sampling, Share, Stop
from holdfast.cache import BatchCache, Ids, Layers
from holdfast.errors import ControlError, ModelError
from holdfast.share import Recorder, recording
from holdfast.steering import Held, Steering, moved, refuse_unreached

if TYPE_CHECKING:
    from holdfast.engine import Engine

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
    """Token ids to continue.

    `keep` keeps the keys and values for later requests. `state` names what they were
    computed under (a control, an adapter): rows of another state are never reused.
    `held` is the attention control, its columns being places in `ids`; `adapter` is one of
    the engine's by name, or none.
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


@dataclass(eq=False)
class Row:
    """A request on its way: what was found for it, and what it has produced."""

    index: int
    request: Request
    ids: Ids
    limit: int
    reuses: bool
    cached: int = 0
    layers: Layers | None = None
    pad: int = 0
    reply: list[int] | None = None
    steps: int = 0
    stop: Stop | None = None
    shares: list[Tensor] | None = None
    shadow: Row | None = None

    @property
    def new(self) -> int:
        return len(self.ids) - self.cached


class Batch:
    """One batch from prefill to the last row's end."""

    def __init__(
        self,
        engine: Engine,
        rows: list[Row],
        sampling: Sampling,
        ends: frozenset[int],
        halt: Halt | None,
    ) -> None:
        self.engine, self.all, self.rows = engine, rows, list(rows)
        self.sampling, self.ends, self.halt = sampling, ends, halt
        self.device = engine.device
        self.width = max(len(row.ids) for row in rows)
        for row in rows:
            row.pad = self.width - len(row.ids)
        room = self.width + min(64, max(row.limit for row in rows))
        self.past: Any
        self.cache: BatchCache | None = None
        if rows[0].reuses and engine._cache is not None:
            self.past = self.cache = engine._cache
            self.cache.begin(len(rows), room)
        else:
            self.past = DynamicCache(config=engine.model.config)
        self.pads = torch.tensor([row.pad for row in rows], device=self.device)
        steps = max(row.limit for row in rows)
        self.uniforms = draws.uniforms([row.request.seed for row in rows], steps)
        if self.device.type != "mps":  # which has no float64
            self.uniforms = self.uniforms.to(self.device)
        self.recorder = self._recorder()
        self.steering: Steering | None = None
        self._settle()

    def _settle(self) -> None:
        """What follows from which rows are where: the guided pairs."""
        at = {id(row): i for i, row in enumerate(self.rows)}
        pairs = [(i, at[id(row.shadow)]) for i, row in enumerate(self.rows) if row.shadow]
        self.pairs = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
        strengths = [row.request.guide.strength for row in self.rows if row.request.guide]
        self.strengths = torch.tensor(strengths)[:, None]

    def _guided(self, logits: Tensor) -> Tensor:
        """Logits (rows, vocabulary) in which guided rows and their shadows have the joint ones."""
        if not self.pairs.numel():
            return logits
        whole, bare = (part.to(logits.device) for part in self.pairs)
        with_, without = (logits[rows].float().log_softmax(-1) for rows in (whole, bare))
        joint = without + self.strengths.to(logits.device) * (with_ - without)
        # What both rule out stays ruled out: the difference of two -inf is no number.
        joint = joint.masked_fill(with_.isneginf() & without.isneginf(), -torch.inf)
        guided = logits.float()
        guided[whole] = guided[bare] = joint
        return guided

    def _held(self, rows: Sequence[Row]) -> Steering | None:
        """The steering of rows, in the batch's columns."""
        held = [row.request.held and moved(row.request.held, row.pad) for row in rows]
        if not any(held):
            return None
        anchored = any(one is not None and one.control.anchor for one in held)
        rotary = self.engine.rotary if anchored else None
        if isinstance(rotary, str):
            raise ControlError(rotary)
        return Steering(held, rotary, self.device)

    def run(self) -> None:
        """Prefill, then a token for each row at a time until all rows have ended."""
        logits = self._prefill()
        self.steering = self._held(self.rows)
        for step in range(self.uniforms.shape[1]):
            tokens, sound = draws.draw(self._guided(logits), self.uniforms[:, step], self.sampling)
            if not bool(sound.all()):
                raise ModelError(
                    f"{self.engine.name} gives logits that are not finite (NaN or infinity):"
                    " its weights are damaged, or its dtype is too narrow (try --dtype float32)."
                )
            drawn = tokens.tolist()
            for row, token in zip(self.rows, drawn, strict=True):
                if row.stop is None:
                    self._take(row, token)
            running = sum(row.stop is None for row in self.rows)
            if not running:
                break
            fed = tokens.to(self.device)
            if self.cache is not None and running * 8 <= len(self.rows) * 7:
                fed = self._leave(fed, running)
            logits = self._step(fed[:, None])
        for row in self.rows:
            self._keep(row)

    def _take(self, row: Row, token: int) -> None:
        """Add a token to a row's reply, or end it."""
        assert row.reply is not None
        row.steps += 1
        if token in self.ends:
            row.stop = "stop"
            return
        row.reply.append(token)
        if self.halt is not None and self.halt(row.reply):
            row.stop = "stop"
        elif row.steps == row.limit:
            row.stop = "length" if row.limit == self.sampling.max_new_tokens else "overflow"

    def _prefill(self) -> Tensor:
        """Logits of every row's last prompt token, (rows, vocabulary)."""
        if self.cache is None:
            ids = torch.from_numpy(np.stack([row.ids for row in self.rows])).to(self.device)
            self.steering = self._held(self.rows)
            return self._forward(ids, 0, len(self.rows), 0)
        ids = torch.zeros(len(self.rows), self.width, dtype=torch.long)
        for i, row in enumerate(self.rows):
            ids[i, row.pad :] = torch.from_numpy(row.ids)
        ids = ids.to(self.device)
        parts: list[Tensor] = []
        for top, bottom in pairwise(_groups([row.new for row in self.rows])):
            wide = self.rows[bottom - 1].new
            start = self.width - wide
            for i in range(top, bottom):
                row = self.rows[i]
                row.cached = max(0, len(row.ids) - wide)
                if row.layers is not None and row.cached:
                    self.cache.put(i, row.pad, row.layers, row.cached)
                row.layers = None
            parts.extend(self._chunks(ids, top, bottom, start))
        return torch.cat(parts)

    def _chunks(self, ids: Tensor, top: int, bottom: int, start: int) -> Iterator[Tensor]:
        """Prefill rows [top, bottom) from a column on, a bounded number of tokens at a time."""
        budget, wide = self.engine.prefill_tokens, self.width - start
        height = max(1, budget // wide)
        for upper in range(top, bottom, height):
            lower = min(upper + height, bottom)
            self.steering = self._held(self.rows[upper:lower])
            for column in range(start, self.width, budget):
                end = min(column + budget, self.width)
                logits = self._forward(ids[upper:lower, column:end], upper, lower, column)
            yield logits

    def _step(self, ids: Tensor) -> Tensor:
        column = self.cache.frame.column if self.cache else self.past.get_seq_length()
        return self._forward(ids, 0, len(self.rows), column)

    def _forward(self, ids: Tensor, top: int, bottom: int, column: int) -> Tensor:
        """Run the model on rows [top, bottom), columns from `column` on; the last logits."""
        end = column + ids.shape[1]
        if self.cache is not None:
            frame = self.cache.frame
            frame.top, frame.bottom, frame.column = top, bottom, column
        columns = torch.arange(end, device=self.device)
        pads = self.pads[top:bottom, None]
        arguments: dict[str, Any] = {}
        if any(row.pad for row in self.rows[top:bottom]):
            arguments["attention_mask"] = columns >= pads
        if "position_ids" in self.engine._takes:
            positions = (columns[column:] - pads).clamp_(min=0)
            if self.engine.context is not None:  # rows that have ended run on beside the others
                positions.clamp_(max=self.engine.context - 1)
            arguments["position_ids"] = positions
        if "logits_to_keep" in self.engine._takes:
            arguments["logits_to_keep"] = 1
        last = end >= self.width
        if self.recorder is not None:
            self.recorder.spans = self._spans[:, top:bottom]
        held = self.steering.at(column, end - column) if self.steering is not None else None
        if held is not None:
            arguments["holdfast"] = held
        for name, adapter in self.engine.adapters.items():
            adapter.choose([row.request.adapter == name for row in self.rows[top:bottom]])
        with recording(self.recorder if last else None):
            output = self.engine.model(
                input_ids=ids, past_key_values=self.past, use_cache=True, **arguments
            )
        refuse_unreached(held, self.engine.name)
        if self.cache is not None:
            self.cache.frame.column = end
        if self.recorder is not None and last:
            for row, share in zip(self.rows[top:bottom], self._shares(), strict=True):
                if row.shares is not None and row.stop is None:
                    row.shares.append(share)
        logits: Tensor = output.logits[:, -1]
        return logits

    def _recorder(self) -> Recorder | None:
        """A recorder where some row is to be measured and can be."""
        if self.engine.no_share is not None:
            return None
        measured = [row for row in self.rows if row.request.measure and row.request.spans]
        if not measured:
            return None
        limit = max(row.limit for row in self.rows)
        self._spans = torch.zeros(2, len(self.rows), self.width + limit, device=self.device)
        for i, row in enumerate(self.rows):
            if row.request.measure and row.request.spans:
                row.shares = []
                for kind, (start, end) in enumerate(row.request.spans):
                    self._spans[kind, i, row.pad + start : row.pad + end] = 1
        return Recorder(self._spans)

    def _shares(self) -> Tensor:
        """π of the pass just run, (rows, 2, spans, layers, heads)."""
        assert self.recorder is not None
        return self.recorder.result().movedim(2, 0)

    def _leave(self, fed: Tensor, running: int) -> Tensor:
        """Fill the places of rows that have ended with the last rows; what to feed those that stay.

        Only as many rows are copied as places are filled: nothing else moves.
        """
        assert self.cache is not None
        for row in self.rows:
            if row.stop is not None:
                self._keep(row)
        order = list(range(running))
        free = [i for i in order if self.rows[i].stop is not None]
        late = [i for i in range(running, len(self.rows)) if self.rows[i].stop is None]
        pairs = list(zip(late, free, strict=True))
        self.cache.move(pairs)
        for source, target in pairs:
            order[target] = source
        self.rows = [self.rows[i] for i in order]
        index = torch.tensor(order, device=self.device)
        self.pads = self.pads[index]
        self.uniforms = self.uniforms[index.to(self.uniforms.device)]
        if self.recorder is not None:
            self._spans = self._spans[:, index]
        self.steering = self._held(self.rows)
        self._settle()
        return fed[index]

    def _keep(self, row: Row) -> None:
        """Hand a row's keys and values to the store (its last token's were never computed)."""
        if self.cache is None or not row.request.keep:
            return
        assert row.reply is not None
        fed = row.reply if row.stop == "stop" and row.steps > len(row.reply) else row.reply[:-1]
        ids = np.concatenate([row.ids, np.asarray(fed, dtype=np.int64)])
        if self.engine.store.holds(row.request.state, ids):
            return
        index = self.rows.index(row)
        layers = self.cache.take(index, row.pad, len(ids))
        self.engine.store.keep(row.request.state, ids, layers)


def _groups(new: Sequence[int]) -> list[int]:
    """Bounds of runs of rows (sorted by new tokens) worth prefilling together.

    A row joins while the run's first row would encode at most half as much again, or
    while so little is encoded in all that a pass of its own would cost more.
    """
    bounds = [0]
    for i, count in enumerate(new):
        first = new[bounds[-1]]
        waste = (count - first) * (i - bounds[-1])
        if count > first * 3 // 2 and waste > 256:
            bounds.append(i)
    return [*bounds, len(new)]


def result_of(row: Row) -> Result:
    assert row.reply is not None and row.stop is not None
    share = None
    if row.shares:
        share = _share(torch.stack(row.shares), row)
    cached = row.cached + (row.shadow.cached if row.shadow else 0)
    return Result(tuple(row.reply), row.stop, row.steps, cached, share)


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
        heads_before=_rounded(before) if row.request.held else None,
    )


def _rounded(heads: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(x, 5) for x in layer) for layer in heads)
