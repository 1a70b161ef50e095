"""A row of a pass is one text: its positions say so, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from holdfast.core.errors import ControlError
from holdfast.models.local.hold.positions import check_positions

LEFT = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
RIGHT = LEFT.flip(-1)
HOLE = torch.tensor([[1, 1, 0, 0, 1, 1]])


def count_positions(mask: torch.Tensor) -> torch.Tensor:
    """Positions as generate() makes them: padding stands at 0, or at 1."""
    return (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"position_ids": torch.arange(6)[None]},
        {"position_ids": torch.arange(6)[None], "attention_mask": LEFT},
        {"position_ids": count_positions(LEFT), "attention_mask": LEFT},
        {"position_ids": count_positions(RIGHT), "attention_mask": RIGHT},
        {"position_ids": count_positions(LEFT), "attention_mask": torch.zeros(2, 1, 6, 9)},
        {"position_ids": count_positions(LEFT), "attention_mask": {"full_attention": None}},
        {"position_ids": torch.arange(6).expand(3, 2, 6), "attention_mask": RIGHT},
    ],
)
def test_one_text_a_row_may_be_padded_at_its_ends(arguments: dict[str, Any], moves: bool) -> None:
    check_positions(arguments, 0, 6, anchored=moves)


def test_a_later_chunk_reads_its_own_part_of_the_mask() -> None:
    places = count_positions(LEFT)[:, 1:4]
    check_positions({"position_ids": places, "attention_mask": LEFT}, 1, 3, anchored=True)


@pytest.mark.parametrize(
    "mask", [None, torch.ones(1, 6, dtype=torch.long), torch.zeros(1, 1, 6, 6), {"full": None}]
)
def test_several_texts_in_a_row_are_refused(mask: Any) -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
    with pytest.raises(ControlError, match="turn packing off"):
        check_positions({"position_ids": positions, "attention_mask": mask}, 0, 6, anchored=False)


def test_gaps_and_pictures_matter_where_the_persona_moves() -> None:
    picture = torch.stack(
        [count_positions(LEFT), count_positions(LEFT).clamp(max=2), count_positions(LEFT)]
    )
    for arguments in (
        {"position_ids": count_positions(HOLE), "attention_mask": HOLE},
        {"position_ids": picture, "attention_mask": LEFT},
    ):
        check_positions(arguments, 0, 6, anchored=False)
        with pytest.raises(ControlError, match="leave pictures out"):
            check_positions(arguments, 0, 6, anchored=True)
