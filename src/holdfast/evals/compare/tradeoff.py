"""What each control buys and costs: the rows of a comparison, and the Pareto front.

All controls are measured on the same conversations, and all intervals come from the
same draws. Over L rounds,

    stability  = mean over r = 1…L of the mean score after r rounds
    late       = the same over the last ⌈L/4⌉ rounds
    capability = mean over kinds of question of the share answered right
    delta      = the value less none's, on what both have (paired)
    relative   = (seconds / tokens) / (none's seconds / tokens), of the agents' turns

Intervals are the bootstrap's of `stats`, clustered as a drift run's are; those of the
relative time resample (batch, round), in which controls take turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from holdfast.control.text import parse, split
from holdfast.core.records import Record
from holdfast.core.stats import Array, Resampler, mean, numbers
from holdfast.evals.compare.by_control import Lane
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.scores import labels

Of = Callable[[Array], Array]  # of values over the last axis to one number


def late(length: int) -> slice:
    """The last quarter of rounds 1…length, rounded up."""
    return slice(length - math.ceil(length / 4) + 1, length + 1)


def over(at: slice) -> Of:
    """The mean over a part of the last axis."""
    return lambda values: mean(values[..., at], axis=-1)


def rows(
    lanes: Sequence[Lane],
    planned: Sequence[Conversation],
    length: int,
    questions: Sequence[int] | None = None,
) -> list[Record]:
    """One row per control over the first `length` rounds; the first lane is `none`.

    Capability is of the questions asked after the rounds in `questions`, by default
    after the last.
    """
    asked = [length] if questions is None else questions
    sample = Resampler.of(*labels(planned))
    units = Resampler.of(range(max(1, len(lanes[0].spent) * length)))
    found = [_row(lane, lanes[0], planned, length, asked, sample, units) for lane in lanes]
    for row in found:
        row["pareto"] = not any(_beats(other, row) for other in found)
    return found


def _row(
    lane: Lane,
    none: Lane,
    planned: Sequence[Conversation],
    length: int,
    questions: Sequence[int],
    sample: Resampler,
    units: Resampler,
) -> Record:
    whole, kinds = slice(1, length + 1), over(slice(None))
    own, plain = lane.own[:, : length + 1], none.own[:, : length + 1]
    categories = np.array([c.agent.category for c in planned])
    return {
        "control": lane.control,
        "system_prompt": parse(split(lane.control)[1]).system,
        "n": int((~np.isnan(own)).any(axis=1).sum()),
        **_measure("stability", own, plain, over(whole), sample),
        **_measure("late_stability", own, plain, over(late(length)), sample),
        "by_category": {
            str(name): numbers(over(whole)(mean(own[categories == name])))
            for name in dict.fromkeys(categories)
        },
        **_measure("capability", _right(lane, questions), _right(none, questions), kinds, sample),
        "capability_by_kind": {
            kind: numbers(mean(share)) for kind, share in _by_kind(lane, questions).items()
        },
        "tokens_per_reply": _tokens(lane, whole),
        **_speed(lane.spent[:, whole], none.spent[:, whole], units),
        "curve": numbers(mean(own)),
        "curve_interval": numbers(sample.interval(own)),
        "failures": {name: int(n[: length + 1].sum()) for name, n in lane.failures.items()},
    }


# What a measure, its interval, its difference from none and that one's interval are called.
_NAMES = {
    "stability": ("stability", "interval", "delta", "delta_interval"),
    "late_stability": ("late_stability", "late_interval", "late_delta", "late_delta_interval"),
    "capability": (
        "capability",
        "capability_interval",
        "capability_delta",
        "capability_delta_interval",
    ),
}


def _measure(name: str, mine: Array, plain: Array, of: Of, sample: Resampler) -> Record:
    """A mean and its paired difference from `none`; nulls where nothing was measured."""
    names = _NAMES[name]
    if not mine.size:
        return dict.fromkeys(names)
    found = (of(mean(mine)), _band(mine, of, sample), *difference(mine, plain, of, sample))
    return {
        key: None if np.isnan(value).any() else numbers(value)
        for key, value in zip(names, found, strict=True)
    }


def _band(values: Array, of: Of, sample: Resampler) -> Array:
    """The interval; Wilson's where every conversation is all right or all wrong (`stats`)."""
    single = of(values)
    if np.isin(single[~np.isnan(single)], (0.0, 1.0)).all():
        return sample.interval(single)
    return sample.statistic(of, values)


def difference(mine: Array, plain: Array, of: Of, sample: Resampler) -> tuple[Array, Array]:
    """`of` one less the other's and its interval, over what was measured under both."""
    either = np.isnan(mine) | np.isnan(plain)
    a, b = np.where(either, np.nan, mine), np.where(either, np.nan, plain)
    return of(mean(a)) - of(mean(b)), sample.statistic(lambda x, y: of(x) - of(y), a, b)


def _by_kind(lane: Lane, questions: Sequence[int]) -> dict[str, Array]:
    """Each conversation's share of right answers by kind, those after some rounds only."""
    asked = {kind: share[:, list(questions)] for kind, share in lane.right.items()}
    return {kind: mean(share, axis=1) for kind, share in asked.items() if share.size}


def _right(lane: Lane, questions: Sequence[int]) -> Array:
    """The same as (conversations, kinds)."""
    shares = [*_by_kind(lane, questions).values()]
    return np.stack(shares, axis=1) if shares else np.empty((0, 0))


def _tokens(lane: Lane, whole: slice) -> float | None:
    counted = lane.tokens[:, whole]
    return None if np.isnan(counted).all() else round(float(np.nanmean(counted)), 1)


def _speed(mine: Array, plain: Array, units: Resampler) -> Record:
    """Time per token relative to `none`, over the units in which both were timed."""
    either = np.isnan(mine) | np.isnan(plain)
    a, b = (np.where(either, np.nan, spent).reshape(-1, 2) for spent in (mine, plain))
    n = int((~np.isnan(a[:, 0])).sum())
    if not n:
        return {"relative_ms_per_token": None, "relative_ms_interval": None}
    band = units.statistic(_ratio, a, b) if n > 1 else None  # one unit has no spread
    return {
        "relative_ms_per_token": numbers(_ratio(mean(a), mean(b))),
        "relative_ms_interval": None if band is None else numbers(band),
    }


def _ratio(mine: Array, plain: Array) -> Array:
    return np.asarray((mine[..., 0] / mine[..., 1]) / (plain[..., 0] / plain[..., 1]))


def _beats(other: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """At least as good in stability and capability, and better in one."""
    theirs, mine = ((r["stability"] or 0.0, r["capability"] or 0.0) for r in (other, row))
    return theirs[0] >= mine[0] and theirs[1] >= mine[1] and theirs != mine
