"""What stands behind a number decides what it is: a scale, a share, a unit of measure."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evals.tasks.gold import Gold
from holdfast.evals.tasks.numbers.scales import asked_unit
from holdfast.evals.tasks.reader import read

PENS = "Ann has 12 pens and buys 6 more. How many pens does she have?"
SCALES = {
    " hundred": 2,
    " thousand": 3,
    "k": 3,
    "K": 3,
    " million": 6,
    " mn": 6,
    "M": 6,
    " billion": 9,
    "bn": 9,
    "B": 9,
    " lakh": 5,
}
UNITS = {
    "length": ("mm", "cm", "metres", "km", "inches", "feet", "yards", "miles"),
    "time": ("seconds", "minutes", "hours", "days", "weeks", "months", "years"),
    "mass": ("mg", "grams", "kg", "tonnes"),
    "volume": ("ml", "litres", "gallons"),
    "money": ("cents", "dollars", "euros"),
}
PAIRS = [pair for units in UNITS.values() for pair in permutations(units, 2)]


def pays(answer: str, question: str, reply: str) -> bool:
    return read(Gold(answer, question=question), reply, "numeric").final


@given(st.integers(1, 999), st.sampled_from(list(SCALES)), st.sampled_from(["{}", "It is {}."]))
def test_a_number_with_a_scale_is_the_number_in_full_and_not_its_part(
    n: int, scale: str, frame: str
) -> None:
    reply = frame.format(f"{n}{scale}")
    assert pays(str(n * 10 ** SCALES[scale]), PENS, reply)
    assert not pays(str(n), PENS, reply)


@pytest.mark.parametrize(
    ("answer", "question", "reply"),
    [
        ("71000000", "What is the population of Thailand?", "About 71M people."),
        ("2500", "What does it cost?", "It costs $2.5k."),
        ("71", "What is the population, in millions?", "71M"),
        ("5", "How many metres long is it?", "IT IS 5M LONG!"),
        ("300", "How hot is it in kelvin?", "300K"),
        ("18", "How many percent is it?", "18%"),
        ("18", "What is the discount?", "18%"),
        ("512", "What is 8 cubed?", "512 = 8³"),
    ],
)
def test_a_scale_or_a_share_that_is_meant_or_asked_for_is_paid(
    answer: str, question: str, reply: str
) -> None:
    assert pays(answer, question, reply)


@pytest.mark.parametrize("reply", ["18%", "18 per cent", "18³", "18 x 2", "18x2", "**18** million"])
def test_a_share_a_power_and_a_product_are_no_number_of_things(reply: str) -> None:
    assert not pays("18", PENS, reply)


@pytest.mark.parametrize("reply", ["over 71 million", "71 million or 72 million", "not 71 million"])
def test_a_bound_or_an_alternative_in_millions_is_not_paid(reply: str) -> None:
    assert not pays("71000000", "What is the population?", reply)


@given(st.integers(2, 999), st.sampled_from(PAIRS), st.sampled_from(["{}", "It is {}."]))
def test_a_number_in_another_unit_of_the_kind_is_not_what_was_asked_for(
    n: int, units: tuple[str, str], frame: str
) -> None:
    asked, other = units
    for question in (f"How many {asked} is it?", f"How much is it in {asked}?"):
        assert pays(str(n), question, frame.format(f"{n} {asked}"))
        assert not pays(str(n), question, frame.format(f"{n} {other}"))


@given(st.integers(2, 999), st.integers(1000, 9999), st.sampled_from(PAIRS))
def test_the_same_in_another_unit_in_brackets_takes_nothing_away(
    n: int, same: int, units: tuple[str, str]
) -> None:
    asked, other = units
    assert pays(str(n), f"How many {asked} is it?", f"It is {n} {asked} ({same} {other}).")


@pytest.mark.parametrize(
    ("answer", "question", "reply"),
    [
        ("8", "How many hours does he work in 1 day?", "He works 8 hours a day."),
        ("60", "How fast is it in km per hour?", "60 km/h"),
        ("100", "How many cents are in a dollar?", "100 cents make 1 dollar."),
        ("60", "How many minutes are 5 laps of 12 minutes?", "5 × 12 minutes = 60"),
        ("20", "How warm is it in degrees Celsius?", "20 °C (68 °F)"),
        ("21", "How many days is it?", "There are 21 days in 3 weeks."),
        ("6", "How many feet tall is she?", "She is 6 feet, which is 72 inches, tall."),
        ("12", "How many months is it?", "12 months are 52 weeks."),
    ],
)
def test_units_beside_an_answer_in_the_one_asked_for_leave_it(
    answer: str, question: str, reply: str
) -> None:
    assert pays(answer, question, reply)


@pytest.mark.parametrize(
    ("answer", "question", "reply"),
    [
        ("3", "How many dollars does it cost?", "It costs 3 dollars and 50 cents."),
        ("5", "How many feet tall is he?", "He is 5 feet 10 inches tall."),
        ("2", "How many weeks is it?", "It took 2 weeks and 3 days."),
        ("90", "How many minutes does it take?", "It takes 90 minutes or 2 hours."),
        ("90", "How many minutes does it take?", "Between 90 minutes and 2 hours."),
        ("90", "How many minutes does it take?", "After 90 minutes of rest, it takes 2 hours."),
    ],
)
def test_a_part_of_an_amount_or_another_amount_is_not_paid(
    answer: str, question: str, reply: str
) -> None:
    assert not pays(answer, question, reply)


def test_a_question_asks_for_a_unit_by_how_many_before_in() -> None:
    assert asked_unit("How many minutes is that in hours?") == ("time", "minute")
    assert asked_unit("How long is it in metres?") == ("length", "m")
    assert asked_unit("How big is it in square metres?") is None
