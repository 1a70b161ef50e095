"""What the untrained model does with a few prompts, before a run spends anything on them.

A category in which it is always right or always wrong has no variance and teaches nothing, so of
the built-in exercises only those of middling difficulty are trained on. A run that could not learn
stops here, with the figure that says why: nothing right, everything right, or replies that are cut.

This module knows prompts, replies and rewards. It knows no trainer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError
from holdfast.core.folder import write_whole
from holdfast.core.records import as_record, dumps, read_record
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local.backend import LocalBackend
from holdfast.results.robustness import PoolPersona
from holdfast.results.training.permix import PermixTrial, TriedGroup
from holdfast.training.cut_replies import MOSTLY, refuse_cut
from holdfast.training.permix.dataset import chats
from holdfast.training.permix.mixing import NOBODY, PersonaMix, PromptRow
from holdfast.training.permix.settings import TrainerSettings
from holdfast.training.permix.task_reward import Reward

NAME = "trial.json"
EACH = 6  # prompts of each category
LEAST = 48  # prompts in all, where categories are few
MIDDLING = (0.15, 0.85)
"""Mean rewards between which a category is trained on: a group of 4 rollouts then has variance in
at least .48 of draws."""


@dataclass(frozen=True)
class TrialPrompts:
    """The prompts of a trial, in order."""

    rows: tuple[PromptRow, ...]
    tasks: Sequence[Task]
    personas: Sequence[PoolPersona]

    @classmethod
    def of(
        cls, tasks: Sequence[Task], personas: Sequence[PoolPersona], mix: PersonaMix
    ) -> TrialPrompts:
        """A few tasks of every category, repeated where there are few, under drawn personas."""
        categories: dict[str, list[int]] = {}
        for i, task in enumerate(tasks):
            categories.setdefault(task.category, []).append(i)
        each = trial_size(tasks) // len(categories)
        items = [some[n % len(some)] for some in categories.values() for n in range(each)]
        rows = (PromptRow(-1 - n, item, mix.persona(-1 - n, item)) for n, item in enumerate(items))
        return cls(tuple(rows), tasks, personas)

    def kind(self, row: PromptRow) -> str:
        """The kind of a row's persona."""
        return "none" if row.persona == NOBODY else self.personas[row.persona].kind


def trial_size(tasks: Sequence[Task]) -> int:
    """How many prompts a trial of some tasks has."""
    categories = len({task.category for task in tasks})
    return categories * max(EACH, -(-LEAST // categories))


def try_out(
    backend: LocalBackend,
    prompts: TrialPrompts,
    reward: Reward,
    settings: TrainerSettings,
    seed: int,
) -> PermixTrial:
    """Ask the prompts once and sum up the replies.

    Args:
        backend: The untrained model.
        prompts: What it is asked.
        reward: The reward of the run.
        settings: The sampling and the limit of tokens are those of the rollouts.
        seed: Decides the replies.
    """
    start = time.monotonic()
    asks = [
        Ask(one, seed_of("trial", seed, i), keep=False)
        for i, one in enumerate(chats(prompts.rows, prompts.tasks, prompts.personas))
    ]
    replies = backend.reply(asks, settings.sampling)
    seconds = time.monotonic() - start
    scores = [
        reward.score(row.item, reply.text, cut=reply.stop == "length")
        for row, reply in zip(prompts.rows, replies, strict=True)
    ]
    lengths = [reply.completion_tokens for reply in replies]
    return PermixTrial(
        reward=round(sum(scores) / len(scores), 4),
        cut=_share([reply.stop == "length" for reply in replies]),
        by_category=_by(
            [prompts.tasks[row.item].category for row in prompts.rows], scores, replies
        ),
        by_kind=_by([prompts.kind(row) for row in prompts.rows], scores, replies),
        prompt_tokens=round(sum(r.prompt_tokens for r in replies) / len(replies), 1),
        reply_tokens=round(sum(lengths) / len(lengths), 1),
        seconds=round(seconds, 2),
        n=len(replies),
    )


def _by(
    names: Sequence[str], scores: Sequence[float], replies: Sequence[Reply]
) -> dict[str, TriedGroup]:
    groups: dict[str, TriedGroup] = {}
    for name in dict.fromkeys(names):
        rows = [i for i, one in enumerate(names) if one == name]
        groups[name] = TriedGroup(
            len(rows),
            round(sum(scores[i] for i in rows) / len(rows), 4),
            _share([replies[i].stop == "length" for i in rows]),
        )
    return groups


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4)


def middling_categories(trial: PermixTrial) -> tuple[str, ...]:
    """The categories that a run can learn from."""
    low, high = MIDDLING
    return tuple(name for name, one in trial.by_category.items() if low <= one.reward <= high)


def most_varied_category(trial: PermixTrial) -> tuple[str, ...]:
    """The category with the largest variance of rewards, p(1 - p); none where all have none.

    A group's advantages are made of that variance. On SmolLM2-135M extraction among two statements
    (.33 right) moved in 12 steps, and mixed with four (.12) did not.
    """
    variance = {name: one.reward * (1 - one.reward) for name, one in trial.by_category.items()}
    best = max(variance, key=variance.__getitem__)
    return (best,) if variance[best] else ()


def check(trial: PermixTrial, limit: int) -> None:
    """Refuse a run that could not learn.

    Args:
        trial: What the untrained model did.
        limit: Tokens of a rollout at most.

    Raises:
        HoldfastError: Nothing was right, everything was right, or almost every reply was cut.
    """
    if trial.reward in (0, 1):
        reason = "right" if trial.reward else "wrong"
        more = (
            f"{trial.cut:.0%} of the replies reached the limit of {limit} tokens, so give a higher "
            "`max_new_tokens`, and another `out`"
            if trial.cut >= MOSTLY
            else "choose harder tasks"
            if trial.reward
            else "choose easier tasks (`tasks` exercises, `category` extraction-1), a higher "
            "`max_new_tokens` or another `form`"
        )
        raise HoldfastError(
            f"before training all {trial.n} replies were {reason}, so that nothing can be learned: "
            f"{more}."
        )
    for kind, one in trial.by_kind.items():
        refuse_cut(f"under {_persona(kind)}", one.n, one.cut, limit, right=one.reward)


def warning(trial: PermixTrial, rollouts: int) -> str | None:
    """What to say of tasks that somebody chose and that are nearly always or never solved.

    Args:
        trial: What the untrained model did.
        rollouts: Replies of a group, which teach nothing where all are paid alike.
    """
    low, high = MIDDLING
    if low <= trial.reward <= high:
        return None
    alike = trial.reward**rollouts + (1 - trial.reward) ** rollouts
    middling = middling_categories(trial)
    instead = f", or tasks of {' and '.join(middling)}" if middling else ""
    return (
        f"before training {trial.reward:.0%} of {trial.n} replies are right, so that some "
        f"{alike:.0%} of the groups of {rollouts} rollouts will be paid alike, which teaches "
        f"nothing: better are {'harder' if trial.reward > high else 'easier'} tasks{instead}."
    )


def _persona(kind: str) -> str:
    return "no persona" if kind == "none" else f"{kind} personas"


def read_trial(folder: Path) -> PermixTrial | None:
    """The trial of a run that was begun."""
    path = folder / NAME
    if not path.exists():
        return None
    return read_record(PermixTrial, json.loads(path.read_text("utf-8")), str(path))


def write(trial: PermixTrial, folder: Path) -> None:
    """Keep the trial, so that a run that goes on trains on the same categories."""
    write_whole(folder / NAME, dumps(as_record(trial)) + "\n")
