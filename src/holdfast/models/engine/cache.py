"""Keys and values of the batch under way: buffers that are written in place, and moved.

A batch lays its rows out flush right: the last prompt token of every row is in
the same column, so that every row writes the same columns from there on, and a
row of n tokens starts in column `pad = columns - n`. Token t of a row is always
in column pad + t. Distances between columns are distances between tokens, so a
sliding window is exact, and every layer (a sliding one too) keeps all columns.

Buffers are written in place and grow by many columns at a time, so a decoding step
copies nothing but its own keys and values. Tokens that are taken out of a row are cut into
pages of `PAGE`, and rows that begin alike have pages in common (`prefix_store`). All pages have
one size, so that a page takes the memory that another leaves.

This module knows columns and tensors. It knows no model and no text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

PAGE = 128
"""Tokens of a page."""
BLOCK, BLOCKS = 6 << 10, 8
"""Bytes of a token in a block; more where there would be more blocks than that."""
MORE = 512
"""Columns that buffers grow by at most, where no more are needed; by half where they are few."""
MOVE_BYTES = 16 << 20
"""Bytes that are copied aside at a time where rows move."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Page:
    """Keys and values of up to `PAGE` tokens of a row; all its pages but the last are full."""

    tensors: tuple[Tensor, ...]
    """A part of each of the cache's blocks, (buffers, heads, tokens, size)."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def list_buffers(self) -> list[Tensor]:
        """Keys and values of every layer in turn, (heads, tokens, size)."""
        return [buffer for block in self.tensors for buffer in block]


Pages = Sequence[Page]
"""The first tokens of a row."""


def full_pages(pages: Pages, tokens: int) -> Pages:
    """Those of a row's pages that its first `tokens` tokens fill."""
    return pages[: tokens // PAGE]


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
        if self.keys is None or self.values is None:
            self.make(key_states, value_states)
        assert self.keys is not None and self.values is not None
        self.is_initialized = True
        rows = slice(region.top, region.bottom)
        self.keys[rows, :, region.column : end] = key_states
        self.values[rows, :, region.column : end] = value_states
        return self.keys[rows, :, :end], self.values[rows, :, :end]

    def make(self, *like: Tensor) -> None:
        """Make buffers of the region for keys and values of these heads and sizes.

        They are zero: a masked key still enters a product, and NaN times 0 is NaN.
        """
        rows, columns = self.region.rows, self.region.columns
        self.keys, self.values = (
            one.new_zeros((rows, one.shape[-3], columns, one.shape[-1])) for one in like
        )

    def get_seq_length(self) -> int:
        """Columns that are filled, padding included."""
        return self.region.column

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that the next queries see, and the column of the first."""
        return self.region.column + query_length, 0


class _BlockPlan(NamedTuple):
    """Buffers of one shape, to be views of one block."""

    slots: list[tuple[BufferLayer, str]]
    """The layers, each with the name of its keys or of its values."""
    shape: tuple[int, int]
    """Heads, and size of a head."""
    dtype: torch.dtype
    device: torch.device

    def allocate(self, region: WriteRegion) -> Tensor:
        """A block of the region's size, (buffers, rows, heads, columns, size)."""
        heads, size = self.shape
        shape = (len(self.slots), region.rows, heads, region.columns, size)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


class BatchCache(Cache):
    """The cache of one batch after another, in transformers' interface.

    Batches share its buffers: touching fresh memory costs as much as a decoding step. The
    columns of earlier batches are finite and masked. Buffers of one shape are views of one
    block, so that a row moves in a few copies; of a few blocks, since one that grows is there
    twice for a moment. A first batch shows their shapes, and has each buffer alone. Layers
    without keys and values stay as transformers makes them.
    """

    def __init__(self, kinds: Sequence[type]) -> None:
        self.region = WriteRegion(0, 0)
        self.blocks: list[Tensor] = []
        super().__init__(
            layers=[BufferLayer(self.region) if kind in PLAIN else kind() for kind in kinds]
        )
        self.buffers = [layer for layer in self.layers if isinstance(layer, BufferLayer)]

    def begin(self, rows: int, columns: int) -> None:
        """Make room for a batch of `rows` rows that will need about `columns` columns."""
        region = self.region
        fits = rows <= region.rows and columns <= region.columns
        if not fits or not self.blocks:
            self._widen(rows, columns)
            groups = self._plan_blocks()
            self.blocks.clear()
            for layer in self.buffers:  # their memory is free before more is taken
                layer.keys = layer.values = None
            for group in groups:
                self.blocks.append(group.allocate(region))
                for (layer, name), buffer in zip(group.slots, self.blocks[-1], strict=True):
                    setattr(layer, name, buffer)
        region.top, region.bottom, region.column = 0, rows, 0

    def grow(self, rows: int, columns: int) -> None:
        """Make room for more rows, or more columns, beside what is there."""
        region, end = self.region, self.region.column
        if rows <= region.rows and columns <= region.columns:
            return
        self._widen(rows, columns)
        old, self.blocks = self.blocks, []
        for group in self._plan_blocks():
            block = group.allocate(region)
            for (layer, name), buffer in zip(group.slots, block, strict=True):
                before = getattr(layer, name)
                height = min(len(before), region.rows)
                buffer[:height, :, :end] = before[:height, :, :end]
                setattr(layer, name, buffer)
            self.blocks.append(block)
            del old[:1], before  # their memory is free before more is taken

    def write_at(self, top: int, bottom: int, column: int, tokens: int) -> None:
        """Say which rows the next pass writes, and from which column on; make room for it."""
        self.grow(self.region.rows, column + tokens)
        self.region.top, self.region.bottom, self.region.column = top, bottom, column

    def _widen(self, rows: int, columns: int) -> None:
        """Make the region large enough, and as large as it was unless that is far too much."""
        region = self.region
        tall, wide = max(rows, region.rows), region.columns
        if columns > wide:
            wide = max(columns, min(wide * 3 // 2, wide + MORE))
        if tall * wide > 4 * rows * columns:  # few long rows after many short ones
            tall, wide = rows, columns
        region.rows, region.columns = tall, wide

    def _plan_blocks(self) -> list[_BlockPlan]:
        """The buffers that are there, in groups that make blocks."""
        slots = [
            ((layer, name), tensor)
            for layer in self.buffers
            for name, tensor in (("keys", layer.keys), ("values", layer.values))
            if tensor is not None
        ]
        sizes = [tensor[0, :, 0].nbytes for _, tensor in slots]
        most, total = max(BLOCK, sum(sizes) // BLOCKS), 0
        groups: list[_BlockPlan] = []
        for (slot, tensor), size in zip(slots, sizes, strict=True):
            kind = (tensor.shape[1], tensor.shape[3]), tensor.dtype, tensor.device
            if not groups or groups[-1][1:] != kind or total + size > most:
                groups.append(_BlockPlan([], *kind))
                total = 0
            groups[-1].slots.append(slot)
            total += size
        return groups

    def shift(self, rows: int, by: int) -> None:
        """Move the first `rows` rows `by` columns to the right, or to the left below 0."""
        region = self.region
        start, end = max(0, -by), region.column
        for block in self._list_blocks():
            some = max(1, MOVE_BYTES // block[:, 0].nbytes)
            for first in range(0, rows, some):
                part = block[:, first : min(first + some, rows)]
                part[:, :, :, start + by : end + by] = part[:, :, :, start:end].clone()
        region.column += by

    def clear(self, rows: Collection[int]) -> None:
        """Set rows to 0: masked columns still enter products, and NaN times 0 is NaN."""
        for block in self._list_blocks():
            block[:, list(rows)] = 0

    def _list_blocks(self) -> list[Tensor]:
        """All buffers, block by block, each (buffers, rows, heads, columns, size)."""
        if self.blocks:
            return self.blocks
        buffers = (tensor for layer in self.buffers for tensor in (layer.keys, layer.values))
        return [tensor[None] for tensor in buffers if tensor is not None]

    @property
    def row_bytes(self) -> int:
        """Bytes of the buffers of one row."""
        return sum(block[:, 0].nbytes for block in self._list_blocks())

    def put(self, row: int, column: int, pages: Pages, tokens: int) -> None:
        """Copy the first `tokens` tokens of a kept row into a row, from `column` on."""
        if not self._list_blocks():
            buffers = pages[0].list_buffers()
            for layer, *both in zip(self.buffers, buffers[::2], buffers[1::2], strict=True):
                layer.make(*both)
        blocks = self._list_blocks()
        for page, start in zip(pages, range(0, tokens, PAGE), strict=False):
            count, first = min(PAGE, tokens - start), column + start
            parts, targets = page.tensors, blocks
            if len(parts) != len(blocks):  # kept in a first batch, or before buffers were dropped
                parts = tuple(part[None] for part in page.list_buffers())
                targets = [buffer[None] for block in blocks for buffer in block]
            for block, part in zip(targets, parts, strict=True):
                block[:, row, :, first : first + count] = part[:, :, :count]

    def take(self, row: int, column: int, tokens: int, originals: Pages = ()) -> tuple[Page, ...]:
        """The first `tokens` tokens of a row, which begins in `column`, as pages.

        Args:
            row: the row.
            column: the column of its first token.
            tokens: how many tokens.
            originals: full pages that its first tokens are copies of; they are not copied again.
        """
        pages = list(originals)
        for start in range(len(pages) * PAGE, tokens, PAGE):
            span = slice(column + start, column + min(start + PAGE, tokens))
            pages.append(
                Page(tuple(block[:, row, :, span].clone() for block in self._list_blocks()))
            )
        return tuple(pages)

    def move(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy row to row, for each (from, to)."""
        for source, target in pairs:
            self.copy(source, 0, target, 0, self.region.column)

    def copy(self, source: int, start: int, row: int, column: int, tokens: int) -> None:
        """Copy `tokens` tokens of a row from `start` on into another row, from `column` on."""
        span, target = slice(start, start + tokens), slice(column, column + tokens)
        for block in self._list_blocks():
            block[:, row, :, target] = block[:, source, :, span]


PLAIN: tuple[type, ...] = (DynamicLayer, DynamicSlidingWindowLayer)


def layer_kinds(config: Any) -> list[type]:
    """The cache class that transformers would use, layer by layer."""
    return [type(layer) for layer in DynamicCache(config=config).layers]


def is_plain(kinds: Sequence[type]) -> bool:
    """True where every layer caches keys and values by token, or nothing at all."""
    return bool(kinds) and all(kind in PLAIN or kind.__name__ == "DummyLayer" for kind in kinds)
