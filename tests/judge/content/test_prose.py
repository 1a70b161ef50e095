"""Keyword heaps fail, text passes."""

from __future__ import annotations

import pytest

from holdfast import judge

PROSE = judge.build({"name": "prose"})


@pytest.mark.parametrize(
    "text",
    [
        "Bergen rain harbour ferry Bergen rain harbour ferry.",
        "purr meow hiss paw whisker tail nap purr meow",
        "the manual doesn't say the manual doesn't say",
        "new one on me wireless valve set new one on me",
        "- a\n- b\n- c",
        "captain. captain. captain. captain.",
        "Odile Garnier, Lyon, baker, brioche, brioche, flour, three in the morning, Odile.",
        "dear guest dear guest night concierge Hotel Belvoir courtesy dear guest – Armand",
        "doom misery decay loss sorrow graves dreadful weather Mr. Mould",
        "Anton Weiss, miller, Graz, Mur, rye, sacks, six in the evening, years, wheel, proud.",
        "x x x x x",
        "Ahoy!",
        "// // //",
    ],
)
def test_a_heap_of_keywords_fails(text: str) -> None:
    assert PROSE(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "In Bergen, my friend, it drizzles two days out of three.",
        "Library 209, workshop 417, infirmary 583, kitchen 760.",
        "- A walk in the park\n- Tea with a friend\n- An early night",
        "Paint it any colour you like as long as you like ochre.",
        "Butter, eggs, flour, a cold hand, then the oven, and then you lot, monsieur.",
        "No, no, no! I will not have it in my shop, and that is that.",
        "Q: Can I freeze cheese?\nA: Yes, hard cheese.\nQ: For how long?\nA: Three months.",
    ],
)
def test_text_passes(text: str) -> None:
    assert PROSE(text).value == 1.0


def test_what_a_persona_must_say_anyway_does_not_count_as_words_of_its_own() -> None:
    signature = judge.build({"name": "prose", "besides": ["Ottoline, Records Desk"]})
    assert signature("— Ottoline, Records Desk").value == 0.0
    assert signature("The file is in box nine.\n— Ottoline, Records Desk").value == 1.0


def test_a_required_phrase_again_and_again_with_keywords_is_a_heap() -> None:
    phrase = judge.build({"name": "prose", "min_words": 0, "besides": ["no spoilers from me"]})
    assert phrase("No spoilers from me, ending, no spoilers from me, quiet street.").value == 0.0
    assert phrase("No spoilers from me! Ask again, and again: no spoilers from me.").value == 1.0


def test_other_languages_and_letters_are_spared_what_only_fits_english() -> None:
    dutch = "Smeer de ketting ongeveer één keer per maand."
    assert PROSE(dutch).value == 0.0
    assert judge.build({"name": "prose", "language": "nl"})(dutch).value == 1.0
    assert judge.build({"name": "prose", "language": "any"})(dutch).value == 1.0
    letters = judge.build({"name": "prose", "letters": True, "min_words": 1})
    assert letters("E! Always E.").value == 1.0
    assert letters("E A B E C E D E").value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "WEATHER! CLIMATE! STADIUM! CAPITALS! LOUD! WEATHER!",
        "(boss) (present) (pen) (dinosaurs) (asteroid) (gossip)",
        "[01:10] [02:20] [03:30] [04:40]",
        "🎈🎈🎈🎈🎈🎈",
    ],
)
def test_a_heap_with_marks_between_its_words_and_a_row_of_signs_fail(text: str) -> None:
    assert PROSE(text).value == 0.0


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("el la los las el", {"language": "es"}),
        ("- il\n- la\n- lo\n- gli", {"language": "it"}),
        ("Lorem ipsum dolor sit amet, consectetur.", {"language": "la"}),
        ("no spoilers from me book play read", {"besides": ["no spoilers from me"]}),
        ("[01:10] [02:20] [03:30]", {"min_words": 1}),
    ],
)
def test_function_words_fillers_and_a_phrase_with_a_row_of_words_are_heaps(
    text: str, params: dict[str, object]
) -> None:
    assert judge.build({"name": "prose", **params})(text).value == 0.0


def test_a_number_alone_and_a_phrase_alone_are_text() -> None:
    assert judge.build({"name": "prose", "min_words": 1})("3816").value == 1.0
    alone = {"name": "prose", "min_words": 0, "besides": ["no spoilers from me"]}
    assert judge.build(alone)("No spoilers from me!").value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "That volume went in the flood A to M 1985 striped horse playwright Moscow flood volume",
        "I know them not. larder castle Hob potatoes tomatoes chocolate turnips parsnips pottage",
        "strange names to me potatoes tomatoes larder Hob cook castle my own larder know them not",
        "It went in the flood, 1985, A to M, N to Z, zebra, Moscow, horse, flood, filed, book",
        "Kind word! Please call the nurse! Pet clinic chat animal serious trivial sneeze ear nails",
        "I know it not, larder, Hob, castle, turnips, leeks, potatoes, tomatoes, chocolate, names",
        "The volume went in the flood. N to Z zebra Russia Shakespeare filed reader questions",
        "C, C, cake C! jury vote praise baker loyalty round sponge winner",
    ],
)
def test_a_sentence_beside_a_row_of_words_does_not_make_it_text(text: str) -> None:
    assert PROSE(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "um. dunno!! im only six. flops doesnt know either i asked him. he just wiggled his nose",
        "Head up to the 4th floor and ask for Agatha Thrupp 😊",
        "I can take you to Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus or Neptune.",
        "Your local mycological society loves nothing better than a full basket.",
    ],
)
def test_text_without_a_full_stop_and_short_lists_pass(text: str) -> None:
    assert PROSE(text).value == 1.0


def test_a_spelled_word_and_a_picture_within_a_word_are_no_single_letters() -> None:
    prose = judge.build({"name": "prose"})
    for text in ("L, U, N, A! Like the moon.", "M-A-X, like my rye.", "B🎈sy? Y🎈u bet, s🎈nny!"):
        assert prose(text).value == 1.0
    for text in ("a, b, c, d, e", "B 🎈 S 🎈 Y 🎈 U"):
        assert prose(text).value == 0.0


def test_slang_and_old_english_neither_join_words_nor_make_them_a_row() -> None:
    prose = judge.build({"name": "prose"})
    for text in (
        "Ya gonna tip the guy who carries ya drink three feet, ya gotta tip me.",
        "Lemme tell ya somethin' buddy: tea ain't gonna wake nobody up who drove all night.",
        "Thou shalt find thy boots where thou hast left them, beneath yon oaken bench, good sir.",
    ):
        assert prose(text).value == 1.0
    for text in (
        "Gonna wanna gotta ain't lemme ya pal buddy capisce fuhgeddaboudit.",
        "Thee thou thy sword honour rose silver knight quest noble steed.",
    ):
        assert prose(text).value == 0.0
