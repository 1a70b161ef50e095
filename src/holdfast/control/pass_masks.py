"""What the queries of a steered pass may see, made once for all layers with the same mask."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from holdfast.control.attention import split_mask
from holdfast.control.kernels import additive_mask
from holdfast.control.pass_columns import PassColumns


class PassMasks:
    """What the queries of a pass may see, under one of the masks that its layers are given."""

    def __init__(self, columns: PassColumns, mask: Tensor | None, query: Tensor, keys: int) -> None:
        self.columns, self.mask, self.keys = columns, mask, keys
        self.dtype, self.device = query.dtype, query.device

    def fits(self, mask: Tensor | None, query: Tensor, keys: int) -> bool:
        """Whether they were made of this mask, for such queries."""
        same = self.mask is mask and self.keys == keys
        return same and self.dtype == query.dtype and self.device == query.device

    @cached_property
    def full(self) -> Tensor | None:
        """What is added to scores, (B or 1, H or 1, Lq or 1, Lk); None where all keys are seen."""
        passed, mask = self.columns, self.mask
        if mask is None and passed.queries == 1:
            return None
        if mask is None:
            at = torch.arange(passed.queries, device=self.device)[:, None] + passed.column
            columns = torch.arange(self.keys, device=self.device) + passed.first_column(self.keys)
            mask = columns <= at
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        return cast(Tensor, additive_mask(mask, like))[..., : self.keys]

    @cached_property
    def parts(self) -> tuple[Tensor, Tensor]:
        """The same of the persona's keys, gathered, and of the rest."""
        places, present = self.columns.key_places(self.keys)
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        return split_mask(self.full, like, places, present, self.columns.span(self.keys))
