"""What `holdfast explain` finds: share, dimension and score by round, and how they go together.

Lists by round have R + 1 entries, round 0 first. A value is None where nothing was measured.
Intervals are 95%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.records import field_under, inline_field
from holdfast.results.conversation import Failures, Setting
from holdfast.results.drift import Interval, PromptShare, Values


@dataclass(frozen=True)
class ConversationMean:
    """A mean over conversations."""

    value: float | None
    interval: Interval
    n: int
    """Conversations measured."""


@dataclass(frozen=True)
class ShareBefore:
    """The share that plain attention would have given the same queries on the same keys."""

    prompt_share: Values | None
    """Mean over layers and heads, by round."""
    prompt_share_interval: list[Interval] | None
    layers: list[Values | None] | None
    """Mean share of each layer, by round."""
    heads: list[list[Values] | None] | None
    """Mean share of each layer's heads, by round."""


@dataclass(frozen=True, kw_only=True)
class ControlExplanation:
    """Stability and share under one control."""

    control: str
    """The control as it was written."""
    n: list[int]
    """Conversations measured at each round."""
    stability: Values
    """Mean judge score by round."""
    interval: list[Interval]
    stability_delta: ConversationMean
    """Mean over rounds 1…R less `none`'s, paired."""
    share: PromptShare = inline_field()
    """Prompt share by round, as the control left it."""
    share_delta: ConversationMean
    """Mean over rounds 1…R less `none`'s, paired."""
    before: ShareBefore


@dataclass(frozen=True)
class DimensionCurve:
    """One count of the dimension of value vectors, by round."""

    mean: Values
    """Mean over layers and conversations."""
    interval: list[Interval]
    layers: list[Values]
    """For each round, the mean of each layer."""


@dataclass(frozen=True)
class SetDimension:
    """The dimension of one set of vectors: a control's, or one of the two to compare with."""

    set: str
    """The control, `no persona` or `shuffled`."""
    tokens: Values
    """Mean number of vectors by round."""
    participation: Mapping[str, DimensionCurve]
    """(Σλ)² / Σλ², with `all` the vectors and at the numbers `few` and `many`."""
    components: Mapping[str, DimensionCurve]
    """Components that hold 95% of the variance, likewise."""


@dataclass(frozen=True, kw_only=True)
class DimensionGrowth:
    """How much one count of a set grows from a round to the last."""

    set: str
    measure: str
    """`participation` or `components`."""
    count: str
    """`few` or `many`: the equal number of vectors."""
    from_round: int = field_under("from")
    """The first round that has so many vectors."""
    growth: ConversationMean = inline_field()
    beyond: Mapping[str, ConversationMean]
    """The growth less that of the sets to compare with, by their names."""


@dataclass(frozen=True)
class DimensionSummary:
    """The intrinsic dimension of the value vectors in view."""

    vectors: Mapping[str, int]
    """The equal numbers of vectors, `few` and `many`."""
    draws: int
    """Draws of an equal number that are averaged."""
    sets: list[SetDimension]
    """A control's vectors each, then the sets to compare with."""
    growth: list[DimensionGrowth]
    """How much each set's dimension grows."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ with the score across conversations."""

    rho: float | None
    """ρ; None where one of the two does not vary."""
    interval: Interval
    n: int
    """Conversations that enter."""


@dataclass(frozen=True, kw_only=True)
class RoundCorrelation:
    """The rank correlation within one round."""

    round: int
    """The round, from 1."""
    correlation: RankCorrelation = inline_field()


@dataclass(frozen=True)
class Association:
    """How one measure goes with the score under one control."""

    control: str
    measure: str
    """`share`, `dilution` or `dimension`."""
    by_round: list[RoundCorrelation]
    """Within each round."""
    pooled: RankCorrelation
    """The mean over rounds."""
    given_dilution: RankCorrelation | None
    """What is left of it at equal dilution; None for dilution itself."""


@dataclass(frozen=True, kw_only=True)
class ExplainSummary:
    """The object that `holdfast explain --json` prints."""

    setting: Setting = inline_field()
    """What was run."""
    command: str | None
    """The command that ran it."""
    controls: list[ControlExplanation]
    """Every control, `none` first."""
    dimension: DimensionSummary | None
    """The dimension; None where values cannot be read."""
    association: list[Association]
    """How share, dilution and dimension go with the score."""
    dimension_refusal: str | None
    """Why there is no dimension."""
    failures: Failures = field(default_factory=Failures)
    """Failed replies of the whole run by kind."""
    seconds: float
    """Seconds of wall clock."""
    note: str | None
    """What must be said wherever these numbers are shown."""
    report: str | None
    """Path of the page."""
    findings: list[str]
    """What was found, a sentence each."""
