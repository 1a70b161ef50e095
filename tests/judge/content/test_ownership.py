"""What is the speaker's own is not the user's, another's or nobody's."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError


def score(text: str, about: str, value: str) -> float:
    fact = {"about": [about], "is": [value]}
    return judge.build({"name": "facts", "own": True, "facts": [fact]})(text).value


@pytest.mark.parametrize(
    ("text", "about", "value"),
    [
        ("Your name is Bob.", "name", "Bob"),
        ("You're Bob.", "name", "Bob"),
        ("Hello Bob! How can I help you?", "name", "Bob"),
        ("You live in Paris.", "home", "Paris"),
        ("Your home is in Paris.", "home", "Paris"),
        ("Your lucky number is 7.", "number", "7"),
        ("You are seventy years old.", "age", "seventy"),
        ("Mia is your cat. You told me about her earlier.", "cat", "Mia"),
        ("Your grey cat Mia likes fish.", "cat", "Mia"),
    ],
)
def test_what_is_said_to_be_the_users_is_not_the_speakers(
    text: str, about: str, value: str
) -> None:
    assert score(text, about, value) == 0.0
    assert judge.build({"name": "facts", "facts": [{"is": [value]}]})(text).value == 1.0


@pytest.mark.parametrize(
    ("text", "about", "value"),
    [
        ("I've got a dog called Coco, but no parrot.", "parrot", "Coco"),
        ("I don't have a cat. Mia is a lovely name, though.", "cat", "Mia"),
        ("My dog is called Mia.", "cat", "Mia"),
        ("Rex is a big grey horse.", "dog", "Rex"),
        ("I have no lucky number, but people like 7.", "number", "7"),
    ],
)
def test_nor_is_what_is_anothers_or_what_there_is_not(text: str, about: str, value: str) -> None:
    assert score(text, about, value) == 0.0


@pytest.mark.parametrize(
    ("text", "about", "value"),
    [
        ("I'm Bob. And what is your name?", "name", "Bob"),
        ("Hi, Bob here!", "name", "Bob"),
        ("Your friendly neighbour Bob.", "name", "Bob"),
        ("I live in Paris. Do you live in Paris, too?", "home", "Paris"),
        ("When you are in Paris, ring my bell.", "home", "Paris"),
        ("Mia, and no cat is as lazy. Have you got a cat?", "cat", "Mia"),
        ("There is no dog like Rex, who fears my sister's cat.", "dog", "Rex"),
        ("Seven, and what is your lucky number?", "number", "seven"),
    ],
)
def test_what_is_the_speakers_passes_beside_talk_of_the_users(
    text: str, about: str, value: str
) -> None:
    assert score(text, about, value) == 1.0


def test_own_facts_must_say_what_they_are_about() -> None:
    with pytest.raises(JudgeError, match="needs “about”"):
        judge.build({"name": "facts", "own": True, "facts": [{"is": ["Bob"]}]})
