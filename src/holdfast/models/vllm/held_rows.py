"""One step of vLLM's batch: the attention of its held rows, by the shared `SteeredPass`.

Rows that decode one token are one pass; the rows of prompts are a pass each, since their queries
differ in number. Columns are places in the prompt, so rows lie left-aligned beside each other and
what is past a row's end is masked.

This module knows blocks and passes. It knows no requests; `row_table` says which rows are held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.control.kernels import apply_weights
from holdfast.control.steered_pass import SteeredPass, layer_of, start_pass
from holdfast.control.steering import RowSteering, Steering
from holdfast.models.vllm.block_layout import BlockLayout
from holdfast.models.vllm.rotary import VllmRotary


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


class HeldRows:
    """The held rows of one step.

    Args:
        rows: them; at least one.
        layout: of the blocks.
        rotary: turns queries back.
    """

    def __init__(self, rows: Sequence[StepRow], layout: BlockLayout, rotary: VllmRotary) -> None:
        self.layout = layout
        single = [row for row in rows if row.queries == 1]
        groups = [[row] for row in rows if row.queries > 1]
        groups += [single] if single else []
        made = [_Group.of(group, layout.tokens, rotary) for group in groups]
        self.groups = [group for group in made if group is not None]

    def attend(
        self, layer: nn.Module, scale: float, query: Tensor, cache: Tensor, output: Tensor
    ) -> None:
        """Replace the held rows' output of a layer.

        Args:
            layer: vLLM's attention layer, with its number as `layer_idx`.
            scale: what scores are multiplied by.
            query: (all queries, H, D).
            cache: the layer's blocks.
            output: (all queries, H, D), written in place.
        """
        for group in self.groups:
            if group.passed.covers(layer_of(layer)):
                key, value = self.layout.gather(cache, group.blocks)
                group.attend(layer, scale, query, key, value, output)


@dataclass(frozen=True)
class _Group:
    """Rows that one pass computes."""

    passed: SteeredPass
    places: Tensor
    """The rows' queries among the step's, (B · Lq,)."""
    blocks: Tensor
    """(B, n), filled up with blocks that are masked."""
    lengths: tuple[int, ...]
    """Keys of each row."""
    mask: Tensor | None
    """Additive, of the padded keys, (B, 1, 1, keys); None for a single row."""

    @staticmethod
    def of(rows: Sequence[StepRow], tokens: int, rotary: VllmRotary) -> _Group | None:
        """The group of some rows; None where no query of them is steered."""
        queries, most = rows[0].queries, max(row.length for row in rows)
        anchored = any(row.steering.control.anchor for row in rows)
        device = rows[0].blocks.device
        steering = Steering([row.steering for row in rows], rotary if anchored else None, device)
        count = -(-most // tokens)
        blocks = torch.stack([_padded(row.blocks, count) for row in rows])
        lengths = tuple(row.length for row in rows)
        passed = start_pass(steering, most - queries, queries)
        if passed is None:
            return None
        at = torch.arange(queries, device=device)
        places = torch.cat([at + row.start for row in rows])
        mask = None
        if len(set(lengths)) > 1:
            ends = torch.tensor(lengths, device=device)[:, None, None, None]
            hidden = torch.arange(most, device=device) >= ends
            mask = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, -torch.inf)
        return _Group(passed, places, blocks, lengths, mask)

    def attend(
        self,
        layer: nn.Module,
        scale: float,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
    ) -> None:
        """Compute the rows' attention and write it to `output`."""
        most = max(self.lengths)
        key, value = key[:, :, :most], value[:, :, :most]
        rows, heads, size = len(self.lengths), query.shape[1], query.shape[2]
        own = query[self.places].view(rows, -1, heads, size).transpose(1, 2)
        mask = None if self.mask is None else self.mask.to(query.dtype)
        passed = self.passed
        exact = query.dtype == torch.float32 and passed.queries == 1
        if exact and passed.prefers_weights(layer_of(layer), most):
            weights = passed.one_query(layer, own, key, mask, scale)[1]
            out = apply_weights(weights, value)
        else:
            out = passed.attention(layer, own, key, value, mask, scale)
        output.view(-1, heads, size)[self.places] = out.transpose(1, 2).reshape(-1, heads, size)


def _padded(blocks: Tensor, count: int) -> Tensor:
    """So many of a row's blocks, the first again where there are fewer."""
    missing = count - len(blocks)
    return blocks[:count] if missing <= 0 else torch.cat((blocks, blocks[:1].expand(missing)))


def step_rows(held: Mapping[int, RowSteering], common: Any, tokens: int) -> list[StepRow]:
    """The held rows of a step.

    Args:
        held: the table's rows.
        common: vLLM's metadata of the step.
        tokens: of a block.
    """
    starts = common.query_start_loc_cpu.tolist()
    lengths = common.seq_lens.tolist()
    places = range(common.num_reqs) if common.req_idx is None else common.req_idx.tolist()
    rows = []
    for i, place in enumerate(places[: common.num_reqs]):
        steering = held.get(place)
        queries = starts[i + 1] - starts[i]
        if steering is not None and queries > 0:
            blocks = common.block_table_tensor[i, : -(-lengths[i] // tokens)]
            rows.append(StepRow(steering, starts[i], queries, lengths[i], blocks))
    return rows
