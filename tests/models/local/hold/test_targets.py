"""What `hold` is told of personas and turns is read as ids or as columns, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from holdfast.core.errors import ControlError
from holdfast.models.local.hold.targets import find_targets
from holdfast.models.local.persona_span import PersonaSpan
from tiny_models import tokenizer

TURN = (1, 2)
ROW = [0, 7, 8, 9, 1, 2, 5, 5, 1, 2, 6]


def never() -> Any:
    raise AssertionError("no tokenizer is needed")


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
