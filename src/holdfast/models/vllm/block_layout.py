"""Where vLLM's kernels keep each number of a block of keys and values.

Those for CPUs pack a block for the instructions that they use (AMX pairs tokens, the vector kernels
turn keys on their side), and which way is theirs to change. So the packing is measured: numbers
that name their own token and dimension are written into one block by vLLM's own operation, and
read back. Packings that are a view of the block are recognised and read without an index.

FlashAttention's blocks need no measuring: each token has its key and then its value.

This module knows blocks. It knows no requests and no controls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Writes keys and values (n, Hkv, D) into a cache (blocks, Hkv, tokens, 2 · D), at these slots: n
# numbers of block · tokens + token.
Write = Callable[[Tensor, Tensor, Tensor, Tensor], None]
_BASE = 128  # digits that bfloat16 holds exactly


@dataclass(frozen=True)
class _Packing:
    """How a block's tokens × dimensions lie in memory."""

    shape: tuple[int, ...]
    """The memory's shape; empty where `index` says it."""
    order: tuple[int, ...]
    """The dimensions of that shape, tokens first."""
    index: Tensor | None
    """Places in memory, token by token; None where the shape says it."""

    def unpack(self, memory: Tensor, tokens: int) -> Tensor:
        """Blocks (…, tokens · D) as (…, tokens, D)."""
        lead = memory.shape[:-1]
        if self.index is not None:
            return memory.index_select(-1, self.index).reshape(*lead, tokens, -1)
        view = memory.reshape(*lead, *self.shape)
        order = (*range(len(lead)), *(len(lead) + at for at in self.order))
        return view.permute(order).reshape(*lead, tokens, -1)


class BlockLayout:
    """The packing of one kind of block.

    Args:
        tokens: of a block.
        size: of a head.
        dtype: of the cache.
        write: vLLM's own operation that fills a cache.
    """

    def __init__(self, tokens: int, size: int, dtype: torch.dtype, write: Write) -> None:
        self.tokens, self.size = tokens, size
        token = torch.arange(tokens)[:, None].expand(-1, size)
        place = torch.arange(size).expand(tokens, -1)
        read = [self._write_numbers(number, dtype, write) for number in (token, place)]
        keys, values = (at * size + of for at, of in zip(*read, strict=True))
        self.keys, self.values = self._find_packing(keys), self._find_packing(values)

    def _write_numbers(
        self, number: Tensor, dtype: torch.dtype, write: Write
    ) -> tuple[Tensor, Tensor]:
        """Write numbers below 128² as keys and values; return them as they lie in memory."""
        halves = []
        for digit in (number // _BASE, number % _BASE):
            states = digit[:, None].to(dtype)
            cache = torch.zeros(1, 1, self.tokens, 2 * self.size, dtype=dtype)
            write(states, states, cache, torch.arange(self.tokens))
            halves.append(cache.view(2, -1).long())
        both = halves[0] * _BASE + halves[1]
        return both[0], both[1]

    def _find_packing(self, numbers: Tensor) -> _Packing:
        """Find the packing that leaves these numbers, token · D + dimension, in memory."""
        tokens, size = self.tokens, self.size
        every = torch.arange(len(numbers))
        for shape, order in (
            ((tokens, size), (0, 1)),
            ((size, tokens), (1, 0)),
            ((tokens // 16, size // 2, 16, 2), (0, 2, 1, 3)),
            ((size // 16, tokens // 2, 16, 2), (1, 3, 0, 2)),
        ):
            if torch.Size(shape).numel() != tokens * size:
                continue
            if torch.equal(numbers.view(shape).permute(order).flatten(), every):
                return _Packing(shape, order, None)
        index = numbers.argsort()
        if not torch.equal(numbers[index], every):
            raise ValueError("vLLM's blocks do not hold every number of a key once")
        return _Packing((), (), index)

    def gather(self, cache: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of rows' blocks.

        Args:
            cache: (all blocks, Hkv, tokens, 2 · D), contiguous.
            blocks: the blocks of each row, in order, (B, n).

        Returns:
            Both (B, Hkv, n · tokens, D).
        """
        rows, count = blocks.shape
        heads = cache.shape[1]
        memory = cache.view(cache.shape[0], heads, 2, -1)[blocks.flatten().long()]
        parts = []
        for i, packing in enumerate((self.keys, self.values)):
            states = packing.unpack(memory[:, :, i], self.tokens)
            states = states.view(rows, count, heads, self.tokens, self.size).transpose(1, 2)
            # The fused kernel reads a key's numbers as neighbours, whatever the strides say.
            parts.append(states.reshape(rows, heads, -1, self.size).contiguous())
        return parts[0], parts[1]


class SplitLayout:
    """Blocks (Hkv, tokens, 2 · D) in which each token has its key and then its value.

    Args:
        tokens: of a block.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def gather(self, cache: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """As `BlockLayout.gather`, from a cache of any strides."""
        rows, count = blocks.shape
        states = cache[blocks.flatten().long()].unflatten(0, (rows, count)).transpose(1, 2)
        keys, values = states.flatten(2, 3).chunk(2, -1)  # (B, Hkv, n · tokens, D)
        return keys.contiguous(), values.contiguous()
