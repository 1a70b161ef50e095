"""Numbers are read as people say them."""

from __future__ import annotations

import random
import time

import pytest

from holdfast import judge
from holdfast.judge.spoken import write_digits, write_values

DIGITS = ["oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = [f"{stem}teen" for stem in ("thir", "four", "fif", "six", "seven", "eigh", "nine")]
TEENS = ["ten", "eleven", "twelve", *TEENS]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def two_digits(number: int) -> str:
    """A number from 10 to 99 in words."""
    if number < 20:
        return TEENS[number - 10]
    return TENS[number // 10 - 2] + (f"-{DIGITS[number % 10]}" if number % 10 else "")


@pytest.mark.parametrize("between", [" ", "-", ", ", "... ", ". ", " – ", ", then "])
def test_a_number_said_digit_by_digit_is_read_whatever_stands_between(between: str) -> None:
    draw = random.Random(0)
    for _ in range(50):
        number = str(draw.randrange(1000, 10_000))
        phrase = between.join(DIGITS[int(digit)] for digit in number)
        assert write_values(f"It's {phrase}! Mind the step.", [number]) == (
            f"It's {number}! Mind the step."
        )
        others = [number[:-1] + str((int(number[-1]) + 1) % 10), number + "4", number[1:]]
        assert write_values(phrase, others) == phrase


def test_a_number_said_in_pairs_is_read() -> None:
    draw = random.Random(1)
    for _ in range(100):
        high, low = draw.randrange(10, 100), draw.randrange(10, 100)
        for between in (" ", ", ", "-"):
            phrase = two_digits(high) + between + two_digits(low)
            assert write_values(phrase, [f"{high}{low}"]) == f"{high}{low}"
            assert write_values(phrase, [f"{low}{high}0"]) == phrase


@pytest.mark.parametrize(
    ("phrase", "value"),
    [
        ("four seventeen two", "4.17.2"),
        ("Four, seventeen, two", "4.17.2"),
        ("four dot seventeen dot two", "4.17.2"),
        ("4-17-2", "4.17.2"),
        ("nine forty", "9:40"),
        ("four euros sixty", "4.60"),
        ("N eighty-three", "N83"),
        ("n-83", "N83"),
        ("K-X-five-five-nine-oh", "KX5590"),
        ("double five nine oh", "5590"),
        ("A thousand two hundred and seventy-four", "1274"),
        ("twelve hundred and seventy-four", "1274"),
        ("1,274", "1274"),
        ("thirty, take away one", "29"),
        ("Thirty minus one", "29"),
        ("one short of thirty", "29"),
        ("twenty-eight plus one", "29"),
        ("nine-and-twenty", "29"),
    ],
)
def test_versions_hours_prices_codes_and_sums_are_read(phrase: str, value: str) -> None:
    assert write_values(f"Well, {phrase}, love.", [value]) == f"Well, {value}, love."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3, 8, 1, 6, 4", "3816"),
        ("209, 417, 760", "209417"),
        ("four seventeen one", "4.17.2"),
        ("four seventy two", "4.17.2"),
        ("line eighty-three", "N83"),
        ("iron eighty-three", "N83"),
        ("thirty minus thirteen", "29"),
        ("Five, three, one", "53"),
        ("Oh, three of them", "03"),
        ("a hundred thanks", "1"),
        ("any number of them", "many"),
    ],
)
def test_what_says_another_number_is_left_as_it_is(text: str, value: str) -> None:
    assert write_values(text, [value]) == text


def test_a_row_of_values_stays_a_row() -> None:
    text = "Library: two, zero, nine. Workshop: four, one, seven."
    assert write_values(text, ["209", "417"]) == "Library: 209. Workshop: 417."


def test_number_words_become_digits() -> None:
    assert write_digits("a hundred and five, the fourth of two hundred") == "105, the 4th of 200"


def test_contains_and_avoids_read_spoken_numbers() -> None:
    there = judge.build({"name": "contains", "any": ["2071"]})
    assert there("Silent since March, twenty seventy-one.").value == 1.0
    assert there("Silent since March, twenty seventeen.").value == 0.0
    absent = judge.build({"name": "avoids", "any": ["408"]})
    assert absent("It is four hundred and eight, of course.").value == 0.0
    assert absent("It is more than four hundred, of course.").value == 1.0


@pytest.mark.parametrize("piece", ["one ", "1, ", "3-", "oh ", "a hundred ", "double two ", "1 + "])
def test_reading_takes_time_in_line_with_the_text(piece: str) -> None:
    start = time.process_time()
    write_values(piece * 40_000, ["3816", "N83", "4.17.2"])
    assert time.process_time() - start < 5.0
