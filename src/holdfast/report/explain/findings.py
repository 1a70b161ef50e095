"""What an explanation comes to, a sentence each, made from its summary.

A difference or a correlation is only called one where its interval excludes 0, and is
called missing by name where it does not: a negative result is a result.

This module knows a summary and English. It knows neither HTML nor charts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.report.words import (
    between,
    ends,
    known,
    number,
    percent,
    quantity,
    signed,
    signed_span,
)

Summary = Mapping[str, Any]


def findings(summary: Summary) -> list[str]:
    """The sentences, in the order of the page."""
    return [
        *_decay(summary["controls"][0], summary["rounds"]),
        *(sentence for one in summary["controls"][1:] for sentence in _control(one)),
        *_dimension(summary),
        *_association(summary),
    ]


def headline(summary: Summary) -> str:
    """What share and score did without a control, in one sentence without a full stop."""
    none, rounds = summary["controls"][0], quantity(summary["rounds"], "round")
    share, score = none["prompt_share"] or (None,), none["stability"]
    return (
        f"In {rounds} the share of attention that the system prompt gets goes from "
        f"{percent(share[0])} to {percent(share[-1])}, and the score from {number(score[0])} to "
        f"{number(score[-1])}"
    )


def sign(interval: Sequence[Any] | None) -> int:
    """1 or -1 where an interval lies above or below 0, else 0."""
    found = ends(interval)
    return 0 if found is None else (found[0] > 0) - (found[1] < 0)


def _decay(none: Summary, rounds: int) -> Iterator[str]:
    detail = none.get("share_detail")
    if not detail or known(none["prompt_share"][-1]) is None:
        return
    share, dilution = none["prompt_share"], detail["dilution"]
    yield (
        f"Without a control an answer gives {percent(share[0])} of its attention to the system "
        f"prompt at round 0 and {percent(share[-1])} at round {rounds}, while the prompt’s part of "
        f"the text goes from {percent(dilution[0])} to {percent(dilution[-1])}."
    )


def _control(one: Summary) -> Iterator[str]:
    share, held = one["share_delta"], one["stability_delta"]
    if known(share["value"]) is None or known(held["value"]) is None:
        return
    moved = {1: "raises the share", -1: "lowers the share", 0: "leaves the share where it was"}
    kept = {1: "raises stability", -1: "lowers stability", 0: "no change of stability is shown"}
    up, better = sign(share["interval"]), sign(held["interval"])
    joined = "but" if up * better <= 0 and up != better else "and"
    yield (
        f"{one['control']} {moved[up]} ({_points(share['value'])} on average over rounds, "
        f"{' to '.join(map(_points, share['interval']))}) {joined} {kept[better]} "
        f"({signed(held['value'])}, {signed_span(held['interval'])})."
    )


def _points(value: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{100 * value:+.1f} points".replace("-", "−")


def _dimension(summary: Summary) -> Iterator[str]:
    found = summary.get("dimension")
    if not found:
        return
    name, n = summary["controls"][0]["control"], found["vectors"]["many"]
    row = next(
        one
        for one in found["growth"]
        if (one["set"], one["measure"], one["count"]) == (name, "participation", "many")
    )
    if known(row["value"]) is None or not ends(row["interval"]):
        return
    grows = {1: "grows", -1: "shrinks", 0: "is not shown to change"}[sign(row["interval"])]
    yield (
        f"At an equal number of vectors ({n}) the intrinsic dimension of the values in view "
        f"{grows} from round {row['from']} to round {summary['rounds']} ({signed(row['value'])} "
        f"of participation, {signed_span(row['interval'])})."
    )
    for other, beyond in row["beyond"].items():
        if not ends(beyond["interval"]):
            continue
        told = {1: "it grows more", -1: "it grows less", 0: "no difference in growth is shown"}
        yield (
            f"Beside {_OTHERS[other]} {told[sign(beyond['interval'])]} "
            f"({signed(beyond['value'])}, {signed_span(beyond['interval'])})."
        )


_OTHERS = {
    "no persona": "conversations without any persona",
    "shuffled": "the same tokens in a drawn order",
}


def _association(summary: Summary) -> Iterator[str]:
    control = summary["controls"][0]["control"]
    for row in summary["association"]:
        if row["control"] != control or row["measure"] == "dilution":
            continue
        pooled, fixed = row["pooled"], row["given_dilution"]
        if known(pooled["rho"]) is None or not ends(pooled["interval"]):
            yield (
                f"Whether {_MEASURES[row['measure']]} goes with the score cannot be said: scores "
                "do not differ enough between conversations."
            )
            continue
        told = {1: "goes with a higher", -1: "goes with a lower", 0: "is not shown to go with the"}
        yield (
            f"Across {quantity(pooled['n'], 'conversation')}, within rounds, "
            f"{_MEASURES[row['measure']]} {told[sign(pooled['interval'])]} score (rank correlation "
            f"{number(pooled['rho'])}, {between(pooled['interval'])}{_fixed(fixed)})."
        )


_MEASURES = {"share": "a higher share", "dimension": "a higher dimension"}


def _fixed(found: Summary | None) -> str:
    if not found or known(found["rho"]) is None or not ends(found["interval"]):
        return ""
    return (
        f"; {number(found['rho'])}, {between(found['interval'])} where the prompt’s part of the "
        "text is held fixed"
    )
