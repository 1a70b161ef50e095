"""Token ids in, token ids out: batched decoding on kept keys and values.

Each request starts from the longest prefix of its ids that the prefix store
holds, so a turn costs its new tokens and a probe on a branch its own. Requests
are sorted by how many tokens are new and decoded `batch_size` at a time
(`holdfast.batch`).

A row depends on its own ids, seed and the sampling only: positions, masks and
uniforms are its own, and what the store held changes only the time taken (and,
like the batch's shape, the last bits of a floating-point sum).

This module knows no text, no templates and no personas.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from holdfast.control.rotary import Rotary
from holdfast.control.switch import FUSED, kind_for, observed
from holdfast.core.backend import Sampling
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.cache import BatchCache, PrefixStore, layer_kinds, plain
from holdfast.models.engine.decoder import Decoder, walk
from holdfast.models.engine.row import Guide, Halt, Request, Result, Row, Spans, result_of

__all__ = ["Engine", "Guide", "Halt", "Request", "Result", "Spans"]


class RowAdapter(Protocol):
    """Changes the model in some rows of a batch (`prism.routing`)."""

    def gated(self, prompts: Sequence[Sequence[int]]) -> list[bool]:
        """For which prompts, as token ids, its gate switches it on."""

    def choose(self, rows: Sequence[bool]) -> None:
        """Which rows of the next passes are changed; with none the model is as it was."""


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
        self.adapters: dict[str, RowAdapter] = {}
        self.decoder: Decoder | None = None  # while decoding, where the model allows it
        self._lock = threading.RLock()

    @cached_property
    def rotary(self) -> Rotary | str:
        """The model's rotary embedding, or why the persona cannot be moved by it."""
        with self._lock:  # it looks at the model by a pass of its own
            try:
                return Rotary(self.model)
            except ControlError as error:
                return str(error)

    @cached_property
    def no_anchor(self) -> str | None:
        """Why the persona cannot be moved before the turns, or None."""
        rotary = self.rotary
        return rotary if isinstance(rotary, str) else None

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
        with self.decoding():
            rows = []
            for index, request in enumerate(self._settled(requests)):
                row = self.row(request, sampling, halt, index)
                if row.stop is None:
                    rows.append(row)
                else:
                    results[index] = Result((), row.stop)
            for some in self._batches(rows):
                batch = Batch(self, ends)
                try:
                    batch.join(some)
                    batch.run()
                except BaseException:
                    # Nothing of a batch that was cut off, or of its NaN, may reach the next.
                    self._cache = self._fresh()
                    raise
                for row in some:
                    if row.index >= 0:
                        results[row.index] = result_of(row)
        return [result for result in results if result is not None]

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """What a `Batch` runs under; one thread at a time is inside."""
        with self._lock, torch.inference_mode(), observed(self.model, self._attention):
            # Looked for each time: the model may have been adapted, or hooked, since.
            self.decoder = walk(self.model) if self._attention == FUSED and self.reuses else None
            try:
                yield
            finally:
                self.decoder = None
                for adapter in self.adapters.values():  # the model is as it was
                    adapter.choose(())

    def row(
        self, request: Request, sampling: Sampling, halt: Halt | None = None, index: int = 0
    ) -> Row:
        """A request as a row for a `Batch`, with the longest prefix that is kept.

        It has ended where nothing fits: as "overflow". Under guidance its shadow goes into
        the same batch. Raises `ControlError` where that cannot be.
        """
        (request,) = self._settled([request])
        row = self._row(index, request, sampling, halt)
        if row.limit <= 0:
            full = self.context is not None and len(row.ids) >= self.context
            row.stop = "overflow" if full else "length"
            return row
        return self._guided(row)

    def values(self, request: Request) -> list[Tensor]:
        """Each layer's value vectors of a request's tokens, (tokens, heads · size), on the CPU.

        They are those that the request's control left; rows that are kept make them cheaper.
        Raises `ModelError` where they are not kept token by token, or do not fit.
        """
        asked = replace(request, keep=True, measure=False, guide=None)
        ids = np.asarray(request.ids, dtype=np.int64)
        with self._lock:
            self.generate([asked], Sampling(max_new_tokens=1))
            count, layers = self.store.find(request.state, ids)
        if layers is None or count < len(ids):
            raise ModelError(
                f"the value vectors of {len(ids)} tokens of {self.name} cannot be read: its cache "
                "does not keep them token by token, or has no room for them."
            )
        kept = [values[:, :count].transpose(0, 1).flatten(1) for _, values in layers]
        return [one.float().cpu() for one in kept]

    def _settled(self, requests: Sequence[Request]) -> list[Request]:
        """The requests with their gates asked, one look of each gate at all its prompts."""
        found = list(requests)
        for name in {request.adapter for request in requests if request.gated}:
            at = [i for i, one in enumerate(found) if one.gated and one.adapter == name]
            for i, on in zip(
                at, self.adapters[name].gated([found[i].ids for i in at]), strict=True
            ):
                found[i] = found[i].switched(name if on else "")
        return found

    def _fresh(self) -> BatchCache | None:
        return BatchCache(self._kinds) if self.reuses else None

    def _row(self, index: int, request: Request, sampling: Sampling, halt: Halt | None) -> Row:
        if not request.ids:
            raise ValueError("a request needs at least one token")
        ids = np.asarray(request.ids, dtype=np.int64)
        limit = sampling.max_new_tokens
        if self.context is not None:
            limit = min(limit, self.context - len(ids))
        steady = self._steady is None or len(ids) + limit <= self._steady
        row = Row(index, request, sampling, ids, limit, self.reuses and steady, halt)
        if row.reuses:
            # The last token is always computed: its logits are the first of the reply.
            row.cached, row.layers = self.store.find(request.state, ids[:-1])
        return row

    def _guided(self, row: Row) -> Row:
        """The row, with a shadow where it is under guidance: its chat without the persona."""
        guide = row.request.guide
        if guide is None:
            return row
        if not row.reuses:
            raise ControlError(f"{self.name} cannot run rows of different lengths side by side.")
        bare = Request(guide.ids, row.request.seed, row.request.keep)
        row.shadow = self._row(-1, bare, row.sampling, None)
        # It goes on with the row's own tokens, for as long as the row does.
        row.shadow.limit, row.shadow.reply = row.limit, row.reply
        return row

    def _batches(self, rows: list[Row]) -> Iterator[list[Row]]:
        """Rows with alike work beside each other; of equal length where padding is not exact."""
        alike: dict[int, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row.new, len(row.ids), row.index)):
            alike.setdefault(0 if row.reuses else len(row.ids), []).append(row)
        for group in alike.values():
            batch: list[Row] = []
            for row in group:
                unit = [row, row.shadow] if row.shadow else [row]
                if batch and len(batch) + len(unit) > self.batch_size:
                    yield _by_work(batch)
                    batch = []
                batch += unit
            yield _by_work(batch)


def _by_work(rows: list[Row]) -> list[Row]:
    """Rows in the order in which they are prefilled: fewest new tokens first."""
    return sorted(rows, key=lambda row: (row.new, len(row.ids), row.index))


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
