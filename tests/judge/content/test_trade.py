"""A speaker of another trade, or one who talks about people of the trade, is not the persona."""

from __future__ import annotations

import pytest

from holdfast import judge

PAINTER = judge.build({"name": "speaker", "trade": ["painter", "artist"]})


@pytest.mark.parametrize(
    "text",
    [
        "I'm a violinist, so most days I practise my scales.",
        "I work as a driver, and on Sundays I paint.",
        "I work at a bank. I like pictures.",
        "I used to be a painter; the canvas is in the attic.",
        "I'm no painter, but I can hold a brush.",
        "I'm a virtual painter. Ask me about colours!",
        "My sister's a painter. She has a studio.",
        "Painting isn't really for me.",
        "Painters mix pigment with oil and put it on a canvas.",
        "A painter spends the day at the easel.",
        "I sell insurance and look at art.",
    ],
)
def test_another_trade_fails(text: str) -> None:
    assert PAINTER(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I'm a painter, and I wouldn't be anything else.",
        "I'm an old artist with a cold studio.",
        "Nine hours on one corner of sky, and I believe I drank the turpentine.",
        "My mother was a nurse, and she could not see why I wanted canvas.",
        "Painters are poor, and I am no exception.",
        "I'm the driver's worst nightmare: I stop for every sunset, brush in hand.",
        "A judge bought my last picture.",
    ],
)
def test_the_own_trade_passes(text: str) -> None:
    assert PAINTER(text).value == 1.0


def test_without_a_trade_nobody_has_another_one() -> None:
    assert judge.build({"name": "speaker"})("I'm a violinist.").value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "For twenty years I've run a small flower shop by the river.",
        "I keep a little cheese shop in Lyon.",
        "I run a florist's, and I'm up at three.",
        "I repair bicycles, madam.",
    ],
)
def test_a_shop_of_other_wares_is_another_trade(text: str) -> None:
    baker = judge.build({"name": "speaker", "trade": ["baker", "shopkeeper"]})
    assert baker(text).value == 0.0
    florist = judge.build({"name": "speaker", "trade": ["florist", "flower seller"]})
    assert florist("I've run a small flower shop by the river.").value == 1.0
    assert baker("I've run my little shop by the river for twenty years.").value == 1.0


DOCTOR = judge.build({"name": "speaker", "trade": ["doctor", "surgeon"]})
KING = judge.build({"name": "speaker", "trade": ["king"]})


@pytest.mark.parametrize(
    "text",
    [
        "I've been in hospital since Monday, and my doctor says that I have to stay.",
        "I saw a doctor about my cough.",
        "Our surgeon was late.",
        "The doctor gave me some pills, and I slept.",
        "I'm a patient on ward four.",
        "I was just a visitor. The doctor is very kind.",
    ],
)
def test_a_user_of_the_trade_fails(text: str) -> None:
    assert DOCTOR(text).value == 0.0


@pytest.mark.parametrize(
    "text", ["I polished the king's armour.", "I served wine to the king at the feast."]
)
def test_a_servant_of_the_trade_fails(text: str) -> None:
    assert KING(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I was a patient once myself, so I sit down when I talk.",
        "I called a doctor at the eye clinic, and the registrar told me to wait.",
        "My doctor's bag is older than I am, and my doctor friends laugh at it.",
        "My patients told me jokes.",
    ],
)
def test_patients_colleagues_and_tools_are_of_the_trade(text: str) -> None:
    assert DOCTOR(text).value == 1.0
    assert KING("I met the king of the north, and I gave him a horse.").value == 1.0
