"""Numbers, and sums."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.judge.number import numbers

from .specs import PLAIN


def score(text: str, /, **spec: object) -> float:
    return judge.build(spec)(text).value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234.5 and -3", [1234.5, -3]),
        ("1,2,3", [1, 2, 3]),
        ("10-20", [10, 20]),
        ("3.14.", [3.14]),
        (".5", [0.5]),
        ("1/2", [0.5]),
        ("1/0", []),
        ("12:30", [12, 30]),
        ("fb4u39", []),
        ("1,2345", [1, 2345]),
        ("$20, 5%", [20, 5]),
        ("−7", [-7]),
        ("forty-two", [42]),
        ("two hundred and five", [205]),
        ("three thousand two hundred", [3200]),
        ("two three", [2, 3]),
        ("One.", [1]),
        ("One of the finest things that a traveller could ever hope to see", []),
        ("Two of the finest things that a traveller could ever hope to see", [2]),
        ("I saw two ships and 3 boats", [3]),
        ("no digits here", []),
    ],
)
def test_numbers_are_read_as_written(text: str, values: list[float]) -> None:
    assert numbers(text) == values


def test_digits_only_wants_nothing_else() -> None:
    assert score("1, 2, 3", name="number", check="digits_only") == 1.0
    assert score("42", name="number", check="digits_only") == 1.0
    assert score("!!!", name="number", check="digits_only") == 0.0
    assert score("There are 42 of them.", name="number", check="digits_only") == 0.0
    assert score(PLAIN, name="number", check="digits_only") == 0.0


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        ({"check": "contains"}, "I own 3", 1.0),
        ({"check": "contains"}, "I own some", 0.0),
        ({"check": "contains", "value": 7}, "6, 7 and 8", 1.0),
        ({"check": "contains", "value": 7}, "77", 0.0),
        ({"check": "contains", "value": 7}, "12 pears and seven plums", 1.0),
        ({"check": "even"}, "2, 4 and 5", 2 / 3),
        ({"check": "odd"}, "7", 1.0),
        ({"check": "odd"}, "2.5", 0.0),
        ({"check": "multiple_of", "n": 5}, "10 or 12", 0.5),
        ({"check": "between", "low": 1, "high": 10}, "10", 1.0),
        ({"check": "between", "low": 1, "high": 10}, "11", 0.0),
        ({"check": "equals", "value": 42}, "It is forty-two.", 1.0),
        ({"check": "count", "n": 2}, "1 and 2", 1.0),
        ({"check": "count", "low": 3}, "1 and 2", 2 / 3),
        ({"check": "count", "n": 0}, "none at all", 1.0),
    ],
)
def test_checks_of_numbers(spec: dict[str, object], text: str, value: float) -> None:
    assert score(text, name="number", **spec) == pytest.approx(value)


def test_the_last_number_is_the_answer() -> None:
    four = {"name": "arithmetic", "answer": 4}
    assert score("2 + 2 = 4.", **four) == 1.0
    assert score("The answer is four.", **four) == 1.0
    assert score("4, or is it 5?", **four) == 0.0
    assert score("I cannot say.", **four) == 0.0
    assert score("About 4.2", **four) == 0.0
    assert score("About 4.2", **four, tolerance=0.3) == 1.0
    assert score("-4", **four) == 0.0
    assert score("1,000", name="arithmetic", answer=1000) == 1.0


def test_marked_digits_and_keys_are_digits() -> None:
    dial = judge.build({"name": "number", "check": "digits_only"})
    assert dial("**42**").value == 1.0 and dial("7\ufe0f\u20e3").value == 1.0
