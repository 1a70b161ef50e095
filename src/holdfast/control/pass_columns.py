"""Which columns of keys are what for the queries of one pass: persona, earlier turns, own turn."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.control.steering import Steering


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
        self.turn_starts = _latest(steering.turns, at)  # 0 before the first turn, (B, Lq)
        self.shift = (self.turn_starts - steering.ends[:, None]).clamp(min=0) * steered  # (B, Lq)
        place = torch.arange(steering.longest, device=steering.device)
        self.columns = steering.starts[:, None] + place  # the persona's, (B, n)
        self.inside = self.columns < steering.ends[:, None]
        self._spans: dict[int, Tensor] = {}
        self._earlier: dict[int, Tensor] = {}
        self._own: dict[int, Tensor] = {}

    def span(self, keys: int) -> Tensor:
        """Which of a layer's keys are the persona: (B, keys)."""
        if keys not in self._spans:
            at = torch.arange(keys, device=self.steering.device) + self.first_column(keys)
            s = self.steering
            self._spans[keys] = (at >= s.starts[:, None]) & (at < s.ends[:, None])
        return self._spans[keys]

    def first_column(self, keys: int) -> int:
        """The column of the first key: above 0 where a sliding window's cache dropped some."""
        return max(0, self.column + self.queries - keys)

    def key_places(self, keys: int) -> tuple[Tensor, Tensor]:
        """Where the persona is among a layer's keys, (B, n), and which of these are there.

        A key is not there past the end of a shorter span, where a window has dropped it, and
        where a prompt comes in chunks and its chunk has not come yet.
        """
        places = self.columns - self.first_column(keys)
        present = self.inside & (places >= 0) & (places < keys)
        return places.clamp(0, keys - 1), present

    def earlier(self, keys: int) -> Tensor:
        """Which of a layer's keys are turns before each query's own: (B, Lq, keys)."""
        if keys not in self._earlier:
            at = torch.arange(keys, device=self.steering.device) + self.first_column(keys)
            first = self.steering.turns.amin(1)[:, None, None]
            self._earlier[keys] = (at >= first) & (at < self.turn_starts[:, :, None])
        return self._earlier[keys]

    def own(self, keys: int) -> Tensor:
        """Which of a layer's keys are the model's own replies before a query's turn."""
        if keys not in self._own:
            at = torch.arange(keys, device=self.steering.device) + self.first_column(keys)
            replies, turns = (_latest(x, at) for x in (self.steering.replies, self.steering.turns))
            self._own[keys] = self.earlier(keys) & (replies > turns)[:, None]
        return self._own[keys]  # (B, Lq, keys)


def _latest(starts: Tensor, at: Tensor) -> Tensor:
    """The last of `starts` (B, n) up to each column, (B, columns); 0 where there is none."""
    started = starts[:, None, :] <= at[:, None]
    padded = torch.where(started, starts[:, None, :], 0)
    return padded.amax(-1) if starts.shape[1] else padded.new_zeros(len(starts), len(at))
