"""Sentences as judges count them, and that finding them never takes long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.judge.parts import paragraphs, plain, sentences, words

PIECES = [
    "Aye",
    "Dr.",
    "approx.",
    "p.m.",
    "3.5",
    " ",
    "\n",
    "\n\n",
    ".",
    "?!",
    "…",
    '"',
    "**",
    "。",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Moss has 3.5 p.m. slots. He left.", ["Dr. Moss has 3.5 p.m. slots.", "He left."]),
        ("So J. Smith wrote it. I read it.", ["So J. Smith wrote it.", "I read it."]),
        ("So do I. You too.", ["So do I.", "You too."]),
        ("You shouldn't. We could.", ["You shouldn't.", "We could."]),
        ("My vote is C. It is moist.", ["My vote is C.", "It is moist."]),
        ("| tea | 1 |\n| rum | 2 |\nSo.", ["| tea | 1 |", "| rum | 2 |", "So."]),
        ("“Stop!” she said… Then he went.", ["“Stop!”", "she said…", "Then he went."]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("No stop at all\n\nbut two blocks", ["No stop at all", "but two blocks"]),
        ("- tea\n- coffee", ["tea", "coffee"]),
        ("... !!! ???", []),
    ],
)
def test_sentences_end_at_stops_and_not_at_abbreviations(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_word_is_lost_between_sentences(text: str) -> None:
    assert [word for one in sentences(text) for word in words(one)] == words(text)


@pytest.mark.parametrize(
    "text",
    [
        "So A. B. C. " * 30_000,
        "." * 200_000 + "x",
        "!" * 100_000 + "*" * 100_000 + "x",
        "e.g. " * 50_000,
        "'-" * 100_000,
        "\n \n" * 60_000,
        "# > " * 50_000,
    ],
    ids=["initials", "stops", "stops-and-stars", "abbreviations", "marks", "blanks", "headings"],
)
def test_a_long_odd_text_is_cut_in_one_pass(text: str) -> None:
    """A search that starts again at every character would not come back from these."""
    assert [w for one in sentences(plain(text)) for w in words(one)] == words(plain(text))
    assert [w for one in paragraphs(text) for w in words(one)] == words(text)
