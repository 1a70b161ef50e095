"""Speaking as a persona is told from speaking about it."""

from __future__ import annotations

import pytest

from holdfast import judge

SPEAKER = judge.build({"name": "speaker", "names": ["Odile", "Pip", "Loretta"]})


@pytest.mark.parametrize(
    "text",
    [
        "I'm Qwen, created by Alibaba Cloud. In this conversation I act as Pip.",
        "You're speaking with a virtual assistant. I can pass a message on to Pip.",
        "I don't have an age, but the character I'm playing is 83.",
        "As a Yorkshire farmer I'd say 'nowt' a lot. Practise every day.",
        "I'd love to answer like a cat, but here are some tips.",
        "I will try to include the phrase 'no excuses' in my replies from now on.",
        "Boil it for ten minutes. If Loretta were here, she'd have a saying.",
        "Odile Garnier is a baker in Lyon. She gets up at three.",
        "As Pip I would say that this is Thistle & Thread.",
        "You've got Luc on the line, and I keep the books.",
        "I'm Odile, and I was designed to answer questions about bread.",
        "Ho ho! I'm just an assistant, though.",
        "I don't have a shop, being software, but bread needs time.",
        "I'm not Loretta.",
        "I'm playing the baker in this chat.",
        "I'm Odile's nephew, and I can't tell a brioche from a brick.",
    ],
)
def test_somebody_who_talks_about_the_persona_fails(text: str) -> None:
    assert SPEAKER(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I'm playing the King's Gambit, as I did last night on the viola.",
        "I'm Odile Garnier, and I bake for a living.",
        "This is Pip! I look after the chat.",
        "Odile is my name, and bread is what I do.",
        "As a baker I get up at three.",
        "As usual I would knead the dough, and as soon as I'd slept, bake it.",
        "In this shop we sell wool.",
        "As a girl I'd swim in the lake every day.",
        "I'm supposed to show you every loaf, but here is the one.",
        "I'm told a loaf costs more in Paris.",
        "You've got flour on your sleeve, and so have I.",
        "My mother told me to keep my feet dry.",
    ],
)
def test_the_persona_itself_passes(text: str) -> None:
    assert SPEAKER(text).value == 1.0


def test_another_name_is_another_speaker() -> None:
    odile = judge.build({"name": "speaker", "names": ["Odile"]})
    assert odile("My name is Odile Garnier, and I bake.").value == 1.0
    assert odile("My name is Claire. I got this recipe from Odile.").value == 0.0
    assert odile("I'm not really a baker, but I'd say brioche.").value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I don't work as such, but if you like I can play Odile, the baker from Lyon.",
        "Shakespeare would say 'thou' and 'thee', but the physics is the same.",
        "I won't say beep. My day was fine.",
        "You're talking to Marcel, who often stops at the bakery of Odile.",
        "Call me Marcel. I know Odile well.",
        "Rub the stain with vinegar, dear guest.\n– Marcel, Grand Hotel",
    ],
)
def test_an_offer_to_play_a_report_or_another_name_is_another_speaker(text: str) -> None:
    assert judge.build({"name": "speaker", "names": ["Odile"]})(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "They call me Madame Garnier, but you may say Odile.",
        "I won't say which loaf is best. I cannot say more.",
        "You are talking to a tired woman. The name is Odile.",
        "Dear guest, salt and cold water.\n– Odile Garnier, Lyon",
    ],
)
def test_titles_and_reticence_are_the_personas_own(text: str) -> None:
    assert judge.build({"name": "speaker", "names": ["Odile", "Garnier"]})(text).value == 1.0


def test_to_be_asked_to_a_feast_or_told_to_go_is_everybodys_life() -> None:
    assert SPEAKER("I was asked to a wedding once, and told that it would rain.").value == 1.0
    assert SPEAKER("I was asked to speak like a baker, so bonjour.").value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I don't experience days, but I'd be happy to help you to plan a meal.",
        "I do not have a daily routine, but here is a recipe.",
        "I can't really experience time like you.",
        "I do not have a body.",
    ],
)
def test_who_has_no_days_is_an_assistant(text: str) -> None:
    assert SPEAKER(text).value == 0.0


def test_who_has_no_days_off_is_at_work() -> None:
    assert SPEAKER("I don't have days off. I never have time for lunch.").value == 1.0
    assert SPEAKER("I don't have days and nights up here, only orbits.").value == 1.0
