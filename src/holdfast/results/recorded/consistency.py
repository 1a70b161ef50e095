"""What `holdfast personas consistency` finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.records import optional_field
from holdfast.results.interval import Interval
from holdfast.results.recorded.log import LogReading


@dataclass(frozen=True)
class ConsistencyManifest:
    """What determines the judge's replies."""

    command: str
    version: str
    """Version of Holdfast."""
    log: str
    """SHA-256 of what the conversations say."""
    judge: Mapping[str, Any]
    """The judge as its backend describes it."""


@dataclass(frozen=True)
class JudgeReply:
    """What the judge replied to a request; the same request is asked once."""

    request: str
    """SHA-256 of the request."""
    text: str


@dataclass(frozen=True)
class Fault:
    """Why the simulated user of a run is none."""

    run: str
    """The file and the line, or the conversation."""
    kind: str
    """assistant, persona or soft."""
    line: int
    """The user's line that shows it first, from 1; 0 where all lines do."""
    why: str
    """What was seen."""


@dataclass(frozen=True, kw_only=True)
class JudgeCheck:
    """How a judge does on lines whose labels are known."""

    judge: str
    n: int
    """Labelled lines."""
    unparsed: int
    """Verdicts that say neither."""
    contradictions: float
    """Share of the lines that contradict which it finds; unparsed ones count as missed."""
    agreements: float
    """Share of the lines that do not contradict which it lets pass; likewise."""
    interval: Interval
    """95% interval of the mean of both."""

    @property
    def balanced_accuracy(self) -> float:
        """The mean of both shares: .5 is chance."""
        return (self.contradictions + self.agreements) / 2


@dataclass(frozen=True)
class Consistency:
    """One measure of a side."""

    value: float | None
    """Mean over pairs, from 0 to 1; None where nothing could be judged."""
    interval: Interval
    n: int
    """Pairs of personas, of each the mean under all controls; in a log, conversations."""
    judged: int
    """Verdicts that could be read."""
    unparsed: int
    """Verdicts that say neither; they are left out."""


@dataclass(frozen=True)
class Planted:
    """Faults that were put into a log to try the rules on it."""

    seen: int
    """Those that the rules see."""
    of: int


@dataclass(frozen=True, kw_only=True)
class SideConsistency:
    """How consistent one side is."""

    prompt_to_line: Consistency
    """Share of its lines that do not contradict its prompt."""
    line_to_line: Consistency
    """Share of its earlier lines that a line does not contradict."""
    question_answer: Consistency
    """Share of questions on its prompt that are answered rightly from what it said."""
    unsaid: int
    """Questions that the conversation does not answer; they are left out."""


@dataclass(frozen=True, kw_only=True)
class ConsistencySummary:
    """What `holdfast personas consistency --json` prints."""

    log: str
    """The log or the folder of a run."""
    runs: int
    """Conversations."""
    pairs: int
    """Different pairs of personas that met in the folder of a run, and so fewer than `runs` where
    they met under several controls; the conversations of a log each count as one."""
    valid: int
    """Those without a fault of the simulated user."""
    valid_interval: Interval
    """95% interval of their share; None from fewer than three pairs."""
    faults: Mapping[str, int]
    """Conversations by kind of fault; one may have several."""
    checked: Mapping[str, int]
    """Conversations in which each kind could be looked for."""
    prompted: int
    """Conversations whose user's prompt is known."""
    planted: Mapping[str, Planted]
    """How many faults of each kind were planted in this log, and found; empty for a short log."""
    flagged: tuple[Fault, ...]
    judge: JudgeCheck | None
    """The judge model on labelled lines; None without one."""
    user: SideConsistency | None
    """The user's side, where a judge model and a prompt are there."""
    agent: SideConsistency | None
    """The agent's side, likewise."""
    reading: LogReading | None = optional_field()
    version: str
    """Version of Holdfast."""
