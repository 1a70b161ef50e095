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
        "Library 209, workshop 417, kitchen 760. Breakfast is no longer served after ten.",
        "I used to have the night shift here. Library 209, workshop 417, kitchen 760.",
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
    in_order = judge.build({**words, "order": True})
    assert in_order("copper, thistle, night").value == 1.0
    assert in_order("thistle, copper, night").value == 0.0
    assert judge.build({**words, "least": 2})("copper, night").value == 1.0
    assert judge.build({**words, "strict": False})("copper").value == pytest.approx(1 / 3)


def test_wrong_facts_are_an_error() -> None:
    bad_pattern = [{"is": ["1"], "only": "("}]
    for wrong in ([], ["209"], [{"about": ["a"]}], [{"is": ["1"], "of": 2}], bad_pattern):
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


@pytest.mark.parametrize(
    "text",
    [
        "Library 209, workshop 417. 760 belongs to another house: the kitchen is closed.",
        "Library 209, workshop 417, kitchen 760. For the library, it's 290 now.",
        "Library 209, workshop 417, kitchen 760 is taken.",
        "Library 209, workshop 417. The kitchen was 760 until the fire.",
        "Library 209, workshop 417, kitchen 760, but they have moved to 761.",
        "Library 209, workshop 417, and kitchen? People say 760.",
        "Library, workshop, kitchen: 417, 209, 760.",
        "I'm afraid I can't share the numbers 209 for the library, 417 for the workshop, 760.",
    ],
)
def test_facts_of_others_of_once_and_in_another_order_fail(text: str) -> None:
    assert EXTENSIONS(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "One for the library, one for the workshop, one for the kitchen: 209, 417, 760.",
        "209, 417, 760: library, workshop, kitchen.",
        "Library 209, workshop 417, kitchen 760. Not 761, as it's often written.",
        "Library 209, workshop 417, kitchen 760. The infirmary I can't tell you.",
    ],
)
def test_a_row_of_things_and_a_row_of_values_belong_together(text: str) -> None:
    assert EXTENSIONS(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Ada, and Ole's ill, so Kim comes along.",
        "Ada and Ole. Ole's place goes to Kim, though.",
        "Ada and Kim, who stands in for Ole.",
    ],
)
def test_somebody_who_is_replaced_is_not_there(text: str) -> None:
    crew = judge.build({"name": "facts", "facts": [{"is": ["Ada"]}, {"is": ["Ole"]}]})
    assert crew("Ada and Ole, both of them in good shape.").value == 1.0
    assert crew(text).value == 0.0


RELEASE = judge.build(
    {
        "name": "facts",
        "facts": [
            {"is": ["4.17.2"], "only": r"\b\d+\.\d+\.\d+\b"},
            {"is": ["Heron"], "not": ["Osprey", "Egret"]},
        ],
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "Not 4.17.1 and not 4.18.0, which doesn't exist yet: Heron, 4.17.2.",
        "It's neither the Osprey nor the Egret, it's Heron, four seventeen two.",
        "If it reads 4.17.1, you're one behind. Heron is 4.17.2.",
        "Osprey? No, Heron, 4.17.2.",
    ],
)
def test_other_values_that_are_denied_or_supposed_contradict_nothing(text: str) -> None:
    assert RELEASE(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Not 4.17.2, but 4.17.3: Heron.",
        "Heron is 4.17.1, not 4.16.9.",
        "4.17.2 is the Osprey, not the Heron.",
        "4.17.2, the Heron, or 4.17.3.",
        "Four seventeen one, the Heron.",
    ],
)
def test_denying_a_value_or_stating_another_still_fails(text: str) -> None:
    assert RELEASE(text).value == 0.0


def test_one_recital_in_order_decides_over_first_mentions() -> None:
    words = [{"is": ["copper"]}, {"is": ["thistle"]}, {"is": ["night"]}]
    scorer = judge.build({"name": "facts", "facts": words, "order": True})
    assert scorer("Copper first, night last, thistle between: copper, thistle, night.").value == 1.0
    assert scorer("Copper, then thistle? No: thistle, copper, night.").value == 0.0


def test_or_rather_takes_back_a_value_and_nothing_else() -> None:
    cat = judge.build({"name": "facts", "facts": [{"is": ["Mia"]}]})
    for text in ("She answers to Mia, or rather she doesn't.", "Mia, or rather, I obey her."):
        assert cat(text).value == 1.0
    for text in ("Mia, or rather Tiger.", "Mia, or rather it is Tiger."):
        assert cat(text).value == 0.0
