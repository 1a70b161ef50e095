"""What is known of rows that grow pass by pass is what the whole rows say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import ControlError
from holdfast.models.local.hold_rows import BatchRows, HoldTargets, check_positions, find_targets
from holdfast.models.local.persona_span import ExactPersona, PersonaSpan
from tiny_models import tokenizer

FIND = ExactPersona(((7, 8, 9),))
TURN = (1, 2)
ROW = [0, 7, 8, 9, 1, 2, 5, 5, 1, 2, 6]


def rows(count: int = 1, turn_ids: tuple[int, ...] = TURN) -> BatchRows:
    return HoldTargets(FIND, turn_ids, None, None).rows(count)


def never() -> Any:
    raise AssertionError("no tokenizer is needed")


@given(st.sets(st.integers(1, len(ROW) - 1)))
def test_a_row_in_chunks_ends_up_as_the_whole_row(cuts: set[int]) -> None:
    parts = rows()
    places = sorted({0, *cuts, len(ROW)})
    try:
        for start, end in pairwise(places):
            parts.read([ROW[start:end]], start)
    except ControlError:
        assert {5, 9} & cuts  # an opening was cut in two
        return
    assert parts.places == [PersonaSpan((1, 4), (1, 4))]
    assert parts.turns == [[4, 8]]


def test_a_turn_that_comes_token_by_token_is_found_with_its_last() -> None:
    batch = rows()
    batch.read([ROW[:8]], 0)
    assert not batch.read([[1]], 8)
    assert batch.turns == [[4]]
    assert batch.read([[2]], 9)
    assert batch.turns == [[4, 8]]


def test_an_opening_that_two_chunks_share_is_refused() -> None:
    batch = rows()
    batch.read([ROW[:9]], 0)
    with pytest.raises(ControlError, match="cut in two"):
        batch.read([ROW[9:]], 9)


def test_what_is_taken_back_is_forgotten() -> None:
    batch = rows()
    batch.read([ROW], 0)
    assert batch.read([[5, 5]], 8)
    assert batch.turns == [[4]]
    assert batch.read([[0, 7, 8]], 2)
    assert (batch.places, batch.turns) == ([None], [[]])
    assert batch.read([[9, 0]], 5)
    assert batch.places == [PersonaSpan((3, 6), (3, 6))]


def test_ids_are_needed_for_as_long_as_something_may_be_found() -> None:
    assert rows().needs(0) and rows().needs(100)
    batch = rows(2, ())
    assert batch.needs(0)
    batch.read([ROW, [0] * len(ROW)], 0)
    assert batch.needs(len(ROW))
    batch = rows(1, ())
    batch.read([ROW], 0)
    assert not batch.needs(len(ROW)) and batch.needs(3)
    assert not HoldTargets(None, (), (PersonaSpan((1, 2), (1, 2)),), None).rows(1).needs(0)


def test_repeated_rows_know_what_their_first_knew() -> None:
    batch = rows(2)
    batch.read([ROW, [0] * len(ROW)], 0)
    batch.repeat(2)
    place = PersonaSpan((1, 4), (1, 4))
    assert batch.places == [place, place, None, None]
    assert batch.read([[1, 2], [1, 0], [0, 0], [1, 2]], len(ROW))
    assert batch.turns == [[4, 8, 11], [4, 8], [], [11]]


def test_columns_are_for_rows_and_serve_several_sequences_of_each() -> None:
    targets = find_targets([(1, 4), None], [[0, 9], []], never, needs_turns=True)
    batch = targets.rows(4)
    place = PersonaSpan((1, 4), (1, 4))
    assert batch.places == [place, place, None, None]
    assert batch.turns == [[0, 9], [0, 9], [], []]
    for count in (1, 3):
        with pytest.raises(ControlError, match=f"`span` is for 2 rows, and a pass has {count}"):
            targets.rows(count)


@pytest.mark.parametrize("span", [[7, 8, 9], (7, 8, 9), torch.tensor([7, 8, 9])])
def test_ids_are_looked_for_in_every_row(span: Any) -> None:
    batch = find_targets(span, TURN, never, needs_turns=True).rows(2)
    batch.read([ROW, [*ROW[1:], 0]], 0)
    assert batch.places == [PersonaSpan((1, 4), (1, 4)), PersonaSpan((0, 3), (0, 3))]
    assert batch.turns == [[4, 8], [3, 7]]


def test_turns_are_not_looked_for_where_nothing_moves() -> None:
    assert find_targets([7, 8, 9], None, never, needs_turns=False).turn_ids == ()
    assert find_targets([7, 8, 9], [1, 2], never, needs_turns=False).turn_ids == ()


def test_the_template_tells_what_is_not_given() -> None:
    tokens = tokenizer("chatml")
    targets = find_targets(None, None, lambda: tokens, needs_turns=True)
    text = "<|im_start|>system\nHi<|im_end|>\n<|im_start|>user\nA<|im_end|>\n"
    batch = targets.rows(1)
    batch.read([tokens(text, add_special_tokens=False)["input_ids"]], 0)
    assert batch.places == [PersonaSpan((8, 10), (0, 12))]
    assert batch.turns == [[12]]


@pytest.mark.parametrize(
    ("span", "turns", "why"),
    [
        ([], TURN, "`span` needs token ids, or columns for each row"),
        ([(1, 2), 3], TURN, "`span` needs token ids, or columns for each row"),
        ([(4, 4)], TURN, "`span` has 4-4"),
        ([(-1, 4)], TURN, "`span` has -1-4"),
        ([7], [], "`turns` needs token ids, or columns for each row"),
        ([7], None, "no chat template to tell `turns` by"),
        (None, TURN, "no chat template to tell `span` by"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(span: Any, turns: Any, why: str) -> None:
    with pytest.raises(ControlError, match=why):
        find_targets(span, turns, lambda: tokenizer(None), needs_turns=True)


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


def test_ids_may_be_a_numpy_array_and_columns_too() -> None:
    ids = find_targets(np.array([7, 8, 9]), np.array([1, 2]), never, needs_turns=True)
    assert ids.find is not None and ids.find([0, 7, 8, 9]) == PersonaSpan((1, 4), (1, 4))
    assert ids.turn_ids == TURN
    targets = find_targets([np.int64(7), np.int64(8)], None, never, needs_turns=False)
    assert targets.find is not None and targets.find([7, 8]) == PersonaSpan((0, 2), (0, 2))
    columns = find_targets(np.array([[1, 4], [2, 5]]), None, never, needs_turns=False)
    assert columns.places == (PersonaSpan((1, 4), (1, 4)), PersonaSpan((2, 5), (2, 5)))


@pytest.mark.parametrize("span", [5, [(5,)], [(1, 2, 3)], [1.5, 2.5]])
def test_what_is_neither_ids_nor_columns_is_refused_in_a_sentence(span: Any) -> None:
    with pytest.raises(ControlError, match="`span`"):
        find_targets(span, None, never, needs_turns=False)
