"""Numbers in words: the headline and the sentences under it, made from a run's summary.

What a headline may say depends on intervals, not on means alone: a fall is called
a fall where the interval of the change excludes 0, and a persona is called gone
where it ends near the floor and the two intervals overlap.

This module knows a summary and English. It knows neither HTML nor charts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from holdfast.results.conversation import Screened, Setting
from holdfast.results.drift import DriftSummary
from holdfast.results.recorded.log import LogReading

COUNTS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip
LOW = 0.3
"""A curve that begins below says nothing about drift."""
CUT = 0.25
"""A larger share of replies cut at the token limit leaves nothing to compare."""
EDGE = 0.02
"""Means all within this of 0, or all of 1, leave nothing to compare."""
NEAR = 0.1
LARGE = 0.5


def finite(value: Any) -> float | None:
    """The number, or None for null and NaN."""
    return None if value is None or math.isnan(value) else float(value)


def number(value: Any, places: int = 2) -> str:
    """A score as print has it: two decimals, a true minus, a dash where there is none."""
    finite_value = finite(value)
    if finite_value is None:
        return "–"
    return f"{finite_value:z.{places}f}".replace("-", "−")


def signed_number(value: Any) -> str:
    """A change with its sign; three decimals where two would show a nonzero one as zero."""
    finite_value = finite(value)
    if finite_value is None:
        return "–"
    text = f"{finite_value:+.2f}" if abs(finite_value) >= 0.005 else f"{finite_value:+.3f}"
    return "0.00" if text in {"+0.000", "-0.000"} else text.replace("-", "−")


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
    return between(interval, signed_number)


def with_interval(value: Any, interval: Sequence[Any] | None) -> str:
    """A score and its interval: "0.66 (0.61 to 0.72)"."""
    return f"{number(value)} ({between(interval)})"


def count(n: int, noun: str) -> str:
    """ "eight rounds", "one round", "24 conversations"."""
    return f"{COUNTS[n] if n < len(COUNTS) else f'{n:,}'} {_plural(n, noun)}"


def quantity(n: int, noun: str) -> str:
    """The same in figures: "8 rounds", "1 round", "2 replies"."""
    return f"{n:,} {_plural(n, noun)}"


def _plural(n: int, noun: str) -> str:
    if n == 1:
        return noun
    ends_in_y = noun.endswith("y") and noun[-2] not in "aeiou"
    return f"{noun[:-1]}ies" if ends_in_y else f"{noun}s"


def _overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]


def low_ceiling(setting: Setting, ceiling: float | None) -> str | None:
    """A sentence that a run began too low to say anything; None if it did not, or was screened."""
    if ceiling is None or ceiling >= LOW or setting.screened is not None:
        return None
    return (
        f"{setting.model} does not hold the personas of {setting.suite} to begin with "
        f"({number(ceiling)} at the start): below {number(LOW)} a curve says nothing about what a "
        "conversation takes away. --screen keeps the personas that the model holds, and --suite "
        "names others."
    )


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
    """A log's format, the lines that do not fit it, and what no judge scores of its prompts."""
    lines = [f"{reading.file} was read as {reading.format}"]
    if reading.unfit:
        first_lines = reading.unfit_lines[:3]
        places = (one.line.removeprefix(f"{reading.file}, ") for one in first_lines)
        first = "; ".join(f"{at}: {one.why}" for at, one in zip(places, first_lines, strict=True))
        more = "; …" if reading.unfit > 3 else ""
        verb = "does" if reading.unfit == 1 else "do"
        lines[0] += f"; {quantity(reading.unfit, 'line')} {verb} not fit ({first}{more})"
    if reading.prompts is not None:
        lines.append(
            f"personas are drafted from {quantity(reading.prompts, 'system prompt')} in it"
        )
    if reading.unjudged:
        lines.append(f"not judged: {'; '.join(reading.unjudged)}")
    return lines


def start_of(values: Sequence[Any]) -> int:
    """The first round with a value; 0 where there is none."""
    return next((r for r, value in enumerate(values) if finite(value) is not None), 0)


def first_of(values: Sequence[Any]) -> float | None:
    """The first value that is not missing; None where all are."""
    return next((value for value in map(finite, values) if value is not None), None)


def verdict(summary: DriftSummary) -> str:
    """One of: unmeasured, single, low, absent, gone, gives way, slips, slips a little, firms,
    holds, unclear.
    """
    stability = summary.curves.stability
    first, last = first_of(stability), finite(stability[-1])
    change = ends(summary.curves.change.interval)
    if first is None or last is None or start_of(stability) == len(stability) - 1:
        return "unmeasured"
    if summary.setting.conversations == 1:
        return "single"
    if summary.curves.replies is None and low_ceiling(summary.setting, first):
        return "low"
    if change is None:
        return "unmeasured"
    floor = finite(summary.curves.floor)
    if floor is not None and first - floor < NEAR:
        return "absent"
    if change[1] < 0:
        if (
            floor is not None
            and last - floor <= NEAR
            and _overlap(
                ends(summary.curves.interval[-1]),
                ends(summary.curves.floor_interval) or (floor, floor),
            )
        ):
            return "gone"
        fall = first - last
        return "gives way" if fall >= LARGE else "slips" if fall >= NEAR else "slips a little"
    if change[0] > 0:
        return "firms"
    return "holds" if change[0] >= -NEAR else "unclear"


def headline(summary: DriftSummary) -> str:
    """The result in one sentence, without a full stop."""
    stability, rounds = summary.curves.stability, count(summary.setting.rounds, "round")
    start, last, floor = start_of(stability), number(stability[-1]), number(summary.curves.floor)
    first = number(first_of(stability))
    begins = f"{first} {'at the start' if start == 0 else f'at round {start}'}"
    delta = summary.curves.change
    change = f"{signed_number(delta.value)}, 95% interval {signed_span(delta.interval)}"
    way = f"from {first if start == 0 else begins} to {last} over {rounds}"
    course = f"{way} ({change})"
    return {
        "unmeasured": _headline_without_change(stability, begins, f"{last} after {rounds}"),
        "single": f"One conversation: {begins}, {last} after {rounds}",
        "low": f"Too low to say: {begins}, {last} after {rounds}, and below "
        f"{number(LOW)} there is too little to lose",
        "absent": f"The persona hardly took hold: {begins}, {floor} with no system "
        f"prompt, {last} after {rounds}",
        "gone": f"The persona is gone: {way}, where no system prompt gives {floor} ({change})",
        "gives way": f"The persona gives way: {course}",
        "slips": f"The persona slips: {course}",
        "slips a little": f"The persona slips a little: {course}",
        "firms": f"The persona grows firmer: {course}",
        "holds": f"The persona holds: {begins}, {last} after {rounds} ({change})",
        "unclear": f"No change can be shown: {begins}, {last} after {rounds} "
        f"({change}, which includes 0)",
    }[verdict(summary)]


def _headline_without_change(stability: Sequence[Any], begins: str, ends: str) -> str:
    """The headline where there is no change to speak of."""
    if first_of(stability) is None:
        return "Nothing was measured"
    alone = start_of(stability) == len(stability) - 1
    return (
        f"Stability is {begins}, the only one measured"
        if alone
        else (f"Stability is {begins} and {ends}")
    )


def standfirst(summary: DriftSummary) -> list[str]:
    """The sentences under the headline, each only where its numbers were measured."""
    outcome = summary.setting.screened
    selection = screening(outcome) if outcome else ""
    sentences = (selection, _floor(summary), _filler(summary), _user(summary), _share(summary))
    return [sentence for sentence in sentences if sentence]


def _floor(summary: DriftSummary) -> str:
    floor, rest = finite(summary.curves.floor), finite(summary.curves.normalised[-1])
    if floor is None:
        return ""
    span = summary.curves.normalised_interval[-1]
    start = f"With no system prompt the same questions score {number(floor)}"
    if rest is None or verdict(summary) in ("low", "absent"):
        return f"{start}."
    within = f" (95% interval {between(span, percent)})" if ends(span) else ""
    return (
        f"{start}; of the distance between that floor and the ceiling, {percent(rest)} is left "
        f"at the end{within}."
    )


def _filler(summary: DriftSummary) -> str:
    filler = summary.curves.filler
    end = finite(filler[-1]) if filler else None
    if end is None:
        return ""
    there = summary.curves.filler_interval[-1] if summary.curves.filler_interval else None
    own = ends(summary.curves.interval[-1])
    sentence = f"With neutral filler of equal length in the user’s place it ends at {number(end)}"
    if ends(there) is None or own is None:
        return f"{sentence}."
    if _overlap(ends(there), own):
        return f"{sentence}, which cannot be told from what the user’s own words leave."
    higher = end > (finite(summary.curves.stability[-1]) or 0.0)
    why = (
        "so length alone does not explain it" if higher else "lower than with the user’s own words"
    )
    return f"{sentence} ({between(there)}), {why}."


def _user(summary: DriftSummary) -> str:
    line = summary.curves.user_persona
    first, last = (finite(line[0]), finite(line[-1])) if line else (None, None)
    if first is None or last is None:
        return ""
    floor = finite(summary.curves.user_persona_floor)
    against = f"; with no system prompt {number(floor)}" if floor is not None else ""
    sentence = (
        f"Asked the probe of the user’s persona, the agent scores {number(first)} at the start "
        f"and {number(last)} at the end{against}"
    )
    spans = summary.curves.user_persona_interval
    start, end = ends(spans[0]), ends(spans[-1])
    rose = start is not None and end is not None and end[0] > max(start[1], floor or 0.0)
    return f"{sentence}: it takes on its partner’s manner." if rose else f"{sentence}."


def _share(summary: DriftSummary) -> str:
    share = summary.share.prompt_share
    first, last = (finite(share[0]), finite(share[-1])) if share else (None, None)
    if first is None or last is None:
        return ""
    sentence = (
        f"Its answers give the system prompt {percent(first)} of their attention at the start "
        f"and {percent(last)} at the end"
    )
    thin = summary.share.share_detail and summary.share.share_detail.dilution
    if not thin or finite(thin[0]) is None or finite(thin[-1]) is None:
        return f"{sentence}."
    text = f"while the prompt goes from {percent(thin[0])} to {percent(thin[-1])} of the text"
    return f"{sentence}, {text}."
