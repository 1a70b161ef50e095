"""What a training will take (`--plan`), and what `holdfast train RECIPE` finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta


@dataclass(frozen=True)
class TrainingEstimate:
    """What a training will take, from a measured step."""

    prompts: int
    """Prompts that the model is asked, judging included."""
    tokens: int
    """Tokens that it reads and writes at most."""
    memory_gb: float
    """Memory at the peak of a step, in units of 10⁹ bytes."""
    disk_gb: float
    """Files that the run leaves or needs on the way, likewise."""
    seconds: float
    """Seconds, from a measured step of the same machine."""

    def sentence(self) -> str:
        """The estimate in words, without a full stop."""
        time = timedelta(seconds=round(self.seconds))
        return (
            f"{self.prompts:,} prompts, at most {self.tokens:,} tokens, about "
            f"{self.memory_gb:.1f} GB of memory and {self.disk_gb:.1f} GB of disk, about {time} "
            "at the speed measured now"
        )

    def times(self, count: int) -> TrainingEstimate:
        """What so many such trainings take, one after another: of memory no more than one."""
        return replace(
            self,
            prompts=self.prompts * count,
            tokens=self.tokens * count,
            disk_gb=round(self.disk_gb * count, 4),
            seconds=round(self.seconds * count, 1),
        )

    def plus(self, other: TrainingEstimate) -> TrainingEstimate:
        """What both take, one after the other."""
        return TrainingEstimate(
            prompts=self.prompts + other.prompts,
            tokens=self.tokens + other.tokens,
            memory_gb=max(self.memory_gb, other.memory_gb),
            disk_gb=round(self.disk_gb + other.disk_gb, 4),
            seconds=round(self.seconds + other.seconds, 1),
        )


@dataclass(frozen=True)
class RecipeManifest:
    """What the runs of a recipe in one folder have in common; arms and seeds may be added."""

    command: str
    title: str
    """The recipe's title."""
    method: str
    """permix or prism."""
    model: str
    """The model that every arm begins with."""


@dataclass(frozen=True)
class ArmRow:
    """What one training of an arm measured."""

    arm: str
    seed: int
    numbers: Mapping[str, float | None]
    """What was measured, by name."""


@dataclass(frozen=True, kw_only=True)
class ArmDifference:
    """One arm less another."""

    arm: str
    against: str
    """Name of the other."""
    of: str
    """What differs: accuracy, the same under a group of personas, fidelity, or PRISM's score."""
    mean: float
    interval: tuple[float, float]
    """Its 95% interval, over seeds, personas and items together (`core.stats.CrossedMean`)."""
    p: float | None
    """Two-sided, that there is none; None where nothing varies."""
    seeds: int
    """Pairs of trainings; of one, the interval holds for these trainings alone."""
    personas: int | None
    """Personas; None for PRISM's score."""
    items: int | None
    """Items; None for fidelity."""


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of the paper that a recipe follows."""

    what: str
    value: str
    source: str
    """Where it stands."""


@dataclass(frozen=True, kw_only=True)
class RecipeSummary:
    """What `holdfast train --json` prints."""

    title: str
    """What the recipe reproduces."""
    model: str
    """The model that every arm begins with."""
    rows: tuple[ArmRow, ...]
    """A row for each arm and seed."""
    differences: tuple[ArmDifference, ...] = ()
    """Differences of arms that were measured."""
    published: tuple[PublishedFigure, ...]
    """The paper's figures."""
    known: str
    """What is known of the original's settings."""
    unknown: str
    seeds: tuple[int, ...]
    table: str
    """The Markdown file with the table."""
    seconds: float
    """Seconds of wall clock of the last call."""
