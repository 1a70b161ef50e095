"""How much of its attention each query gives to the persona, from vLLM's own kernel.

Attention is linear in values. Called once more on the same queries and keys, with values that
say which tokens are the persona's, the kernel returns what no kernel for CPUs returns otherwise:

    values (1, 0, …) in the persona, (0, 1, …) elsewhere      →      output (π, 1 - π, …)

The next two dimensions do the same for the spans whose share is reported.

These values are the same for all layers. They are kept in blocks of their own, as large as one
layer's cache and addressed as it is, and written when a row's tokens get their places. So no
key is gathered, and nothing is known of how a block is packed.

This module knows blocks and rows. It knows no controls and no shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from holdfast.control.steering import RowSteering
from holdfast.models.vllm.prompt_share import ShareTarget


@dataclass(frozen=True)
class StepRow:
    """A held row in one step."""

    steering: RowSteering
    """Its control, persona and turns."""
    start: int
    """Its first query among the step's."""
    queries: int
    """How many queries it has."""
    length: int
    """How many keys it has, its own of this step included."""
    blocks: Tensor
    """Its blocks, (n,)."""
    measure: ShareTarget | None = None
    """What is measured of it."""

    @property
    def last(self) -> int:
        """Its last query among the step's."""
        return self.start + self.queries - 1


class Kernel(Protocol):
    """vLLM's operations on blocks."""

    def write(self, key: Tensor, value: Tensor, cache: Tensor, slots: Tensor) -> None:
        """Write keys and values (tokens, Hkv, D) at their slots of a cache."""

    def plan(self, starts: Tensor, lengths: Tensor) -> Tensor:
        """What the kernel wants to know of a step: the rows' first queries, and their lengths."""

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rows: KernelRows, scale: float
    ) -> Tensor:
        """Causal attention of (queries, H, D) to one cache's keys and another's values."""


@dataclass(frozen=True)
class KernelRows:
    """Rows of a step as the kernel takes them."""

    starts: Tensor
    """Each row's first query, and the number of all, (rows + 1,)."""
    lengths: Tensor
    """Each row's keys, (rows,)."""
    blocks: Tensor
    """Each row's blocks, (rows, most)."""
    plan: Tensor
    """Of `Kernel.plan`."""


class _WrittenRow(NamedTuple):
    """What is in the blocks of a row."""

    steering: RowSteering
    """The row's, kept so that no other takes its id."""
    blocks: list[int]
    """Those of its blocks that are full."""
    length: int
    """How many of its tokens are written."""

    def begins(self, row: StepRow, blocks: list[int]) -> bool:
        """Whether a row with these blocks continues it."""
        return self.blocks == blocks[: len(self.blocks)] and self.length <= row.length


class PersonaMass:
    """The blocks of these values, for the caches of one builder.

    Args:
        tokens: of a block.
        kernel: vLLM's operations.
    """

    def __init__(self, tokens: int, kernel: Kernel) -> None:
        self.tokens, self.kernel = tokens, kernel
        self._values: Tensor | None = None
        self._written_rows: dict[int, _WrittenRow] = {}

    def values(self, like: Tensor, rows: Sequence[StepRow]) -> Tensor:
        """The blocks, with the tokens of these rows in them.

        A row that continues adds its newest tokens. Any other, a prompt that finds its first
        blocks in the prefix cache among them, is written whole: its blocks may have been others'.
        """
        if self._values is None or self._values.shape != like.shape:
            self._values, self._written_rows = torch.zeros_like(like), {}
        marks, slots, written_rows = [], [], {}
        for row in rows:
            blocks = row.blocks.tolist()
            written = self._written_rows.get(id(row.steering))
            first = written.length if written is not None and written.begins(row, blocks) else 0
            at = torch.arange(first, row.length)
            template = row.measure.template if row.measure else (0, 0)
            persona, *others = (
                (at >= start) & (at < end)
                for start, end in (row.steering.span, row.steering.content, template)
            )
            marks.append(torch.stack([persona, ~persona, *others], -1))
            slots.append(row.blocks.long()[at // self.tokens] * self.tokens + at % self.tokens)
            full_blocks = blocks[: row.length // self.tokens]
            written_rows[id(row.steering)] = _WrittenRow(row.steering, full_blocks, row.length)
        self._written_rows = written_rows
        indicators = torch.cat(marks)
        states = like.new_zeros(len(indicators), like.shape[1], like.shape[3] // 2)
        states[..., : indicators.shape[1]] = indicators[:, None]
        self.kernel.write(states, states, self._values, torch.cat(slots))
        return self._values


class MassStep:
    """The masses of some rows of one step.

    Args:
        owner: the blocks.
        rows: the rows, in the step's order; at least one.
    """

    def __init__(self, owner: PersonaMass, rows: Sequence[StepRow]) -> None:
        self.owner, self.rows = owner, rows
        self._values: Tensor | None = None
        self.places = spread([(row.start, row.queries) for row in rows])
        ends = torch.tensor([0, *(row.queries for row in rows)]).cumsum(0).int()
        lengths = torch.tensor([row.length for row in rows], dtype=torch.int32)
        most = max(len(row.blocks) for row in rows)
        plan = owner.kernel.plan(ends, lengths)
        self._kernel_rows = KernelRows(ends, lengths, stack_blocks(rows, most).int(), plan)

    def masses(self, query: Tensor, cache: Tensor, scale: float) -> Tensor:
        """π and 1 - π of the rows' queries, then the shares of content and template.

        All are in float32, (queries, H, 4).

        Args:
            query: of the whole step, (all queries, H, D).
            cache: the layer's blocks.
            scale: what scores are multiplied by.
        """
        if self._values is None:
            self._values = self.owner.values(cache, self.rows)
        own = query[self.places]
        rows = self._kernel_rows
        return self.owner.kernel.attend(own, cache, self._values, rows, scale)[..., :4].float()


def spread(parts: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> slice | Tensor:
    """Places of parts (start, count) of a tensor: a slice where they follow each other."""
    begin = parts[0][0]
    end = begin
    for start, count in parts:
        if start != end:
            each = [torch.arange(at, at + many, device=device) for at, many in parts]
            return torch.cat(each)
        end += count
    return slice(begin, end)


def stack_blocks(rows: Sequence[StepRow], count: int) -> Tensor:
    """So many blocks of each row, (rows, count); its first again where a row has fewer."""

    def pad(blocks: Tensor) -> Tensor:
        missing = count - len(blocks)
        return blocks[:count] if missing <= 0 else torch.cat((blocks, blocks[:1].expand(missing)))

    return torch.stack([pad(row.blocks) for row in rows])
