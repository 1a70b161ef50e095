"""Token ids in, token ids out: batched decoding on kept keys and values.

Each request starts from the longest prefix of its ids that the prefix store
holds, so a turn costs its new tokens and a probe on a branch its own. Requests
are sorted by how many tokens are new and decoded `batch_size` at a time, laid
out flush right (`holdfast.cache`); prefill runs over groups of rows with about
as many new tokens each, where a row with fewer encodes a few of its cached
tokens again. Rows that have ended leave the batch.

A row depends on its own ids, seed and the sampling only: positions, masks and
uniforms are its own, and what the store held changes only the time taken (and,
like the batch's shape, the last bits of a floating-point sum).

This module knows no text, no templates and no personas.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from holdfast import sampling as draws
from holdfast.backend import Sampling, Share, Stop
from holdfast.cache import BatchCache, Ids, Layers, PrefixStore, layer_kinds, plain
from holdfast.errors import ModelError
from holdfast.share import Recorder, kind_for, observed, recording

Span = tuple[int, int]
Halt = Callable[[Sequence[int]], bool]


class Spans(NamedTuple):
    """Token ranges [start, end) of the system prompt: its content, and the message as rendered."""

    content: Span
    template: Span


@dataclass(frozen=True)
class Request:
    """Token ids to continue.

    `keep` keeps the keys and values for later requests. `state` names what they were
    computed under (a control, an adapter): rows of another state are never reused.
    """

    ids: tuple[int, ...]
    seed: int
    keep: bool = True
    spans: Spans | None = None
    measure: bool = False
    state: str = ""


@dataclass(frozen=True)
class Result:
    """The continuation, without the token that ended it; `steps` counts that one too."""

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

    @property
    def new(self) -> int:
        return len(self.ids) - self.cached


class Engine:
    """Decodes with one model. `name` is used in errors; `cache_bytes` bounds the kept rows.

    `context` is the number of tokens that the model can see (None: no bound known).
    `no_share` says why prompt share cannot be measured on this model, or is None.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        name: str = "the model",
        batch_size: int = 32,
        cache_bytes: int = 2 << 30,
        prefill_tokens: int = 8192,
    ) -> None:
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        model.train(False)
        self.model = model
        self.name = name
        self.batch_size = batch_size
        self.prefill_tokens = prefill_tokens
        self.store = PrefixStore(cache_bytes)
        parameters = inspect.signature(model.forward).parameters
        if "past_key_values" not in parameters:
            raise ModelError(
                f"{name} ({type(model).__name__}) keeps no keys and values, which the local engine"
                " needs: serve it behind an API and use --model api:NAME."
            )
        self._takes = {n for n in ("position_ids", "logits_to_keep") if n in parameters}
        self.config = model.config.get_text_config(decoder=True)
        self.context: int | None = getattr(self.config, "max_position_embeddings", None)
        self._kinds = layer_kinds(model.config)
        self.reuses = plain(self._kinds)
        self._steady = _steady(self.config)
        self._cache = self._fresh()
        self._attention, self.no_share = kind_for(model)
        self._lock = threading.RLock()

    @property
    def device(self) -> torch.device:
        """Where ids go in."""
        embedding = self.model.get_input_embeddings()
        device: torch.device = next(embedding.parameters()).device
        return device

    def forget(self) -> None:
        """Drop all kept rows and buffers, so that what follows is as in a process just started."""
        with self._lock:
            self.store.clear()
            self._cache = self._fresh()

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        ends: frozenset[int] = frozenset(),
        halt: Halt | None = None,
    ) -> list[Result]:
        """Continue every request, in order, until a token of `ends`, `halt`, or a limit.

        `halt` is asked after each token, with the ids so far, whether the reply is over.
        Raises `ModelError` where the model's logits are not finite.
        """
        results: list[Result | None] = [None] * len(requests)
        with self._lock, torch.inference_mode(), observed(self.model, self._attention):
            rows = []
            for index, request in enumerate(requests):
                row = self._row(index, request, sampling)
                if row.limit > 0:
                    rows.append(row)
                else:
                    full = self.context is not None and len(row.ids) >= self.context
                    results[index] = Result((), "overflow" if full else "length")
            for batch in self._batches(rows):
                try:
                    _Batch(self, batch, sampling, ends, halt).run()
                except BaseException:
                    # Nothing of a batch that was cut off, or of its NaN, may reach the next.
                    self._cache = self._fresh()
                    raise
                for row in batch:
                    results[row.index] = _result(row)
        return [result for result in results if result is not None]

    def _fresh(self) -> BatchCache | None:
        return BatchCache(self._kinds) if self.reuses else None

    def _row(self, index: int, request: Request, sampling: Sampling) -> Row:
        if not request.ids:
            raise ValueError("a request needs at least one token")
        ids = np.asarray(request.ids, dtype=np.int64)
        limit = sampling.max_new_tokens
        if self.context is not None:
            limit = min(limit, self.context - len(ids))
        steady = self._steady is None or len(ids) + limit <= self._steady
        row = Row(index, request, ids, limit, self.reuses and steady, reply=[])
        if row.reuses:
            # The last token is always computed: its logits are the first of the reply.
            row.cached, row.layers = self.store.find(request.state, ids[:-1])
        return row

    def _batches(self, rows: list[Row]) -> Iterator[list[Row]]:
        """Rows with alike work beside each other; of equal length where padding is not exact."""
        alike: dict[int, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row.new, len(row.ids), row.index)):
            alike.setdefault(0 if row.reuses else len(row.ids), []).append(row)
        for group in alike.values():
            for start in range(0, len(group), self.batch_size):
                yield group[start : start + self.batch_size]


class _Batch:
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

    def run(self) -> None:
        """Prefill, then a token for each row at a time until all rows have ended."""
        logits = self._prefill()
        for step in range(self.uniforms.shape[1]):
            tokens, sound = draws.draw(logits, self.uniforms[:, step], self.sampling)
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
        with recording(self.recorder if last else None):
            output = self.engine.model(
                input_ids=ids, past_key_values=self.past, use_cache=True, **arguments
            )
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
        """π of the pass just run, (rows, spans, layers, heads)."""
        assert self.recorder is not None
        return self.recorder.result().transpose(0, 1)

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


def _steady(config: Any) -> int | None:
    """Tokens up to which the rotary frequencies stay what they are, or None where they do.

    "longrope" changes them for all keys once a sequence is longer than the model was first
    trained for, so keys from before cannot be used after. (So does "dynamic", but only beyond
    `max_position_embeddings`, where no request gets.)
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    first = rope.get("original_max_position_embeddings")
    return first or getattr(config, "original_max_position_embeddings", None)


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


def _result(row: Row) -> Result:
    assert row.reply is not None and row.stop is not None
    share = None
    if row.shares:
        share = _share(torch.stack(row.shares), row)
    return Result(tuple(row.reply), row.stop, row.steps, row.cached, share)


def _share(pi: Tensor, row: Row) -> Share:
    """Means of π (queries, spans, layers, heads) as the plain numbers of a `Share`."""
    assert row.request.spans is not None
    heads, template = pi.double().mean(0).cpu().tolist()
    tokens = pi[:, 0].double().mean((-1, -2)).cpu().tolist()
    start, end = row.request.spans.content
    return Share(
        heads=tuple(tuple(round(x, 5) for x in layer) for layer in heads),
        heads_template=tuple(tuple(round(x, 5) for x in layer) for layer in template),
        tokens=tuple(round(x, 5) for x in tokens),
        span=end - start,
        length=len(row.ids),
    )
