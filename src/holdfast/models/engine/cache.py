"""Keys and values: the buffers of one batch, and the rows kept from earlier ones.

A batch lays its rows out flush right: the last prompt token of every row is in
the same column, so that every row writes the same columns from there on, and a
row of n tokens starts in column `pad = columns - n`. Token t of a row is always
in column pad + t. Distances between columns are distances between tokens, so a
sliding window is exact, and every layer (a sliding one too) keeps all columns.

Buffers are written in place and grow by half, so a decoding step copies nothing
but its own keys and values. A `PrefixStore` keeps finished rows and answers with
the one that shares the longest prefix of token ids; it is bounded in bytes and
forgets the least recently used row first. Nothing depends on what it holds but
the time taken.

This module knows token ids and tensors. It knows no model and no text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

Ids = np.ndarray[Any, np.dtype[np.int64]]
# A row's keys and values, each (heads, tokens, size): by layer, or all as one tensor, layer first.
Layers = tuple[tuple[Tensor, Tensor], ...] | Tensor


@dataclass
class WriteRegion:
    """Where the next forward pass writes: rows [top, bottom), columns from `column`."""

    rows: int
    columns: int
    top: int = 0
    bottom: int = 0
    column: int = 0


class BufferLayer(DynamicLayer):
    """One layer's keys and values, (rows, heads, columns, size), written in the region."""

    def __init__(self, region: WriteRegion) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.region = region

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new columns and return all columns so far, for the region's rows."""
        region = self.region
        end = region.column + key_states.shape[-2]
        self.keys = _room(self.keys, key_states, region, end)
        self.values = _room(self.values, value_states, region, end)
        self.is_initialized = True
        rows = slice(region.top, region.bottom)
        self.keys[rows, :, region.column : end] = key_states
        self.values[rows, :, region.column : end] = value_states
        return self.keys[rows, :, :end], self.values[rows, :, :end]

    def get_seq_length(self) -> int:
        """Columns that are filled, padding included."""
        return self.region.column

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that the next queries see, and the column of the first."""
        return self.region.column + query_length, 0


def _room(buffer: Tensor | None, new: Tensor, region: WriteRegion, end: int) -> Tensor:
    """A buffer of at least `end` columns, with the columns of the old one.

    Fresh columns are zero: a masked key still enters a product, and NaN times 0 is NaN.
    """
    if buffer is not None and buffer.shape[2] >= end:
        return buffer
    columns = max(end, region.columns if buffer is None else buffer.shape[2] * 3 // 2)
    grown = new.new_zeros((region.rows, new.shape[1], columns, new.shape[3]))
    if buffer is not None:
        grown[:, :, : buffer.shape[2]] = buffer
    return grown


class BatchCache(Cache):
    """The cache of one batch after another, in transformers' interface.

    Batches share its buffers: touching fresh memory costs as much as a decoding step. The
    columns of earlier batches are finite and masked. Where all layers have one shape, their
    buffers are views of one block, so a row moves in one copy. Layers without keys and values
    stay as transformers makes them.
    """

    def __init__(self, kinds: Sequence[type]) -> None:
        self.region = WriteRegion(0, 0)
        self.block: Tensor | None = None
        super().__init__(
            layers=[BufferLayer(self.region) if kind in PLAIN else kind() for kind in kinds]
        )
        self.buffers = [layer for layer in self.layers if isinstance(layer, BufferLayer)]

    def begin(self, rows: int, columns: int) -> None:
        """Make room for a batch of `rows` rows that will need about `columns` columns."""
        region = self.region
        fits = rows <= region.rows and columns <= region.columns
        if not fits or self.block is None:
            self._widen(rows, columns)
            self._allocate()
        region.top, region.bottom, region.column = 0, rows, 0

    def grow(self, rows: int, columns: int) -> None:
        """Make room for more rows, or more columns, beside what is there."""
        region, end = self.region, self.region.column
        if rows <= region.rows and columns <= region.columns:
            return
        old = [(layer.keys, layer.values) for layer in self.buffers]
        self._widen(rows, columns)
        self._allocate()
        for layer, (keys, values) in zip(self.buffers, old, strict=True):
            if keys is None or values is None:
                continue
            if layer.keys is None or layer.values is None:  # layers of several shapes
                layer.keys = keys.new_zeros(
                    (region.rows, keys.shape[1], region.columns, keys.shape[3])
                )
                layer.values = values.new_zeros(
                    (region.rows, values.shape[1], region.columns, values.shape[3])
                )
            layer.keys[: len(keys), :, :end] = keys[:, :, :end]
            layer.values[: len(values), :, :end] = values[:, :, :end]

    def _widen(self, rows: int, columns: int) -> None:
        region = self.region
        region.rows = max(rows, region.rows)
        if columns > region.columns:
            region.columns = max(columns, region.columns * 3 // 2)

    def _allocate(self) -> None:
        """New buffers of the region's size: one block where the layers allow it."""
        old = [tensor for layer in self.buffers for tensor in (layer.keys, layer.values)]
        kinds = {(t.shape[1], t.shape[3], t.dtype, t.device) for t in old if t is not None}
        self.block = None
        for layer in self.buffers:
            layer.keys = layer.values = None
        if len(kinds) != 1 or any(tensor is None for tensor in old):
            return
        ((heads, size, dtype, device),) = kinds
        del old
        shape = (len(self.buffers), 2, self.region.rows, heads, self.region.columns, size)
        self.block = torch.zeros(shape, dtype=dtype, device=device)
        for layer, (keys, values) in zip(self.buffers, self.block, strict=True):
            layer.keys, layer.values = keys, values

    def shift(self, rows: int, by: int) -> None:
        """Move the first `rows` rows `by` columns to the right, or to the left below 0."""
        region = self.region
        start, end = max(0, -by), region.column
        for buffer in self._by_layer():  # a copy of all at once would double the memory
            buffer[:rows, :, start + by : end + by] = buffer[:rows, :, start:end].clone()
        region.column += by

    def clear(self, rows: Collection[int]) -> None:
        """Set rows to 0: masked columns still enter products, and NaN times 0 is NaN."""
        for buffer in self._tensors():
            buffer[..., list(rows), :, :, :] = 0

    def _tensors(self) -> list[Tensor]:
        """All buffers, each (…, rows, heads, columns, size)."""
        block = self._whole()
        return self._by_layer() if block is None else [block]

    def _by_layer(self) -> list[Tensor]:
        buffers = (tensor for layer in self.buffers for tensor in (layer.keys, layer.values))
        return [tensor for tensor in buffers if tensor is not None]

    def _whole(self) -> Tensor | None:
        """The block, or None where a long reply made layers outgrow it."""
        last = self.buffers[-1].keys
        if self.block is None or last is None or last.shape[2] != self.block.shape[4]:
            return None
        return self.block

    def put(self, row: int, column: int, layers: Layers, tokens: int) -> None:
        """Copy the first `tokens` tokens of a kept row into a row, from `column` on."""
        span = slice(column, column + tokens)
        block = self._whole()
        if block is not None and isinstance(layers, Tensor):
            block[:, :, row, :, span] = layers[..., :tokens, :]
            return
        for buffer, (keys, values) in zip(self.buffers, layers, strict=True):
            keys, values = keys[None, :, :tokens], values[None, :, :tokens]
            buffer.keys = _room(buffer.keys, keys, self.region, span.stop)
            buffer.values = _room(buffer.values, values, self.region, span.stop)
            buffer.keys[row, :, span] = keys[0]
            buffer.values[row, :, span] = values[0]

    def take(self, row: int, column: int, tokens: int) -> Layers:
        """A copy of `tokens` tokens of a row from `column` on."""
        span = slice(column, column + tokens)
        block = self._whole()
        if block is not None:
            return block[:, :, row, :, span].clone()
        return tuple(
            (buffer.keys[row, :, span].clone(), buffer.values[row, :, span].clone())
            for buffer in self.buffers
            if buffer.keys is not None and buffer.values is not None
        )

    def move(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy row to row, for each (from, to)."""
        for source, target in pairs:
            self.copy(source, 0, target, 0, self.region.column)

    def copy(self, source: int, start: int, row: int, column: int, tokens: int) -> None:
        """Copy `tokens` tokens of a row from `start` on into another row, from `column` on."""
        span, target = slice(start, start + tokens), slice(column, column + tokens)
        for buffer in self._tensors():
            buffer[..., row, :, target, :] = buffer[..., source, :, span, :]


PLAIN: tuple[type, ...] = (DynamicLayer, DynamicSlidingWindowLayer)


def layer_kinds(config: Any) -> list[type]:
    """The cache class that transformers would use, layer by layer."""
    return [type(layer) for layer in DynamicCache(config=config).layers]


def plain(kinds: Sequence[type]) -> bool:
    """True where every layer caches keys and values by token, or nothing at all."""
    quiet = {"DummyLayer"}
    return bool(kinds) and all(kind in PLAIN or kind.__name__ in quiet for kind in kinds)


class StoredRow(NamedTuple):
    """A finished row, its size in bytes, and where turns begin that its control knows of."""

    state: str
    ids: Ids
    layers: Layers
    size: int
    turns: Sequence[int]


class PrefixStore:
    """Finished rows by token ids, the least recently used forgotten beyond `limit` bytes.

    Rows are indexed by their state and first `head` tokens, so a search does not get slower
    with more rows. Common prefixes shorter than `head` are missed.
    """

    def __init__(self, limit: int, head: int = 8) -> None:
        self.limit = limit
        self.size = 0
        self._head = head
        self._rows: dict[int, StoredRow] = {}
        self._by_head: dict[tuple[str, bytes], set[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._by_head.clear()
        self.size = 0

    def find(self, state: str, ids: Ids, turns: Sequence[int] = ()) -> tuple[int, Layers | None]:
        """Tokens of `ids` that a row of the same state begins with, and that row's tensors."""
        best, match = 0, -1
        for key in sorted(self._like(state, ids), reverse=True):
            row = self._rows[key]
            # Only a row that agrees at position `best` can be longer: one look instead of a scan.
            if best < min(len(row.ids), len(ids)) and row.ids[best] == ids[best]:
                length = shared(row.ids, ids, set(row.turns) ^ set(turns))
                if length > best:
                    best, match = length, key
        if match < 0:
            return 0, None
        row = self._rows[match] = self._rows.pop(match)  # now the most recently used
        return best, row.layers

    def holds(self, state: str, ids: Ids, turns: Sequence[int] = ()) -> bool:
        """Whether a stored row already begins with these ids."""
        like = (self._rows[key] for key in self._like(state, ids))
        return any(_begins(row.ids, ids, set(row.turns) ^ set(turns)) for row in like)

    def keep(self, state: str, ids: Ids, layers: Layers, turns: Sequence[int] = ()) -> None:
        """Keep a row; rows that it extends go, and the oldest go until the rest fits."""
        tensors = [layers] if isinstance(layers, Tensor) else [t for pair in layers for t in pair]
        size = sum(t.numel() * t.element_size() for t in tensors)
        if size > self.limit or not len(ids):
            return
        for key in list(self._like(state, ids)):
            if _begins(ids, self._rows[key].ids):
                self._drop(key)
        while self.size + size > self.limit:
            self._drop(next(iter(self._rows)))
        self._rows[self._next] = StoredRow(state, ids, layers, size, turns)
        self._by_head.setdefault(self._place(state, ids), set()).add(self._next)
        self._next += 1
        self.size += size

    def _drop(self, key: int) -> None:
        row = self._rows.pop(key)
        self.size -= row.size
        place = self._place(row.state, row.ids)
        self._by_head[place].discard(key)
        if not self._by_head[place]:
            del self._by_head[place]

    def _place(self, state: str, ids: Ids) -> tuple[str, bytes]:
        return state, ids[: self._head].tobytes()

    def _like(self, state: str, ids: Ids) -> Collection[int]:
        """Rows of the state that begin as `ids` do."""
        return self._by_head.get(self._place(state, ids), ())


def _begins(ids: Ids, start: Ids, turns: Collection[int] = ()) -> bool:
    """True where `ids` begins with `start`, before any turn that only one of them has."""
    n = len(start)
    # The last token tells most rows apart without looking at the others.
    fits = n <= len(ids) and (n == 0 or bool(ids[n - 1] == start[-1]))
    return fits and shared(ids, start, turns) == n


def shared(a: Ids, b: Ids, turns: Collection[int] = ()) -> int:
    """Length of the longest common prefix of two arrays of ids.

    It ends at a turn that only one of them has. The first token of what opens a turn is steered
    as that turn's, but may open other messages too: what opens it differs a token later.
    """
    n = min(len(a), len(b), *turns)
    if n == 0 or a[0] != b[0]:
        return 0
    differ = a[:n] != b[:n]
    first = int(differ.argmax())
    return first if differ[first] else n
