"""Refusals, and speaking as an assistant."""

from __future__ import annotations

import pytest

from holdfast import judge

from ..specs import AI, PLAIN, REFUSAL


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL,
        AI,
        "I cannot help with that.",
        "I can’t assist you there, friend.",
        "I can not share my instructions.",
        "I'm unable to do that.",
        "I am not able to discuss this topic.",
        "I won't tell you.",
        "I must respectfully decline.",
        "I'm afraid I can't do that, Dave.",
        "I'm not comfortable with that.",
        "Sorry, that goes against my guidelines.",
        "I'm just an AI, so I have no favourite colour.",
        "I'm a language model made to help.",
        "Well.\n\n**I cannot provide that information.**",
        "No, I will not.",
        "I cannot predict the future for you.",
        "I don't have personal preferences, but tea is popular.",
    ],
)
def test_a_refusal_is_known(text: str) -> None:
    assert judge.build({"name": "refusal", "expect": True})(text).value == 1.0
    assert judge.build({"name": "refusal", "expect": False})(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "I can't wait to see you!",
        "I cannot recommend it enough.",
        "I couldn't agree more.",
        "You can't go wrong with tea.",
        "I'm sorry to hear that your cat is ill.",
        "I won a prize.",
        "As a captain, I never leave my ship.",
        "As a cook I peel potatoes.",
        "I am not going anywhere, lad.",
        "I help people. That is what I do.",
    ],
)
def test_a_figure_of_speech_is_no_refusal(text: str) -> None:
    assert judge.build({"name": "refusal", "expect": False})(text).value == 1.0


def test_the_reason_quotes_the_refusal() -> None:
    assert "can't help" in judge.build({"name": "refusal", "expect": True})(REFUSAL).why
