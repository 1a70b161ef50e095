"""Whether the rows of a pass are one text each, which `hold` can see from their positions.

This module knows the arguments of a forward pass. It knows no personas.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from holdfast.core.errors import ControlError


def check_positions(
    arguments: dict[str, Any], column: int, queries: int, *, anchored: bool
) -> None:
    """Refuse rows with several texts, and under anchor rows with gaps.

    Args:
        arguments: the forward pass's arguments by name.
        column: the pass's first column.
        queries: how many columns it has.
        anchored: whether the control is anchor.
    """
    if arguments.get("position_ids") is None:
        return
    positions, real = _find_text(
        arguments["position_ids"], arguments.get("attention_mask"), column, queries
    )
    rank = real.cumsum(-1)  # of a token in its row
    uneven = _varies(positions - rank, real)
    if uneven and positions.dim() < 3:  # a third dimension holds positions of pictures
        raise ControlError(
            "rows hold several texts (their positions start anew): turn packing off, one text a"
            " row."
        )
    columns = torch.arange(queries, device=rank.device)
    if anchored and (uneven or _varies(columns - rank, real)):
        raise ControlError(
            "anchor needs rows of text without gaps: pad on the left or on the right only, and"
            " leave pictures out."
        )


def _find_text(positions: Tensor, mask: Any, column: int, queries: int) -> tuple[Tensor, Tensor]:
    """The positions, and in the same shape which columns are text and not padding."""
    if mask is None:
        return positions, torch.ones_like(positions, dtype=torch.bool)
    if isinstance(mask, Tensor) and mask.dim() == 2:
        is_text = mask[:, column : column + queries].bool()
        positions, is_text = torch.broadcast_tensors(positions, is_text)
        return positions, is_text
    # The mask is the kernel's already: positions that repeat at a row's start are padding.
    rises = pad(positions.diff(dim=-1) == 1, (0, 1), value=True)
    rises_to_the_end = rises.flip(-1).cumprod(-1).flip(-1).bool()
    return positions, rises_to_the_end | (positions != positions[..., :1])


def _varies(values: Tensor, real: Tensor) -> bool:
    """Whether the real values of some row differ."""
    big = torch.iinfo(values.dtype).max
    low = values.masked_fill(~real, big).amin(-1)
    high = values.masked_fill(~real, -big).amax(-1)
    return bool((high > low).any())
