"""Case, length, beginnings, endings, and what a reply contains."""

from __future__ import annotations

import re

import pytest

from holdfast import judge
from holdfast.judge.text import Target, occurrences

from .specs import AI, PLAIN


def score(text: str, /, **spec: object) -> float:
    return judge.build(spec)(text).value


@pytest.mark.parametrize("to", ["upper", "lower", "title"])
def test_ordinary_prose_scores_almost_nothing_for_any_case(to: str) -> None:
    assert score(PLAIN, name="case", to=to) < 0.2
    assert score(AI, name="case", to=to) < 0.2


def test_text_in_the_wanted_case_scores_one() -> None:
    assert score("THE SEA CALLS, AND I FOLLOW!", name="case", to="upper") == 1.0
    assert score("the sea calls, and i follow.", name="case", to="lower") == 1.0
    assert score("The Call of the Sea", name="case", to="title") == 1.0


def test_a_slip_of_case_costs_a_part() -> None:
    assert 0.5 < score("the sea calls. i follow. see you in London.", name="case", to="lower") < 1
    assert 0.5 < score("THE SEA CALLS AND i FOLLOW", name="case", to="upper") < 1


def test_a_capital_at_the_start_of_a_sentence_makes_no_title() -> None:
    assert score("Yes. Fine. Certainly.", name="case", to="title") == 0.0


def test_capitals_are_no_title() -> None:
    assert score("HELLO THERE, YOU", name="case", to="title") == 0.0


def test_a_reply_without_letters_has_no_case() -> None:
    for text in ("42!", "你好", "🙂🙂"):
        assert score(text, name="case", to="upper") == 0.0
        assert score(text, name="case", to="lower") == 0.0


def test_length_falls_linearly_with_relative_distance() -> None:
    ten = {"name": "length", "unit": "words", "exactly": 10}
    values = [score("word " * n, **ten) for n in (10, 9, 11, 5, 15, 20, 40)]
    assert values == pytest.approx([1, 0.9, 0.9, 0.5, 0.5, 0, 0])


def test_strict_length_gives_no_part() -> None:
    ten = {"name": "length", "unit": "words", "exactly": 10, "strict": True}
    assert [score("a " * n, **ten) for n in (9, 10, 11)] == [0.0, 1.0, 0.0]
    few = {"name": "length", "unit": "words", "each": "sentence", "max": 2, "strict": True}
    assert score("A boat. A boat. A big boat. A boat.", **few) == 0.75


def test_length_bounds_are_inclusive() -> None:
    assert score("a b c", name="length", unit="words", min=3, max=3) == 1.0
    assert score("a b", name="length", unit="words", min=4) == 0.5
    assert score("a b c", name="length", unit="words", max=2) == 0.5


@pytest.mark.parametrize(
    ("text", "unit", "count"),
    [
        ("Dr. Smith paid 3.50 at 5 p.m. today. He left!", "sentences", 2),
        ("What? No... Yes!", "sentences", 3),
        ("It was me and I. Then you came.", "sentences", 2),
        ("“Come in.” She smiled.", "sentences", 2),
        ("Roses are red,\nviolets are blue.", "sentences", 1),
        ("- One thing\n- Another thing", "sentences", 2),
        ("这是第一句。这是第二句！", "sentences", 2),
        ("...", "sentences", 0),
        ("don't re-enter the so-called café", "words", 5),
        ("— * 🙂 !", "words", 0),
        ("one\n\n\ntwo\nthree", "lines", 3),
        ("one\n\n\ntwo\nthree", "paragraphs", 2),
        (" four ", "characters", 4),
    ],
)
def test_units_are_counted_as_a_reader_would(text: str, unit: str, count: int) -> None:
    if count:
        assert score(text, name="length", unit=unit, exactly=count) == 1.0
        assert score(text, name="length", unit=unit, exactly=count + 1) < 1.0
    else:
        assert score(text, name="length", unit=unit, min=1) == 0.0


def test_length_of_each_sentence() -> None:
    spec = {"name": "length", "unit": "words", "each": "sentence", "exactly": 3}
    assert score("I am here. You are there.", **spec) == 1.0
    assert score("I am here. No.", **spec) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize(
    "text",
    ["Ahoy, matey!", "ahoy", "**Ahoy!** there", '"Ahoy," he said', "  \n Ahoy", "🙂 Ahoy!",
     "# Ahoy", "- Ahoy there", "> Ahoy", "_Ahoy_ you", "“Ahoy”", "AHOY"],
)  # fmt: skip
def test_a_beginning_is_seen_through_markup_quotes_and_emoji(text: str) -> None:
    assert score(text, name="starts_with", text="Ahoy") == 1.0


@pytest.mark.parametrize("text", ["Hello, ahoy", "Ahoyish", "A hoy", AI, PLAIN])
def test_another_beginning_does_not_pass(text: str) -> None:
    assert score(text, name="starts_with", text="Ahoy") == 0.0


def test_a_single_letter_is_a_beginning_of_words() -> None:
    assert score("Zebras!", name="starts_with", text="Z") == 1.0
    assert score("sun so soft", name="starts_with", text="s", each="word") == 1.0
    assert score("sun is soft", name="starts_with", text="s", each="word") == pytest.approx(2 / 3)


def test_whole_word_can_be_chosen_for_beginnings() -> None:
    assert score("Unhappy me", name="starts_with", text="Un") == 0.0
    assert score("Unhappy me", name="starts_with", text="Un", whole_word=False) == 1.0


def test_each_counts_sentences_and_lines() -> None:
    yes = {"name": "starts_with", "text": "Yes", "each": "sentence"}
    assert score("Yes, I do. Yes; and you?", **yes) == 1.0
    assert score("Yes, I do. And you?", **yes) == 0.5
    assert score("> a\n> b\nc", name="starts_with", text=">", each="line") == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "text",
    ["Done. Over and out", "Done. Over and out.", "Done, OVER AND OUT!!", "**over and out**",
     "He said “over and out.”", "Over\nand out 🫡"],
)  # fmt: skip
def test_an_ending_is_seen_through_closing_punctuation(text: str) -> None:
    assert score(text, name="ends_with", text="over and out") == 1.0


def test_another_ending_does_not_pass() -> None:
    assert score("Over and out, my friend.", name="ends_with", text="over and out") == 0.0
    assert score("rollover", name="ends_with", text="over") == 0.0
    assert score("Is it?", name="ends_with", text="?") == 1.0
    assert score("It is.", name="ends_with", text="?") == 0.0
    assert score("“Is it?”", name="ends_with", text="?") == 1.0


def test_contains_sees_whole_words_in_any_case_and_through_markup() -> None:
    lamp = {"name": "contains", "text": "lamp"}
    assert score("The **Lamp** glows.", **lamp) == 1.0
    assert score("The lamps glow.", **lamp) == 0.0
    assert score("The lamps glow.", **lamp, whole_word=False) == 1.0
    assert score("The Lamp glows.", **lamp, case=True) == 0.0
    assert score("It’s fine", name="contains", text="it's") == 1.0
    assert score("Harry\nPotter", name="contains", text="Harry Potter") == 1.0
    assert score("**Harry** Potter", name="contains", text="Harry Potter") == 1.0


def test_markup_can_be_wanted_itself() -> None:
    assert score("This is **bold**.", name="contains", text="**") == 1.0
    assert score("This is bold.", name="contains", text="**") == 0.0


def test_all_gives_the_fraction_and_min_count_the_share() -> None:
    both = {"name": "contains", "all": ["Adam", "57"]}
    assert score("I am Adam.", **both) == 0.5
    assert score("I am Adam, 57.", **both) == 1.0
    assert score("sea sea", name="contains", text="sea", min_count=4) == 0.5


def test_strict_contains_gives_no_part() -> None:
    sea = {"name": "contains", "text": "sea", "min_count": 2}
    assert score("sea", **sea) == 0.5
    assert score("sea", **sea, strict=True) == 0.0
    assert score("sea sea", **sea, strict=True) == 1.0
    both = {"name": "contains", "all": ["Adam", "57"], "strict": True}
    assert score("Adam is 57", **both) == 1.0
    assert score("Adam is old", **both) == 0.0


def test_saying_nothing_is_no_way_to_avoid_a_word() -> None:
    spec = {"name": "avoids", "any": ["the"]}
    assert score("Sure.", **spec) == 0.0
    assert score("A fine morning it was", **spec) == 1.0
    assert score("The morning was fine", **spec) == 0.0
    assert score("Their morning was fine", **spec) == 1.0
    assert score("20", name="avoids", any=["the"], min_words=1) == 1.0


def test_keywords_score_one_at_their_share() -> None:
    cat = {"name": "keywords", "any": ["meow", "purr"], "share": 0.5}
    assert score("Meow, purr!", **cat) == 1.0
    assert score("Meow to you too", **cat) == 0.5
    assert score(PLAIN, **cat) == 0.0


def test_regex_modes() -> None:
    assert score("I have 3 cats", name="regex", pattern=r"\d") == 1.0
    assert score("12-34 ", name="regex", pattern=r"[\d-]+", mode="full") == 1.0
    assert score("12 cats", name="regex", pattern=r"[\d-]+", mode="full") == 0.0
    assert score("sun, is", name="regex", pattern=r"^s\w+$", mode="share_of_words") == 0.5
    assert score("Why? No.", name="regex", pattern=r"\?$", mode="share_of_sentences") == 0.5
    assert score("(a) b", name="regex", pattern=r"^\(\w\)$", mode="share_of_tokens") == 0.5
    assert score("AYE", name="regex", pattern="aye") == 1.0
    assert score("AYE", name="regex", pattern="aye", case=True) == 0.0


def test_a_stage_direction_may_come_first() -> None:
    ahoy = judge.build({"name": "starts_with", "text": "Ahoy"})
    assert ahoy("*nods slowly* Ahoy, friend.").value == 1.0
    assert ahoy("(waves) Ahoy!").value == 1.0
    assert ahoy("**Note:** Ahoy!").value == 0.0


def test_a_star_stands_for_any_end_of_a_word() -> None:
    contains = judge.build({"name": "contains", "any": ["paint*", "sea"], "min_count": 2})
    assert contains("She painted the painter.").value == 1.0
    assert contains("A repainted seam.").value == 0.0
    assert contains("**Paint** by the sea").value == 1.0
    avoids = judge.build({"name": "avoids", "any": ["foot*"]})
    assert avoids("My footnotes are long today.").value == 0.0
    assert judge.build({"name": "contains", "text": "*"})("2 * 3").value == 1.0


def test_a_text_is_found_whatever_its_case_and_alphabet() -> None:
    for text, reply in (("Straße", "die straße"), ("ΟΔΟΣ", "η οδος"), ("é", "É."), ("K", "5 k")):
        assert judge.build({"name": "contains", "text": text})(reply).value == 1.0


def test_a_targets_patterns_are_made_when_a_reply_needs_them() -> None:
    """A suite has ten thousand of them, which take seconds to make."""
    target = Target("paint*", True, False)
    assert not any(isinstance(value, re.Pattern) for value in vars(target).values())
    assert occurrences([target], "Nothing here.") == [0]
    assert not any(isinstance(value, re.Pattern) for value in vars(target).values())
    assert occurrences([target], "It was painted, and I paint.") == [2]
    assert target.at_start("Painting it") and not target.at_end("a painting of it")


def test_a_forbidden_word_is_not_sought_in_the_phrases_that_are_spared() -> None:
    avoids = judge.build({"name": "avoids", "any": ["gift", "gifts"], "besides": ["gift shop"]})
    assert avoids("They have a gift shop by the door.").value == 1.0
    assert avoids("A gift waits in the gift shop.").value == 0.0
    assert avoids("They have a gift\nshop by the door.").value == 1.0
    curly = judge.build({"name": "avoids", "any": ["gift"], "besides": ["the gift’s wrapping"]})
    assert curly("We praise the gift's wrapping.") == curly("We praise the gift’s wrapping.")
    assert curly("We praise the gift’s wrapping.").value == 1.0
