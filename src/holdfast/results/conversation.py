"""What drift, compare and explain share: conversations as they are planned, recorded and judged.

A conversation is recorded round by round. Round 0 is the probe on the empty history. A record of
round r ≥ 1 holds both turns of the round and the answers to the probes that follow it. Judging
turns the records of a conversation into one `JudgedConversation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.backend import Share, Stop
from holdfast.core.records import optional_field

Arm = Literal["own", "floor", "user", "user_floor", "history_floor", "filler", "reply"]
"""Which question an answer answers, and on which history:

own            the agent's probe, with its system prompt
floor          the same probe without a system prompt, on the empty history
user           the probe of the user's persona, asked of the agent
user_floor     the same without a system prompt, on the empty history
history_floor  the agent's probe on the same history, without a system prompt
filler         the agent's probe after a conversation whose user says neutral filler
reply          no probe: the agent's own turn of a recorded chat
"""
TokenUse = tuple[int, int, int]
"""Prompt tokens, those of them that were cached, and completion tokens."""


@dataclass(frozen=True)
class TurnShare:
    """The course of the prompt share within one turn."""

    tokens: tuple[float, ...]
    """Share of each token of the turn, mean over layers and heads."""
    span: int
    """Content tokens of the system prompt."""
    length: int
    """Keys that the first token of the turn sees."""


@dataclass(frozen=True)
class Turn:
    """One message of a conversation, or the reply to a question about it."""

    text: str
    """The message."""
    stop: Stop = "stop"
    """Why it ended."""
    tokens: TokenUse = (0, 0, 0)
    """Tokens that it cost, where they were counted."""
    error: str | None = optional_field()
    """Why there is no reply, where `stop` is "error"."""
    share: TurnShare | None = optional_field()
    """Its prompt share, where that was measured."""
    thought: str | None = optional_field()
    """What a thinking model thought before it; no part of the message."""


@dataclass(frozen=True)
class FillerTurn:
    """The same round in the twin conversation, whose user says neutral filler."""

    user: str
    tokens: tuple[int, int]
    """Tokens of the user's own message, and of the filler in its place."""
    agent: Turn
    """The agent's reply to the filler."""


@dataclass(frozen=True)
class ProbeAnswer:
    """The answer to one probe."""

    arm: Arm
    """Which probe it was, and on which history."""
    run: int
    """Which of several draws of the same probe."""
    probe: str
    """The question."""
    text: str
    stop: Stop = "stop"
    """Why it ended."""
    tokens: TokenUse = (0, 0, 0)
    """Tokens that it cost, where they were counted."""
    error: str | None = optional_field()
    """Why there is no answer, where `stop` is "error"."""
    share: Share | None = optional_field()
    """Its prompt share, where that was measured."""
    thought: str | None = optional_field()
    """What a thinking model thought before it; never judged."""


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One round of one conversation, a line of `records.jsonl`."""

    conversation: int
    """Id of the conversation."""
    round: int
    """The round; 0 is the empty history."""
    user: Turn | None = optional_field()
    """The user's message; none at round 0."""
    agent: Turn | None = optional_field()
    """The agent's reply; none at round 0."""
    filled: FillerTurn | None = optional_field()
    """The same round of the twin with a neutral user."""
    answers: tuple[ProbeAnswer, ...] = ()
    """Answers to the probes after this round."""
    stopped: Literal[True] | None = optional_field()
    """True where a turn did not fit the context, and the conversation ends."""
    questions: tuple[Turn, ...] | None = optional_field()
    """Answers to the capability questions after this round."""
    refused: str | None = optional_field()
    """Why the model refused the conversation's control here, which ends the conversation."""


@dataclass(frozen=True, kw_only=True)
class ConversationManifest:
    """What determines the records of a run of conversations."""

    command: str
    """The command: drift, compare or explain."""
    version: str
    """Version of Holdfast."""
    model: Mapping[str, Any] | None
    """The agent's model as its backend describes it; None where recorded chats have none."""
    user_model: Mapping[str, Any] | None
    """The user's model, where it is another."""
    judge_model: Mapping[str, Any] | None
    """The model that judges by rubrics, where one does."""
    suite: str
    """Name of the suite of the agents' personas."""
    protocol: object
    """The `ConversationProtocol`."""
    conversations: tuple[tuple[int, str, str, str, int, tuple[str, ...]], ...]
    """Id, agent, user, starter, seed and recorded turns of every conversation."""
    personas: Mapping[str, Any]
    """Every persona in the run, by its id."""
    fillers: tuple[str, ...]
    """Neutral messages, where the twins use them."""
    control_files: Mapping[str, Any] | None = optional_field()
    """Digests of the files that controls name."""
    screened: Screened | None = optional_field()
    """What a screening kept of the agents' personas."""


@dataclass(frozen=True)
class SamplingSummary:
    """How tokens were drawn."""

    max_new_tokens: int
    """Tokens of a reply at most."""
    temperature: float
    """0 is greedy."""
    top_p: float
    """The nucleus."""
    top_k: int
    """0 is off."""


@dataclass(frozen=True)
class CategoryCount:
    """Personas of one category that a screening kept."""

    kept: int
    """Those that the model holds."""
    of: int
    """Those that were asked."""


@dataclass(frozen=True)
class Screened:
    """Personas that the model holds at round 0, which a run was held with."""

    kept: int
    """How many it holds."""
    of: int
    """How many were asked."""
    at_least: float
    """The mean score that keeps a persona."""
    draws: int
    """Answers to a persona's probes at most, on other seeds than those of the run."""
    by_category: Mapping[str, CategoryCount]
    """The same by category."""
    personas: tuple[str, ...]
    """Ids of those that were kept."""


@dataclass(frozen=True)
class Setting:
    """What was run, as the summaries of drift, compare and explain begin."""

    model: str | None
    """Name of the agent's model; None where recorded chats were judged without one."""
    user_model: str | None
    """Name of the user's model, where it is another."""
    suite: str
    """Name of the suite of the agents' personas."""
    seed: int
    """The seed of the run."""
    runs: int
    """Draws of each probe."""
    conversations: int
    rounds: int
    """Rounds of each conversation."""
    version: str
    """Version of Holdfast."""
    sampling: SamplingSummary
    """How replies were sampled."""
    screened: Screened | None = None
    """What a screening kept of the agents' personas; None where all take part."""


@dataclass(frozen=True)
class Failures:
    """Replies that went wrong, by kind, and of how many."""

    empty: int = 0
    """Replies without text."""
    length: int = 0
    """Replies cut at the token limit."""
    overflow: int = 0
    """Chats that did not fit the context."""
    error: int = 0
    """Replies that failed."""
    thought: int = 0
    """Replies that never began, since the token limit cut the thought before them."""
    of: int = 0
    """Messages in all: turns of both sides, and answers to probes and questions."""


@dataclass(frozen=True)
class TokenCount:
    """Tokens of a run."""

    prompt: int
    """Prompt tokens of all replies."""
    cached: int
    """Those of them that were not computed again."""
    completion: int
    """Tokens generated."""


@dataclass(frozen=True)
class Participant:
    """A persona in a judged conversation."""

    id: str
    """Id of the persona."""
    category: str
    prompt: str
    """Its system prompt."""


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer with its score."""

    arm: str
    """Which probe it was, and on which history."""
    run: int
    """Which of several draws of the same probe."""
    probe: str
    """The question."""
    stop: str
    """Why the answer ended."""
    answer: str
    score: float | None
    """The judge's score, from 0 to 1; None of an answer that did not fit the context."""
    why: str
    """The judge's reason."""
    thought: str | None = optional_field()
    """What a thinking model thought before it."""


@dataclass(frozen=True)
class JudgedRound:
    """One round of a judged conversation."""

    round: int
    """The round; 0 is the empty history."""
    user: str | None
    """The user's message."""
    agent: str | None
    """The agent's reply."""
    probes: tuple[JudgedAnswer, ...]
    """The answers after this round."""
    share: float | None
    """Prompt share of the first answer to the agent's probe."""
    user_thought: str | None = optional_field()
    """What the user model thought before its message."""
    agent_thought: str | None = optional_field()
    """What the agent thought before its reply."""


@dataclass(frozen=True)
class JudgedConversation:
    """A conversation with every answer scored, as pages show it."""

    id: int
    agent: Participant
    """The agent's persona."""
    user: Participant
    """The user model's persona."""
    starter: str
    """The first message."""
    rounds: tuple[JudgedRound, ...]
    """The rounds that it reached."""
