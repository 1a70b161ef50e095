"""The prompt share of replies in vLLM: recorded in the worker, fetched when they are complete.

The queries that count are those that produce the reply: the last token of the prompt, and then
each token fed back. They are kept by their position, so that a row that is stopped and read
again counts once. Of a row without a control the share is a mass that vLLM's kernel has
computed (`persona_mass`); under one, and where there are no such masses, its keys are gathered and
the weights of its last query made, before and after.

This module knows passes and blocks. It knows no requests but by their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.control.reference_attention import apply_mask
from holdfast.control.steered_pass import SteeredPass
from holdfast.control.steering import Columns, RowSteering, Steering
from holdfast.control.switch import layer_of
from holdfast.core.backend import Share
from holdfast.models.engine.request import Request, round_heads
from holdfast.models.vllm.block_layout import BlockLayout, SplitLayout

# One row's worth in nested lists: of each span (content, template), layer and head.
Heads = list[list[list[float]]]


@dataclass(frozen=True)
class ShareTarget:
    """What is measured of a row."""

    number: int
    """The request's own."""
    prompt: int
    """Tokens of its prompt."""
    template: Columns
    """The system message with its template's tokens and BOS."""


@dataclass(frozen=True)
class HeldRow:
    """A row of the batch that is held, or measured, or both."""

    steering: RowSteering
    measure: ShareTarget | None = None


class ShareStore:
    """π of each number's queries, by position and layer: (after and before, spans, H)."""

    def __init__(self) -> None:
        self._shares: dict[int, dict[int, dict[int, Tensor]]] = {}

    def add(self, number: int, position: int, layer: int, share: Tensor) -> None:
        """Keep one layer's share of one query, (2, spans, H)."""
        positions = self._shares.setdefault(number, {})
        positions.setdefault(position, {})[layer] = share

    def take(self, number: int, first: int, count: int) -> tuple[Heads, Heads, list[float]]:
        """Means of a reply's queries after the control and before it, and each query's; forget it.

        Args:
            number: the request's.
            first: the position of its prompt's last token.
            count: of its tokens.
        """
        shares = self._shares.pop(number, {})
        queries = [shares[at] for at in range(first, first + count) if at in shares]
        if not queries:
            return [], [], []
        stacked = torch.stack(
            [torch.stack([query[layer] for layer in sorted(query)], 2) for query in queries]
        ).double()  # (queries, 2, spans, layers, H)
        after, before = stacked.mean(0).tolist()
        return after, before, stacked[:, 0, 0].mean((-1, -2)).tolist()


class MeasuredRows:
    """Rows whose last query's weights are made; they share one column.

    Args:
        rows: steering, measure, the place of the last query, and the number of keys of each.
        blocks: of each, (B, n).
        rotary: turns queries back.
    """

    def __init__(
        self,
        rows: Sequence[tuple[RowSteering, ShareTarget, int, int]],
        blocks: Tensor,
        rotary: Any,
    ) -> None:
        self.rows, self.blocks = rows, blocks
        self.most = max(length for *_, length in rows)
        device = blocks.device
        steering = Steering([row[0] for row in rows], rotary, device)
        self.steered_pass = SteeredPass(steering, self.most - 1, 1)
        at = torch.arange(self.most, device=device)
        lengths = torch.tensor([length for *_, length in rows], device=device)
        self.visible = (at < lengths[:, None])[:, None, None]
        spans = [(row.content, measure.template) for row, measure, *_ in rows]
        starts, ends = (
            torch.tensor([[s[i] for s in both] for both in spans], device=device) for i in (0, 1)
        )
        inside = (at >= starts[..., None]) & (at < ends[..., None])
        self.spans = inside.float()[:, None]  # (B, 1, spans, keys)
        self.places = torch.tensor([place for _, _, place, _ in rows], device=device)

    def record(
        self,
        layer: nn.Module,
        scale: float,
        query: Tensor,
        cache: Tensor,
        layout: BlockLayout | SplitLayout,
        store: ShareStore,
    ) -> None:
        """Keep a layer's shares. Arguments as `HeldRows.attend` takes them."""
        own = query[self.places][:, :, None]
        key = layout.gather(cache, self.blocks)[0][:, :, : self.most]
        plain, weights = self.steered_pass.one_query(layer, own, key, self.visible, scale)
        before = apply_mask(plain, self.visible).softmax(-1)
        shares = torch.stack([(x * self.spans).sum(-1) for x in (weights, before)], 1)
        for (_, measure, _, length), share in zip(self.rows, shares, strict=True):
            store.add(measure.number, length - 1, layer_of(layer), share.transpose(-1, -2))


def merge_shares(
    parts: Sequence[tuple[Heads, Heads, list[float]]],
) -> tuple[Heads, Heads, list[float]]:
    """Join the shares of workers that have some of the heads each."""
    first = parts[0]
    if len(parts) == 1 or not first[2]:
        return first
    after, before = (
        [
            [[head for part in layers for head in part] for layers in zip(*spans, strict=True)]
            for spans in zip(*(part[i] for part in parts), strict=True)
        ]
        for i in (0, 1)
    )
    tokens = [sum(each) / len(parts) for each in zip(*(part[2] for part in parts), strict=True)]
    return after, before, tokens


def share_of(request: Request, means: tuple[Heads, Heads, list[float]]) -> Share | None:
    """A request's share as the local backend gives it; None where no query was measured."""
    after, before, tokens = means
    if request.spans is None or not tokens:
        return None
    start, end = request.spans.content
    return Share(
        heads=round_heads(after[0]),
        heads_template=round_heads(after[1]),
        tokens=tuple(round(x, 5) for x in tokens),
        span=end - start,
        length=len(request.ids),
        heads_before=round_heads(before[0]) if request.steering is not None else None,
    )


def measure_of(row: Mapping[str, Any] | None) -> ShareTarget | None:
    """What `admission` asked to measure of a row."""
    if row is None:
        return None
    start, end = row["template"]
    return ShareTarget(row["number"], row["prompt"], (start, end))
