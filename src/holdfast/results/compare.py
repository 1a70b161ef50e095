"""What a comparison of controls finds: a row for each control, and the control to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.core.records import inline_field, optional_field
from holdfast.results.conversation import Failures, JudgedRound, Participant, Setting
from holdfast.results.verdict import VerdictCount

Interval = tuple[float, float]
"""Lower and upper end of a 95% interval."""


@dataclass(frozen=True)
class ControlRow:
    """What one control buys and costs over the first L rounds.

    A difference (`delta`) is paired with `none` over what was measured under both. A number is
    None where nothing was measured.
    """

    control: str
    """The control as it was written."""
    system_prompt: str
    """Whether the prompt `stays`, is `routed` or is `dropped`."""
    n: int
    """Conversations scored in any of the rounds 1…L."""
    stability: float | None
    """Mean judge score over rounds 1…L."""
    interval: Interval | None
    delta: float | None
    """Its difference from `none`'s."""
    delta_interval: Interval | None
    """The interval of the difference."""
    late_stability: float | None
    """The same over the last ⌈L/4⌉ rounds."""
    late_interval: Interval | None
    late_delta: float | None
    """Its difference from `none`'s."""
    late_delta_interval: Interval | None
    """The interval of the difference."""
    by_category: Mapping[str, float | None]
    """Stability by the agent's category."""
    capability: float | None
    """Mean over kinds of the share of questions answered right."""
    capability_interval: Interval | None
    capability_delta: float | None
    """Its difference from `none`'s."""
    capability_delta_interval: Interval | None
    """The interval of the difference."""
    capability_by_kind: Mapping[str, float | None]
    """Share of the questions of each kind answered right."""
    tokens_per_reply: float | None
    """Prompt and generated tokens of an agent's turn."""
    relative_ms_per_token: float | None
    """Time per generated token of the agents' turns, relative to `none`'s (see `clock`)."""
    relative_ms_interval: Interval | None
    """Its interval, over batches and rounds."""
    curve: list[float | None]
    """Mean score after each round, 0…L."""
    curve_interval: list[tuple[float | None, float | None]]
    failures: Mapping[str, int]
    """Replies that were empty, cut, cut in their thought, too long or failed."""
    pareto: bool = False
    """Whether no other control is as good in stability and capability, and better in one."""
    late_n: int | None = None
    """Conversations scored in the last ⌈L/4⌉ rounds."""
    relative_tokens: float | None = None
    """Tokens of an agent's turn relative to `none`'s, over the turns that both answered."""


@dataclass(frozen=True, kw_only=True)
class CompareSummary:
    """The object that `holdfast compare --json` prints."""

    setting: Setting = inline_field()
    """What was run; its rounds are those of the longest length."""
    lengths: list[int]
    """The lengths in rounds that have rows of their own."""
    command: str | None
    """The command that ran it."""
    rows: list[ControlRow]
    """A row for each control over the longest length, `none` first."""
    by_rounds: Mapping[str, list[ControlRow]]
    """The rows of every length."""
    recommended: str | None
    """The control to use; None where personas began too low to say."""
    recommendation: str
    """Which control to use and why, and why no higher one."""
    chosen_on: list[int]
    """Conversations that the recommended control was chosen on."""
    reported_on: list[int]
    """Conversations that the recommendation's figures are from."""
    floor: float | None
    """Mean score without a system prompt on the empty history."""
    question_source: str | None
    """Where the capability questions come from; None without questions."""
    scoring: str | None
    """How multiple choice was answered: by generation or by likelihood."""
    capability_rounds: list[int]
    """Rounds that were followed by questions."""
    questions: Mapping[str, int]
    """Questions of each kind that count for the longest length, under one control."""
    refused: Mapping[str, str]
    """Controls that the model refused, with the reason."""
    failures: Failures
    """Failed replies of the whole run by kind."""
    clock: str
    """What timed the agents' turns: `processor time` or `wall clock`."""
    verdicts: VerdictCount | None
    """How many verdicts a judge model gave; None without one."""
    seconds: float
    """Seconds of wall clock."""
    note: str | None
    """What must be said of this model's numbers."""
    report: str | None
    """The page."""


@dataclass(frozen=True)
class CapabilityAnswer:
    """A capability question and what came back."""

    round: int
    """The round that it followed."""
    kind: str
    """Kind of question."""
    question: str
    plant: str
    """What the user said earlier that the answer needs; empty for most kinds."""
    expected: str
    """The right answer."""
    answer: str
    right: bool | None
    """None where it did not fit the context, which counts neither way."""
    stop: str
    """Why the answer ended."""
    thought: str | None = optional_field()
    """What a thinking model thought before it."""


@dataclass(frozen=True)
class ConversationUnderControl:
    """One conversation under one control."""

    rounds: tuple[JudgedRound, ...]
    questions: tuple[CapabilityAnswer, ...]


@dataclass(frozen=True)
class ComparedConversation:
    """One conversation of the plan, under every control."""

    id: int
    """Id in the plan."""
    agent: Participant
    """The agent's persona."""
    user: Participant
    """The user model's persona."""
    starter: str
    """The first message."""
    controls: Mapping[str, ConversationUnderControl]
