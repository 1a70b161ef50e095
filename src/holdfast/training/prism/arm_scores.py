"""Scores of the arms of an evaluation, and the draws that all their intervals share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.run import Run
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.tasks.tasks import Task
from holdfast.results.training.prism import (
    ArmAnswer,
    ArmScores,
    PairedDifference,
    PrismEvalSummary,
)
from holdfast.results.verdict import JudgeVerdict


def answer_key(record: ArmAnswer) -> tuple[str, str, int]:
    """What identifies an answer among the judge's verdicts."""
    return record.arm, record.task, record.sample


@dataclass(frozen=True)
class PrismEvaluation:
    """The result of `evaluate`."""

    summary: PrismEvalSummary
    """The object that `holdfast prism eval --json` prints."""
    scores: Mapping[str, Mapping[str, float]]
    """The score of each task by its id, for each arm; tasks without one are left out."""


@dataclass(frozen=True)
class EvaluationScores:
    """Scores and routing of all arms, and the draws that all their intervals share."""

    scores: Mapping[str, Array]
    """Score of each sample, (tasks, samples) for each arm; NaN where there is none."""
    routing: Mapping[str, Array]
    """Share of turns that were routed, (tasks, samples) for each arm."""
    cut: Mapping[str, float]
    """Share of replies that the limit of tokens cut, for each arm that replies."""
    categories: Mapping[str, Array]
    """Which tasks are of a category, (tasks,) for each."""
    sample: Sample

    @classmethod
    def of(
        cls,
        run: Run[ArmAnswer, JudgeVerdict],
        tasks: Sequence[Task],
        samples: int,
        arms: Sequence[str],
    ) -> EvaluationScores:
        """Score a run's answers; the oracle takes the better of base and always."""
        at = {task.id: i for i, task in enumerate(tasks)}
        shape = (len(tasks), samples)
        scores: dict[str, Array] = {arm: np.full(shape, np.nan) for arm in arms}
        routing: dict[str, Array] = {arm: np.zeros(shape) for arm in arms}
        cut: dict[str, list[bool]] = {}
        verdicts = {verdict.answer: verdict.value for verdict in run.verdicts}
        for record in run.records:
            place = at[record.task], record.sample
            score = verdicts.get(answer_key(record), tasks[place[0]].score(record.replies))
            scores[record.arm][place] = np.nan if score is None or record.failed else score
            routing[record.arm][place] = float(np.mean(record.routed))
            cut.setdefault(record.arm, []).extend(record.cut)
        base, always = (mean(scores[arm], axis=1) for arm in ("base", "always"))
        better = np.repeat(((always > base) | np.isnan(base))[:, None], samples, 1)
        scores["oracle"] = np.where(better, scores["always"], scores["base"])
        routing["oracle"] = np.asarray(better, float)
        names = dict.fromkeys(task.category for task in tasks)
        categories = {c: np.array([task.category == c for task in tasks]) for c in names}
        shares = {arm: float(np.mean(values)) for arm, values in cut.items()}
        return cls(scores, routing, shares, categories, Sample(len(tasks)))

    @property
    def means(self) -> dict[str, Array]:
        """Mean score over samples, (tasks,) for each arm."""
        return {arm: mean(scores, axis=1) for arm, scores in self.scores.items()}

    def rows(self) -> tuple[ArmScores, ...]:
        """The scores of every arm."""
        return tuple(
            ArmScores(
                arm=arm,
                overall=numbers(mean(means)),
                interval=numbers(self.sample.score_interval(means)),
                against={other: self._difference(arm, other) for other in ("base", "matched")},
                by_category=self._by_category(means),
                routed=numbers(self.routing[arm].mean()),
                routed_by_category=self._by_category(self.routing[arm].mean(axis=1)),
                cut=round(self.cut[arm], 4) if arm in self.cut else None,
                n=int((~np.isnan(means)).sum()),
            )
            for arm, means in self.means.items()
        )

    def by_task(self, tasks: Sequence[Task]) -> dict[str, dict[str, float]]:
        """The mean score of each task that has one, by its id, for each arm."""
        return {
            arm: {
                task.id: float(score)
                for task, score in zip(tasks, means, strict=True)
                if not np.isnan(score)
            }
            for arm, means in self.means.items()
        }

    def _difference(self, arm: str, other: str) -> PairedDifference:
        if arm == other:  # an arm differs from itself by nothing, and that is no estimate
            return PairedDifference(delta=0.0, interval=(0.0, 0.0))
        # Over the samples that both have: they have the same seeds.
        pair = self.scores[arm], self.scores[other]
        gap = np.isnan(pair[0]) | np.isnan(pair[1])
        one, against = (mean(np.where(gap, np.nan, scores), axis=1) for scores in pair)
        interval = numbers(self.sample.difference_interval(one, against))
        return PairedDifference(delta=numbers(mean(one - against)), interval=interval)

    def _by_category(self, values: Array) -> dict[str, float | None]:
        return {name: numbers(mean(values[where])) for name, where in self.categories.items()}
