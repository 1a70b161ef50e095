"""What `holdfast effect` finds: a row for each cell of its map, and the replies behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.backend import Sampling
from holdfast.core.records import inline_field, optional_field
from holdfast.results.interval import Interval


@dataclass(frozen=True)
class EffectManifest:
    """What determines the records."""

    command: str
    version: str
    """Version of Holdfast."""
    models: tuple[Mapping[str, Any], ...]
    """The models as their backends describe them."""
    judge_model: Mapping[str, Any] | None
    tasks: tuple[Mapping[str, Any], ...]
    """The tasks in full."""
    personas: tuple[Mapping[str, Any], ...]
    """The experts, as `experts.describe_experts` writes them."""
    lengths: tuple[str, ...]
    """Lengths of the personas."""
    places: tuple[str, ...]
    """Where the personas are: in the system prompt, or before the user's message."""
    samples: int
    """Times that each task is asked."""
    seed: int
    """Decides everything that is drawn."""
    sampling: Sampling
    """How replies are drawn."""
    matrix: bool
    """Whether every task is asked under every persona too."""


@dataclass(frozen=True, kw_only=True)
class EffectRow:
    """What one kind of persona does to one category of tasks."""

    model: str
    category: str
    """The category; "all" is all of them."""
    length: str
    """Length of the persona."""
    persona: str
    """Kind of the persona: matched, other, safety, random, or each (of the matrix)."""
    placement: str
    """Where the persona is."""
    expert: str | None = optional_field()
    """Id of the persona, in the matrix."""
    score: float | None
    """Mean score with the persona."""
    base: float | None
    """Mean score of the same tasks without it."""
    delta: float | None
    """Their difference."""
    interval: Interval
    """95% interval of the difference, over tasks."""
    n: int
    """Tasks that have a score with and without."""
    p_value: float | None = None
    """p-value of no difference, from the interval; None where there is no interval."""
    adjusted_p: float | None = None
    """The same corrected (Benjamini and Hochberg) for the number of cells of the advice, or for
    that of the table's other cells."""
    of_advice: bool = False
    """Whether it is one of the cells that the advice is of."""

    @property
    def sign(self) -> int:
        """1 or -1 where a difference is shown, corrected for many cells, else 0."""
        low, high = self.interval
        if low is None or high is None or (self.adjusted_p is not None and self.adjusted_p > 0.05):
            return 0
        return (low > 0) - (high < 0)

    @property
    def cell(self) -> str:
        """The row's name among the cells of the page."""
        return "/".join((self.model, self.category, self.persona, self.length, self.placement))


@dataclass(frozen=True)
class EffectNumbers:
    """What the records say."""

    rows: tuple[EffectRow, ...]
    """A row for each model, category, kind of persona, length and place."""
    matrix: tuple[EffectRow, ...]
    """A row for each model, persona and category, where that was asked for."""
    overall: tuple[EffectRow, ...]
    """As `rows`, over all categories."""
    advice: Mapping[str, str]
    """A sentence for each model: what to use a persona for."""
    judge_failures: int
    """Calls of the judge model that gave no score."""
    texts: int
    """Different tasks, where near-duplicates count as one: intervals draw these together."""
    answers: int = 0
    """Answers that were asked for: a task once, under one persona or none."""
    failed: int = 0
    """Those that could not be had or did not fit the context, and count in no row."""


@dataclass(frozen=True, kw_only=True)
class EffectSummary:
    """What `holdfast effect --json` prints."""

    models: tuple[str, ...]
    """Names of the models."""
    tasks: int
    """Tasks that were asked."""
    samples: int
    """Times that each was asked."""
    seed: int
    """Decides everything that is drawn."""
    judge_model: str | None
    left_out: tuple[str, ...]
    """Tasks that only a model can judge, where none was named."""
    command: str | None
    """The command line."""
    numbers: EffectNumbers = inline_field()
    """What the records say."""
    seconds: float
    """Wall time of the run."""
    note: str | None
    """What to know of the model."""
    report: str | None
    """The page, where one was written."""


@dataclass(frozen=True)
class ReplyPair:
    """Replies to a task with a persona and without."""

    task: str
    """Id of the task."""
    turns: tuple[str, ...]
    """What was asked."""
    expert: str
    """Id of the persona; empty for random text."""
    without: tuple[str, ...]
    """Replies without the persona."""
    with_persona: tuple[str, ...]
    """Replies with it."""
    scores: tuple[float, float]
    """Scores without and with; NaN where there is none."""

    @property
    def distance(self) -> float:
        """How far the scores are apart; -1 where one is missing."""
        gap = abs(self.scores[1] - self.scores[0])
        return gap if gap == gap else -1.0
