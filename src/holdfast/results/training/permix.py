"""What `holdfast permix train` records of every step, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.records import inline_field, optional_field

MetricValue = int | float
IMITATIONS = ("sft", "rft")
"""Arms that imitate answers and have no rollouts: gold ones, or right ones of the model's own."""


@dataclass(frozen=True, kw_only=True)
class PermixManifest:
    """What determines the result of a training."""

    command: str
    version: str
    """Version of Holdfast."""
    model: Mapping[str, Any]
    """The model as its backend describes it."""
    arm: str
    """permix, rlvr, sft or rft."""
    steps: int
    """Steps of the optimiser."""
    recipe: Mapping[str, Any]
    """The trainer's settings, without how often it saves, which changes no result."""
    personas: tuple[Mapping[str, str], ...]
    """The personas that are trained with."""
    held_out: tuple[Mapping[str, str], ...]
    """Those that are kept for evaluation."""
    bare: float
    """Share of prompts without a persona."""
    mixing: str
    """What has a persona of its own: a prompt or a rollout."""
    tasks: tuple[Mapping[str, Any], ...]
    """The tasks that are trained on."""
    evaluation: tuple[str, ...]
    """Ids of the tasks that are kept for evaluation."""
    seed: int
    """Decides everything that is drawn."""
    processes: int
    """Processes that train together."""
    trl: str
    """Version of TRL."""
    reward: tuple[str, str]
    """Verifier and reading of the reward."""


ITEMS = "items.jsonl"
"""The file of a run that lists what is trained on."""


@dataclass(frozen=True)
class TrainedItem:
    """A task that was trained on, a line of items.jsonl."""

    id: str
    """Id of the task."""
    history: tuple[str, ...]
    """Messages before it."""
    turns: tuple[str, ...]
    """What it asks."""


@dataclass(frozen=True)
class OwnAnswer:
    """A reply of the untrained model that rft may imitate, a line of answers.jsonl."""

    row: int
    """Number of its prompt."""
    reply: str
    right: bool
    """Whether it was paid and not cut; only such replies are imitated."""
    thought: str | None = optional_field()
    """The thought before it."""


@dataclass(frozen=True)
class GroupMetrics:
    """Rewards of one step under a persona, or under personas of a kind."""

    n: int
    """Rollouts."""
    accuracy: float
    """Their mean reward."""
    groups: int
    """Groups of rollouts."""
    zero_variance: float
    """Share of groups whose rollouts all have the same reward, which teach nothing."""


@dataclass(frozen=True)
class Rollout:
    """One rollout of a step, for a look at the texts."""

    persona: str | None
    """Id of the persona; None without one."""
    asked: str
    """The last message of the task."""
    reply: str
    reward: float


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One step, a line of metrics.jsonl. What an arm or a trainer does not have is left out."""

    step: int
    """Number of the step, from 1."""
    loss: MetricValue | None = optional_field()
    kl: MetricValue | None = optional_field()
    """Mean KL a token to the model before training."""
    entropy: MetricValue | None = optional_field()
    """Mean entropy a token."""
    gradient: MetricValue | None = optional_field()
    """Norm of the gradient."""
    length: MetricValue | None = optional_field()
    """Mean tokens of a rollout."""
    cut: MetricValue | None = optional_field()
    """Share of rollouts that reached the limit of tokens."""
    tokens: MetricValue | None = optional_field()
    """Tokens that the trainer has read so far."""
    reward: float | None = optional_field()
    """Mean reward."""
    zero_variance: float | None = optional_field()
    """Share of groups without variance."""
    by_kind: Mapping[str, GroupMetrics] | None = optional_field()
    """Rewards by kind of persona; "none" is without one."""
    by_persona: Mapping[str, GroupMetrics] | None = optional_field()
    """Rewards by persona."""
    samples: tuple[Rollout, ...] = ()


@dataclass(frozen=True)
class TriedGroup:
    """What the untrained model did with the prompts of a category, or of a kind of persona."""

    n: int
    """Replies."""
    reward: float
    """Their mean reward."""
    cut: float
    """Share of them that reached the limit of tokens."""


@dataclass(frozen=True, kw_only=True)
class PermixTrial:
    """What the untrained model did with a few prompts before training, the file trial.json."""

    n: int
    """Replies."""
    reward: float
    """Their mean reward."""
    cut: float
    """Share of them that reached the limit of tokens."""
    by_category: Mapping[str, TriedGroup]
    """The same by category of task."""
    by_kind: Mapping[str, TriedGroup]
    """The same by kind of persona; "none" is without one."""
    prompt_tokens: float
    """Mean tokens of a prompt."""
    reply_tokens: float
    """Mean tokens of a reply."""
    seconds: float
    """Seconds that they took."""


@dataclass(frozen=True, kw_only=True)
class LearningMeans:
    """Means over the first steps and over the last."""

    reward_first: float | None
    """Reward in the first steps; of an arm that imitates, without rewards, before training."""
    reward_last: float | None
    """Reward in the last steps, or after training."""
    zero_variance_first: float | None
    """Share of groups without variance in the first steps."""
    zero_variance_last: float | None
    """The same in the last steps."""
    kl_last: float | None
    """KL a token in the last steps."""
    cut_last: float | None
    """Share of rollouts that reached the limit of tokens in the last steps."""
    loss_last: float | None
    """Loss in the last steps."""
    tokens: int
    """Tokens that the trainer read."""
    window: int
    """Steps that a mean is taken over."""
    rollouts: int | None = None
    """Rollouts behind either mean reward, the fewer of both; None of an arm without any."""


@dataclass(frozen=True, kw_only=True)
class PermixSummary:
    """What a training reached, and where the model is."""

    arm: str
    """permix, rlvr, sft or rft."""
    model: str
    """Name of the model that was trained."""
    steps: int
    """Steps of the optimiser."""
    means: LearningMeans = inline_field()
    """What the steps say."""
    beta: float | None
    """Weight of the KL to the model before training; None for an arm that imitates."""
    mixing: str | None
    """What has a persona of its own; None for rlvr."""
    bare: float
    """Share of prompts without a persona."""
    tasks: int
    """Tasks that were trained on."""
    categories: tuple[str, ...]
    trial: PermixTrial | None
    """What the untrained model did with a few prompts."""
    personas: int
    """Personas that were trained with."""
    held_out: int
    """Personas that were kept for evaluation."""
    verifier_errors: int
    """Checks in which the verifier failed; their reward is 0."""
    checkpoint: str
    """Folder of the trained model."""
    report: str
    """The page."""
    command: str | None
    """The command that was given."""
    seed: int
    """The training's seed."""
    seconds: float
    """Seconds of wall clock."""
    note: str | None = None
    """What to know of the model."""
