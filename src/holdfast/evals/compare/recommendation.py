"""Which control to use: the best of many looks better than it is, so it is chosen apart.

Every second conversation of each category is used to choose, and the sentence has the
figures of the others. A control is recommended only where the others confirm that it holds
better than none: their paired interval lies above 0. With `none` first among the controls:

    able      measured late, on at least as many conversations as none in any round, and neither
              in a half nor over all clearly losing more than .02 of capability against it: its
              paired interval reaches a loss of .02 or less
    best      the able control with the highest late stability
    as good   able, and the paired interval of best less it reaches 0
    chosen    of those as good as best: none, else the fewest tokens, else the least time,
              else the most stable

Costs within 10% of `none`'s cost of the cheapest count as equal, and so do times whose paired
interval shows no difference from the least, so that noise decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array
from holdfast.evals.compare.by_control import Measurements
from holdfast.evals.compare.intervals import (
    late_rounds,
    pair_values,
    paired_difference,
    relative_time,
)
from holdfast.evals.compare.passed_over import LOSS, ControlChoice, costs, late, passed_over
from holdfast.evals.compare.tradeoff import control_rows
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.plan import Conversation
from holdfast.report.words import capitalise, quantity, signed_ascii
from holdfast.results.compare import ControlRow

NONE = "none"
"""The control that the others are held against."""
FEWEST = 8
"""Conversations from which on one half chooses and the other is reported on."""
GAIN = 0.05
"""Gain of late stability that a run should be large enough to show, where it saw none."""
POWER = (1.96 + 0.84) ** 2
"""(z_.975 + z_.8)²: a two-sided test at 5% finds the gain four times in five."""
NEAR = 0.1
"""Part of `none`'s cost; costs that differ by less count as equal."""


@dataclass(frozen=True)
class Recommendation:
    """The control to use and why."""

    control: str
    sentence: str
    chosen_on: list[int]
    """Ids of the conversations it was chosen on."""
    reported_on: list[int]
    """Ids of the conversations that its figures are from."""


def recommend(
    measurements: Sequence[Measurements],
    conversations: Sequence[Conversation],
    length: int,
    question_rounds: Sequence[int] | None,
    all_rows: Sequence[ControlRow],
) -> Recommendation:
    """The control that holds best over `length` rounds for what it costs.

    The first four arguments are those of `control_rows`, and `all_rows` what it gives for them;
    the first measurements are `none`'s.
    """
    first, second = _halves(conversations)
    choosing, reporting = ([conversations[i] for i in half] for half in (first, second))
    chosen_on = [one.subset(first) for one in measurements]
    halved = first != second
    chosen_by = rows = all_rows
    if halved:
        reported_on = [one.subset(second) for one in measurements]
        chosen_by = control_rows(chosen_on, choosing, length, question_rounds)
        rows = control_rows(reported_on, reporting, length, question_rounds)
    able = set.intersection(*map(_able, (chosen_by, rows, all_rows)))
    choice = _choose(chosen_on, chosen_by, choosing, able, length)
    by_control = {row.control: row for row in rows}
    evidence = _Evidence(measurements, conversations, second, length, halved)
    sentence = _sentence(
        by_control[choice.control],
        by_control[choice.best] if choice.best else None,
        rows,
        len(first),
        evidence,
    )
    control = choice.control if evidence.confirms(choice.control) else NONE
    if control != NONE:
        sentence += passed_over(choice, all_rows, able, len(first))
    return Recommendation(control, sentence, [c.id for c in choosing], [c.id for c in reporting])


@dataclass(frozen=True)
class _Evidence:
    """What the conversations that a control is reported on show of its gain."""

    measurements: Sequence[Measurements]
    conversations: Sequence[Conversation]
    rows: Sequence[int]
    length: int
    halved: bool

    def _late(self, control: str) -> tuple[Array, Array]:
        """Late scores of the control and of none, by conversation, where both have them."""
        by_control = {one.control.text: one.scores for one in self.measurements}
        own, none = (by_control[name][list(self.rows)] for name in (control, NONE))
        return pair_values(own, none, late_rounds(self.length))

    def _sample(self) -> Sample:
        return sample_of([self.conversations[i] for i in self.rows])

    @property
    def others(self) -> int:
        """Controls beside none."""
        return max(1, len(self.measurements) - 1)

    def pairs(self, control: str) -> int:
        """Conversations with a late score under the control and under none."""
        a, _ = self._late(control)
        return int((~np.isnan(a)).sum())

    def confirms(self, control: str) -> bool:
        """Whether it holds better than none by more than its interval.

        Without halves it was chosen on the same conversations, so the level is corrected for
        the number of controls (Bonferroni).
        """
        if control == NONE:
            return True
        tried = 1 if self.halved else self.others
        interval = self._sample().difference_interval(*self._late(control), 1 - 0.05 / tried)
        return bool(interval[0] > 0)

    def conversations_needed(self, control: str) -> str:
        """How many conversations would show its gain, or one of `GAIN`, four times in five."""
        a, b = self._late(control)
        moments = self._sample().moments(a - b)
        gain = float(moments.mean) if moments.mean >= LOSS else GAIN
        if np.isnan(moments.variance) or not moments.variance:
            return "the conversations measured are too alike to say how many would show a gain"
        n = float(moments.n * moments.variance) * POWER / gain**2 * (2 if self.halved else 1)
        count = int(np.ceil(max(n, 2 * FEWEST) / 10) * 10)
        return f"to show a gain of {gain:+z.2f} some {count:,} conversations are needed"


def _halves(conversations: Sequence[Conversation]) -> tuple[list[int], list[int]]:
    """Every second conversation of each category, and the rest; all twice where they are few."""
    order = sorted(range(len(conversations)), key=lambda i: conversations[i].agent.category)
    if len(order) < FEWEST:
        return sorted(order), sorted(order)
    return sorted(order[::2]), sorted(order[1::2])


def _choose(
    measurements: Sequence[Measurements],
    rows: Sequence[ControlRow],
    conversations: Sequence[Conversation],
    names: Collection[str],
    length: int,
) -> ControlChoice:
    """The able control to use, on the conversations to choose on."""
    none, by_control = rows[0], {one.control.text: one for one in measurements}
    able = [row for row in rows if row.control in names]
    if not able:
        return ControlChoice(none.control, None)
    best = max(able, key=late)
    sample, part = sample_of(conversations), late_rounds(length)

    def as_good(row: ControlRow) -> bool:
        first, other = (by_control[one.control].scores for one in (best, row))
        _, gap = paired_difference(first, other, part, sample)
        return bool(gap[0] <= 0)

    equals = [row for row in able if row is best or as_good(row)]
    cheap = _cheap(equals, by_control, length)
    choice = none if none in equals else max(cheap, key=late)
    others = [row for row in able if row is not none]
    return ControlChoice(
        choice.control,
        max(others, key=late).control if others else None,
        {row.control for row in equals},
        {row.control for row in cheap},
    )


def _able(rows: Sequence[ControlRow]) -> set[str]:
    """Controls measured late, wherever none is, that do not clearly lose more than `LOSS`."""
    return {
        row.control
        for row in rows
        if row.n >= rows[0].n and row.late_stability is not None and not _loses(row)
    }


def _loses(row: ControlRow) -> bool:
    """Whether the interval of its change in capability lies beyond the allowed loss."""
    interval = row.capability_delta_interval
    return interval is not None and interval[1] < -LOSS


def _cheap(
    rows: Sequence[ControlRow], by_control: Mapping[str, Measurements], length: int
) -> list[ControlRow]:
    """The rows with the fewest tokens and, of these, the least time."""
    fewest = min(_cost(row.relative_tokens) for row in rows)
    rows = [row for row in rows if _cost(row.relative_tokens) <= fewest + NEAR]
    fastest = min(rows, key=lambda row: _cost(row.relative_ms_per_token))

    def slower(row: ControlRow) -> bool:
        time, least = (_cost(one.relative_ms_per_token) for one in (row, fastest))
        if time <= least + NEAR or time == inf:
            return time > least + NEAR
        timing = [by_control[one.control].timing[:, 1 : length + 1] for one in (row, fastest)]
        _, ratio = relative_time(*timing)
        return ratio is not None and ratio[0] > 1

    return [row for row in rows if not slower(row)]


def _cost(value: float | None) -> float:
    """What was not measured counts as dearer than all else."""
    return inf if value is None else value


def _sentence(
    row: ControlRow,
    best: ControlRow | None,
    rows: Sequence[ControlRow],
    choosing: int,
    evidence: _Evidence,
) -> str:
    none, reporting = rows[0], len(evidence.rows)
    if none.late_stability is None or row.late_stability is None:
        return "Nothing to recommend: no conversation reached the last quarter of its rounds."
    if len(rows) == 1:
        return (
            f"Nothing to choose between: only none was run, whose late stability is "
            f"{none.late_stability:.2f} on {quantity(reporting, 'conversation')}."
        )
    measured = evidence.pairs(row.control)
    halves = f"chosen on {quantity(choosing, 'conversation')} and measured on {measured} others,"
    few = (
        f"{quantity(reporting, 'conversation')} {'is' if reporting == 1 else 'are'} too few to "
        "choose on some and report others."
    )
    if row is none:
        start = "late" if evidence.halved else f"{few} Late"
        text = f"{start} stability without one is {none.late_stability:.2f}"
        others = f"the {choosing} others, which chose it," if evidence.halved else ""
        why = _why_none(rows, best, others, evidence.pairs(best.control) if best else 0)
        need = f". {capitalise(evidence.conversations_needed(best.control))}" if best else ""
        return f"No control is shown to hold better: {text}{why}{need}."
    figures = ", ".join(_figures(row, none, evidence))
    if not evidence.confirms(row.control):
        start = f"{row.control}, {halves}" if evidence.halved else f"{few} The best, {row.control},"
        return (
            f"Nothing here is shown to hold better than no control: {start} has a late stability "
            f"of {figures}; {evidence.conversations_needed(row.control)}."
        )
    start = f"{halves} it" if evidence.halved else f"{few} On all of them it"
    return f"Use {row.control}: {start} has a late stability of {figures}."


def _why_none(
    rows: Sequence[ControlRow], best: ControlRow | None, choosing: str, measured: int
) -> str:
    """Why no other control was taken.

    Args:
        rows: those of all controls, `none` first.
        best: the row of the best other control.
        choosing: names the conversations that chose it.
        measured: conversations that it is reported on.
    """
    none, *others = rows
    if best is None and all(row.n < none.n for row in others):
        return ", and no other control was scored on all of these conversations"
    if best is None:
        lost = f"clearly lost more than {LOSS:.2f} of capability"
        if any(row.n < none.n or row.late_stability is None for row in others):
            return f", and every control {lost} or was not scored on all of these conversations"
        return f", and every control {lost}"
    asked = best.capability_delta is not None
    able = f" that does not clearly lose {LOSS:.2f} of capability" if asked else ""
    result = "was not measured there"
    if best.late_delta is not None:
        result = f"has {best.late_stability:.2f} ({_change(best, 'late')})"
    reporting = (
        f" on {quantity(measured, 'conversation')}; {choosing}" if choosing else ", and they"
    )
    return f". The best{able}, {best.control}, {result}{reporting} show no clear gain"


def _figures(row: ControlRow, none: ControlRow, evidence: _Evidence) -> list[str]:
    """What it holds, what it costs, and what the intervals do not bear out."""
    clear, interval = evidence.confirms(row.control), row.late_delta_interval
    gain = f"{row.late_stability:.2f} against {none.late_stability:.2f} for none "
    gain += f"({_change(row, 'late')})"
    doubt = ", which is not clearly better"
    if interval is not None and interval[0] > 0:
        doubt += f" for one chosen of {evidence.others} on the same conversations"
    figures = [gain if clear else f"{gain}{doubt}"]
    if row.capability_delta is None:
        figures.append("capability was not measured")
    else:
        figures.append(f"capability changes by {_change(row, 'capability')}")
    return [*figures, *costs(row)]


def _change(row: ControlRow, measure: Literal["late", "capability"]) -> str:
    value, interval = (
        (row.late_delta, row.late_delta_interval)
        if measure == "late"
        else (row.capability_delta, row.capability_delta_interval)
    )
    if interval is None:
        return f"{value or 0.0:+z.2f}, too few conversations for an interval"
    return signed_ascii(value or 0.0, interval)
