"""What a drift run finds: the summary that `holdfast drift --json` prints.

Lists by round have R + 1 entries, round 0 first. A value is None where nothing was measured.
Intervals are 95%. Scores are between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.records import inline_field, optional_field
from holdfast.results.conversation import Failures, Setting, TokenCount
from holdfast.results.recorded.log import LogReading
from holdfast.results.verdict import VerdictCount

Values = list[float | None]
"""A number by round."""
Interval = list[float | None]
"""The two ends of an interval."""


@dataclass(frozen=True)
class Change:
    """Stability at the last round minus that at the first; of recorded replies that is round 1."""

    value: float | None
    """The change, over conversations that reached the last round."""
    interval: Interval


@dataclass(frozen=True)
class CategoryCurve:
    """Stability of the personas of one category."""

    n: int
    """Conversations."""
    stability: Values
    """Mean judge score by round."""
    interval: list[Interval]
    ceiling: float | None
    """Stability at round 0."""
    floor: float | None
    """Score of the same probe without a system prompt."""
    normalised: Values
    """(stability − floor) / (ceiling − floor)."""
    interval_note: str | None = None
    """Why there is no interval, where there is none at a round that was measured."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Every curve of a drift run with its intervals."""

    n: list[int]
    """Conversations measured at each round."""
    stability: Values
    """Mean judge score of the answers to the agent's probe."""
    interval: list[Interval]
    normalised: Values
    """(stability − floor) / (ceiling − floor)."""
    normalised_interval: list[Interval]
    ceiling: float | None
    """Stability at round 0."""
    ceiling_interval: Interval
    floor: float | None
    """Score of the same probe without a system prompt, on the empty history."""
    floor_interval: Interval
    change: Change
    """Last round minus first."""
    user_persona: Values
    """Score of the user's persona, asked of the agent."""
    user_persona_interval: list[Interval]
    user_persona_floor: float | None
    """The same without a system prompt, on the empty history."""
    user_persona_floor_interval: Interval
    history_floor: Values | None
    """Score of the agent's probe on the same history without a system prompt."""
    history_floor_interval: list[Interval] | None
    filler: Values | None
    """Score of the agent's probe after a conversation with a neutral user."""
    filler_interval: list[Interval] | None
    filler_delta: Change | None = None
    """That at the last round, less the score of the same probe with the user's own words: paired,
    over the conversations that have both."""
    replies: Values | None
    """Score of the agent's own turns in recorded chats."""
    replies_interval: list[Interval] | None
    by_category: Mapping[str, CategoryCurve]
    """Stability by category of the agents' personas."""


@dataclass(frozen=True)
class TurnShares:
    """Prompt share within the agents' turns."""

    rounds: list[int]
    """The rounds, from 1."""
    within: list[Values]
    """For each, the mean share of a turn's first token, second token, and so on."""


@dataclass(frozen=True)
class ShareDetail:
    """Prompt share by layer and head, all by round."""

    heads: list[list[Values] | None]
    """Mean share of each layer's heads."""
    layers: list[Values | None]
    """Mean share of each layer."""
    template: Values
    """Share of the whole rendered system message with its template tokens."""
    dilution: Values
    """Tokens of the system prompt over all tokens in view."""
    within: list[Values]
    """Mean share of an answer's first token, second token, and so on."""
    turns: TurnShares
    """The same within the agents' turns."""


@dataclass(frozen=True)
class PromptShare:
    """Attention that the answers' tokens give to the system prompt, by round."""

    prompt_share: Values | None = None
    """Mean over layers and heads; None where it was not measured."""
    prompt_share_interval: list[Interval] | None = None
    share_detail: ShareDetail | None = None
    """By layer and head."""


@dataclass(frozen=True)
class Costs:
    """Failures and tokens of a run."""

    failures: Failures
    """Replies that went wrong."""
    tokens: TokenCount
    """Tokens of all replies."""
    filler_token_ratio: float | None
    """Tokens of the fillers over those of the users' messages that they stand for."""


@dataclass(frozen=True)
class ReferenceCurve:
    """The curve as the paper's code numbers its points."""

    turns: list[int]
    """Turns before each probe: 2, 4, …"""
    stability: Values
    """Stability after each."""


@dataclass(frozen=True)
class FullLength:
    """What was found over the conversations that reach the last round alone."""

    n: int
    """How many they are."""
    curves: Curves
    """Their scores by round."""
    share: PromptShare
    """Their prompt share by round."""


@dataclass(frozen=True, kw_only=True)
class DriftSummary:
    """What a drift run found."""

    setting: Setting = inline_field()
    """What was run."""
    control: str
    """The agents' control."""
    command: str | None
    """The command that ran it."""
    curves: Curves = inline_field()
    """Scores by round."""
    share: PromptShare = inline_field()
    """Prompt share by round."""
    full_length: FullLength | None = optional_field()
    """The same of the conversations that reach the last round, where others do not: what is said
    of the start and the end together is about these."""
    costs: Costs = inline_field()
    """Failures and tokens."""
    cost: float | None = None
    """Price of all models' tokens, where prices were given."""
    dropped_parameters: Mapping[str, str] = field(default_factory=dict)
    """Sampling parameters that the server does not take, with its reasons."""
    share_refusal: str | None = None
    """Why the prompt share cannot be measured on this model."""
    seconds: float
    """Seconds of wall clock."""
    replies_per_second: float | None
    """Replies generated a second."""
    verdicts: VerdictCount | None
    """What a judge model scored."""
    note: str | None
    """What must be said wherever these numbers are shown."""
    history: LogReading | None = optional_field()
    """What the log of recorded chats was read as."""
    report: str | None
    """Path of the page."""
    reference: ReferenceCurve | None = optional_field()
    """The curve as the paper numbers it."""

    @property
    def curves_to_the_end(self) -> Curves:
        """Curves whose first and last values are of the same conversations."""
        return self.full_length.curves if self.full_length else self.curves

    @property
    def share_to_the_end(self) -> PromptShare:
        """Prompt share whose first and last values are of the same conversations."""
        return self.full_length.share if self.full_length else self.share
