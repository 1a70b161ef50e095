"""Numbers, intervals and counts in words, and the sentences that several commands say.

This module knows English. It knows neither HTML nor charts, and no command's summary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from holdfast.results.conversation import Failures, Screened, Setting
from holdfast.results.recorded.log import LogReading
from holdfast.results.verdict import VerdictCount

COUNTS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip
FAILURES = {
    "empty": "empty",
    "length": "cut at the token limit",
    "thought": "cut in the thought before them",
    "overflow": "that did not fit the context",
    "error": "that could not be had",
}
"""How a reply goes wrong, by the kinds of `Failures`."""
LOW = 0.3
"""A curve that begins below says nothing about drift."""
CUT = 0.25
"""A larger share of replies cut at the token limit leaves nothing to compare."""
EDGE = 0.02
"""Means all within this of 0, or all of 1, leave nothing to compare."""


def finite(value: Any) -> float | None:
    """The number, or None for null and NaN."""
    return None if value is None or math.isnan(value) else float(value)


def number(value: Any, places: int = 2) -> str:
    """A score as print has it: two decimals, a true minus, a dash where there is none."""
    finite_value = finite(value)
    if finite_value is None:
        return "–"
    return f"{finite_value:z.{places}f}".replace("-", "−")


def signed_number(value: Any, interval: Sequence[Any] | None = None, places: int = 2) -> str:
    """A change with its sign, a true minus; "0.00" of what rounds to 0.

    Args:
        value: the change.
        interval: its interval. Only where it excludes 0 does the change never read as 0.
        places: decimals; one or two more where these make it read as 0 and it must not.
    """
    span = ends(interval)
    excludes_zero = span is not None and (span[0] > 0 or span[1] < 0)
    return signed_end(value, (0.0,) if excludes_zero else (), places)


def signed_end(value: Any, apart: Sequence[float] = (0.0,), places: int = 2) -> str:
    """An end of a change's interval, written as a change is.

    Args:
        value: the end.
        apart: numbers that it must not look like unless it is one of them: an end that lies above
            0 never reads as 0.
        places: decimals; one or two more where it would look like one of `apart`.
    """
    if finite(value) is None:
        return "–"
    text = _signed_ascii(value, apart, places).replace("-", "−")
    return text if text.strip("+0.") else text.removeprefix("+")


def signed_ascii(value: float, interval: tuple[float, float]) -> str:
    """A change and its interval in ASCII, where 0 has a sign too: "-0.13 [-0.73, +0.63]"."""
    low, high = interval
    change = _signed_ascii(value, (0.0,) if low > 0 or high < 0 else ())
    return f"{change} [{_signed_ascii(low)}, {_signed_ascii(high)}]"


def _signed_ascii(value: float, apart: Sequence[float] = (0.0,), places: int = 2) -> str:
    for more in range(3):
        text = f"{value:+z.{places + more}f}"
        if all(text != f"{one:+z.{places + more}f}" for one in apart if one != value):
            return text
    return f"{value:+z.{places}f}"


def capitalise(text: str) -> str:
    """A text whose first letter is a capital; the others stay."""
    return f"{text[:1].upper()}{text[1:]}"


def percent(value: Any) -> str:
    """A share as a percentage, with a decimal below ten per cent."""
    finite_value = finite(value)
    if finite_value is None:
        return "–"
    places = 0 if abs(finite_value) >= 0.0995 or finite_value == 0 else 1
    return f"{100 * finite_value:z.{places}f}%".replace("-", "−")


def ends(interval: Sequence[Any] | None) -> tuple[float, float] | None:
    """The two ends of an interval, or None where either is missing."""
    if interval is None:
        return None
    low, high = finite(interval[0]), finite(interval[1])
    return None if low is None or high is None else (low, high)


def between(interval: Sequence[Any] | None, write: Callable[[Any], str] = number) -> str:
    """An interval as "0.61 to 0.72", or a dash; `write` makes a text of either end."""
    there = ends(interval)
    return "–" if there is None else f"{write(there[0])} to {write(there[1])}"


def signed_span(interval: Sequence[Any] | None) -> str:
    """The interval of a change, with signs."""
    return between(interval, signed_end)


def span_or_why(
    interval: Sequence[Any] | None, lead: str = "", write: Callable[[Any], str] = signed_end
) -> str:
    """The interval of a change in a sentence, or why there is none.

    Args:
        interval: the interval.
        lead: what comes before it.
        write: makes a text of either end.
    """
    if ends(interval) is None:
        return "too few conversations for an interval"
    return f"{lead}{between(interval, write)}"


def with_interval(value: Any, interval: Sequence[Any] | None) -> str:
    """A score and its interval: "0.66 (0.61 to 0.72)"."""
    return f"{number(value)} ({between(interval)})"


def count(n: int, noun: str) -> str:
    """ "eight rounds", "one round", "24 conversations"."""
    return f"{count_word(n)} {_plural(n, noun)}"


def count_word(n: int) -> str:
    """ "eight", "24"."""
    return COUNTS[n] if n < len(COUNTS) else f"{n:,}"


def quantity(n: int, noun: str) -> str:
    """The same in figures: "8 rounds", "1 round", "2 replies"."""
    return f"{n:,} {_plural(n, noun)}"


def _plural(n: int, noun: str) -> str:
    if n == 1:
        return noun
    ends_in_y = noun.endswith("y") and noun[-2] not in "aeiou"
    return f"{noun[:-1]}ies" if ends_in_y else f"{noun}s"


def low_ceiling(
    setting: Setting, ceiling: float | None, failures: Failures | None = None
) -> str | None:
    """A sentence that a run began too low to say anything; None if it did not, or was screened.

    Args:
        setting: the run's model and suite.
        ceiling: the score at the start; None where there is none.
        failures: the replies that went wrong, which may be why.
    """
    if ceiling is None or ceiling >= LOW or setting.screened is not None:
        return None
    return lack_of_replies(setting.model, failures or Failures()) or (
        f"{setting.model} does not hold the personas of {setting.suite} to begin with "
        f"({number(ceiling)} at the start): below {number(LOW)} a curve says nothing about what a "
        "conversation takes away. --screen keeps the personas that the model holds, and --suite "
        "names others."
    )


def lack_of_replies(model: str | None, failures: Failures) -> str | None:
    """A sentence that a run had hardly any replies to judge; None where it had.

    Args:
        model: the model's name, where there is one.
        failures: the replies that went wrong.
    """
    name, of = model or "the model", max(1, failures.of)
    if (cut := failures.thought / of) > CUT:
        return (
            f"The token limit cut {name}'s thought before {percent(cut)} of the replies began, "
            "which score nothing: raise --max-new-tokens, or switch thinking off, as by "
            "--template-option enable_thinking=false."
        )
    if (lost := failures.error / of) > CUT:
        return (
            f"{percent(lost)} of {name}'s replies could not be had, which score nothing: "
            "records.jsonl in the folder of --out says why."
        )
    return None


def too_low(ceiling: float | None) -> str:
    """What a comparison recommends from there."""
    return (
        f"Too low to say: without control stability is {number(ceiling)} at the start, and below "
        f"{number(LOW)} there is too little to lose."
    )


def notes(*sentences: str | None) -> str | None:
    """The notes on a run, as one text; None where there are none."""
    return " ".join(filter(None, sentences)) or None


def inconclusive(scores: Iterable[float | None], cut: float) -> str | None:
    """Why scores of tasks say nothing, in one sentence; None where they may say something.

    Args:
        scores: mean scores, 0 to 1, with every persona and without.
        cut: the share of replies that the token limit ended.
    """
    values = [score for score in map(finite, scores) if score is not None]
    if cut > CUT:
        return (
            f"Nothing can be concluded: the token limit cut {percent(cut)} of the replies; raise "
            "--max-new-tokens."
        )
    if values and max(values) <= EDGE:
        return (
            "Nothing can be concluded: next to none of the tasks is solved, with any persona or "
            "without; choose easier tasks or a stronger model."
        )
    if values and min(values) >= 1 - EDGE:
        return (
            "Nothing can be concluded: next to all of the tasks are solved, with every persona and "
            "without; choose harder tasks."
        )
    return None


def describe_failures(failures: Failures) -> str | None:
    """The replies that went wrong and how they count, in one sentence; None where none did."""
    groups = [
        (list_failures(vars(failures), kinds), effect)
        for kinds, effect in (
            (("empty", "thought", "error"), "an answer scores 0"),
            (("length",), "an answer is judged as it stands"),
            (("overflow",), "an answer has no score"),
        )
    ]
    parts = [f"{names} ({effect})" for names, effect in groups if names]
    return f"Of {quantity(failures.of, 'message')}: {'; '.join(parts)}." if parts else None


def describe_missing(failed: int, answers: int) -> str | None:
    """The answers of a study that count nowhere, in one sentence; None where all count."""
    if not failed:
        return None
    return (
        f"{failed:,} of {quantity(answers, 'answer')} could not be had or did not fit the context: "
        "they count on neither side of a difference."
    )


def describe_unread(verdicts: VerdictCount | None) -> str | None:
    """The calls of a judge model that gave no score, in one sentence; None where all gave one."""
    if verdicts is None or not verdicts.failures:
        return None
    calls = f"{quantity(verdicts.failures, 'call')} of the judge {verdicts.judge}"
    return f"{calls} gave no score (without a verdict an answer scores 0)."


def describe_checks(errors: int) -> str | None:
    """A sentence about a reward's checks of mathematics that failed; None without any."""
    text = f"{quantity(errors, 'check')} of mathematics failed or took too long, and paid nothing."
    return text if errors else None


def count_failures(counts: Mapping[str, int]) -> str:
    """The replies that went wrong by kind: "2 empty, 1 cut at the token limit, of 420 messages"."""
    if not (text := list_failures(counts)):
        return "no reply was empty, cut, too long or lost"
    return f"{text}, of {quantity(counts['of'], 'message')}" if counts.get("of") else text


def list_failures(counts: Mapping[str, int], kinds: Iterable[str] = FAILURES) -> str:
    """The same of some kinds, without their number in all; empty where there are none."""
    return ", ".join(f"{n:,} {FAILURES[kind]}" for kind in kinds if (n := counts.get(kind)))


def near_duplicates(texts: int, of: int, noun: str) -> str:
    """How many tasks or items differ, in one sentence: "97 of the 120 tasks differ: …"."""
    return (
        f"{texts:,} of the {quantity(of, noun)} {'differs' if texts == 1 else 'differ'}: "
        "near-duplicates count as one in the intervals."
    )


def screening(outcome: Screened) -> str:
    """Which personas a screening kept, in one sentence."""
    parts = [
        f"{category} {count.kept} of {count.of}" for category, count in outcome.by_category.items()
    ]
    return (
        f"Only personas that the model holds before the conversation take part: {outcome.kept} of "
        f"{outcome.of} score {number(outcome.at_least)} or more there, on other seeds "
        f"({', '.join(parts)})."
    )


def log_reading(reading: LogReading) -> list[str]:
    """A log's format, the lines that do not fit it, and what of its prompts is judged."""
    lines = [f"{reading.file} was read as {reading.format}"]
    if reading.unfit:
        first_lines = reading.unfit_lines[:3]
        places = (one.line.removeprefix(f"{reading.file}, ") for one in first_lines)
        first = "; ".join(f"{at}: {one.why}" for at, one in zip(places, first_lines, strict=True))
        more = "; …" if reading.unfit > 3 else ""
        verb = "does" if reading.unfit == 1 else "do"
        lines[0] += f"; {quantity(reading.unfit, 'line')} {verb} not fit ({first}{more})"
    if reading.id_columns:
        verb = "looks" if len(reading.id_columns) == 1 else "look"
        lines.append(
            f"{', '.join(reading.id_columns)} {verb} like a conversation’s id and is not read: "
            "name the column conversation_id if it is one"
        )
    if reading.prompts is not None:
        prompts = quantity(reading.prompts, "system prompt")
        lines.append(f"personas are drafted from {prompts} in it")
    for lead, what in (("judged by", reading.judged), ("not judged", reading.unjudged)):
        if what:
            lines.append(f"{lead}: {'; '.join(what)}")
    return lines


def start_of(values: Sequence[Any]) -> int:
    """The first round with a value; 0 where there is none."""
    return next((r for r, value in enumerate(values) if finite(value) is not None), 0)


def first_of(values: Sequence[Any]) -> float | None:
    """The first value that is not missing; None where all are."""
    return next((value for value in map(finite, values) if value is not None), None)
