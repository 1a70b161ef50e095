"""What `holdfast robustness` finds: accuracy under every persona, and what it says together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.backend import Sampling
from holdfast.core.records import field_under, inline_field, optional_field
from holdfast.results.interval import Interval


@dataclass(frozen=True)
class RobustnessManifest:
    """What determines the records."""

    command: str
    version: str
    """Version of Holdfast."""
    model: Mapping[str, Any]
    """The model as its backend describes it."""
    tasks: tuple[Mapping[str, Any], ...]
    """The tasks in full."""
    personas: tuple[Mapping[str, Any], ...]
    """The personas in full."""
    place: str
    """Where a persona is: in the system prompt, or before the user's message."""
    samples: int
    """Times that each task is asked."""
    seed: int
    """Decides everything that is drawn."""
    sampling: Sampling
    """How replies are drawn."""


@dataclass(frozen=True)
class ValueWithInterval:
    """A number with its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Accuracy:
    """How one persona, or none, does on the items."""

    accuracy: float
    """Share of items answered right, in the reading that was chosen."""
    interval: Interval
    """Its 95% interval over items."""
    delta: float
    """Accuracy less that without a persona."""
    delta_interval: Interval
    """Its 95% interval over items."""
    strict: float
    """Accuracy where an answer counts only where it was to stand."""
    lenient: float
    """Accuracy where an answer counts wherever it can be read."""
    strict_failures: float
    """Share of replies in which strict reading finds no answer, right or wrong."""
    lenient_failures: float
    """The same for lenient reading."""
    by_category: Mapping[str, float]
    """Accuracy in each category of items."""


@dataclass(frozen=True)
class NoPersona(Accuracy):
    """How the model does without a persona."""

    id: str = "none"
    """Always "none"."""


@dataclass(frozen=True)
class PoolPersona:
    """A persona of the pool."""

    id: str
    kind: str
    """What it is meant to be: helpful, irrelevant or harmful."""
    split: str
    """"train" or "held-out"."""
    text: str


@dataclass(frozen=True)
class PersonaAccuracy(Accuracy, PoolPersona):
    """A persona, and how it does."""

    adjusted_p: float | None = None
    """p-value of no difference from no persona, corrected for the number of personas (Benjamini
    and Hochberg)."""

    @property
    def sign(self) -> int:
        """1 or -1 where a difference is shown, corrected for the number of personas, else 0."""
        if self.adjusted_p is None or self.adjusted_p > 0.05:
            return 0
        return 1 if self.delta > 0 else -1


@dataclass(frozen=True)
class KindAccuracy:
    """Mean accuracy under the personas of a kind."""

    kind: str
    """The kind, or `all`."""
    personas: int
    mean: float
    interval: Interval
    """Its 95% interval over items."""
    delta: float
    """Mean accuracy less that without a persona."""
    delta_interval: Interval
    """Its 95% interval over items."""


@dataclass(frozen=True)
class CategoryAccuracy:
    """Accuracy in a category of items."""

    category: str
    items: int
    none: float
    """Accuracy without a persona."""
    mean: float
    """Mean over the personas."""
    worst: float
    """Accuracy under the worst persona of the category."""
    best: float
    """Accuracy under the best persona of the category."""
    all_correct: float
    """Share of items that are right under every persona."""


@dataclass(frozen=True)
class StrictValues:
    """The numbers of the strict reading."""

    mean: float
    """Mean accuracy over personas."""
    worst: float
    """Accuracy under the worst persona."""
    best: float
    """Accuracy under the best persona."""
    ratio: float
    """worst / best."""
    std: float
    """Standard deviation over personas."""
    all_correct: float
    """Share of items that are right under every persona."""
    pss: float
    """The one number that `pss_name` says."""


@dataclass(frozen=True)
class SearchResult:
    """The persona that is best on half of the items, scored on the others."""

    persona: str
    """Id of the persona."""
    development_items: int
    """Items that it was chosen on."""
    items: int
    """Items that it was scored on."""
    asked: int
    """Questions that choosing it took."""
    development: float
    """Its accuracy on the items that it was chosen on."""
    accuracy: float
    """Its accuracy on the others."""
    interval: Interval
    none: float
    """Accuracy without a persona on the others."""
    mean: float
    """Mean accuracy of all personas on the others."""
    gain: float
    """Accuracy less that without a persona."""
    gain_interval: Interval
    oracle: float
    """Accuracy of the best persona on the others, which nobody can choose."""
    curve: tuple[float, ...]
    """Expected accuracy of the best of k personas on one half, scored on the other, k = 1…n."""


@dataclass(frozen=True)
class LostItem:
    """An item that is right without a persona and wrong under the worst one."""

    task: str
    """Id of the task."""
    category: str
    turns: tuple[str, ...]
    """What was asked."""
    gold: tuple[str, ...]
    """The right answer of each turn."""
    persona: str
    """Id of the worst persona."""
    without: tuple[str, ...]
    """Replies without a persona."""
    with_persona: tuple[str, ...] = field_under("with")
    """Replies under the worst persona."""


@dataclass(frozen=True, kw_only=True)
class RobustnessNumbers:
    """What the records say."""

    personas: int
    """Personas of the pool."""
    items: int
    """Items that were answered under every persona."""
    texts: int
    """Different items, where near-duplicates count as one: intervals draw these together."""
    mean: float
    """Mean accuracy over personas."""
    worst: float
    """Accuracy under the worst persona."""
    best: float
    """Accuracy under the best persona."""
    ratio: float
    """worst / best."""
    std: float
    """Standard deviation over personas."""
    all_correct: float
    """Share of items that are right under every persona."""
    pss: float
    """The one number that `pss_name` says."""
    pss_name: str
    pss_version: int
    """Version of its definition."""
    lottery: tuple[float, ...]
    """Expected accuracy of the best of k personas, k = 1…n."""
    intervals: Mapping[str, Interval | None]
    """95% intervals of the numbers above, by name; none of those that are biased."""
    interval_note: str
    """Why some have none."""
    extraction_failures: Mapping[str, float]
    """Share of replies in which strict reading finds nothing, by persona."""
    reading: str
    """The reading that the numbers above take: lenient, strict or final."""
    permuted: Mapping[str, ValueWithInterval]
    """The extremes where the personas' labels are shuffled within each item."""
    p_value: float
    """Chance that shuffled labels spread at least as far."""
    halves: Mapping[str, ValueWithInterval]
    """Worst, best and ratio picked on one half of the items and scored on the other."""
    spread: Mapping[str, ValueWithInterval]
    """The standard deviation over personas without bias."""
    strict: StrictValues
    """The numbers of the strict reading."""
    none: NoPersona
    """How the model does without a persona."""
    rows: tuple[PersonaAccuracy, ...]
    """How it does under each persona, in the pool's order."""
    kinds: tuple[KindAccuracy, ...]
    """How it does under each kind of persona."""
    categories: tuple[CategoryAccuracy, ...]
    """How it does in each category."""
    missing: tuple[str, ...]
    """Items left out, since a reply under some persona is missing."""
    cut: int
    """Replies that the token limit ended."""
    verifier_errors: int
    """Answers at which the verifier itself failed."""
    search: SearchResult | None = optional_field()
    """The persona that a search chooses, where one was asked for."""


@dataclass(frozen=True, kw_only=True)
class RobustnessSummary:
    """What `holdfast robustness --json` prints."""

    model: str
    command: str | None
    """The command line."""
    headline: str
    """The result in a sentence, without a full stop."""
    numbers: RobustnessNumbers = inline_field()
    """What the records say."""
    lost: tuple[LostItem, ...]
    """Items that are right without a persona and wrong under the worst one, the first few."""
    samples: int
    """Times that each task was asked."""
    seed: int
    """Decides everything that is drawn."""
    place: str
    """Where a persona is: in the system prompt, or before the user's message."""
    verifiers: Mapping[str, int]
    """How many tasks have each verifier."""
    left_out: tuple[str, ...]
    """Tasks that only a model can judge."""
    seconds: float
    """Wall time of the run."""
    note: str | None
    """What to know of the model."""
    report: str | None
    """The page, where one was written."""
