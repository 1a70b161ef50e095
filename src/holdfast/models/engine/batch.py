"""A batch at work: rows join between decoding steps, and leave when they have ended.

Rows lie flush right in one block of keys and values (`cache`):

    column   0  1  2  3  4  5  6 | 7  8
    row 0    ·  ·  a  b  c  d  e | x  y       pad = 2 columns before the first token
    row 1    a  b  c  d  e  f  g | x  y       pad = 0
                                 `width`: the end of the prompts that joined last

Rows that join are prefilled in groups with about as many new tokens each; a row with fewer
encodes a few of its cached tokens again. A beginning that rows have in common is computed for
one of them and copied to the others (`sharing`). The last token of a prompt is fed together with
the tokens drawn last by the other rows, so a prompt whose keys are all kept joins without a pass
of its own. A prompt longer than what is there moves the others to the right. A row that has ended
leaves, and its keys and values go to the prefix store. Positions, masks and uniforms are each
row's own, so that its neighbours change nothing but the last bits of a floating-point sum.

A row under guidance has a shadow in the same batch, the same chat without the persona; both go
on with the token drawn from their joint distribution (`sampling.guide`).

This module knows no text, and not where a row's cached prefix came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from holdfast.control.steering import Steering
from holdfast.models.engine.cache import BatchCache
from holdfast.models.engine.forward import Forward
from holdfast.models.engine.loaded import LoadedModel
from holdfast.models.engine.picking import Picker
from holdfast.models.engine.request import Row
from holdfast.models.engine.sharing import PASS, plan_waves

SLACK = 64  # unused columns from which on it is worth moving all rows to the left


class Batch:
    """Rows that are decoded together; none at first.

    Call `join`, and then `advance` and `pick` in turn. Only rows whose cache can be padded may
    join others (`Row.reuses`).

    Args:
        engine: the model; its `decoding` block must be open.
        ends: tokens that end a reply.
    """

    def __init__(self, engine: LoadedModel, ends: frozenset[int] = frozenset()) -> None:
        self.engine, self.ends = engine, ends
        self.rows: list[Row] = []
        self.past: Any = None
        self.cache: BatchCache | None = None
        self.width = 0  # columns up to the end of the prompts that joined last
        self.tokens: Tensor | None = None  # to be fed next: drawn last, or a prompt's last
        self.logits: Tensor | None = None
        self.steering: Steering | None = None
        # Both are made anew wherever rows join or leave.
        self.forward: Forward
        self.picker: Picker

    @property
    def running(self) -> int:
        """Rows that have not ended."""
        return sum(row.stop is None for row in self.rows)

    def advance(self) -> bool:
        """Feed the tokens drawn last; first, rows that have ended leave where that is worth it.

        Returns False where no row is left.
        """
        running = self.running
        if not running or (self.cache is not None and running * 8 <= len(self.rows) * 7):
            self._leave()
            if not running:
                self.logits = None
                return False
            self._arrange()
        assert self.tokens is not None
        column = self.cache.region.column if self.cache else self.past.get_seq_length()
        ids = self.tokens[:, None]
        if self.cache is None and column == self.engine.steady_tokens:
            ids, column = self._begin_again(column + 1), 0
        self.logits = self.forward(ids, 0, column, self.steering)
        self.tokens = None
        return True

    def pick(self) -> None:
        """Draw a token for every row; rows whose logits are not finite end as "error"."""
        assert self.logits is not None
        # A shadow goes on with its row's tokens.
        self.engine.tokens_drawn += sum(row.stop is None and row.index >= 0 for row in self.rows)
        self.tokens = self.picker.pick(self.logits, self.ends)

    def join(self, rows: Sequence[Row]) -> None:
        """Prefill rows, but for their last token, beside those that are there.

        Keys and values of a beginning that rows have in common are computed once.
        """
        if self.rows and self.running < len(self.rows):
            self._leave()
        count = len(self.rows)
        if count:
            self._make_room(rows)
        else:
            self._begin(rows)
        waves = plan_waves(self.rows, rows)
        rows = [row for wave in waves for row in wave]
        for row in rows:
            row.pad = self.width - len(row.ids)
        self.rows = [*self.rows, *rows]
        try:
            self._place()
            self._prefill(count, waves)
            self._prepare_steps()
        except BaseException:
            self._undo_join(count)
            raise
        last = torch.tensor([row.ids[-1] for row in rows], device=self.engine.device)
        self.tokens = last if self.tokens is None else torch.cat([self.tokens, last])

    # Where rows are

    def _begin(self, rows: Sequence[Row]) -> None:
        self.width = max(len(row.ids) for row in rows)
        if rows[0].reuses and self.engine.cache is not None:
            self.past = self.cache = self.engine.cache
            self.cache.begin(len(rows), self.width + _count_room(rows, self.width))
        else:
            self.past, self.cache = DynamicCache(config=self.engine.model.config), None

    def _make_room(self, rows: Sequence[Row]) -> None:
        """Move the rows that are there to the right of where the longest new prompt begins."""
        assert self.cache is not None and all(row.reuses for row in rows)
        missing = max(len(row.ids) for row in rows) - 1 - self.cache.region.column
        right = max(0, missing)
        columns = self.cache.region.column + right
        columns += _count_room(rows, columns)
        self.cache.grow(len(self.rows) + len(rows), columns)
        self._shift(right)
        self.width = self.cache.region.column + 1

    def _shift(self, by: int) -> None:
        """Move all rows `by` columns to the right; positions in rows stay what they are."""
        if by and self.cache is not None:
            self.cache.shift(len(self.rows), by)
            self.width += by
            for row in self.rows:
                row.pad += by

    def _undo_join(self, count: int) -> None:
        """Undo a failed join: drop rows after the first `count` and clear their cache."""
        if self.cache is not None:
            self.cache.clear(range(count, len(self.rows)))
            self.cache.region.column = self.width - 1
        self.rows = self.rows[:count]
        if self.rows:
            self._arrange()

    def _leave(self) -> None:
        """Remove the rows that have ended, with the tokens they drew.

        The last rows take their places, so only as many rows are copied as places are free.
        """
        for i, row in enumerate(self.rows):
            if row.stop == "error" and self.cache is not None:
                self.cache.clear([i])
            elif row.stop is not None:
                self._store(i, row)
        running = self.running
        order = list(range(running))
        free = [i for i in order if self.rows[i].stop is not None]
        late = [i for i in range(running, len(self.rows)) if self.rows[i].stop is None]
        moves = list(zip(late, free, strict=True))
        for source, target in moves:
            order[target] = source
        if self.cache is not None:
            self.cache.move(moves)
        self.rows = [self.rows[i] for i in order]
        slack = min((row.pad for row in self.rows), default=0)
        if self.cache is not None and slack >= max(SLACK, self.cache.region.column // 4):
            self._shift(-slack)
        if self.tokens is not None:
            self.tokens = self.tokens[order] if order else None

    def _store(self, index: int, row: Row) -> None:
        """Give a row's keys and values to the store (its last token's were never computed)."""
        if self.cache is None or not row.request.keep:
            return
        reply = row.reply if row.stop == "stop" and row.steps > len(row.reply) else row.reply[:-1]
        ids = np.concatenate([row.ids, np.asarray(reply, dtype=np.int64)])
        state, turns = row.request.state, row.request.turns
        if self.engine.store.holds(state, ids, turns):
            return
        pages = self.cache.take(index, row.pad, len(ids), row.known_pages)
        self.engine.store.keep(state, ids, pages, turns)

    # What depends on the rows' places

    def _arrange(self) -> None:
        self._place()
        self._prepare_steps()

    def _begin_again(self, columns: int) -> Tensor:
        """Drop all keys and return all ids: the next token changes the rotary frequencies."""
        ids = torch.zeros(len(self.rows), columns, dtype=torch.long)
        for i, row in enumerate(self.rows):
            tokens = [*row.ids.tolist(), *row.reply]  # of a row that has ended, fewer
            ids[i, : len(tokens)] = torch.tensor(tokens)
        self.past = DynamicCache(config=self.engine.model.config)
        self._arrange()
        return ids.to(self.engine.device)

    def _place(self) -> None:
        self.forward = Forward(self.engine, self.rows, self.past, self.width)

    def _prepare_steps(self) -> None:
        self.picker = Picker(self.rows, self.engine.device)
        self.steering = self._make_steering(self.rows)

    def _make_steering(self, rows: Sequence[Row]) -> Steering | None:
        """The steering of rows, in the batch's columns."""
        return self.engine.steering(
            [row.request.steering and row.request.steering.shift_right(row.pad) for row in rows]
        )

    # Passes

    def _prefill(self, top: int, waves: Sequence[Sequence[Row]]) -> None:
        """Compute keys and values of all but the last prompt token of rows from `top` on."""
        rows, end = self.rows[top:], self.width - 1
        ids = torch.zeros(len(rows), end, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, row.pad :] = torch.from_numpy(row.ids[:-1])
        ids = ids.to(self.engine.device)
        if self.cache is None:
            if end:
                self.forward(ids, 0, 0, self._make_steering(rows))
            return
        start = 0
        for wave in waves:
            for first, last in pairwise(_split_into_groups([row.new - 1 for row in wave])):
                new = wave[last - 1].new - 1
                some = slice(start + first, start + last)
                for i, row in enumerate(rows[some], top + some.start):
                    row.cached_tokens = max(0, len(row.ids) - 1 - new)
                    self._copy_known(i, row)
                if new:
                    self._prefill_in_chunks(ids[some, end - new :], top + some.start)
            start += len(wave)
        self.cache.region.column = end

    def _copy_known(self, index: int, row: Row) -> None:
        """Copy the keys and values that a row does not compute: those kept, or another row's."""
        assert self.cache is not None
        pages, source = row.pages, row.source
        row.pages, row.source = (), None
        if row.cached_tokens and source is not None:
            self.cache.copy(self.rows.index(source), source.pad, index, row.pad, row.cached_tokens)
            row.know(source.known_pages)
        elif row.cached_tokens and pages:
            self.cache.put(index, row.pad, pages, row.cached_tokens)
            row.know(pages)

    def _prefill_in_chunks(self, ids: Tensor, top: int) -> None:
        """Prefill rows from `top` on, a bounded number of tokens at a time."""
        budget, tokens = self.engine.prefill_tokens, ids.shape[1]
        height, column = max(1, budget // tokens), self.width - 1 - tokens
        for first in range(0, len(ids), height):
            some = ids[first : first + height]
            upper = top + first
            steering = self._make_steering(self.rows[upper : upper + len(some)])
            for start in range(0, tokens, budget):
                self.forward(some[:, start : start + budget], upper, column + start, steering)


def _count_room(rows: Sequence[Row], columns: int) -> int:
    """Columns that rows will need after their prompts, as far as is worth reserving."""
    return min(max(64, columns // 8), max(row.limit for row in rows))


def _split_into_groups(new: Sequence[int]) -> list[int]:
    """Bounds of runs of rows (sorted by new tokens) worth prefilling together.

    A row joins a run while the run's first row would encode at most half as much again, or
    while so little is encoded in all that a pass of its own would cost more. Rows with nothing
    to encode need no pass, and are a run.
    """
    bounds = [0]
    for i, count in enumerate(new):
        first = new[bounds[-1]]
        waste = (count - first) * (i - bounds[-1])
        if (count and not first) or (count > first * 3 // 2 and waste > PASS):
            bounds.append(i)
    return [*bounds, len(new)]
