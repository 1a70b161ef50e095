"""Facts count where they stand beside what they are about."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError

EXTENSIONS = judge.build(
    {
        "name": "facts",
        "facts": [
            {"about": ["library"], "is": ["209"]},
            {"about": ["workshop"], "is": ["417"]},
            {"about": ["kitchen"], "is": ["760"]},
        ],
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "Library 209, workshop 417, kitchen 760.",
        "- Library: 209\n- Workshop: 417\n- Kitchen: 760",
        "209 is the library, 417 the workshop and 760 the kitchen.",
        "The library is on two-oh-nine, the workshop on four one seven, the kitchen on 760.",
        "Library, workshop and kitchen are 209, 417 and 760 respectively.",
        "Library 209, workshop 417, kitchen 760. Not like the house where you used to work!",
    ],
)
def test_facts_in_their_places_pass(text: str) -> None:
    assert EXTENSIONS(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Library 417, workshop 209, kitchen 760.",
        "Library 209, workshop 417.",
        "Library 209, workshop 417, kitchen 760, sorry, I mean 670.",
        "The library is no longer 209. Workshop 417, kitchen 760.",
        "Library 209, workshop 417, kitchen 760, or so they used to be.",
    ],
)
def test_swapped_missing_and_withdrawn_facts_fail(text: str) -> None:
    assert EXTENSIONS(text).value == 0.0


def test_values_are_read_without_accents_spelled_and_as_number_words() -> None:
    word = judge.build({"name": "facts", "facts": [{"is": ["quill"]}, {"is": ["Jiri"]}]})
    assert word("It is Q-U-I-L-L, says Jiří.").value == 1.0
    age = judge.build({"name": "facts", "facts": [{"is": ["83"]}]})
    assert age("Eighty-three of them, and I swam 2 lengths.").value == 1.0


def test_other_values_of_the_sort_contradict() -> None:
    room = {"is": ["room 5"], "only": r"\broom \d+", "not": ["second floor"]}
    scorer = judge.build({"name": "facts", "facts": [room]})
    assert scorer("Room five, please.").value == 1.0
    assert scorer("Room 5 or room 6.").value == 0.0
    assert scorer("Room 5 on the second floor.").value == 0.0


def test_the_order_and_the_least_number_of_facts_can_be_asked_for() -> None:
    words = {"name": "facts", "facts": [{"is": ["copper"]}, {"is": ["thistle"]}, {"is": ["night"]}]}
    ordered = judge.build({**words, "order": True})
    assert ordered("copper, thistle, night").value == 1.0
    assert ordered("thistle, copper, night").value == 0.0
    assert judge.build({**words, "least": 2})("copper, night").value == 1.0
    assert judge.build({**words, "strict": False})("copper").value == pytest.approx(1 / 3)


def test_wrong_facts_are_an_error() -> None:
    for wrong in ([], ["209"], [{"about": ["a"]}], [{"is": ["1"], "of": 2}]):
        with pytest.raises(JudgeError, match="judge “facts”"):
            judge.build({"name": "facts", "facts": wrong})
    with pytest.raises(JudgeError, match="must not exceed"):
        judge.build({"name": "facts", "facts": [{"is": ["a"]}], "least": 2})


def test_a_topic_with_its_own_value_takes_no_other() -> None:
    flock = judge.build(
        {
            "name": "facts",
            "facts": [
                {"about": ["in all"], "is": ["1274"]},
                {"about": ["black faces"], "is": ["88"]},
            ],
        }
    )
    assert flock("We had 88 black faces out of 1274.").value == 1.0
    assert flock("88 in all, 1274 with black faces.").value == 0.0
    assert flock("1274 and 88, but I don't know which is which.").value == 0.0


def test_a_spoken_version_number_is_read() -> None:
    release = judge.build({"name": "facts", "facts": [{"is": ["4.17.2"]}]})
    assert release("Four point seventeen point two.").value == 1.0
