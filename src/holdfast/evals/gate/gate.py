"""May a change go in? Two runs of drift, before it and after, compared by conversation.

What is compared is stability: the mean score over rounds 1 to R, or over the last quarter of them
(`late`), as in a comparison of controls. `decision` has the test.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import FEWEST
from holdfast.core.settings import option, settle
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.compare.intervals import by_conversation, late_rounds
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.judging import stability_scores
from holdfast.evals.gate.decision import decide
from holdfast.evals.gate.pairing import GateSide, differences, pair
from holdfast.report.gate import sentence
from holdfast.results.conversation import JudgedAnswer, JudgedRound
from holdfast.results.gate import GateRun, GateSummary, Loss, PersonaChange

LOSSES = 3
"""Examples in a summary."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """How two runs are compared."""

    margin: float = option(
        0.1, "The fall of stability that is not tolerated, in scores from 0 to 1."
    )
    late: bool = option(False, "Compare the last quarter of the rounds alone.", "--late")

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise HoldfastError(f"`margin` is above 0 and below 1, not {self.margin:g}")


def gate(
    baseline: Path | str,
    candidate: Path | str,
    settings: GateSettings | None = None,
    **changes: Any,
) -> GateSummary:
    """Say whether a candidate's run holds what a baseline's did; what `holdfast gate` does.

    Args:
        baseline: Folder of a finished run of drift, before the change.
        candidate: That of one after it, with the same personas, seed and judges.
        settings: How to compare; by default the defaults of `GateSettings`.
        **changes: Fields of `GateSettings` in place of those in `settings`.

    Raises:
        RunError: The runs cannot be compared; names what differs.
    """
    settings = settle(settings, GateSettings, changes)
    sides = pair(Path(baseline), Path(candidate))
    rounds = min(side.source.rounds for side in sides)
    part = late_rounds(rounds) if settings.late else slice(1, rounds + 1)
    before, after = (_scores(side, rounds + 1) for side in sides)
    both = np.isnan(before) | np.isnan(after)
    before, after = (np.where(both, np.nan, values) for values in (before, after))
    decision = decide(after, before, part, sample_of(sides[0].plans), settings.margin)
    differing = list(differences(*sides))
    if not differing and decision.n >= FEWEST and _same_answers(*sides):
        # The candidate is the baseline: no sample is needed to say so.
        decision = replace(decision, verdict="holds", same=True)
    runs = [_run(side, values, part) for side, values in zip(sides, (before, after), strict=True)]
    personas = _personas(sides[0], before[:, part], after[:, part])
    falling = {one.persona for one in personas if one.change < 0}
    return GateSummary(
        decision=decision,
        sentence=sentence(decision, *runs),
        rounds=(part.start, part.stop - 1),
        baseline=runs[0],
        candidate=runs[1],
        differences=differing,
        personas=personas,
        losses=_losses(*sides, part, falling),
    )


def _same_answers(*sides: GateSide) -> bool:
    """Whether every probe was answered word for word alike."""
    answers = [[[at.probes for at in one.rounds] for one in side.conversations] for side in sides]
    return answers[0] == answers[1]


def _scores(side: GateSide, points: int) -> Array:
    """Scores of the first points; whether probes were asked is a matter of the whole run."""
    return stability_scores(side.conversations, side.source.rounds + 1)[:, :points]


def _run(side: GateSide, values: Array, part: slice) -> GateRun:
    model = side.manifest["model"]
    return GateRun(
        folder=str(side.source.folder),
        model=model["name"] if model else None,
        control=side.source.controls[0],
        suite=side.manifest["suite"],
        stability=numbers(mean(by_conversation(values[:, part]))),
        curve=numbers(mean(values)),
        unpaired=side.unpaired_count,
        errors=sum(part.start <= at < part.stop for at in side.errors),
    )


def _personas(side: GateSide, before: Array, after: Array) -> list[PersonaChange]:
    """The change of every persona with a score, the largest fall first."""
    agents = np.array([plan.agent.id for plan in side.plans])
    changes = []
    for agent in dict.fromkeys(agents.tolist()):
        pairs = [mean(values[agents == agent], axis=1) for values in (before, after)]
        n = int((~np.isnan(pairs[0])).sum())
        if n:
            old, new = (float(mean(values)) for values in pairs)
            change = round(new - old, 4)
            changes.append(PersonaChange(agent, n, round(old, 4), round(new, 4), change))
    return sorted(changes, key=lambda one: one.change)


def _losses(
    baseline: GateSide, candidate: GateSide, part: slice, falling: Container[str]
) -> list[Loss]:
    """The largest losses on the same probe, the latest first, one for each persona that falls."""
    losses: list[Loss] = []
    for before, after in zip(baseline.conversations, candidate.conversations, strict=True):
        for at, then in zip(before.rounds, after.rounds, strict=False):
            if before.agent.id in falling and part.start <= at.round < part.stop:
                new_answers = _scored_answers(then)
                losses += [
                    _loss(before.id, before.agent.id, at.round, old, new_answers[key])
                    for key, old in _scored_answers(at).items()
                    if key in new_answers
                ]
    worst = sorted(losses, key=lambda one: (one.scores[1] - one.scores[0], -one.round))
    first: dict[str, Loss] = {}
    for one in worst:
        if one.scores[1] < one.scores[0]:
            first.setdefault(one.persona, one)
    return list(first.values())[:LOSSES]


def _scored_answers(at: JudgedRound) -> dict[tuple[str, int], tuple[JudgedAnswer, float]]:
    """The persona's answers that have a score, with it, by arm and run."""
    return {
        (one.arm, one.run): (one, one.score)
        for one in at.probes
        if one.arm in ("own", "reply") and one.score is not None
    }


def _loss(
    id_: int,
    persona: str,
    at: int,
    old: tuple[JudgedAnswer, float],
    new: tuple[JudgedAnswer, float],
) -> Loss:
    (before, old_score), (after, new_score) = old, new
    scores = round(old_score, 4), round(new_score, 4)
    return Loss(id_, persona, at, after.probe, before.answer, after.answer, scores, after.why)


def exit_code(verdict: str) -> int:
    """What the process of the gate ends with."""
    return ("holds", "slips", "cannot tell").index(verdict)
