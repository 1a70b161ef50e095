"""The tones that a draft reads."""

from __future__ import annotations

import pytest

from holdfast.persona.draft.drafting import draft


@pytest.mark.parametrize(
    "clause",
    [
        "If the user is rude, stay calm.",
        "Stay calm when the customer is sarcastic.",
        "You deal with customers who are rude.",
        "Stay calm with rude or sarcastic customers.",
        "If the user asks about sports, talk like a pirate.",
    ],
)
def test_a_tone_of_the_user_or_under_a_condition_is_none_of_every_reply(clause: str) -> None:
    result = draft(f"Never use emojis. {clause}")
    assert [one.name for one in result.demands] == ["no-emojis"]
    assert [one.text for one in result.unjudged] == [clause]


@pytest.mark.parametrize(
    ("clause", "tone"),
    [
        ("If a customer is rude, stay polite.", "formal"),
        ("Be polite, even if the user is rude.", "formal"),
        ("You speak like a pirate to users.", "pirate"),
        ("Talk like a pirate when you answer.", "pirate"),
        ("When answering, talk like a pirate.", "pirate"),
        ("Talk like a pirate, even if the customer is sarcastic.", "pirate"),
    ],
)
def test_a_tone_of_the_bot_is_read_beside_one_of_the_user(clause: str, tone: str) -> None:
    assert [one.name for one in draft(clause).demands] == [tone]
