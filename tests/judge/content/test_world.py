"""A reply is told from within a world by two of its words, or by one where no other world is."""

from __future__ import annotations

import pytest

from holdfast import judge

SMITH = judge.build(
    {
        "name": "world",
        "words": ["bellow*", "tongs", "quench*", "school", "mare*"],
        "also": ["gate*", "anvil*", "blacksmith*"],
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "The bellows went at six, and I burned one thumb before the sun was up, as is my habit.",
        "A gate for the vicar and a new face for the anvil, which has seen four of us.",
        "Tongs. Always the tongs.",
        "I shod a mare behind the school while the little ones watched, and that was all of it.",
    ],
)
def test_words_of_the_world_pass(text: str) -> None:
    assert SMITH(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Somebody spoke of a blacksmith, and then I went home.",
        "I opened the gate, and then I read until it was dark.",
        "I was at the office until four, where somebody had put bellows on the wall.",
        "The bellows, the bellows! My boss never stops about the bellows in his office.",
        "My sister bought bellows for her birthday.",
        "A smithy needs good bellows, plenty of water and a roof that is high enough.",
        "It was a long day.",
    ],
)
def test_nothing_of_it_or_a_day_like_everybodys_fails(text: str) -> None:
    assert SMITH(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I quenched my thirst at the beach, where a mare went by, and then I watched a film.",
        "My sister took the bus past the school, and I had tongs for the salad.",
    ],
)
def test_as_many_words_of_everybodys_day_outvote_the_world(text: str) -> None:
    assert SMITH(text).value == 0.0


def test_one_word_of_everybodys_day_outvotes_nothing() -> None:
    assert SMITH("The bellows went at six, and the tongs are at my sister's.").value == 1.0
