"""Options that a reply points at without their name."""

from __future__ import annotations

import pytest

from holdfast import judge

ANIMALS = judge.build(
    {
        "name": "choice",
        "answer": "okapi",
        "options": ["giraffe", "otter", "red panda", "okapi", "tapir", "meerkat"],
    }
)
BALLS = judge.build(
    {"name": "choice", "answer": "29", "options": ["3", "8", "17", "29", "64", "71"]}
)
CAKES = judge.build(
    {"name": "choice", "letters": True, "answer": "C", "options": ["A", "B", "C", "D", "E"]}
)


@pytest.mark.parametrize(
    "text",
    [
        "It's fourth on your list, right after the red panda.",
        "The fourth one you named, my friend.",
        "The one between the red panda and the tapir.",
        "The one just before the tapir, if you please.",
        "Stripes and a long tongue: O-K-A-P-I!",
        "The one between the red panda and the tapir on your list, of course.",
    ],
)
def test_a_place_among_the_options_or_letters_name_one(text: str) -> None:
    assert ANIMALS(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "It comes right after the okapi on your list.",
        "The one before the okapi.",
        "It's third on your list, just before the okapi.",
        "O-T-T-E-R!",
        "The last one on your list.",
        "The one after the giraffe.",
    ],
)
def test_the_place_of_another_option_is_another_choice(text: str) -> None:
    assert ANIMALS(text).value == 0.0


def test_time_and_room_are_no_places_in_a_list() -> None:
    assert ANIMALS("Right after the giraffe, turn left: the okapi is my favourite.").value == 1.0
    assert ANIMALS("Third house, just before the tapir: the okapi, my favourite.").value == 1.0


def test_the_first_on_ones_own_list_is_no_place_in_the_question() -> None:
    assert ANIMALS("First on my list, last on my mind at night: the okapi.").value == 1.0
    assert ANIMALS("It's the okapi, first on the list for thirty years.").value == 1.0


def test_numbers_are_read_as_sums_and_in_pieces() -> None:
    for text in ("Two-nine, love.", "Thirty, take away one.", "Nine and twenty!", "28 plus one."):
        assert BALLS(text).value == 1.0
    for text in ("One-seven, love.", "Thirty, take away thirteen.", "Six-four!"):
        assert BALLS(text).value == 0.0
    comparison = "17 sulks, 64 is a show-off and 71 has never won. It's little {} that I'd take."
    assert BALLS(comparison.format("two-nine")).value == 1.0
    assert BALLS(comparison.format("one-seven")).value == 0.0


def test_between_two_is_no_answer() -> None:
    assert ANIMALS("For me it's between the red panda and the tapir.").value == 0.0
    assert CAKES("It is between B and D, honestly.").value == 0.0


def test_letters_have_their_places_too() -> None:
    assert CAKES("For the record: the one after B and before D. Bravo.").value == 1.0
    assert CAKES("The one between B and D, so moist.").value == 1.0
    assert CAKES("The one after C and before E. Bravo.").value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Say it with me: O. Ka. Pi.",
        "Oka-pi! Write it down.",
        "It begins with an o... oka... pi.",
    ],
)
def test_a_name_in_pieces_is_the_name(text: str) -> None:
    assert ANIMALS(text).value == 1.0


@pytest.mark.parametrize("text", ["Ot-ter! Ot-ter!", "Red. Panda. Always.", "Ta... pir."])
def test_another_name_in_pieces_is_another_choice(text: str) -> None:
    assert ANIMALS(text).value == 0.0


def test_words_that_only_spaces_part_make_no_name() -> None:
    towns = judge.build({"name": "choice", "answer": "Orbit", "options": ["Orbit", "Summit"]})
    assert towns("Give it a minute or bit more: the Summit.").value == 0.0


def test_an_end_of_the_list_is_a_place() -> None:
    ends = judge.build(
        {"name": "choice", "answer": "tapir", "options": ["otter", "okapi", "tapir"]}
    )
    assert ends("Best of the lot? The one at the end of your list, mate.").value == 1.0
    assert ends("The one at the very top of your list, mate.").value == 0.0
    assert ends("The otter is at the end of the park. My favourite is the tapir.").value == 1.0


def test_a_thing_between_two_letters_is_the_one_there() -> None:
    assert CAKES("The splendid creation between B and D, if you please.").value == 1.0
    for text in ("The creation between A and C.", "The difference between B and D is small."):
        assert CAKES(text).value == 0.0


def test_a_misspelled_proper_name_is_the_name() -> None:
    cities = {
        "name": "choice",
        "options": ["Paris", "Copenhagen", "Ljubljana", "Tuesday", "Thursday"],
    }
    ljubljana = judge.build({**cities, "answer": "Ljubljana"})
    for text in ("Lyublyana. Pack light.", "I'd go to Lubljana, and to nowhere else."):
        assert ljubljana(text).value == 1.0
    assert ljubljana("Copenhagan. Pack light.").value == 0.0
    assert ljubljana("Slovenia. Pack light.").value == 0.0
    assert judge.build({**cities, "answer": "Tuesday"})("Tuesday, always.").value == 1.0
