"""What `holdfast gate` finds: whether a candidate's run holds what a baseline's run held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holdfast.core.records import inline_field
from holdfast.results.interval import Interval

Outcome = Literal["holds", "slips", "cannot tell"]
"""What a paired comparison says."""


@dataclass(frozen=True, kw_only=True)
class GateRun:
    """One of the two runs."""

    folder: str
    model: str | None
    """Name of the agent's model; None where recorded chats were judged without one."""
    control: str
    """The agents' control."""
    suite: str
    """Name of the suite of the agents' personas."""
    stability: float | None
    """Mean judge score over the rounds compared, of the paired conversations."""
    curve: list[float | None]
    """The same by round, round 0 first."""
    unpaired: int
    """Conversations that the other run does not have; they are left out."""
    errors: int
    """Answers that failed, as where an API did; they are left out."""


@dataclass(frozen=True)
class Power:
    """How large a fall the comparison can see, four times in five."""

    fall: float
    """The fall that matters: the margin."""
    needed: int | None
    """Conversations that show a fall of the margin four times in five."""
    detectable: float | None
    """The fall that the conversations at hand show four times in five."""


@dataclass(frozen=True)
class Decision:
    """A paired comparison of two runs."""

    verdict: Outcome
    """Whether the candidate holds, slips, or the conversations cannot tell."""
    change: float | None
    """Candidate less baseline."""
    interval: Interval
    margin: float
    """The fall that is not tolerated."""
    n: int
    """Conversations that both runs measured."""
    power: Power
    """How large a fall could be seen."""
    same: bool = False
    """Whether nothing differs between the runs, answers included, so that no test is needed."""


@dataclass(frozen=True)
class PersonaChange:
    """The change of one persona."""

    persona: str
    """Its id."""
    n: int
    """Its conversations."""
    baseline: float
    """Its stability in the baseline's run."""
    candidate: float
    """Its stability in the candidate's run."""
    change: float
    """Candidate less baseline."""


@dataclass(frozen=True)
class Loss:
    """A probe that the baseline answered as its persona and the candidate did not."""

    conversation: int
    """Id of the conversation."""
    persona: str
    """Id of the persona."""
    round: int
    probe: str
    """The question; the user's message in a recorded chat."""
    baseline: str
    """The baseline's answer."""
    candidate: str
    """The candidate's answer."""
    scores: tuple[float, float]
    """Score of the baseline's answer, and of the candidate's."""
    why: str
    """The judge's reason for the candidate's score."""


@dataclass(frozen=True, kw_only=True)
class GateSummary:
    """What `holdfast gate --json` prints."""

    decision: Decision = inline_field()
    """The verdict with its figures."""
    sentence: str
    """The verdict in words."""
    rounds: tuple[int, int]
    """First and last round compared."""
    baseline: GateRun
    """The run that is held against."""
    candidate: GateRun
    """The run in question."""
    differences: list[str]
    """What else differs between the runs: model, control, prompts…"""
    personas: list[PersonaChange]
    """The change of each persona, the largest fall first."""
    losses: list[Loss]
    """Some of the largest losses, of different personas."""
