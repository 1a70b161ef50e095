"""Curves and intervals of a drift run, from judged conversations.

Means are over conversations, a conversation's probe runs averaged first. Intervals take
conversations, agents' and users' personas as drawn anew (`core.intervals`).

    normalised(r) = (stability(r) - floor) / (ceiling - floor),  ceiling = stability(0)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.core.intervals import FEWEST, Sample
from holdfast.core.stats import Array, mean, normalise, numbers
from holdfast.evals.conversation.judging import scores, stability_scores
from holdfast.evals.conversation.plan import Conversation
from holdfast.results.conversation import JudgedConversation
from holdfast.results.drift import CategoryCurve, Change, Curves, Interval, Values


def sample_of(plan: Sequence[Conversation]) -> Sample:
    """How the conversations share personas, and their categories; recorded chats share nothing."""
    if any(c.script is not None for c in plan):
        return Sample(len(plan))
    personas = [[c.agent.id for c in plan], [c.user.id for c in plan]]
    return Sample(len(plan), personas, [c.agent.category for c in plan])


def curves(
    conversations: Sequence[JudgedConversation], plan: Sequence[Conversation], rounds: int
) -> Curves:
    """Every curve of the run with its intervals, by category too."""
    points = rounds + 1
    own = stability_scores(conversations, points)
    floor = scores(conversations, "floor", points)[:, :1]
    replies = scores(conversations, "reply", points)
    user = scores(conversations, "user", points)
    user_floor = scores(conversations, "user_floor", points)[:, 0]
    history_floor = scores(conversations, "history_floor", points)
    filler = scores(conversations, "filler", points)
    # Round 0 has no history: the same question on the empty one stands for it.
    history_floor[:, 0] = _at_start(
        history_floor, scores(conversations, "floor", points, first=True)
    )
    same_probe = scores(conversations, "own", points, first=True)
    filler[:, 0] = _at_start(filler, same_probe)
    sample = sample_of(plan)
    normal, normal_interval = _normalise_with_interval(own, floor, sample)
    return Curves(
        n=[int(v) for v in (~np.isnan(own)).sum(axis=0)],
        stability=numbers(mean(own)),
        interval=numbers(sample.score_interval(own)),
        normalised=normal,
        normalised_interval=normal_interval,
        ceiling=numbers(mean(own)[0]),
        ceiling_interval=numbers(sample.score_interval(own[:, 0])),
        floor=numbers(mean(floor)[0]),
        floor_interval=numbers(sample.score_interval(floor[:, 0])),
        change=_change(own, sample),
        user_persona=numbers(mean(user)),
        user_persona_interval=numbers(sample.score_interval(user)),
        user_persona_floor=numbers(mean(user_floor)),
        user_persona_floor_interval=numbers(sample.score_interval(user_floor)),
        history_floor=_mean_or_none(history_floor),
        history_floor_interval=_interval_or_none(history_floor, sample),
        filler=_mean_or_none(filler),
        filler_interval=_interval_or_none(filler, sample),
        filler_delta=_difference_at_the_end(filler, same_probe, sample),
        replies=_mean_or_none(replies),
        replies_interval=_interval_or_none(replies, sample),
        by_category=_by_category(own, floor, plan, sample),
    )


def _at_start(arm: Array, start: Array) -> Array:
    """Scores at round 0 of an arm that was measured at all."""
    return arm[:, 0] if np.isnan(arm).all() else start[:, 0]


def _mean_or_none(values: Array) -> Values | None:
    """Means by round; None for an arm that was not measured."""
    return None if np.isnan(values).all() else numbers(mean(values))


def _interval_or_none(values: Array, sample: Sample) -> list[Interval] | None:
    return None if np.isnan(values).all() else numbers(sample.score_interval(values))


def _normalise_with_interval(
    own: Array, floor: Array, sample: Sample
) -> tuple[Values, list[Interval]]:
    """Normalised stability, and the intervals of the ratio."""
    value = _normalise(own, floor)
    interval = sample.ratio_interval(own, floor, own[:, :1])
    interval[0] = np.where(np.isnan(interval[0]), np.nan, 1.0)  # the ceiling itself, by definition
    interval[np.isnan(value)] = np.nan
    return numbers(value), numbers(interval)


def _normalise(own: Array, floor: Array) -> Array:
    """Normalised stability by round, each over the conversations measured at that round."""
    gap = np.isnan(own) | np.isnan(floor) | np.isnan(own[:, :1])
    top, low, high = (np.where(gap, np.nan, values) for values in (own, floor, own[:, :1]))
    return normalise(mean(top), mean(low), mean(high))


def too_few(n: int) -> str | None:
    """Why a mean over n conversations has no interval; None where it has one."""
    if n >= FEWEST:
        return None
    return f"No interval: fewer than {FEWEST} conversations."


def _change(own: Array, sample: Sample) -> Change:
    """Last point minus first, on the conversations that reached the last."""
    whole = np.where(np.isnan(own[:, -1:]), np.nan, own)
    start = int((~np.isnan(own)).any(axis=0).argmax())  # recorded replies begin at round 1
    value = mean(whole)
    interval = sample.difference_interval(whole[:, -1], whole[:, start])
    return Change(numbers(value[-1] - value[start]), numbers(interval))


def _difference_at_the_end(arm: Array, own: Array, sample: Sample) -> Change | None:
    """An arm less the persona's own score after the last round; None where it has none there."""
    one, other = arm[:, -1], own[:, -1]
    difference = mean(one - other)
    if np.isnan(difference):
        return None
    return Change(numbers(difference), numbers(sample.difference_interval(one, other)))


def _by_category(
    own: Array, floor: Array, plan: Sequence[Conversation], sample: Sample
) -> dict[str, CategoryCurve]:
    categories = np.array([c.agent.category for c in plan])
    curves = {}
    for category in dict.fromkeys(categories):
        where = categories == category
        curve, low = mean(own[where]), mean(floor[where])
        counts = (~np.isnan(own[where])).sum(axis=0)
        curves[str(category)] = CategoryCurve(
            n=int(where.sum()),
            stability=numbers(curve),
            interval=numbers(sample.part(where).score_interval(own[where])),
            ceiling=numbers(curve[0]),
            floor=numbers(low[0]),
            normalised=numbers(_normalise(own[where], floor[where])),
            interval_note=too_few(int(min(counts[counts > 0], default=0))),
        )
    return curves
