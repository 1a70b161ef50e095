"""Which control to use, in one sentence that its numbers can bear.

The best of many controls looks better than it is on the conversations it was chosen
on. So it is chosen on one half, every second conversation of each category, and what is
said of it is measured on the other half:

    able      scored on all conversations that none was, and does not clearly lose more than
              .02 of capability against it: its paired interval reaches a loss of .02 or less
    best      the able control with the highest late stability
    as good   able, and the paired interval of best less it reaches 0
    chosen    of those as good as best: none, else the fewest tokens, else the least time,
              else the most stable

What is within a tenth of none's cost of the least costs alike, so that noise decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.core.records import Record
from holdfast.core.stats import Resampler
from holdfast.evals.compare.by_control import Lane
from holdfast.evals.compare.tradeoff import difference, late, over, rows
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.scores import labels

FEWEST = 8  # conversations; of fewer there are no halves to choose and to report on
LOSS = 0.02  # of capability; a control that clearly loses more is left out
NEAR = 0.1  # of none's cost: what is no difference


class Advice(NamedTuple):
    """The control to use, why, and the conversations (ids) it was chosen and reported on."""

    control: str
    sentence: str
    chosen_on: list[int]
    reported_on: list[int]


def advise(
    lanes: Sequence[Lane],
    planned: Sequence[Conversation],
    length: int,
    questions: Sequence[int] | None = None,
) -> Advice:
    """The control that holds best over `length` rounds for what it costs; `none` is the first."""
    first, second = _halves(planned)
    told = [planned[i] for i in first]
    chosen, best = _chosen([lane.part(first) for lane in lanes], told, length, questions)
    others = [planned[i] for i in second]
    found = rows([lane.part(second) for lane in lanes], others, length, questions)
    at = {row["control"]: row for row in found}
    few = first == second
    sentence = _sentence(at[chosen], at.get(best), found, len(first), len(second), few=few)
    return Advice(chosen, sentence, [c.id for c in told], [c.id for c in others])


def _halves(planned: Sequence[Conversation]) -> tuple[list[int], list[int]]:
    """Every second conversation of each category, and the rest; all twice where they are few."""
    order = sorted(range(len(planned)), key=lambda i: planned[i].agent.category)
    if len(order) < FEWEST:
        return sorted(order), sorted(order)
    return sorted(order[::2]), sorted(order[1::2])


def _chosen(
    lanes: Sequence[Lane],
    planned: Sequence[Conversation],
    length: int,
    questions: Sequence[int] | None,
) -> tuple[str, str | None]:
    """The control that is chosen, and the best of those beside `none` that are able."""
    found = rows(lanes, planned, length, questions)
    none, own = found[0], {lane.control: lane.own for lane in lanes}
    able = [row for row in found if _able(row, none)]
    if not able:
        return str(none["control"]), None
    best = max(able, key=lambda row: float(row["late_stability"]))
    sample, of = Resampler.of(*labels(planned)), over(late(length))

    def as_good(row: Mapping[str, Any]) -> bool:
        gap = difference(own[best["control"]], own[row["control"]], of, sample)[1]
        return bool(gap[0] <= 0)

    alike = [row for row in able if row is best or as_good(row)]
    chosen = none if any(row is none for row in alike) else _cheapest(alike, none)
    others = [row for row in able if row is not none]
    top = max(others, key=lambda row: float(row["late_stability"]), default=None)
    return str(chosen["control"]), None if top is None else str(top["control"])


def _cheapest(alike: Sequence[Mapping[str, Any]], none: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the rows with the fewest tokens, and of these with the least time, the most stable."""
    tokens = [_relative(row, none) or 0.0 for row in alike]
    alike = [row for row, cost in zip(alike, tokens, strict=True) if cost <= min(tokens) + NEAR]
    times = [row["relative_ms_per_token"] or 0.0 for row in alike]
    alike = [row for row, cost in zip(alike, times, strict=True) if cost <= min(times) + NEAR]
    return max(alike, key=lambda row: float(row["late_stability"]))


def _able(row: Mapping[str, Any], none: Mapping[str, Any]) -> bool:
    """Measured late and on all, and not clearly beyond the loss of capability that is allowed."""
    band, whole = row["capability_delta_interval"], row["n"] == none["n"]
    return whole and row["late_stability"] is not None and (band is None or band[1] >= -LOSS)


def _relative(row: Mapping[str, Any], none: Mapping[str, Any]) -> float | None:
    """Tokens of a reply, relative to none's; None where they were not counted."""
    mine, plain = row["tokens_per_reply"], none["tokens_per_reply"]
    return mine / plain if mine and plain else None


def _sentence(
    row: Record, best: Record | None, found: Sequence[Record], chosen: int, said: int, *, few: bool
) -> str:
    none = found[0]
    if none["late_stability"] is None or row["late_stability"] is None:
        return "Nothing to recommend: no conversation reached the last quarter of its rounds."
    if len(found) == 1:
        return (
            f"Nothing to choose between: only none was run, whose late stability is "
            f"{none['late_stability']:.2f} on {_talks(said)}."
        )
    where = (
        f"of {_talks(said)}, too few to choose on some and report others,"
        if few
        else f"chosen on {_talks(chosen)} and measured on {said} others,"
    )
    if row is none:
        return f"Use no control: {where} none has a late stability of {_others(found, best)}."
    figures = ", ".join(_figures(row, none))
    return f"Use {row['control']}: {where} it has a late stability of {figures}."


def _others(found: Sequence[Record], best: Record | None) -> str:
    """None's late stability, and why no other control was taken."""
    none, *others = found
    text = f"{none['late_stability']:.2f}"
    if best is None and all(row["n"] < none["n"] for row in others):
        return f"{text}, and no other control was made for all of these personas"
    if best is None:
        return f"{text}, and every control clearly lost more than {LOSS:.2f} of capability"
    shown = "was not measured there"
    if best["late_delta"] is not None:
        shown = f"has {best['late_stability']:.2f} ({_change(best, 'late_delta')})"
    return (
        f"{text}; the best of those that do not clearly lose {LOSS:.2f} of capability, "
        f"{best['control']}, {shown}, and where the choice was made it was not better by more "
        "than its interval"
    )


def _talks(n: int) -> str:
    return f"{n} conversation{'' if n == 1 else 's'}"


def _figures(row: Record, none: Record) -> list[str]:
    """What it holds, what it costs, and what the intervals do not bear out."""
    text = f"{row['late_stability']:.2f} against {none['late_stability']:.2f} for none "
    text += f"({_change(row, 'late_delta')})"
    said = [text if row["late_delta_interval"][0] > 0 else f"{text}, which is not clearly better"]
    if row["capability_delta"] is None:
        said.append("capability was not measured")
    else:
        lost = row["capability_delta_interval"][1] < -LOSS
        change = _change(row, "capability_delta")
        said.append(f"capability changes by {change}{', a clear loss' if lost else ''}")
    tokens, time = _relative(row, none), row["relative_ms_per_token"]
    cost = [f"{tokens:.2f} times the tokens a reply"] if tokens else []
    cost += [f"{time:.2f} times the time a token"] if time else []
    return [*said, f"at {' and '.join(cost)}"] if cost else said


def _change(row: Record, name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"{row[name]:+.2f} [{low:+.2f}, {high:+.2f}]"
