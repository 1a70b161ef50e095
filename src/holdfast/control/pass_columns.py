"""What the queries of one steered pass may see: which columns of keys are what, and the masks.

Columns are the persona, earlier turns, own replies and a query's own turn. Masks are made once for
all layers that are given the same one.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Self, cast
from weakref import proxy

import torch
from torch import Tensor

from holdfast.control.attention import find_places, split_mask
from holdfast.control.kernels import additive_mask
from holdfast.control.steering import RowGroup, Steering


class PassColumns:
    """The columns of one forward pass of a `Steering`.

    Args:
        steering: the batch's.
        column: the column of the pass's first query.
        queries: how many there are in a row.
    """

    def __init__(self, steering: Steering, column: int, queries: int) -> None:
        self.steering, self.column, self.queries = steering, column, queries
        at = torch.arange(column, column + queries, device=steering.device)  # (Lq,)
        spans = steering.ends > steering.starts
        steered = (at >= steering.ends[:, None]) & spans[:, None]
        self.steered = steered[:, None]  # (B, 1, Lq)
        self.steers_all = bool(steered.all())
        self.turn_starts = _latest(steering.turns, at)  # 0 before the first turn, (B, Lq)
        self.shift = (self.turn_starts - steering.ends[:, None]).clamp(min=0) * steered  # (B, Lq)
        place = torch.arange(steering.longest, device=steering.device)
        self.columns = steering.starts[:, None] + place  # the persona's, (B, n)
        self.inside = self.columns < steering.ends[:, None]
        self._spans: dict[int, Tensor] = {}
        self._earlier: dict[int, Tensor] = {}
        self._own: dict[int, Tensor] = {}
        self.layers: list[int] = []  # whose attention saw this pass
        self._last: dict[int, Self] = {}

    def enter(self, layer: int, queries: int) -> Self:
        """Note a layer, and return the pass as its attention gets it.

        Layers that share the keys of earlier ones may get the last queries alone (Gemma 4's).
        """
        self.layers.append(layer)
        if queries == self.queries:
            return self
        if queries not in self._last:
            start = self.column + self.queries - queries
            self._last[queries] = type(self)(self.steering, start, queries)
        return self._last[queries]

    @property
    def groups(self) -> list[RowGroup]:
        """Rows by their controls, the shares and the anchors."""
        return [*self.steering.shares, *self.steering.anchors]

    def span(self, keys: int) -> Tensor:
        """Which of a layer's keys are the persona: (B, keys)."""
        if keys not in self._spans:
            at, s = self._columns_of(keys), self.steering
            self._spans[keys] = (at >= s.starts[:, None]) & (at < s.ends[:, None])
        return self._spans[keys]

    def first_column(self, keys: int) -> int:
        """The column of the first key: above 0 where a sliding window's cache dropped some."""
        return max(0, self.column + self.queries - keys)

    def _columns_of(self, keys: int) -> Tensor:
        """The columns of a layer's keys, (keys,)."""
        return torch.arange(keys, device=self.steering.device) + self.first_column(keys)

    def key_places(self, keys: int) -> tuple[Tensor, Tensor]:
        """Where the persona is among a layer's keys, (B, n), and which of these are there.

        A key is not there past the end of a shorter span, where a window has dropped it, and
        where a prompt comes in chunks and its chunk has not come yet.
        """
        places = self.columns - self.first_column(keys)
        present = self.inside & (places >= 0) & (places < keys)
        return places.clamp(0, keys - 1), present

    def earlier_turns(self, keys: int) -> Tensor:
        """Which of a layer's keys are turns before each query's own: (B, Lq, keys)."""
        if keys not in self._earlier:
            at = self._columns_of(keys)
            first = self.steering.turns.amin(1)[:, None, None]
            self._earlier[keys] = (at >= first) & (at < self.turn_starts[:, :, None])
        return self._earlier[keys]

    def own_replies(self, keys: int) -> Tensor:
        """Which of a layer's keys are the model's own replies before a query's turn."""
        if keys not in self._own:
            at = self._columns_of(keys)
            replies, turns = (_latest(x, at) for x in (self.steering.replies, self.steering.turns))
            self._own[keys] = self.earlier_turns(keys) & (replies > turns)[:, None]
        return self._own[keys]  # (B, Lq, keys)


class KeyPart(NamedTuple):
    """A part of the keys that queries attend to."""

    mask: Tensor | None
    """Additive, of the part's keys; -inf where these are of other parts. None: all are seen."""
    places: Tensor | None = None
    """Where its keys are, (B, n); None for all keys from `start` on."""
    start: int = 0
    """The first of its keys."""


class TurnParts(NamedTuple):
    """The keys that are no persona in three parts."""

    earlier: tuple[KeyPart, KeyPart] | None
    """The model's own replies before a query's turn, and what else is in the turns before it; None
    where no row has earlier turns."""
    later: KeyPart
    """The query's own turn, and what is before the first unless that is `opening`."""
    opening: KeyPart | None = None
    """What is before the first turn, where single queries read `later` from their turns on."""


class PassMasks:
    """What the queries of a pass may see, under one of the masks that its layers are given."""

    def __init__(self, columns: PassColumns, mask: Tensor | None, query: Tensor, keys: int) -> None:
        # The pass owns its masks. A reference back would keep the keys that a batch has gathered
        # until cycles are collected, which bounds no memory: 23 GB in a run of nine rounds.
        self.columns: PassColumns = proxy(columns)
        self.mask, self.keys = mask, keys
        self.dtype, self.device = query.dtype, query.device

    def fits(self, mask: Tensor | None, query: Tensor, keys: int) -> bool:
        """Whether they were made of this mask, for such queries."""
        same = self.mask is mask and self.keys == keys
        return same and self.dtype == query.dtype and self.device == query.device

    @cached_property
    def full(self) -> Tensor | None:
        """What is added to scores, (B or 1, H or 1, Lq or 1, Lk); None where all keys are seen."""
        layout, mask = self.columns, self.mask
        if mask is None and layout.queries == 1:
            return None
        if mask is None:
            at = torch.arange(layout.queries, device=self.device)[:, None] + layout.column
            columns = torch.arange(self.keys, device=self.device) + layout.first_column(self.keys)
            mask = columns <= at
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        return cast(Tensor, additive_mask(mask, like))[..., : self.keys]

    @cached_property
    def parts(self) -> tuple[Tensor, Tensor]:
        """The same of the persona's keys, gathered, and of the rest."""
        places, present = self.columns.key_places(self.keys)
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        return split_mask(self.full, like, places, present, self.columns.span(self.keys))

    @cached_property
    def turns(self) -> TurnParts:
        """The keys outside of the persona, by whose turns they are.

        Earlier turns are gathered for single queries, which would else read all keys three times.
        """
        layout = self.columns
        rest = ~layout.span(self.keys)[:, None]
        earlier, own = (of(self.keys) & rest for of in (layout.earlier_turns, layout.own_replies))
        later = rest & ~earlier
        if not bool(earlier.any()):
            return TurnParts(None, self._hide_all_but(later))
        others = earlier & ~own
        if layout.queries > 1:
            return TurnParts(
                (self._hide_all_but(own), self._hide_all_but(others)), self._hide_all_but(later)
            )
        start = max(0, int(layout.turn_starts.amin()) - layout.first_column(self.keys))
        visible = later if self.full is None else later & ~self.full[:, 0].isneginf()  # no padding
        opening = self._gather_part(visible[..., :start]) if start else None
        return TurnParts(
            (self._gather_part(own), self._gather_part(others)),
            self._hide_all_but(later, start),
            opening,
        )

    def _hide_all_but(self, part: Tensor, start: int = 0) -> KeyPart:
        """The keys from `start` on, with those hidden that are not in a part (B, Lq, keys)."""
        full = torch.zeros((), dtype=self.dtype, device=self.device)
        full = full if self.full is None else self.full[..., start:]
        outside = ~part[:, None, :, start:].to(self.device)
        if self.full is None and not bool(outside.any()):
            return KeyPart(None, start=start)
        return KeyPart(full.masked_fill(outside, -torch.inf), start=start)

    def _gather_part(self, part: Tensor) -> KeyPart:
        """The keys of a part (B, 1, keys), each row's beside each other."""
        part, like = part[:, 0], torch.empty(0, dtype=self.dtype, device=self.device)
        places, inside = find_places(part)
        if self.full is None and bool(inside.all()):
            return KeyPart(None, places)
        full = None if self.full is None else self.full[..., : part.shape[1]]
        return KeyPart(split_mask(full, like, places, inside, part)[0], places)


def _latest(starts: Tensor, at: Tensor) -> Tensor:
    """The last of `starts` (B, n) up to each column, (B, columns); 0 where there is none."""
    has_begun = starts[:, None, :] <= at[:, None]
    return torch.where(has_begun, starts[:, None, :], 0).amax(-1)
