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
    ConversationMean,
    DimensionSummary,
    ExplainSummary,
    RankCorrelation,
)

SETS = {
    "no persona": "conversations without any persona",
    "shuffled": "the same tokens in a drawn order",
}
MEASURES = {
    "share": ("more attention the system prompt gets", "attention that the system prompt gets"),
    "dimension": ("higher the intrinsic dimension", "intrinsic dimension"),
}
"""A measure that goes with the score, as "The … the higher the score", and by its name."""
CHANGE = 0.1
"""Of the score: an interval that reaches it cannot tell a change that matters from none."""
_UNMEASURED = (
    f"Whether the score goes with the {MEASURES['share'][1]} cannot be said: no prompt share was "
    "measured."
)


def findings(summary: ExplainSummary) -> list[str]:
    """The sentences, in the order of the page; the first is its headline."""
    none, *others = summary.controls
    rounds = summary.setting.rounds
    of = {row.measure: row for row in summary.association if row.control == none.control}
    share = of.get("share") if none.share.prompt_share else None
    return [
        _association(share) if share else _UNMEASURED,
        _decay(none, rounds),
        *(sentence for one in others for sentence in _control(one)),
        *_dimension(summary.dimension, none.control, rounds),
        *(_association(row) for measure, row in of.items() if measure == "dimension"),
    ]


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


def _decay(none: ControlExplanation, rounds: int) -> str:
    """What share, dilution and score do without a control."""
    share, detail = none.share.prompt_share, none.share.share_detail
    courses = [
        f"{name} from {write(values[0])} to {write(values[-1])}"
        for name, values, write in (
            ("the system prompt’s share of attention goes", share, percent),
            ("its part of the text", detail.dilution if share and detail else None, percent),
            ("and the score" if share else "the score goes", none.stability, number),
        )
        if values
    ]
    return (
        f"Without a control, in {quantity(rounds, 'round')}, {', '.join(courses)}"
        f"{_reaching(none)}{_doubt(none)}."
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
        1: "raises the score",
        -1: "lowers the score",
        0: "no change of the score is shown",
    }[score_sign]
    link = "but" if share_sign * score_sign <= 0 and share_sign != score_sign else "and"
    yield (
        f"{one.control} {share_moves} ({_points(share.value, share.interval)}) "
        f"{link} {score_moves} ({signed_number(stability.value, stability.interval)}, "
        f"{span_or_why(stability.interval)}{_rests_on(stability)})."
    )


def _rests_on(change: ConversationMean) -> str:
    """How many conversations a change of the score is of, and whether they can tell."""
    span = ends(change.interval)
    if span is None:
        return ""  # where the interval would be it says that they are too few
    over = f", over {quantity(change.n, 'conversation')}"
    if sign(span) or max(-span[0], span[1]) < CHANGE:
        return over
    return f"{over}: too few to tell a change of {number(CHANGE)} from none"


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


def _association(row: Association) -> str:
    """Whether a measure goes with the score."""
    correlation, (more, name) = row.pooled, MEASURES[row.measure]
    if correlation.rho is None or not ends(correlation.interval):
        return (
            f"Whether the score goes with the {name} cannot be said: the scores of too few "
            "conversations differ."
        )
    goes = {
        1: f"The {more}, the higher the score",
        -1: f"The {more}, the lower the score",
        0: f"The score is not shown to go with the {name}",
    }
    return (
        f"{goes[sign(correlation.interval)]} (rank correlation {number(correlation.rho)}, 95% "
        f"interval {between(correlation.interval)}, across "
        f"{quantity(correlation.n, 'conversation')} within a round"
        f"{_at_equal_dilution(row.given_dilution)})."
    )


def _at_equal_dilution(correlation: RankCorrelation | None) -> str:
    if not correlation or correlation.rho is None or not ends(correlation.interval):
        return ""
    return (
        f"; {number(correlation.rho)}, {between(correlation.interval)} where the prompt’s part of "
        "the text is held fixed"
    )
