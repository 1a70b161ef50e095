"""Days, dates, hours and pairs of words are found in any of their usual forms."""

from __future__ import annotations

import pytest

from holdfast.judge.mentions import find_mentions, normalise


def names(text: str, value: str, reordered: bool = False) -> bool:
    target = normalise(value)
    return bool(find_mentions(normalise(text, [target]), [[target]], reordered))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It's on Mon.", "Monday"),
        ("Thurs., at nine", "Thursday"),
        ("Sat. 9 to 5", "Saturday"),
        ("See you on Sun", "Sunday"),
        ("June the eighteenth", "18 June"),
        ("the eighteenth of June", "18 June"),
        ("Jun 18th", "18 June"),
        ("18. Sept", "18 September"),
        ("twenty to ten", "9:40"),
        ("nine forty", "9:40"),
        ("at 09.40", "9:40"),
        ("quarter to two", "13:45"),
        ("half past twelve", "12:30"),
        ("It's 3 8 1 6.", "3816"),
        ("Three letters: B, O, B.", "Bob"),
        ("M-A-X, short and crusty.", "Max"),
        ("M. A. X.!", "Max"),
    ],
)
def test_days_dates_and_hours_are_found(text: str, value: str) -> None:
    assert names(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("He sat, and then left.", "Saturday"),
        ("Out in the sun. Nice!", "Sunday"),
        ("Bonjour, mon ami!", "Monday"),
        ("June the eighth", "18 June"),
        ("nine fourteen", "9:40"),
        ("ten to nine", "9:40"),
        ("quarter past two", "13:45"),
        ("T-O-M, short and crusty.", "Max"),
        ("Plan B, o bold one, B!", "Bob"),
    ],
)
def test_words_and_other_days_and_hours_are_not(text: str, value: str) -> None:
    assert not names(text, value)


def test_a_pair_of_words_may_be_turned_round_where_that_is_wanted() -> None:
    for text in ("salt, the smoked kind", "salt that's been smoked", "salt (smoked)"):
        assert names(text, "smoked salt", reordered=True) and not names(text, "smoked salt")
    assert not names("salt and a smoked eel", "smoked salt", reordered=True)
