"""What each control buys and costs: rows, the Pareto front, and the sentence that recommends.

All controls are measured on the same conversations with the same draws, so every
difference from `none` is paired. Over L rounds,

    stability = mean over r = 1…L of the mean score at r
    late      = the same over the last ⌈L/4⌉ rounds
    capability = mean over kinds of question of the share answered right

Intervals are the bootstrap's of `stats`, clustered as a drift run's are. The
recommendation chooses on one half of the conversations and reports the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.curve import labels, numbers, scores
from holdfast.plan import Conversation
from holdfast.run import Record
from holdfast.stats import Array, Resampler, mean

FEWEST = 8  # conversations below which there are no halves to choose and report on


@dataclass(frozen=True)
class Lane:
    """One control's measurements, conversation by conversation.

    `own` are judge scores (conversations, rounds + 1); `right` by length and kind, the share
    of a conversation's questions answered right (conversations,); `spent` seconds and
    tokens (units, 2) of its agents' turns, the same units for every control.
    """

    control: str
    own: Array
    right: Mapping[int, Mapping[str, Array]]
    tokens: float
    spent: Array
    failures: Record


def own_scores(talks: Sequence[Record], rounds: int) -> Array:
    """Judge scores of the agents' own probes, (conversations, rounds + 1)."""
    return scores(talks, "own", rounds + 1)


def _late(length: int) -> slice:
    return slice(length - math.ceil(length / 4) + 1, length + 1)


def _over(rounds: slice) -> Callable[[Array], Array]:
    return lambda curve: np.asarray(np.nanmean(curve[..., rounds], axis=-1))


def _minus(f: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: f(a) - f(b)


def rows(lanes: Sequence[Lane], planned: Sequence[Conversation], length: int) -> list[Record]:
    """One row per control over the first `length` rounds; the first lane is `none`."""
    sample = Resampler.of(*labels(planned))
    units = Resampler.of(range(max(1, len(lanes[0].spent))))
    found = [_row(lane, lanes[0], planned, length, sample, units) for lane in lanes]
    for row in found:
        row["pareto"] = not any(_beats(other, row) for other in found)
    return found


def _row(
    lane: Lane,
    none: Lane,
    planned: Sequence[Conversation],
    length: int,
    sample: Resampler,
    units: Resampler,
) -> Record:
    whole, late = _over(slice(1, length + 1)), _over(_late(length))
    categories = np.array([c.agent.category for c in planned])
    row: Record = {"control": lane.control, "n": len(planned)}
    row |= _measure("stability", "interval", "delta", "delta_interval", whole, lane, none, sample)
    row |= _measure(
        "late_stability",
        "late_interval",
        "late_delta",
        "late_delta_interval",
        late,
        lane,
        none,
        sample,
    )
    row["by_category"] = {
        str(name): numbers(whole(mean(lane.own[categories == name])))
        for name in dict.fromkeys(categories)
    }
    row |= _capability(lane, none, length, sample)
    row["tokens_per_reply"] = round(lane.tokens, 1)
    row |= _speed(lane, none, units)
    row["curve"] = numbers(mean(lane.own[:, : length + 1]))
    row["curve_interval"] = numbers(sample.interval(lane.own[:, : length + 1]))
    row["failures"] = lane.failures
    return row


def _measure(
    value: str,
    band: str,
    delta: str,
    delta_band: str,
    of: Callable[[Array], Array],
    lane: Lane,
    none: Lane,
    sample: Resampler,
) -> Record:
    difference = _minus(of)
    return {
        value: numbers(of(mean(lane.own))),
        band: numbers(sample.statistic(of, lane.own)),
        delta: numbers(difference(mean(lane.own), mean(none.own))),
        delta_band: numbers(sample.statistic(difference, lane.own, none.own)),
    }


def _capability(lane: Lane, none: Lane, length: int, sample: Resampler) -> Record:
    """Capability over kinds, nulls where nothing was asked after this many rounds."""
    kinds = lane.right.get(length, {})
    if not kinds:
        names = ("capability", "capability_interval", "capability_delta")
        return dict.fromkeys((*names, "capability_delta_interval")) | {"capability_by_kind": {}}
    mine, plain = (np.stack([*of.right[length].values()], axis=1) for of in (lane, none))
    over = _over(slice(None))
    return {
        "capability": numbers(over(mean(mine))),
        "capability_interval": numbers(sample.statistic(over, mine)),
        "capability_delta": numbers(_minus(over)(mean(mine), mean(plain))),
        "capability_delta_interval": numbers(sample.statistic(_minus(over), mine, plain)),
        "capability_by_kind": {kind: numbers(mean(right)) for kind, right in kinds.items()},
    }


def _speed(lane: Lane, none: Lane, units: Resampler) -> Record:
    """Milliseconds per token relative to `none`, over units in which both were timed."""
    both = min(len(lane.spent), len(none.spent))
    if not both:
        return {"relative_ms_per_token": None, "relative_ms_interval": None}
    mine, plain = lane.spent[:both], none.spent[:both]

    def ratio(a: Array, b: Array) -> Array:
        return np.asarray((a[..., 0] / a[..., 1]) / (b[..., 0] / b[..., 1]))

    value = ratio(mine.sum(0), plain.sum(0))
    band = units.statistic(ratio, mine, plain) if both == len(units.weights[0]) else None
    return {
        "relative_ms_per_token": numbers(value),
        "relative_ms_interval": None if band is None else numbers(band),
    }


def _beats(other: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """At least as good in stability and capability, and better in one."""
    mine, theirs = (
        (r["stability"] or 0.0, r["capability"] if r["capability"] is not None else 0.0)
        for r in (row, other)
    )
    return theirs[0] >= mine[0] and theirs[1] >= mine[1] and theirs != mine


def recommendation(
    lanes: Sequence[Lane], planned: Sequence[Conversation], length: int
) -> tuple[str, str]:
    """The control to use, and the sentence that says why."""
    halves = len(planned) >= FEWEST
    even = [i for i in range(len(planned)) if i % 2 == 0 or not halves]
    odd = [i for i in range(len(planned)) if i % 2 or not halves]
    chosen = _choose([_part(lane, even) for lane in lanes], [planned[i] for i in even], length)
    found = rows([_part(lane, odd) for lane in lanes], [planned[i] for i in odd], length)
    row = next(row for row in found if row["control"] == chosen)
    return chosen, _sentence(row, found[0], len(odd), halves=halves)


def _part(lane: Lane, at: Sequence[int]) -> Lane:
    right = {
        length: {kind: share[list(at)] for kind, share in kinds.items()}
        for length, kinds in lane.right.items()
    }
    return Lane(lane.control, lane.own[list(at)], right, lane.tokens, lane.spent, lane.failures)


def _choose(lanes: Sequence[Lane], planned: Sequence[Conversation], length: int) -> str:
    """The cheapest of those that hold best without a loss of capability that can be told.

    Those within the best one's paired interval of late stability hold as well as it does. No
    control is cheapest, then fewest tokens (to a tenth of plain's), then least time.
    """
    found = rows(lanes, planned, length)
    able = [row for row in found if _able(row)]
    best = max(able, key=lambda row: row["late_stability"] or 0.0)
    sample = Resampler.of(*labels(planned))
    by_name = {lane.control: lane for lane in lanes}
    difference = _minus(_over(_late(length)))

    def as_good(row: Mapping[str, Any]) -> bool:
        pair = (by_name[best["control"]].own, by_name[row["control"]].own)
        return bool(sample.statistic(difference, *pair)[0] <= 0)

    none = found[0]
    cost = [
        (
            row is not none,
            round(row["tokens_per_reply"] / max(1.0, none["tokens_per_reply"]), 1),
            row["relative_ms_per_token"] or 0.0,
            row["control"],
        )
        for row in able
        if row is best or as_good(row)
    ]
    return str(min(cost)[3])


def _able(row: Mapping[str, Any]) -> bool:
    band = row["capability_delta_interval"]
    return band is None or band[1] >= 0


def _sentence(row: Record, none: Record, n: int, *, halves: bool) -> str:
    where = f"on {n} conversations that it was not chosen on" if halves else f"on {n} conversations"
    late = row["late_stability"]
    if row["control"] == none["control"]:
        return (
            f"Use no control: nothing holds better than plain, whose late stability is {late:.2f} "
            f"{where}, by more than the intervals."
        )
    low, high = row["late_delta_interval"]
    text = (
        f"Use {row['control']}: {where} its late stability is {late:.2f} against "
        f"{none['late_stability']:.2f} without control ({row['late_delta']:+.2f} "
        f"[{low:+.2f}, {high:+.2f}])"
    )
    if row["capability"] is not None:
        low, high = row["capability_delta_interval"]
        text += f", capability {row['capability_delta']:+.2f} [{low:+.2f}, {high:+.2f}]"
    tokens = row["tokens_per_reply"] / none["tokens_per_reply"]
    return f"{text}, {tokens:.2f} times the tokens a reply."
