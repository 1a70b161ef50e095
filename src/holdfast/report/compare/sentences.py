"""A comparison in words: what is lost without control, what holds it, and what that costs.

The recommendation's own figures come from conversations on which it was not chosen; the
sentences here are about all conversations, as the figures and tables are.

This module knows a comparison's summary and English. It knows neither HTML nor charts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.report.compare.entries import ControlEntry, control_entries, counterpart, late_rounds
from holdfast.report.words import (
    between,
    capitalise,
    inconclusive,
    number,
    quantity,
    screening,
    signed_number,
    span_or_why,
)
from holdfast.results.compare import CompareSummary, ControlRow

CLEAR = 0.005
"""Of stability: a smaller difference is not called higher."""


def headline(recommendation: str) -> tuple[str, str]:
    """The recommendation as a headline, what to use, and as a sentence, why."""
    sentence = re.sub(r"(?<![\w.])-(?=\d)", "−", recommendation).strip()
    use, _, why = sentence.partition(": ")
    return use.rstrip("."), capitalise(why)


def times_of_none(row: ControlRow) -> str:
    """What a control costs beside none, in words; empty where that was not measured."""
    tokens, time = row.relative_tokens, row.relative_ms_per_token
    parts = [f"{tokens:.2f} times the tokens a reply"] if tokens is not None else []
    if time is not None:
        interval = f" ({between(row.relative_ms_interval)})" if row.relative_ms_interval else ""
        parts.append(f"{time:.2f} times the time a token{interval}")
    return " and ".join(parts)


def lead_sentences(summary: CompareSummary) -> list[str]:
    """What none loses, what the chosen control buys and costs, and what would hold better."""
    entries = control_entries(summary)
    none, other = entries[0], counterpart(entries)
    outcome = summary.setting.screened
    sentences = [screening(outcome)] if outcome else []
    sentences.append(_loss(none.row, summary.setting.rounds))
    sentences.append(_capability_says_nothing(summary))
    if summary.refused:
        sentences.append(f"Left out, since the model refuses it: {', '.join(summary.refused)}.")
    if other is not None:
        sentences += [_gain(other), _cost(none.row, other.row), _steadier(other, entries)]
    return [sentence for sentence in sentences if sentence]


def _loss(none: ControlRow, length: int) -> str:
    first, late = none.curve[0] if none.curve else None, none.late_stability
    if late is None:
        return ""
    scope = "one conversation" if none.n == 1 else f"all {quantity(none.n, 'conversation')}"
    start = f"Without control, over {scope}, stability"
    rounds = late_rounds(length)
    if first is None:
        return f"{start} is {number(late)} in {rounds}."
    if abs(first - late) <= CLEAR:
        return f"{start} is {number(first)} on the empty history and {number(late)} in {rounds}."
    return f"{start} goes from {number(first)} on the empty history to {number(late)} in {rounds}."


def _gain(other: ControlEntry) -> str:
    row = other.row
    if row.late_stability is None or row.late_delta is None:
        return ""
    name = other.name if other.recommended else f"The best of the others, {other.name},"
    change = signed_number(row.late_delta, row.late_delta_interval)
    gain = f"{change}, {span_or_why(row.late_delta_interval, '95% interval ')}"
    return f"{name} ends at {number(row.late_stability)} ({gain})."


def _capability_says_nothing(summary: CompareSummary) -> str:
    """Why capability says nothing here, if it does."""
    why = inconclusive([row.capability for row in summary.rows], 0.0)
    if why is None:
        return ""
    some = "next to none" if (summary.rows[0].capability or 0.0) < 0.5 else "next to all"
    return f"Capability says nothing here: {some} of its questions are answered right."


def _cost(none: ControlRow, row: ControlRow) -> str:
    times = times_of_none(row)
    costs = [f"it takes {times}"] if times else []
    edges = inconclusive([none.capability, row.capability], 0.0)
    if row.capability_delta is not None and edges is None:
        change = signed_number(row.capability_delta, row.capability_delta_interval)
        costs.append(
            f"capability changes by {change} ({span_or_why(row.capability_delta_interval)})"
        )
    text = "; ".join(costs)
    return f"{capitalise(text)}." if costs else ""


def _steadier(other: ControlEntry, entries: Sequence[ControlEntry]) -> str:
    """The control with the highest late stability, where it is not the chosen one.

    Of the highest that loses no capability the recommendation itself says why it was not chosen.
    """
    row = other.row
    top = max((entry.row for entry in entries), key=lambda r: r.late_stability or 0.0)
    if (top.late_stability or 0.0) <= (row.late_stability or 0.0) + CLEAR:
        return ""
    text = f"The highest is {top.control} at {number(top.late_stability)}"
    interval = top.capability_delta_interval
    if interval is None or interval[1] >= 0:
        return "" if other.recommended and top.n >= entries[0].row.n else f"{text}."
    text += f", which loses capability ({signed_number(top.capability_delta, interval)})"
    own, plain = top.capability_by_kind, entries[0].row.capability_by_kind
    falls = {
        kind: before - after
        for kind, after in own.items()
        if after is not None and (before := plain.get(kind)) is not None
    }
    kind = max(falls, key=lambda one: falls[one], default=None)
    if kind is None or falls[kind] <= 0:
        return f"{text}."
    return f"{text}, most of all {kind}: {number(plain[kind])} to {number(own[kind])}."
