"""What `holdfast watch` finds in a log, and what a server says of its traffic."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.records import inline_field, optional_field
from holdfast.results.recorded.log import LogReading


@dataclass(frozen=True, kw_only=True)
class ReplyRecord:
    """One reply of a conversation, a line of a server's log."""

    conversation: str
    """Which conversation, as a hash of what identifies it."""
    round: int
    """The user turns up to this reply."""
    score: float | None
    """The judge's score, from 0 to 1; None where nothing was judged."""
    persona: str
    """Id of the persona."""
    control: str
    """The control, as text."""
    model: str | None = optional_field()
    time: float | None = optional_field()
    """Seconds since 1970."""
    user: str | None = optional_field()
    """The user's message, only if texts are logged."""
    reply: str | None = optional_field()
    """The reply, only if texts are logged."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """The deployment drifts."""

    rounds: str
    """The rounds whose scores have dropped, as "5" or "9-12"; "first" for the first rounds."""
    drop: float
    """Mean drop since the change, against the first rounds of the same conversations; that of the
    first rounds themselves is against the score that was expected of them."""
    conversation: str
    """The conversation whose reply raised the alarm."""
    round: int
    """The round of that reply."""
    delay: int
    """Conversations from the likeliest beginning of the change to the alarm."""
    conversations: int
    """Conversations seen so far."""
    replies: int
    """Replies scored so far."""
    time: float | None = optional_field()
    """Seconds since 1970, where known."""


@dataclass(frozen=True, kw_only=True)
class Slip:
    """One conversation has lost its persona."""

    conversation: str
    since: int
    """The round from which on its replies have been too bad."""
    round: int
    """The round at which that was certain."""


@dataclass(frozen=True, kw_only=True)
class RoundScores:
    """The scores of some rounds."""

    rounds: str
    """The rounds, as "1" or "9-16"."""
    replies: int
    """Replies under the deployment's control."""
    score: float | None
    """Their mean score; None where there are none."""
    controls: dict[str, float]
    """The mean score by control, those that clients chose too."""


@dataclass(frozen=True, kw_only=True)
class DropTest:
    """The sequential test of some rounds."""

    rounds: str
    """The rounds, as "5" or "9-12"; "first" for the first rounds themselves."""
    conversations: int
    """Conversations that reached them."""
    drop: float | None
    """Mean drop against the first rounds of the same conversations; that of the first rounds
    themselves is against the score that is expected of them."""
    evidence: float
    """What the test has; 1 raises the alarm."""


@dataclass(frozen=True, kw_only=True)
class WatchState:
    """Where a watch stands: what the page of live traffic shows."""

    persona: str
    """Id of the persona."""
    judged: bool
    """Whether its judge scores replies as they come; a rubric needs a model."""
    drop: float
    """The drop that the test is made for."""
    per_false_alarm: int
    """Conversations between false alarms, on average at least."""
    conversations: int
    """Conversations seen."""
    replies: int
    """Replies scored."""
    others: int
    """Replies scored under a control that a client chose: neither among `replies` nor tested."""
    first: float | None
    """Mean score of the first rounds."""
    rounds: tuple[RoundScores, ...]
    tests: tuple[DropTest, ...]
    """The tests, by round."""
    drifts: bool
    """Whether there was an alarm."""
    alarms: tuple[Alarm, ...]
    """The alarms, the newest last."""
    alarm_count: int
    """How many there were; `alarms` has the last of them."""
    slips: int
    """Conversations that lost their persona."""


@dataclass(frozen=True, kw_only=True)
class WatchSummary:
    """What `holdfast watch --json` prints."""

    log: str
    lines: int
    """Its lines that fit."""
    reading: LogReading | None = optional_field()
    state: WatchState = inline_field()
    """Where the watch stood at its end."""
    slipped: tuple[Slip, ...]
    """Every conversation that lost its persona, at its first slip."""
    version: str
    """Version of Holdfast."""
    note: str | None = None
    """What to know of the result."""
    report: str | None = None
    """The page, where one was written."""
