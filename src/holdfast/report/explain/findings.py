"""What an explanation finds, a sentence each, made from its summary.

A sentence calls a difference or a correlation one only where its interval excludes 0, and says
so where it does not: a negative result is a result.

This module knows a summary and English. It knows neither HTML nor charts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.report.words import (
    between,
    ends,
    number,
    percent,
    quantity,
    signed_end,
    signed_number,
    signed_span,
    span_or_why,
)
from holdfast.results.explain import (
    Association,
    ControlExplanation,
    DimensionSummary,
    ExplainSummary,
    RankCorrelation,
)

SETS = {
    "no persona": "conversations without any persona",
    "shuffled": "the same tokens in a drawn order",
}
MEASURES = {"share": "a higher share", "dimension": "a higher dimension"}


def findings(summary: ExplainSummary) -> list[str]:
    """The sentences, in the order of the page."""
    none, *others = summary.controls
    rounds = summary.setting.rounds
    return [
        *_decay(none, rounds),
        *(sentence for one in others for sentence in _control(one)),
        *_dimension(summary.dimension, none.control, rounds),
        *(sentence for row in summary.association if row.control == none.control
          for sentence in _association(row)),
    ]  # fmt: skip


def headline(summary: ExplainSummary) -> str:
    """What share and score did without a control, in one sentence without a full stop."""
    none, rounds = summary.controls[0], quantity(summary.setting.rounds, "round")
    share, score = none.share.prompt_share, none.stability
    if not share:
        return (
            f"In {rounds} the score goes from {number(score[0])} to {number(score[-1])}"
            f"{_reaching(none)}; no prompt share was measured{_doubt(none)}"
        )
    return (
        f"In {rounds} the share of attention that the system prompt gets goes from "
        f"{percent(share[0])} to {percent(share[-1])}, and the score from {number(score[0])} to "
        f"{number(score[-1])}{_reaching(none)}{_doubt(none)}"
    )


def _doubt(none: ControlExplanation) -> str:
    """What to say where the scores at the two ends are no change that is shown."""
    first, last = ends(none.interval[0]), ends(none.interval[-1])
    if first is None or last is None:
        return f"; no change can be shown with {quantity(none.n[-1], 'conversation')}"
    overlap = first[0] <= last[1] and last[0] <= first[1]
    return "; the intervals of the two scores overlap" if overlap else ""


def _reaching(none: ControlExplanation) -> str:
    """How many conversations are behind the end, where they are fewer than at the start."""
    first, last = none.n[0], none.n[-1]
    if last == first:
        return ""
    return f" (at the end over the {last} of {quantity(first, 'conversation')} that reach it)"


def sign(interval: Sequence[Any] | None) -> int:
    """1 or -1 where an interval lies above or below 0, else 0."""
    span = ends(interval)
    return 0 if span is None else (span[0] > 0) - (span[1] < 0)


def _decay(none: ControlExplanation, rounds: int) -> Iterator[str]:
    share, detail = none.share.prompt_share, none.share.share_detail
    if not share or not detail or share[-1] is None:
        return
    dilution = detail.dilution
    yield (
        f"Without a control an answer gives {percent(share[0])} of its attention to the system "
        f"prompt at round 0 and {percent(share[-1])} at round {rounds}, while the prompt’s part of "
        f"the text goes from {percent(dilution[0])} to {percent(dilution[-1])}{_reaching(none)}."
    )


def _control(one: ControlExplanation) -> Iterator[str]:
    share, stability = one.share_delta, one.stability_delta
    if share.value is None or stability.value is None:
        return
    share_sign, score_sign = sign(share.interval), sign(stability.interval)
    share_moves = {
        1: "raises the share",
        -1: "lowers the share",
        0: "is not shown to change the share",
    }[share_sign]
    score_moves = {
        1: "raises stability",
        -1: "lowers stability",
        0: "no change of stability is shown",
    }[score_sign]
    link = "but" if share_sign * score_sign <= 0 and share_sign != score_sign else "and"
    yield (
        f"{one.control} {share_moves} ({_points(share.value, share.interval)}) "
        f"{link} {score_moves} ({signed_number(stability.value, stability.interval)}, "
        f"{span_or_why(stability.interval)})."
    )


def _points(change: float, interval: Sequence[Any]) -> str:
    """A change of the share with its interval, in percentage points."""
    value = signed_number(100 * change, interval, places=1)
    return f"{value} points on average over rounds, {span_or_why(interval, write=_end_in_points)}"


def _end_in_points(end: float) -> str:
    return f"{signed_end(100 * end, places=1)} points"


def _dimension(dimension: DimensionSummary | None, control: str, rounds: int) -> Iterator[str]:
    if not dimension:
        return
    key = (control, "participation", "many")
    row = next(one for one in dimension.growth if (one.set, one.measure, one.count) == key)
    if row.growth.value is None or not ends(row.growth.interval):
        return
    grows = {1: "grows", -1: "shrinks", 0: "is not shown to change"}[sign(row.growth.interval)]
    yield (
        f"At an equal number of vectors ({dimension.vectors['many']}) the intrinsic dimension of "
        f"the values in view {grows} from round {row.from_round} to round {rounds} "
        f"(participation ratio {signed_number(row.growth.value, row.growth.interval)}, "
        f"{signed_span(row.growth.interval)})."
    )
    for name, beyond in row.beyond.items():
        if not ends(beyond.interval):
            continue
        more = {1: "it grows more", -1: "it grows less", 0: "no difference in growth is shown"}
        yield (
            f"Beside {SETS[name]} {more[sign(beyond.interval)]} "
            f"({signed_number(beyond.value, beyond.interval)}, {signed_span(beyond.interval)})."
        )


def _association(row: Association) -> Iterator[str]:
    if row.measure not in MEASURES:
        return
    correlation, measure = row.pooled, MEASURES[row.measure]
    if correlation.rho is None or not ends(correlation.interval):
        yield (
            f"Whether {measure} goes with the score cannot be said: scores do not differ enough "
            "between conversations."
        )
        return
    goes = {1: "goes with a higher", -1: "goes with a lower", 0: "is not shown to go with the"}
    yield (
        f"Across {quantity(correlation.n, 'conversation')}, within rounds, "
        f"{measure} {goes[sign(correlation.interval)]} score (rank correlation "
        f"{number(correlation.rho)}, {between(correlation.interval)}"
        f"{_at_equal_dilution(row.given_dilution)})."
    )


def _at_equal_dilution(correlation: RankCorrelation | None) -> str:
    if not correlation or correlation.rho is None or not ends(correlation.interval):
        return ""
    return (
        f"; {number(correlation.rho)}, {between(correlation.interval)} where the prompt’s part of "
        "the text is held fixed"
    )
