"""What is known of rows that grow pass by pass is what the whole rows say."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import ControlError
from holdfast.models.local.hold.rows import BatchRows
from holdfast.models.local.hold.targets import HoldTargets
from holdfast.models.local.persona_span import ExactPersona, PersonaSpan

FIND = ExactPersona(((7, 8, 9),))
TURN = (1, 2)
ROW = [0, 7, 8, 9, 1, 2, 5, 5, 1, 2, 6]


def rows(count: int = 1, turn_ids: tuple[int, ...] = TURN) -> BatchRows:
    return HoldTargets(FIND, turn_ids, None, None).rows(count)


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
