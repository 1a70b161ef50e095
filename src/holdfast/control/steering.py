"""The steering of a batch: each row's control, and which columns are its persona.

A `Steering` belongs to a batch and holds what does not change from one forward pass to the
next: the rows' spans, turns and controls, as tensors. A `SteeredPass` applies it to one pass.

Rows are grouped by control. Rows that differ only in strength are one group, and their
strengths one tensor, so each group is one operation. Columns are places of keys, padding
included. This module knows tensors; the engine and `hold` know where spans are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from holdfast.control.share_functions import Restore, ShareFunction, share_function
from holdfast.core.control import AttentionControl, Control, Range

Columns = tuple[int, int]
_NEVER = 1 << 40  # the column of a turn that no query reaches


def out_of_range(control: Control, config: Any) -> str | None:
    """Which layers or heads a model has, if a control names others; None if it does not."""
    counts = {"layers": config.num_hidden_layers, "heads": config.num_attention_heads}
    for part in control.attention:
        for name, count in counts.items():
            limits: Range | None = getattr(part, name)
            if limits is not None and limits[1] >= count:
                return f"it has the {name} 0 to {count - 1}"
    return None


class TurnsBack(Protocol):
    """A rotary embedding that can turn rotated queries back."""

    def turn_back(self, module: nn.Module, query: Tensor, shift: Tensor) -> Tensor:
        """Queries (B, H, Lq, D) of an attention module as if `shift` (B, Lq) positions earlier."""


@dataclass(frozen=True)
class RowSteering:
    """One row's control, and the columns [start, end) that it is about."""

    control: Control
    """The control; only its attention parts matter here."""
    content: Columns
    """The persona's own tokens."""
    message: Columns
    """The system message as rendered, without BOS."""
    turns: tuple[int, ...] = ()
    """Where user turns begin; only anchor and restore need them."""
    replies: tuple[int, ...] = ()
    """Where the model's replies begin; only restore needs them."""

    @property
    def span(self) -> Columns:
        """The persona's columns: anchor's where there is an anchor, else the share's."""
        part = self.control.anchor or self.control.share
        return self.message if part is not None and part.span == "message" else self.content

    def shift_right(self, by: int) -> RowSteering:
        """The same row with its columns `by` further right."""
        (a, b), (c, d) = self.content, self.message
        turns, replies = (tuple(at + by for at in starts) for starts in (self.turns, self.replies))
        return RowSteering(self.control, (a + by, b + by), (c + by, d + by), turns, replies)


@dataclass(frozen=True)
class RowGroup:
    """Rows whose attention control differs in its strength only."""

    control: AttentionControl
    rows: Tensor
    """Which rows these are, (B,) of booleans."""
    share: ShareFunction | Restore | None
    """The share function with a strength for each row; None for anchor."""
    everywhere: bool
    """Whether it changes every row and head, so that nothing has to be masked."""

    @property
    def restores(self) -> bool:
        """Whether the share depends on which keys are earlier turns."""
        return isinstance(self.share, Restore)

    def covers(self, layer: int) -> bool:
        """Whether it changes any head of a layer."""
        layers = self.control.layers
        return layers is None or layers[0] <= layer <= layers[1]

    def select(self, new: Tensor, old: Tensor) -> Tensor:
        """`new` (B, H, …) in this group's rows and heads, `old` elsewhere."""
        if self.everywhere:
            return new
        heads = new.shape[1]
        low, high = self.control.heads or (0, heads)
        at = torch.arange(heads, device=self.rows.device)
        mask = self.rows[:, None] & (at >= low) & (at <= high)
        beyond = (1,) * (new.ndim - 2)
        return torch.where(mask.reshape(*mask.shape, *beyond).to(old.device), new, old)


class Steering:
    """The controls of a batch's rows.

    Args:
        rows: each row's steering; None for a row that is left alone.
        rotary: the model's rotary embedding; needed where a row is under anchor.
        device: where the masks are made.
    """

    def __init__(
        self,
        rows: Sequence[RowSteering | None],
        rotary: TurnsBack | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.rotary, self.device = rotary, torch.device(device)
        spans = [row.span if row else (0, 0) for row in rows]
        ends = [row.span[1] for row in rows if row]
        self.first_end, self.last_end = min(ends, default=_NEVER), max(ends, default=0)
        # Where every row has its span in the same columns, keys are sliced, not gathered.
        self.common_span = spans[0] if len(set(spans)) == 1 and rows and rows[0] else None
        self.starts = torch.tensor([a for a, _ in spans], device=self.device)
        self.ends = torch.tensor([b for _, b in spans], device=self.device)
        self.longest = max((b - a for a, b in spans), default=0)
        self.shares = self._groups([row.control.share if row else None for row in rows])
        self.anchors = self._groups([row.control.anchor if row else None for row in rows])
        self.turns = self._pad([row.turns if row else () for row in rows])
        self.replies = self._pad([row.replies if row else () for row in rows])
        self.last_turn = max((at for row in rows if row for at in row.turns), default=0)
        # Gathered at one decoding step and used again at the next, by layer, part, and "keys" or
        # "values".
        self.part_states: dict[tuple[int, str, str], Tensor] = {}

    def _pad(self, starts: Sequence[Sequence[int]]) -> Tensor:
        """Columns of each row, (B, most or 1), with some that no query reaches behind the fewer."""
        most = max((1, *map(len, starts)))
        padded = [[*each, *[_NEVER] * (most - len(each))] for each in starts]
        return torch.tensor(padded, device=self.device).reshape(len(starts), most)

    def _groups(self, controls: Sequence[AttentionControl | None]) -> list[RowGroup]:
        members: dict[tuple[object, ...], list[int]] = {}
        for i, control in enumerate(controls):
            if control is not None:
                key = (control.kind, control.layers, control.heads, control.source)
                members.setdefault(key, []).append(i)
        return [self._group(controls, rows) for rows in members.values()]

    def _group(self, controls: Sequence[AttentionControl | None], members: list[int]) -> RowGroup:
        rows = torch.zeros(len(controls), dtype=torch.bool)
        rows[members] = True
        first = controls[members[0]]
        assert first is not None
        share = None
        if first.kind != "anchor":
            # Rows outside of the group take its first strength, and are masked afterwards.
            inside = set(members)
            each = [
                c.strength if c and i in inside else first.strength for i, c in enumerate(controls)
            ]
            strengths = torch.tensor(each, dtype=torch.float32, device=self.device)
            share = share_function(first.kind, strengths[:, None, None])
        everywhere = first.heads is None and len(members) == len(controls)
        return RowGroup(first, rows.to(self.device), share, everywhere)
