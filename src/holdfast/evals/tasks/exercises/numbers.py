"""Exercises with numbers: arithmetic and dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from holdfast.evals.tasks.exercises.lexicon import Lexicon
from holdfast.evals.tasks.questions import Question


def arithmetic(lexicon: Lexicon, level: int) -> Question:
    """Sums of one digit; one digit with two, or products of one digit; two digits, or two steps."""
    rng = lexicon.rng
    a, b, c = rng.randrange(2, 10), rng.randrange(2, 10), rng.randrange(2, 10)
    tens, more = rng.randrange(11, 100), rng.randrange(11, 100)
    if level == 1:
        sums = [(f"{a} + {b}", a + b)]
    elif level == 2:
        sums = [(f"{tens} + {b}", tens + b), (f"{tens} - {b}", tens - b), (f"{a} × {b}", a * b)]
    else:
        high, low = max(tens, more), min(tens, more)
        sums = [
            (f"{tens} + {more}", tens + more),
            (f"{high} - {low}", high - low),
            (f"{a} × {b} + {c}", a * b + c),
        ]
    formula, answer = rng.choice(sums)
    return Question("", f"What is {formula}?", str(answer))


def dates(lexicon: Lexicon, level: int) -> Question:
    """The next day or month; some days later in a month; a date across months or a weekday."""
    rng = lexicon.rng
    if level == 1:
        kind, names = rng.choice([("day", _DAYS), ("month", _MONTHS)])
        return _neighbour(lexicon, kind, names, rng.choice([-1, 1]))
    if level == 2:
        later, start = rng.randrange(2, 10), rng.randrange(1, 18)
        month = lexicon.one("months")
        question = f"Today is {start} {month}. What is the date in {later} days?"
        return Question("", question, f"{start + later} {month}")
    start_day = date(2025, 1, 1) + timedelta(days=rng.randrange(0, 330))
    days = rng.randrange(10, 30)
    if rng.random() < 0.5:
        if start_day.month < 3 <= (start_day + timedelta(days=days)).month:
            start_day += timedelta(days=60)  # February may have 29 days
        end = start_day + timedelta(days=days)
        question = f"Today is {_write_date(start_day)}. What is the date in {days} days?"
        return Question("", question, _write_date(end))
    day = start_day.strftime("%A")
    answer = (start_day + timedelta(days=days)).strftime("%A")
    return Question("", f"Today is {day}. Which day of the week is it in {days} days?", answer)


def _neighbour(lexicon: Lexicon, kind: str, names: Sequence[str], step: int) -> Question:
    i = lexicon.place(len(names))
    side = "after" if step > 0 else "before"
    question = f"Which {kind} comes right {side} {names[i]}?"
    return Question("", question, names[(i + step) % len(names)])


_DAYS = [(date(2024, 1, 1) + timedelta(days=i)).strftime("%A") for i in range(7)]
_MONTHS = [date(2024, i, 1).strftime("%B") for i in range(1, 13)]


def _write_date(day: date) -> str:
    return f"{day.day} {day:%B}"


NUMBERS: dict[str, Callable[[Lexicon, int], Question]] = {
    "arithmetic": arithmetic,
    "dates": dates,
}
"""Generators of exercises with numbers, by category."""
