"""The headline says what the intervals allow, and no more."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from holdfast.report.drift import headline
from holdfast.results.drift import DriftSummary
from holdfast.results.recorded.log import LogReading

from .sample import read_summary, run


def make_summary(
    first: float, last: float, change: tuple[float, float], /, **more: Any
) -> DriftSummary:
    """The sample's summary with another course."""
    summary, _ = run(8, 8)
    middle = [(first + last) / 2] * 7
    course = {
        "stability": [first, *middle, last],
        "interval": [[v - 0.04, v + 0.04] for v in (first, *middle, last)],
        "change": {"value": last - first, "interval": list(change)},
    }
    return read_summary(summary | course | more)


def test_a_fall_is_told_with_its_interval() -> None:
    assert headline.headline(make_summary(0.98, 0.67, (-0.38, -0.24))) == (
        "The persona slips: from 0.98 to 0.67 over eight rounds "
        "(−0.31, 95% interval −0.38 to −0.24)"
    )


@pytest.mark.parametrize(
    ("first", "last", "change", "verdict"),
    [
        (0.98, 0.93, (-0.08, -0.02), "slips a little"),
        (0.98, 0.67, (-0.38, -0.24), "slips"),
        (0.98, 0.40, (-0.66, -0.50), "gives way"),
        (0.98, 0.08, (-0.95, -0.85), "gone"),
        (0.98, 0.97, (-0.04, 0.02), "holds"),
        (0.98, 0.90, (-0.20, 0.04), "unclear"),
        (0.60, 0.80, (0.12, 0.28), "firms"),
        (0.12, 0.10, (-0.05, 0.01), "low"),
        (0.90, 0.50, (math.nan, math.nan), "unmeasured"),
        (0.25, 0.00, (math.nan, math.nan), "low"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_change(
    first: float, last: float, change: tuple[float, float], verdict: str
) -> None:
    assert headline.verdict(make_summary(first, last, change)) == verdict


def test_a_persona_that_starts_at_its_floor_hardly_took_hold() -> None:
    assert headline.verdict(make_summary(0.50, 0.48, (-0.05, 0.01), floor=0.45)) == "absent"


def test_a_persona_near_a_floor_that_its_interval_excludes_is_not_gone() -> None:
    summary = make_summary(0.98, 0.13, (-0.9, -0.8), floor_interval=[0.04, 0.06])
    assert headline.verdict(summary) == "gives way"


def test_a_score_below_its_floor_leaves_no_negative_share() -> None:
    curve = [1.0, *[0.5] * 7]
    above, below = (
        make_summary(0.98, 0.4, (-0.7, -0.5), normalised=[*curve, x]) for x in (0.2, -0.7)
    )
    assert any("20% is left at the end" in one for one in headline.standfirst(above))
    (floor,) = (
        one for one in headline.standfirst(below) if one.startswith("With no system prompt")
    )
    assert floor.endswith(", and the score at the end is no higher.")


def test_one_conversation_allows_no_verdict() -> None:
    summary = make_summary(1.0, 0.0, (-1.0, -1.0), conversations=1)
    assert (
        headline.headline(summary) == "One conversation: 1.00 at the start, 0.00 after eight rounds"
    )


def test_a_run_without_round_zero_has_a_headline() -> None:
    none = {"value": None, "interval": [None, None]}
    summary = make_summary(0.9, 0.5, (-0.5, -0.3), stability=[None, *[0.7] * 7, 0.5], change=none)
    assert headline.headline(summary) == "Stability is 0.70 at round 1 and 0.50 after eight rounds"
    begun = make_summary(0.9, 0.5, (-0.3, -0.1), stability=[None, *[0.7] * 7, 0.5])
    assert headline.headline(begun).startswith(
        "The persona slips: from 0.70 at round 1 to 0.50 over"
    )


def test_a_run_whose_conversations_all_end_early_says_so() -> None:
    none = {"value": None, "interval": [None, None]}
    summary = make_summary(0.9, 0.5, (-0.5, -0.3), stability=[0.9] * 8 + [None], change=none)
    assert headline.headline(summary) == (
        "Stability is 0.90 at the start; no conversation has a score after eight rounds"
    )


def test_one_round_is_singular() -> None:
    assert "over one round (" in headline.headline(make_summary(0.98, 0.6, (-0.4, -0.3), rounds=1))
    assert "over 16 rounds (" in headline.headline(make_summary(0.98, 0.6, (-0.4, -0.3), rounds=16))


@pytest.mark.parametrize(
    ("change", "delta", "words"),
    [
        ((-0.6, -0.4), (0.3, 0.6), "(on the same probes +0.45, +0.30 to +0.60), so length alone"),
        ((-0.3, 0.1), (0.3, 0.6), "higher than with their words (on the same probes +0.45, +0.30"),
        ((-0.6, -0.4), (-0.6, -0.3), "lower than with their words (on the same probes −0.45"),
        ((-0.6, -0.4), (-0.1, 0.2), "is not shown to differ from the end with their words (on the"),
    ],
)
def test_the_filler_sentence_goes_by_the_paired_difference(
    change: tuple[float, float], delta: tuple[float, float], words: str
) -> None:
    # The two intervals overlap: the same conversations tell the ends apart nevertheless.
    filler = {"filler": [0.6] * 9, "filler_interval": [[0.4, 0.8]] * 9}
    paired = {"value": sum(delta) / 2, "interval": list(delta)}
    (sentence,) = (
        one
        for one in headline.standfirst(
            make_summary(0.98, 0.5, change, **filler, filler_delta=paired)
        )
        if one.startswith("With neutral filler")
    )
    assert words in sentence and ("so length alone" in sentence) == words.endswith("alone")


def test_the_partners_manner_is_claimed_only_above_the_start_and_the_floor() -> None:
    rising = {
        "user_persona": [0.02] * 8 + [0.4],
        "user_persona_interval": [[0.0, 0.05]] * 8 + [[0.3, 0.5]],
    }
    low = make_summary(0.98, 0.5, (-0.6, -0.4), user_persona_floor=0.03, **rising)
    assert any("takes on its partner’s manner" in s for s in headline.standfirst(low))
    high = make_summary(0.98, 0.5, (-0.6, -0.4), user_persona_floor=0.35, **rising)
    assert not any("takes on" in s for s in headline.standfirst(high))


def test_what_was_not_measured_gets_no_sentence() -> None:
    none = dict.fromkeys(("filler", "prompt_share", "user_persona", "floor"))
    assert headline.standfirst(make_summary(0.98, 0.5, (-0.6, -0.4), **none)) == []


def test_what_no_judge_reads_of_a_logs_prompts_is_said_under_the_headline() -> None:
    summary = read_summary(run()[0])
    reading = LogReading(
        file="chats.jsonl",
        format="openai",
        unfit=0,
        unfit_lines=(),
        unjudged=("Be kind. (no rule reads it)",),
    )
    first = headline.standfirst(replace(summary, history=reading))[0]
    assert first == "The score leaves out what no judge reads: Be kind. (no rule reads it)."
    judged = replace(summary, history=replace(reading, unjudged=None))
    assert headline.standfirst(judged) == headline.standfirst(summary)


def test_one_point_alone_is_said_once() -> None:
    summary = make_summary(0.9, 0.9, (math.nan, math.nan), stability=[None] * 8 + [0.9])
    assert headline.headline(summary) == "Stability is 0.90 at round 8, the only one measured"
    nothing = make_summary(0.9, 0.9, (math.nan, math.nan), stability=[None] * 9)
    assert headline.headline(nothing) == "Nothing was measured"
