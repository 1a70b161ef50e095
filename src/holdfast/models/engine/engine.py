"""Token ids in, token ids out: batched decoding on kept keys and values.

Each request starts from the longest prefix of its ids that the prefix store
holds, so a turn costs its new tokens and a probe on a branch its own. Up to
`batch_size` requests are decoded side by side (`batch`); where some have ended,
the next take their places. The longest go first: a shorter prompt joins without
moving those that are there.

A row depends on its own ids, seed and the sampling only: positions, masks and
uniforms are its own, and what the store held changes only the time taken (and,
like the batch's shape, the last bits of a floating-point sum).

This module knows no text, no templates and no personas.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from holdfast.core.backend import Sampling
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.loaded import LoadedModel, logits_error
from holdfast.models.engine.request import Continuation, Halt, Request, Row, result_of
from holdfast.models.engine.shaping import make_shaper


class Engine(LoadedModel):
    """A loaded model that continues requests, many at once."""

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        ends: frozenset[int] = frozenset(),
        halts: Sequence[Halt] = (),
    ) -> list[Continuation]:
        """Continue every request, in order, until a token of `ends`, its halt, or a limit.

        `halts` has one for each request, or is empty. It is asked after each token, with the ids
        so far, whether the reply is over.
        Raises `ModelError` where the model's logits are not finite, or the device's memory is
        full.
        """
        results: list[Continuation | None] = [None] * len(requests)
        with self.decoding():
            rows = []
            for index, request in enumerate(self._ask_gates(requests)):
                row = self.row(request, sampling, halts[index] if halts else None, index)
                if row.stop is None:
                    rows.append(row)
                else:
                    results[index] = Continuation((), row.stop)
            try:
                for some in _group_alike(rows):
                    self._decode(some, ends)
            except torch.OutOfMemoryError as error:
                self.drop_buffers()
                raise self.memory_error(max(len(row.ids) + row.limit for row in rows)) from error
            except BaseException:
                # Nothing of a batch that was cut off, or of its NaN, may reach the next.
                self.drop_buffers()
                raise
        for row in rows:
            results[row.index] = result_of(row)
        return [result for result in results if result is not None]

    def _decode(self, rows: Iterable[Row], ends: frozenset[int]) -> None:
        """Draw tokens for rows until all have ended, as many at a time as a batch takes.

        New rows join as soon as an eighth of the places is free: each joining is a pass of its own.
        """
        batch, waiting = Batch(self, ends), deque(rows)
        while True:
            room = self.batch_size - batch.running
            if waiting and (
                not batch.running or (waiting[0].reuses and room * 8 >= self.batch_size)
            ):
                batch.join(_take_rows(waiting, room))
            if not batch.advance():
                return
            batch.pick()
            if any(row.stop == "error" for row in batch.rows):
                raise logits_error(self.name)

    def row(
        self, request: Request, sampling: Sampling, halt: Halt | None = None, index: int = 0
    ) -> Row:
        """A request as a row for a `Batch`, with the longest prefix that is kept.

        A row that finds no room in the context has ended, as "overflow". Under guidance its
        shadow goes into the same batch. Raises `ControlError` where that cannot be.
        """
        (request,) = self._ask_gates([request])
        row = self._add_shadow(self._make_row(index, request, sampling, halt))
        if row.limit <= 0:
            row.stop = "overflow"
        return row

    def values(self, request: Request) -> list[Tensor]:
        """Each layer's value vectors of a request's tokens, (tokens, heads · size), on the CPU.

        They are those that the request's control left; rows that are kept make them cheaper.
        Raises `ModelError` where they are not kept token by token, or do not fit.
        """
        ids = np.asarray(request.ids, dtype=np.int64)
        with self.lock:
            (kept_request,) = self._ask_gates(
                [replace(request, keep=True, measure=False, guide=None)]
            )
            self.generate([kept_request], Sampling(max_new_tokens=1))
            count, pages = self.store.find(kept_request.state, ids, kept_request.turns)
        if count < len(ids):
            raise ModelError(
                f"the value vectors of {len(ids)} tokens of {self.name} cannot be read: its cache "
                "does not keep them token by token, or has no room for them."
            )
        values = zip(*(page.list_buffers()[1::2] for page in pages), strict=True)
        layers = (torch.cat(parts, 1)[:, :count] for parts in values)
        return [layer.transpose(0, 1).flatten(1).float().cpu() for layer in layers]

    def _ask_gates(self, requests: Sequence[Request]) -> list[Request]:
        """Ask each gate once for all its prompts; return the requests as the gates decide."""
        results = list(requests)
        for name in {request.adapter for request in requests if request.gate_ids}:
            at = [i for i, one in enumerate(results) if one.gate_ids and one.adapter == name]
            answers = self.adapters[name].ask_gate([results[i].gate_ids for i in at])
            for i, on in zip(at, answers, strict=True):
                results[i] = results[i].with_adapter(name if on else "")
        return results

    def _make_row(self, index: int, request: Request, sampling: Sampling, halt: Halt | None) -> Row:
        if not request.ids:
            raise ValueError("a request needs at least one token")
        self.check_ids(request.ids)
        ids = np.asarray(request.ids, dtype=np.int64)
        limit = sampling.max_new_tokens
        if self.context is not None:
            limit = min(limit, self.context - len(ids))
        row = Row(index, request, sampling, ids, limit, self.can_pad(len(ids) + limit), halt)
        row.shaper = make_shaper(request.shaping, sampling.temperature, request.ids, self.match)
        if row.reuses:
            # The last token is always computed: its logits are the first of the reply.
            row.cached_tokens, row.pages = self.store.find(request.state, ids[:-1], request.turns)
        return row

    def _add_shadow(self, row: Row) -> Row:
        """Give a row under guidance its shadow: the same chat without the persona."""
        guide = row.request.guide
        if guide is None:
            return row
        bare = Request(guide.ids, row.request.seed, row.request.keep)
        row.shadow = self._make_row(-1, bare, row.sampling, None)
        if not (row.reuses and row.shadow.reuses):
            raise ControlError(f"{self.name} cannot run rows of different lengths side by side.")
        # Both go on with the row's tokens for as long as either fits: a template's own system
        # prompt may make the shadow the longer one.
        row.limit = row.shadow.limit = min(row.limit, row.shadow.limit)
        row.shadow.reply = row.reply
        return row


def _group_alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Group rows for batches, the longest first; of equal length where padding is not exact.

    Among rows of one length those with most to compute come first.
    """
    groups: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (-len(row.ids), -row.new, row.index)):
        groups.setdefault(0 if row.reuses else len(row.ids), []).append(row)
    return list(groups.values())


def _take_rows(waiting: deque[Row], room: int) -> list[Row]:
    """Take rows for up to `room` places off the queue, at least one; shadows beside their rows."""
    rows: list[Row] = []
    while waiting and (not rows or len(rows) + 1 + bool(waiting[0].shadow) <= room):
        row = waiting.popleft()
        rows += [row, row.shadow] if row.shadow else [row]
    return rows
