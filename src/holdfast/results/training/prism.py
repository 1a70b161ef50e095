"""What `holdfast prism` records and finds: `train` stage by stage, then `eval`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.backend import Sampling
from holdfast.core.records import inline_field, optional_field
from holdfast.results.interval import Interval

Outcome = Literal["win", "loss", "tie"]
"""What the persona does to an answer: it is better with it, worse, or neither."""
DecidedBy = Literal["verifier", "model", "unparsed", "missing", "unknown"]
"""What an outcome rests on:

verifier  the task's own answer or judge
model     the model's comparison of its two answers, in both orders
unparsed  such a comparison that named neither an answer nor a tie; it counts as a tie
missing   an answer did not fit or failed; a tie
unknown   the query has no verifier where others have one; a tie
"""


# --- training -----------------------------------------------------------------


@dataclass(frozen=True)
class PrismManifest:
    """What determines the records of a stage."""

    command: str
    version: str
    """Version of Holdfast."""
    model: Mapping[str, Any]
    """The model as its backend describes it."""
    personas: tuple[Mapping[str, Any], ...]
    """The experts, as `experts.describe_experts` writes them."""
    each: int
    """Queries of each persona, or tasks of each category."""
    tasks: str | None
    """Where the queries come from; None if the model writes them."""
    seed: int
    """Decides everything that is drawn."""
    sampling: Sampling
    """How queries and answers are drawn."""
    stage: str
    """Name of the stage, and of its folder."""
    judge: str | None = optional_field()
    """Name of the judge, where it is another model."""
    form: str | None = optional_field()
    """What is said after each task: where the answer is to stand."""


@dataclass(frozen=True)
class Query:
    """A question for one persona."""

    expert: str
    """Id of the persona."""
    number: int
    """Number among the persona's queries, or of the task."""
    query: str
    """The question; empty if what the model wrote is no question."""
    said: str
    """What the model wrote, or the task's first turn."""
    history: tuple[str, ...] | None = optional_field()
    """Messages before the question, where it comes from a task."""
    task: str | None = optional_field()
    """Id of the task that it comes from."""
    cut: bool | None = optional_field()
    """True if the limit of tokens cut what the model wrote."""


@dataclass(frozen=True, kw_only=True)
class AnswerPair:
    """The answers to a query with the persona and without."""

    query: Query = inline_field()
    plain: str
    """The answer without the persona."""
    persona: str
    """The answer with the persona as the system prompt."""
    ended: bool
    """Whether the persona's answer ended by itself."""
    plain_ended: bool
    """Whether the other one did."""
    there: bool
    """Whether both answers fitted the context and none failed."""


@dataclass(frozen=True)
class AnswerComparison:
    """Which of the two answers to a query is better."""

    expert: str
    """Id of the persona."""
    number: int
    """Number of the query."""
    verdict: Outcome
    """The persona's outcome."""
    by: DecidedBy
    """What it rests on."""
    said: tuple[str | None, ...] | None = optional_field()
    """The model's choices in the two orders, where it compared."""


@dataclass(frozen=True)
class ControlVerdicts:
    """What a judge said to pairs of answers of which the better one is known."""

    judge: str
    pairs: int
    """Pairs, each judged in both orders."""
    right: int
    """Pairs judged right in both."""
    ties: int
    """Pairs with a tie in either."""
    one_place: int
    """Pairs in which one letter was named in both orders."""
    unparsed: int
    """Pairs with a reply that was no verdict."""


@dataclass(frozen=True)
class GateScores:
    """How well gates predict wins that they did not learn from; None where it is undefined."""

    auc: float | None
    """Area under the ROC curve on personas held out."""
    auc_queries: float | None
    """The same on queries held out."""
    accuracy: float | None
    """Share of queries that are decided right, on personas held out."""
    majority: float | None
    """The same of always deciding what is more frequent."""
    held_out: int | None
    """Queries that a gate could be tested on with their persona held out."""


@dataclass(frozen=True)
class RouterScores:
    """How well the prompt router predicts wins that it did not learn from."""

    auc_queries: float
    """Area under the ROC curve on queries held out."""


@dataclass(frozen=True)
class PrismSummary:
    """What training used and reached."""

    model: str
    queries: int
    """Queries that were answered."""
    dropped: int
    """Queries that were not: no question, or a repeat."""
    repeated: int
    """Those of them that are near-duplicates of another query of their persona."""
    wins: int
    """Queries that the persona's answer won."""
    losses: int
    """Queries that it lost."""
    ties: int
    """All others."""
    unparsed: int
    """Comparisons by the model that could not be read."""
    by_persona: Mapping[str, Mapping[str, int]]
    """Outcomes of each persona."""
    cut: Mapping[str, float]
    """Share of answers that the limit of tokens cut, by persona; "none" is without one."""
    gate: GateScores
    """How well the gate predicts wins."""
    router: RouterScores | None
    """The same of the prompt router; None where too few queries of a kind allow one."""
    kl_first: float
    """KL divergence a token from teacher to student, before training."""
    kl_last: float
    """The same after training."""
    kl_same: float
    """KL of one prompt with itself in another batch: what rounding alone gives."""
    too_long: int
    """Wins that were left out of the distillation for their length."""
    mass: float
    """Mean probability that the teacher gives to the tokens that the KL is taken over."""
    control: ControlVerdicts | None
    """What the judge said to pairs with a known answer; None where none was needed."""
    adapter: str
    """Folder of adapter and gate."""
    command: str | None
    """The command that was given."""
    seconds: float
    """Seconds of wall clock."""
    note: str | None = None
    """What to know of the model, and to do where the gate is no better than chance."""


@dataclass(frozen=True, kw_only=True)
class PrismAbout:
    """What prism.json says of the adapter and gate beside it."""

    summary: PrismSummary = inline_field()
    """The summary of the training."""
    base: Mapping[str, Any]
    """The model that was trained on, as its backend describes it."""
    recipe: Mapping[str, Any]
    """The settings of the distillation."""
    seed: int
    """The training's seed."""
    personas: tuple[Mapping[str, Any], ...]
    """The experts."""
    trained_on: tuple[str, ...]
    """Texts of the queries; evaluation leaves them out."""


# --- evaluation ---------------------------------------------------------------


@dataclass(frozen=True)
class PrismEvalManifest:
    """What determines the records of an evaluation."""

    command: str
    version: str
    """Version of Holdfast."""
    model: Mapping[str, Any]
    """The model as its backend describes it."""
    judge_model: Mapping[str, Any] | None
    """The model that judges what no rule can, where one does."""
    adapter: Mapping[str, Any]
    """What identifies the adapter: base, seed, wins and last KL of its training."""
    tasks: tuple[Mapping[str, Any], ...]
    """The tasks that are asked."""
    samples: int
    """Times that each is asked."""
    seed: int
    """Decides everything that is drawn."""
    sampling: Sampling
    """How replies are drawn."""


@dataclass(frozen=True)
class ArmAnswer:
    """The replies to one task in one arm."""

    arm: str
    task: str
    """Id of the task."""
    sample: int
    """Which of several draws."""
    replies: tuple[str, ...]
    """A reply to each turn."""
    routed: tuple[bool, ...]
    """For each turn, whether the adapter or the router's system prompt was on."""
    cut: tuple[bool, ...]
    """For each turn, whether the limit of tokens cut the reply."""
    failed: bool = False
    """Whether a reply did not fit the context or failed: it has no score."""


@dataclass(frozen=True)
class DroppedTasks:
    """How many tasks were left out of an evaluation, by reason."""

    needs_judge: int
    """Only a model can judge them, and none was given."""
    trained_on: int
    """They are near-duplicates of a training query."""
    repeated: int
    """They repeat another task."""

    def sentence(self) -> str:
        """How many were dropped, and why, as a sentence's end."""
        return (
            f"dropped {self.trained_on} that were trained on, {self.repeated} that repeat "
            f"another, {self.needs_judge} that need a judge model"
        )


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference of two arms over the same tasks."""

    delta: float | None
    interval: Interval


@dataclass(frozen=True)
class ArmScores:
    """How one arm scores."""

    arm: str
    overall: float | None
    """Mean score over tasks."""
    interval: Interval
    against: Mapping[str, PairedDifference]
    """Differences from base and from the matched persona."""
    by_category: Mapping[str, float | None]
    """Mean score of each category."""
    routed: float | None
    """Share of turns with the adapter, or with the router's system prompt."""
    routed_by_category: Mapping[str, float | None]
    """The same of each category."""
    cut: float | None
    """Share of replies that the limit of tokens cut; None of the oracle, which gives none."""
    n: int = 0
    """Tasks with a score; differences are over those that both arms have."""


@dataclass(frozen=True)
class PrismEvalSummary:
    """The arms side by side."""

    model: str
    judge_model: str | None
    adapter: str
    """Folder of the adapter."""
    tasks: int
    """Tasks that were asked."""
    samples: int
    """Times that each was asked."""
    seed: int
    """The evaluation's seed."""
    left_out: tuple[str, ...]
    """Ids of the tasks that were left out."""
    dropped: DroppedTasks
    """How many they are, by reason."""
    without_persona: Mapping[str, Mapping[str, int]]
    """Tasks, by category, that an arm has no persona for and asks as base does; by arm."""
    rows: tuple[ArmScores, ...]
    gate: GateScores
    """How well the gate predicted wins in training."""
    command: str | None
    """The command that was given."""
    seconds: float
    """Seconds of wall clock."""
    note: str | None = None
    """What to know of the model."""
