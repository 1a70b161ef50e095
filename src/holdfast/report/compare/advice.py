"""A comparison in words: what is lost without control, what holds it, and what that costs.

The recommendation's own figures come from conversations on which it was not chosen;
the sentences here speak of all of them, as the figures and tables do.

This module knows a comparison's summary and English. It knows neither HTML nor charts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.report.compare.contender import Contender, contenders, late_rounds, rival
from holdfast.report.words import known, number, quantity, signed, signed_span

CLEAR = 0.005  # of stability; less is not said to be higher


def headline(summary: Mapping[str, Any]) -> tuple[str, str]:
    """The recommendation in two parts: what to use, and why."""
    sentence = re.sub(r"(?<![\w.])-(?=\d)", "−", str(summary["recommendation"])).strip()
    head, colon, rest = sentence.partition(": ")
    return (head, rest.rstrip(".")) if colon else (sentence.rstrip("."), "")


def standfirst(summary: Mapping[str, Any]) -> list[str]:
    """What none loses, what the chosen control buys and costs, and what would hold better."""
    found = contenders(summary)
    if not found:
        return []
    said, other = [_loss(found[0], summary["rounds"])], rival(found)
    if other is not None:
        said += [_gain(other), _cost(found[0], other), _steadier(other, found)]
    return [sentence for sentence in said if sentence]


def plain(summary: Mapping[str, Any]) -> list[str]:
    """The same for a terminal: the recommendation, then the sentences."""
    return [str(summary["recommendation"]), *standfirst(summary)]


def _loss(none: Contender, length: int) -> str:
    late, curve = none.value("late_stability"), none.row.get("curve") or [None]
    first = known(curve[0])
    if late is None:
        return ""
    over = f"Without control, over all {quantity(none.row['n'], 'conversation')}, stability"
    there = late_rounds(length)
    if first is None:
        return f"{over} is {number(late)} in {there}."
    if abs(first - late) <= CLEAR:
        return f"{over} is {number(first)} on the empty history and {number(late)} in {there}."
    return f"{over} goes from {number(first)} on the empty history to {number(late)} in {there}."


def _gain(other: Contender) -> str:
    value, change = other.value("late_stability"), other.value("late_delta")
    if value is None or change is None:
        return ""
    span = signed_span(other.row.get("late_delta_interval"))
    who = other.name if other.recommended else f"The best of the others, {other.name},"
    return f"{who} ends at {number(value)} ({signed(change)}, 95% interval {span})."


def _cost(none: Contender, other: Contender) -> str:
    tokens, base = other.value("tokens_per_reply"), none.value("tokens_per_reply")
    time, change = other.value("relative_ms_per_token"), other.value("capability_delta")
    parts = []
    if tokens is not None and base:
        parts.append(f"{tokens / base:.2f} times the tokens a reply")
    if time is not None:
        parts.append(f"{time:.2f} times the time a token")
    said = [f"it takes {' and '.join(parts)}"] if parts else []
    if change is not None:
        span = signed_span(other.row.get("capability_delta_interval"))
        said.append(f"capability changes by {signed(change)} ({span})")
    return f"{_capital('; '.join(said))}." if said else ""


def _steadier(other: Contender, found: Sequence[Contender]) -> str:
    """The control with the highest late stability, where it is not the chosen one."""
    top = max(found, key=lambda c: c.value("late_stability") or 0.0)
    high = top.value("late_stability") or 0.0
    if high <= (other.value("late_stability") or 0.0) + CLEAR:
        return ""
    text = f"The highest is {top.name} at {number(high)}"
    loss = top.span("capability_delta_interval")
    if loss is None or loss[1] >= 0:
        return f"{text}."
    text += f", which loses capability ({signed(top.row['capability_delta'])})"
    mine, plain = (c.row.get("capability_by_kind") or {} for c in (top, found[0]))
    falls = {k: plain[k] - mine[k] for k in mine if None not in (mine[k], plain.get(k))}
    most = max(falls, key=lambda kind: falls[kind], default=None)
    if most is None or falls[most] <= 0:
        return f"{text}."
    return f"{text}, most of all {most}: {number(plain[most])} to {number(mine[most])}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
