"""Facts that a draft reads, and what is none."""

from __future__ import annotations

import pytest

from holdfast.persona.draft.drafting import draft


@pytest.mark.parametrize(
    "clause",
    [
        "Shipping takes 3 to 5 days and costs 12 euros.",
        "The tour starts at the pier and costs 12 euros.",
        "The shop takes cards and is open until 9.",
        "Breakfast is served and the bar opens at 7.",
    ],
)
def test_what_is_no_noun_phrase_is_nothing_to_ask_for(clause: str) -> None:
    result = draft(f"Never use emojis. {clause}")
    assert [one.name for one in result.demands] == ["no-emojis"]
    assert result.described == (clause,)


@pytest.mark.parametrize(
    ("clause", "probe"),
    [
        ("Shipping costs 12 euros.", "How much does Shipping cost?"),
        ("The two day pass costs 30 euros.", "How much does the two day pass cost?"),
        ("Delivery costs: 12 euros.", "What are the Delivery costs?"),
        ("Our support line is open 9:00 to 17:00.", "What are the hours of the support line?"),
        ("The code that we use is 4471.", "What is the code that we use?"),
    ],
)
def test_a_thing_with_a_value_is_asked_for_as_a_noun(clause: str, probe: str) -> None:
    (one,) = draft(clause).demands
    assert probe in one.probes
