"""Conversations under several controls, made ready for a page that sets two of them side by side.

The page holds every conversation under every control, up to `BUDGET` characters: it leaves
out conversations beyond that, in the order of the run, and names them. One pair is in the
page as markup: none and the recommended control, in the conversation where the second gains
most over the first, a rule that the page states. The others are data, of which the script
makes elements when the reader asks: as markup they would be a hundred thousand elements.

This module knows records. `transcript` makes texts safe and folds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from holdfast.report import transcript
from holdfast.report.charts.chart import tag
from holdfast.report.transcript import Exchange, FoldedText, fold_text, visible
from holdfast.report.words import finite, first_of, number
from holdfast.results.compare import (
    CapabilityAnswer,
    ComparedConversation,
    ConversationUnderControl,
)
from holdfast.results.conversation import Participant

BUDGET = 8_000_000
"""Characters of all texts."""
BAR, HEIGHT = 9, 13
"""Pixels of a bar's place in the strip of scores."""
LOW = 0.5
"""A lower score is shown as failed, as in the drift page."""
FRAME = 30
"""Characters of markup around one text, roughly."""


@dataclass(frozen=True)
class TranscriptQuestion:
    """One capability question with the expected answer and the model's."""

    kind: str
    question: FoldedText
    plant: str
    """What the user said before, where the question is about that."""
    expected: str
    answer: FoldedText
    right: bool | None


@dataclass(frozen=True)
class TranscriptRound:
    """One round under one control: the exchange, and the questions asked after it."""

    exchange: Exchange
    questions: tuple[TranscriptQuestion, ...]

    @property
    def right(self) -> int:
        """How many of the questions were answered right."""
        return sum(bool(one.right) for one in self.questions)


@dataclass(frozen=True)
class TranscriptSide:
    """One conversation under one control."""

    key: int
    """The control's position."""
    control: str
    rounds: tuple[TranscriptRound, ...]
    first: float | None
    """The first score there is."""
    late: float | None
    """Mean score over the last quarter of the rounds."""
    bars: str
    """Path data with a bar for every round."""
    strip: Markup


@dataclass(frozen=True)
class ConversationSides:
    """One conversation under every control."""

    id: int
    agent: Participant
    user: Participant
    starter: str
    sides: tuple[TranscriptSide, ...]

    def side(self, control: str) -> TranscriptSide | None:
        """This conversation under one control."""
        return next((side for side in self.sides if side.control == control), None)


@dataclass(frozen=True)
class Transcripts:
    """The conversations in the page, and the pair that it opens with."""

    conversations: tuple[ConversationSides, ...]
    omissions: tuple[int, ...]
    """Ids of conversations beyond the budget."""
    opening: ConversationSides | None
    left: TranscriptSide | None
    right: TranscriptSide | None


def transcripts(
    conversations: Iterable[ComparedConversation],
    controls: Sequence[str],
    pair: tuple[str, str],
    rounds: int,
    budget: int = BUDGET,
) -> Transcripts:
    """The conversations that the page holds, in the order given.

    Args:
        conversations: those of `Comparison.conversations`.
        controls: the controls in the order of the table.
        pair: the controls that are shown first.
        rounds: rounds of a conversation.
        budget: characters of all texts; one conversation is kept whatever its size.
    """
    sides, omissions = list[ConversationSides](), list[int]()
    for conversation in conversations:
        budget -= _size(conversation)
        if budget >= 0 or not sides:
            sides.append(_conversation(conversation, controls, rounds))
        else:
            omissions.append(conversation.id)
    first = max(sides, key=lambda conversation: _gain(conversation, pair), default=None)
    left, right = (first.side(name) if first else None for name in pair)
    return Transcripts(tuple(sides), tuple(omissions), first, left, right)


def _gain(conversation: ConversationSides, pair: tuple[str, str]) -> float:
    left, right = (conversation.side(name) for name in pair)
    if left is None or right is None or left.late is None or right.late is None:
        return -2.0
    return right.late - left.late


def _size(conversation: ComparedConversation) -> int:
    """Characters of a conversation on the page, roughly."""
    total = 0
    for side in conversation.controls.values():
        for at in side.rounds:
            total += len(at.user or "") + len(at.agent or "") + 2 * FRAME
            total += len(at.user_thought or "") + len(at.agent_thought or "")
            total += sum(len(p.answer) + len(p.why) + FRAME for p in at.probes)
            total += sum(len(p.thought or "") for p in at.probes)
            total += sum(len(p.probe) for p in at.probes[:1])
        for q in side.questions:
            total += len(q.question) + len(q.answer) + len(q.thought or "") + 2 * FRAME
    return total


def _conversation(
    conversation: ComparedConversation, controls: Sequence[str], rounds: int
) -> ConversationSides:
    return ConversationSides(
        conversation.id,
        transcript.person(conversation.agent),
        transcript.person(conversation.user),
        visible(conversation.starter),
        tuple(
            _side(key, name, conversation.controls[name], rounds)
            for key, name in enumerate(controls)
            if name in conversation.controls
        ),
    )


def _side(key: int, control: str, under: ConversationUnderControl, rounds: int) -> TranscriptSide:
    questions: dict[int, list[TranscriptQuestion]] = {}
    for question in under.questions:
        questions.setdefault(question.round, []).append(_question(question))
    scores = [transcript.mean(at.probes, "own") for at in under.rounds]
    bars, late = _bars(scores), scores[rounds - -(-rounds // 4) + 1 :]
    return TranscriptSide(
        key,
        control,
        tuple(
            TranscriptRound(transcript.exchange(at), tuple(questions.get(at.round, ())))
            for at in under.rounds
        ),
        first_of(scores),
        transcript.average(late),
        bars,
        _strip(bars, len(scores)),
    )


def _question(answer: CapabilityAnswer) -> TranscriptQuestion:
    return TranscriptQuestion(
        visible(answer.kind),
        fold_text(answer.question),
        visible(answer.plant),
        visible(answer.expected),
        fold_text(answer.answer, answer.thought),
        answer.right,
    )


def _bars(scores: Sequence[float | None]) -> str:
    """Path data with a bar for every round that has a score."""
    bars = [(i, max(1.0, HEIGHT * s)) for i, s in enumerate(map(finite, scores)) if s is not None]
    return "".join(f"M{i * BAR} {HEIGHT}v-{high:.1f}h{BAR - 2}V{HEIGHT}z" for i, high in bars)


def _strip(bars: str, rounds: int) -> Markup:
    width = max(1, rounds) * BAR
    ground = tag("path", class_="ground", d=f"M0 {HEIGHT}h{width}")
    return tag("svg", tag("path", class_="bar", d=bars), ground, class_="strip",
               viewBox=f"0 0 {width} {HEIGHT + 1}", width=width, height=HEIGHT + 1,
               aria_hidden="true")  # fmt: skip


def data(transcripts: Transcripts) -> Markup:
    """The conversations as JSON that is safe in a script element, whatever they hold."""
    conversations = {
        str(one.id): {
            "agent": [one.agent.id, one.agent.prompt],
            "user": [one.user.id, one.user.prompt],
            "starter": one.starter,
            "sides": {str(side.key): _side_data(side) for side in one.sides},
        }
        for one in transcripts.conversations
    }
    text = json.dumps(conversations, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _side_data(side: TranscriptSide) -> dict[str, Any]:
    return {
        "name": visible(side.control),
        "course": f"{number(side.first)} → {number(side.late)}",
        "bars": side.bars,
        "turns": [_round_data(one) for one in side.rounds],
    }


def _round_data(one: TranscriptRound) -> dict[str, Any]:
    exchange, last_probe = one.exchange, ""
    answers = []
    for a in exchange.own:
        probe = a.probe.head + a.probe.rest
        answers.append(
            [number(a.score), a.score is not None and a.score < LOW,
             "" if probe == last_probe else probe, a.text, a.why, a.stop]
        )  # fmt: skip
        last_probe = probe
    exam = [[q.right, q.kind, q.question.head + q.question.rest, q.plant, q.answer, q.expected]
            for q in one.questions]  # fmt: skip
    return {"round": exchange.round, "user": exchange.user, "agent": exchange.agent,
            "answers": answers, "exam": exam}  # fmt: skip
