"""What each control buys and costs: the rows of a comparison, and the Pareto front.

All controls are measured on the same conversations. Over L rounds,

    stability  = mean over r = 1…L of the mean score after r rounds
    late       = the same over the last ⌈L/4⌉ rounds
    capability = mean over kinds of question of the share answered right
    delta      = the value less none's, on what both have (paired)

Intervals are those of `intervals`, clustered as a drift run's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.compare.by_control import Measurements
from holdfast.evals.compare.intervals import estimate, late_rounds, relative_time
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.results.compare import ControlRow


def control_rows(
    measurements: Sequence[Measurements],
    conversations: Sequence[Conversation],
    length: int,
    question_rounds: Sequence[int] | None = None,
) -> list[ControlRow]:
    """One row per control over the first `length` rounds.

    Args:
        measurements: those of every control; the first is `none`.
        conversations: the plan, in the order of the measurements' first axis.
        length: L, the rounds that count.
        question_rounds: the rounds whose questions count; by default the last.
    """
    rounds = [length] if question_rounds is None else question_rounds
    sample = sample_of(conversations)
    rows = [
        _row(one, measurements[0], conversations, length, rounds, sample) for one in measurements
    ]
    return [replace(row, pareto=not any(_dominates(other, row) for other in rows)) for row in rows]


def _row(
    own: Measurements,
    none: Measurements,
    conversations: Sequence[Conversation],
    length: int,
    question_rounds: Sequence[int],
    sample: Sample,
) -> ControlRow:
    rounds = slice(1, length + 1)
    scores = own.scores[:, : length + 1]
    itself = own is none
    plain = None if itself else none.scores[:, : length + 1]
    stability = estimate(scores, plain, rounds, sample)
    late = estimate(scores, plain, late_rounds(length), sample)
    capability = estimate(
        _shares(own, question_rounds),
        None if itself else _shares(none, question_rounds),
        slice(None),
        sample,
    )
    time, time_interval = relative_time(
        own.timing[:, rounds], None if itself else none.timing[:, rounds]
    )
    return ControlRow(
        control=own.control.text,
        system_prompt=own.control.system,
        n=_count(scores[:, rounds]),
        stability=stability.value,
        interval=stability.interval,
        delta=stability.delta,
        delta_interval=stability.delta_interval,
        late_stability=late.value,
        late_interval=late.interval,
        late_delta=late.delta,
        late_delta_interval=late.delta_interval,
        by_category=_by_category(scores[:, rounds], conversations),
        capability=capability.value,
        capability_interval=capability.interval,
        capability_delta=capability.delta,
        capability_delta_interval=capability.delta_interval,
        capability_by_kind={
            kind: numbers(mean(share)) for kind, share in _by_kind(own, question_rounds).items()
        },
        tokens_per_reply=_tokens(own.tokens[:, rounds]),
        relative_ms_per_token=time,
        relative_ms_interval=time_interval,
        curve=numbers(mean(scores)),
        curve_interval=numbers(sample.score_interval(scores)),
        failures={kind: int(n[: length + 1].sum()) for kind, n in own.failures.items()},
        late_n=_count(scores[:, late_rounds(length)]),
        relative_tokens=_relative_tokens(own.tokens[:, rounds], none.tokens[:, rounds]),
    )


def _count(scores: Array) -> int:
    """Conversations with any score."""
    return int((~np.isnan(scores)).any(axis=1).sum())


def _by_category(scores: Array, conversations: Sequence[Conversation]) -> dict[str, float | None]:
    """Stability of each category: the mean over rounds of the mean over conversations."""
    categories = np.array([c.agent.category for c in conversations])
    return {
        str(name): numbers(mean(mean(scores[categories == name])))
        for name in dict.fromkeys(categories)
    }


def _by_kind(own: Measurements, question_rounds: Sequence[int]) -> dict[str, Array]:
    """Each conversation's share of right answers by kind, after some rounds only."""
    shares = {kind: share[:, list(question_rounds)] for kind, share in own.correct.items()}
    return {kind: mean(share, axis=1) for kind, share in shares.items() if share.size}


def _shares(own: Measurements, question_rounds: Sequence[int]) -> Array:
    """The same as (conversations, kinds)."""
    shares = [*_by_kind(own, question_rounds).values()]
    return np.stack(shares, axis=1) if shares else np.empty((0, 0))


def _tokens(tokens: Array) -> float | None:
    return None if np.isnan(tokens).all() else round(float(np.nanmean(tokens)), 1)


def _relative_tokens(tokens: Array, plain: Array) -> float | None:
    """Tokens of a turn relative to none's, over the turns that both answered.

    A chat grows, so that the mean of a control whose conversations ended early is of short chats.
    """
    both = ~(np.isnan(tokens) | np.isnan(plain))
    return round(float(tokens[both].sum() / plain[both].sum()), 4) if both.any() else None


def _dominates(other: ControlRow, row: ControlRow) -> bool:
    """Whether it is at least as good in stability and capability, and better in one."""
    theirs, mine = ((r.stability or 0.0, r.capability or 0.0) for r in (other, row))
    return theirs[0] >= mine[0] and theirs[1] >= mine[1] and theirs != mine
