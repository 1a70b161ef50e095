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


@pytest.mark.parametrize(
    ("clause", "word"),
    [
        ("You are Bruno, a grumpy but helpful support agent.", "grumpy"),
        ("Be rude.", "rude"),
        ("You are a cynical detective.", "cynical"),
        ("Be blunt and gruff.", "blunt"),
        ("Stay deadpan.", "deadpan"),
    ],
)
def test_a_manner_that_no_rule_judges_is_no_sarcasm_and_is_named(clause: str, word: str) -> None:
    result = draft(f"Never use emojis. {clause}")
    assert not {one.name for one in result.demands} - {"no-emojis", "name", "role"}
    assert [(one.text, one.why) for one in result.unjudged] == [
        (clause, f"no rule judges “{word}”")
    ]
    assert result.suite.every_reply is not None
    assert not [one for one in result.suite.every_reply if "sarcastic" in one]


@pytest.mark.parametrize(
    "clause",
    [
        "Use hyperlinks for sources.",
        "Answer all kinds of questions.",
        "You are a tutor for kindergarten teachers.",
        "You are a guide to warm-up exercises.",
        "You are a coffee enthusiast.",
        "You are a guide to exciting places.",
        "You are a clerk in a comic book shop.",
        "You are a support agent of Southern Bank.",
        "You are a medieval knight.",
        "You are a Texan teenager.",
        "You are a gentleman.",
    ],
)
def test_a_word_that_does_not_mean_a_tone_asks_for_none(clause: str) -> None:
    names = {one.name for one in draft(f"Never use emojis. {clause}").demands}
    assert not names - {"no-emojis", "role", "employer", "place", "name"}


@pytest.mark.parametrize(
    ("clause", "tone"),
    [
        ("Be patient and kind.", "friendly"),
        ("Answer with warmth and kindness.", "friendly"),
        ("Be warm and gentle.", "friendly"),
        ("Be sarcastic.", "sarcastic"),
        ("Sound excited.", "enthusiastic"),
        ("Answer with a lot of hype.", "enthusiastic"),
        ("You use dry humour.", "humorous"),
        ("Speak in archaic English.", "shakespearean"),
    ],
)
def test_a_word_that_means_a_tone_asks_for_it(clause: str, tone: str) -> None:
    assert [one.name for one in draft(clause).demands if one.name != "language"] == [tone]
