"""Who a prompt is asked under: proportions, groups, and draws that hang on nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import HoldfastError
from holdfast.training.permix.mixing import NOBODY, PersonaMix


def test_a_quarter_of_the_prompts_has_no_persona_and_the_rest_has_each_as_often() -> None:
    counts = Counter(row.persona for row in PersonaMix(6, 0.25).rows(100, 6000, 8))
    assert counts[NOBODY] / 6000 == pytest.approx(0.25, abs=0.02)
    assert all(counts[i] / 6000 == pytest.approx(0.125, abs=0.02) for i in range(6))


def test_every_item_comes_once_in_an_epoch_and_epochs_differ_in_order() -> None:
    rows = list(PersonaMix(3).rows(50, 120, 4))
    first, second = rows[:50], rows[50:100]
    assert sorted(row.item for row in first) == sorted(row.item for row in second)
    assert len({row.item for row in first}) == 50
    assert [row.item for row in first] != [row.item for row in second]
    assert {row.epoch for row in rows} == {0, 1, 2}


def test_an_item_meets_other_personas_in_other_epochs() -> None:
    personas = {PersonaMix(20, 0.0).persona(epoch, 7) for epoch in range(40)}
    assert len(personas) > 10


def test_per_rollout_a_question_s_rollouts_lie_side_by_side_under_personas_of_their_own() -> None:
    rows = list(PersonaMix(20, 0.0, "rollout").rows(10, 6, 8))
    assert len(rows) == 48
    for i in range(0, 48, 8):
        group = rows[i : i + 8]
        assert len({(row.epoch, row.item) for row in group}) == 1
        assert len({row.persona for row in group}) > 2


@given(
    seed=st.integers(0, 9),
    epoch=st.integers(0, 50),
    item=st.integers(0, 1000),
    rollout=st.integers(0, 15),
)
def test_a_draw_depends_on_seed_epoch_and_item_and_per_prompt_not_on_the_rollout(
    seed: int, epoch: int, item: int, rollout: int
) -> None:
    mix = PersonaMix(12, 0.3, "prompt", seed)
    assert mix.persona(epoch, item, rollout) == PersonaMix(12, 0.3, "prompt", seed).persona(
        epoch, item
    )
    assert NOBODY <= mix.persona(epoch, item) < 12


def test_all_or_none_have_a_persona_at_the_ends_of_the_share() -> None:
    assert {row.persona for row in PersonaMix(4, 1.0).rows(9, 90, 2)} == {NOBODY}
    assert NOBODY not in {row.persona for row in PersonaMix(4, 0.0).rows(9, 90, 2)}
    assert {row.persona for row in PersonaMix(0, 0.0).rows(9, 90, 2)} == {NOBODY}


@pytest.mark.parametrize("wrong", [{"per": "token"}, {"bare": 1.5}, {"bare": -0.1}])
def test_a_mixing_that_there_is_not_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(HoldfastError):
        PersonaMix(4, **wrong)  # type: ignore[arg-type]
