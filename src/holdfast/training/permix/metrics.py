"""Metrics of every step: reward, KL and zero variance, by persona and kind of persona.

    metrics.jsonl   one line per step (`results.permix.StepMetrics`); no times in it

A group without variance (all of its rollouts right, or all wrong) has no advantage and teaches
nothing. TRL logs the share of such groups over all prompts; which persona keeps the model from
learning shows only persona by persona. Every group is also checked against the rows that it was
made from: one item in each, and per prompt one persona.

This module knows rows, rewards and a file. It knows no trainer and no texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.run import RecordFile
from holdfast.results.robustness import PoolPersona
from holdfast.results.training.permix import GroupMetrics, LearningMeans, Rollout, StepMetrics
from holdfast.training.permix.mixing import NOBODY, PromptRow

NAME = "metrics.jsonl"
WINDOW = 10  # steps at either end that a summary's means are over
PATIENCE = 10  # steps without any variance after which a run is stopped
# The trainers' names, and the fields of `StepMetrics`.
LOG_FIELDS = {
    "loss": "loss",
    "kl": "kl",
    "entropy": "entropy",
    "grad_norm": "gradient",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut",
    "num_tokens": "tokens",
}
RolloutGroup = tuple[Sequence[PromptRow], Sequence[float]]
"""The rows and the rewards of a group's rollouts."""


class MetricsLog:
    """The metrics of the steps so far, written to a file as they come."""

    def __init__(
        self,
        folder: Path | None,
        rows: Sequence[PromptRow],
        personas: Sequence[PoolPersona],
        *,
        rollouts: int,
        per: str,
        steps: int = 0,
    ) -> None:
        """Open the log.

        Args:
            folder: Where metrics.jsonl is; None in a process that does not write.
            rows: The prompts of training.
            personas: The personas that rows number.
            rollouts: Rollouts of a group.
            per: What has a persona of its own: a prompt or a rollout.
            steps: Steps to keep of what an earlier process wrote; later ones are done again.
        """
        self.rows, self.personas = rows, personas
        self.rollouts, self.per = rollouts, per
        self._rewards: dict[str, Any] = {}
        self._file = RecordFile(folder, NAME, StepMetrics)
        self._file.read(mend=False)
        self._file.keep(self.steps[:steps])

    @property
    def steps(self) -> list[StepMetrics]:
        """The steps so far."""
        return self._file.rows

    def add_rewards(self, numbers: Sequence[int], rewards: Sequence[float]) -> None:
        """Take the rewards of one step's rollouts, group after group.

        Args:
            numbers: The number of each rollout's row.
            rewards: Its reward.

        Raises:
            HoldfastError: A group is not what was drawn for it.
        """
        size = self.rollouts
        groups: list[RolloutGroup] = [
            ([self.rows[n] for n in numbers[i : i + size]], rewards[i : i + size])
            for i in range(0, len(numbers), size)
        ]
        for rows, _ in groups:
            check_group(rows, self.per)
        self._rewards = {
            "reward": _mean(rewards),
            "zero_variance": _mean([float(_flat(some)) for _, some in groups]),
            "by_kind": _by_name(groups, self._kind),
            "by_persona": _by_name(groups, self._id),
        }

    def end_step(
        self, step: int, logs: Mapping[str, Any], samples: Sequence[Rollout] = ()
    ) -> StepMetrics:
        """Write the step's line.

        Args:
            step: Number of the step.
            logs: What the trainer logs of it.
            samples: Some of its rollouts.

        Raises:
            HoldfastError: The training diverged, or no group has had any variance in the first
                steps.
            RunError: The file cannot be written.
        """
        # The trainer logs an earlier loss in place of one that is not finite, but no gradient.
        if not all(isfinite(logs.get(name, 0.0)) for name in ("loss", "kl", "grad_norm")):
            raise divergence_error(step)
        values: dict[str, Any] = {
            ours: logs[theirs] for theirs, ours in LOG_FIELDS.items() if theirs in logs
        }
        fields: dict[str, Any] = {
            k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()
        }
        metrics = StepMetrics(step=step, **fields, **self._rewards, samples=tuple(samples))
        self._file.append([metrics])
        self._rewards = {}
        self._check_variance()
        return self.steps[-1]

    def _check_variance(self) -> None:
        """Stop a run whose first steps all taught nothing.

        Of a run that goes on, a process that does not write has later steps alone.
        """
        is_time = len(self.steps) == self.steps[-1].step == PATIENCE
        if is_time and all(one.zero_variance == 1 for one in self.steps):
            reward = _mean([one.reward or 0.0 for one in self.steps])
            raise HoldfastError(
                f"in {PATIENCE} steps every group of rollouts had one reward throughout (the mean "
                f"is {reward:g}), so nothing can be learned: choose tasks that the model solves "
                "sometimes, more rollouts, or a higher temperature."
            )

    def _kind(self, row: PromptRow) -> str:
        return "none" if row.persona == NOBODY else self.personas[row.persona].kind

    def _id(self, row: PromptRow) -> str:
        return "none" if row.persona == NOBODY else self.personas[row.persona].id


def divergence_error(step: int) -> HoldfastError:
    """What to raise where the model's numbers are not finite after a step."""
    return HoldfastError(
        f"the training diverged: its numbers are not finite at step {step}, so lower the learning "
        "rate, and choose another `out`."
    )


def check_group(rows: Sequence[PromptRow], per: str) -> None:
    """Raise `HoldfastError` where a group has more than one item, or per prompt two personas."""
    mixed = per == "prompt" and len({row.persona for row in rows}) > 1
    if mixed or len({row.item for row in rows}) > 1:
        raise HoldfastError(
            "a group of rollouts mixes personas or items that were not drawn for it; the trainer "
            "has reordered the rows, so use the versions of trl that permix is tested with."
        )


def read_metrics(folder: Path) -> list[StepMetrics]:
    """The steps of a run's metrics.jsonl; a torn last line is left out."""
    file = RecordFile(folder, NAME, StepMetrics)
    file.read(mend=False)
    return file.rows


def learning_means(steps: Sequence[StepMetrics]) -> LearningMeans:
    """Means over the first steps and over the last."""
    few = max(1, min(WINDOW, len(steps) // 6))

    def mean(name: str, part: Sequence[StepMetrics]) -> float | None:
        values = [value for one in part if (value := getattr(one, name)) is not None]
        return round(sum(values) / len(values), 4) if values else None

    first, last = steps[:few], steps[-few:]
    return LearningMeans(
        reward_first=mean("reward", first),
        reward_last=mean("reward", last),
        zero_variance_first=mean("zero_variance", first),
        zero_variance_last=mean("zero_variance", last),
        kl_last=mean("kl", last),
        cut_last=mean("cut", last),
        loss_last=mean("loss", last),
        tokens=int(steps[-1].tokens or 0) if steps else 0,
        window=few,
        rollouts=min(_rollouts(first), _rollouts(last)) or None,
    )


def _rollouts(steps: Sequence[StepMetrics]) -> int:
    return sum(one.n for step in steps for one in (step.by_kind or {}).values())


def _by_name(
    groups: Sequence[RolloutGroup], name: Callable[[PromptRow], str]
) -> dict[str, GroupMetrics]:
    """Rollouts and accuracy, groups and their share without variance, by name."""
    rewards_of: dict[str, list[float]] = defaultdict(list)
    flat_of: dict[str, list[float]] = defaultdict(list)
    for rows, rewards in groups:
        for row, reward in zip(rows, rewards, strict=True):
            rewards_of[name(row)].append(reward)
        for one in dict.fromkeys(name(row) for row in rows):
            flat_of[one].append(float(_flat(rewards)))
    return {
        one: GroupMetrics(
            n=len(rewards_of[one]),
            accuracy=_mean(rewards_of[one]),
            groups=len(flat_of[one]),
            zero_variance=_mean(flat_of[one]),
        )
        for one in sorted(rewards_of)
    }


def _flat(rewards: Sequence[float]) -> bool:
    return max(rewards) == min(rewards)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6) if values else 0.0
