"""Conversations made ready for print: scores by round, arms in words, safe and whole text.

A model's reply may hold anything: markup, control characters, half a surrogate
pair, a megabyte. Markup is the template's business, which escapes it. Here control
characters become visible pictures, broken surrogates the replacement character,
and a long text is split in two so that the page can fold the second part away.
Nothing is dropped: where a run's texts exceed `BUDGET` characters, later
conversations keep their scores and say where their texts are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from holdfast.report.charts import chart
from holdfast.report.words import finite, first_of, number
from holdfast.results.conversation import (
    Arm,
    JudgedAnswer,
    JudgedConversation,
    JudgedRound,
    Participant,
)

BUDGET = 16_000_000
FOLD = 2_400
SLIP = 0.25

ARMS = {
    "own": "with its system prompt",
    "user": "the user’s probe",
    "filler": "neutral filler in the user’s place",
    "history_floor": "no system prompt, same history",
    "floor": "no system prompt, empty history",
    "user_floor": "the user’s probe, no system prompt",
}
STOPS = {
    "stop": "",
    "length": "cut at the token limit",
    "overflow": "did not fit the context",
    "error": "could not be had",
}


class FoldedText(NamedTuple):
    """A text in two parts, the second to be folded away; both empty for an empty reply."""

    head: str
    rest: str
    thought: str = ""
    """What a thinking model thought before it, folded away too."""


@dataclass(frozen=True)
class TranscriptAnswer:
    """One probe answer, judged."""

    arm: str
    run: int
    probe: FoldedText
    text: FoldedText
    score: float | None
    why: str
    stop: str


@dataclass(frozen=True)
class Exchange:
    """What happened at round r: two messages (none at 0) and the probes asked after them.

    `reply` judges the agent's message itself, where chats were recorded.
    """

    round: int
    user: FoldedText | None
    agent: FoldedText | None
    own: tuple[TranscriptAnswer, ...]
    others: tuple[TranscriptAnswer, ...]
    reply: TranscriptAnswer | None
    share: float | None


class Course:
    """The first and the last of some scores by round."""

    scores: tuple[float | None, ...]

    @property
    def first(self) -> float | None:
        """The first score there is: at round 0, or 1 where replies are judged."""
        return first_of(self.scores)

    @property
    def last(self) -> float | None:
        """The last score there is."""
        return first_of(self.scores[::-1])

    @property
    def fall(self) -> float | None:
        """First minus last score."""
        return None if self.first is None or self.last is None else self.first - self.last


@dataclass(frozen=True)
class Entry(Course):
    """One conversation with its course of scores; `exchanges` is empty where left out."""

    id: int
    agent: Participant
    user: Participant | None
    starter: str
    scores: tuple[float | None, ...]
    traits: str
    answers: int
    exchanges: tuple[Exchange, ...]
    whole: bool
    strip: Markup


@dataclass(frozen=True)
class Portrait(Course):
    """A persona's mean course over its conversations, each from its own start to its own end."""

    id: str
    category: str
    scores: tuple[float | None, ...]
    strip: Markup
    courses: tuple[Course, ...]

    @property
    def n(self) -> int:
        """Its conversations."""
        return len(self.courses)

    @property
    def first(self) -> float | None:
        """The mean of the conversations' first scores."""
        return average(one.first for one in self.courses)

    @property
    def last(self) -> float | None:
        """The mean of the conversations' last scores, which may be at different rounds."""
        return average(one.last for one in self.courses)


class Specimen(NamedTuple):
    """A conversation shown early on, and the rule by which it was picked."""

    rule: str
    entry: Entry


def visible(text: object) -> str:
    """The text with nothing hidden: control characters as pictures, lone surrogates as U+FFFD."""
    whole = str(text).replace("\r\n", "\n").replace("\r", "\n")
    return whole.translate(_PICTURES)


_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}


def fold_text(text: object, thought: str | None = None) -> FoldedText:
    """A text split after about `FOLD` characters, at a space where there is one near."""
    whole, before = visible("" if text is None else text), visible(thought or "")
    if len(whole) <= FOLD * 1.25:
        return FoldedText(whole, "", before)
    cut = whole.rfind(" ", FOLD - 200, FOLD)
    cut = FOLD if cut < 0 else cut
    return FoldedText(whole[:cut], whole[cut:], before)


def entries(conversations: Iterable[JudgedConversation], budget: int = BUDGET) -> list[Entry]:
    """Every conversation, in the order given; past the budget without its texts.

    Scores are those of the agent's own probe, or, where none was asked (recorded chats
    without a model), of the replies themselves.
    """
    every, result = list(conversations), list[Entry]()
    arm: Arm = "own" if any(_has_arm(one, "own") for one in every) else "reply"
    for conversation in every:
        budget -= _size(conversation)
        result.append(_entry(conversation, arm, whole=budget >= 0 or not result))
    return result


def _has_arm(conversation: JudgedConversation, arm: Arm) -> bool:
    return any(probe.arm == arm for at in conversation.rounds for probe in at.probes)


def _size(conversation: JudgedConversation) -> int:
    """Characters of a conversation on the page, roughly."""
    total = 0
    for at in conversation.rounds:
        total += len(at.user or "") + len(at.agent or "")
        total += len(at.user_thought or "") + len(at.agent_thought or "")
        total += sum(len(probe.answer) + len(probe.probe) + 200 for probe in at.probes)
        total += sum(len(probe.thought or "") for probe in at.probes)
    return total


def _entry(conversation: JudgedConversation, arm: Arm, *, whole: bool) -> Entry:
    rounds = conversation.rounds
    scores = tuple(mean(at.probes, arm) for at in rounds)
    theirs = [mean(at.probes, "user") for at in rounds]
    label = " ".join(number(s) for s in scores)
    key = f"strip-{conversation.id}"
    return Entry(
        id=conversation.id,
        agent=person(conversation.agent),
        user=None if _has_arm(conversation, "reply") else person(conversation.user),
        starter=visible(conversation.starter),
        scores=scores,
        traits=_traits(scores, theirs),
        answers=sum(len(at.probes) for at in rounds),
        exchanges=tuple(map(exchange, rounds)) if whole else (),
        whole=whole,
        strip=chart.strip(scores, chart.Text(key, "Score by round", label)),
    )


def person(who: Participant) -> Participant:
    """A persona's id, category and prompt, safe to show."""
    return Participant(visible(who.id), visible(who.category), visible(who.prompt))


def mean(probes: Iterable[JudgedAnswer], arm: Arm) -> float | None:
    """The mean score of one arm's answers; None where there is none."""
    return average([finite(probe.score) for probe in probes if probe.arm == arm])


def average(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are there; None of none."""
    there = [v for v in values if v is not None]
    return sum(there) / len(there) if there else None


def _traits(scores: Sequence[float | None], theirs: Sequence[float | None]) -> str:
    there = [s for s in scores if s is not None]
    traits = []
    if there:
        traits.append("slipped" if there[0] - there[-1] >= SLIP else "held")
        if min(there) < 0.5:
            traits.append("low")
    if theirs and (theirs[-1] or 0.0) >= 0.5:
        traits.append("taken")
    return " ".join(traits)


def exchange(at: JudgedRound) -> Exchange:
    """One round of a conversation, as the page shows it."""
    by_arm: dict[str, list[TranscriptAnswer]] = {}
    for probe in at.probes:
        by_arm.setdefault(probe.arm, []).append(_answer(probe))
    own, replies = by_arm.pop("own", []), by_arm.pop("reply", [])
    return Exchange(
        round=at.round,
        user=None if at.user is None else fold_text(at.user, at.user_thought),
        agent=None if at.agent is None else fold_text(at.agent, at.agent_thought),
        own=tuple(own),
        others=tuple(answer for answers in by_arm.values() for answer in answers),
        reply=replies[0] if replies else None,
        share=finite(at.share),
    )


def _answer(answer: JudgedAnswer) -> TranscriptAnswer:
    return TranscriptAnswer(
        arm=ARMS.get(answer.arm, visible(answer.arm)),
        run=answer.run,
        probe=fold_text(answer.probe),
        text=fold_text(answer.answer, answer.thought),
        score=finite(answer.score),
        why=visible(answer.why),
        stop=STOPS.get(answer.stop, visible(answer.stop)),
    )


def portraits(conversations: Sequence[Entry]) -> list[Portrait]:
    """Every agent persona's mean score by round, the largest fall first."""
    groups: dict[str, list[Entry]] = {}
    for entry in conversations:
        groups.setdefault(entry.agent.id, []).append(entry)
    portraits = []
    for place, (name, group) in enumerate(sorted(groups.items())):
        points = max(len(e.scores) for e in group)
        columns = [[e.scores[r] for e in group if r < len(e.scores)] for r in range(points)]
        means = tuple(average(column) for column in columns)
        label = " ".join(number(m) for m in means)
        text = chart.Text(f"portrait-{place}", "Score by round", label)
        portraits.append(
            Portrait(name, group[0].agent.category, means, chart.strip(means, text), tuple(group))
        )
    return sorted(portraits, key=lambda portrait: -(portrait.fall or 0.0))


def specimens(conversations: Sequence[Entry]) -> list[Specimen]:
    """The conversation with the largest fall and the one in the middle, by stated rules."""
    by_fall = sorted(
        (e for e in conversations if e.fall is not None and any(x.own for x in e.exchanges)),
        key=lambda e: (-(e.fall or 0.0), e.id),
    )
    if not by_fall:
        return []
    first, middle = by_fall[0], by_fall[len(by_fall) // 2]
    title = (
        "The largest fall" if round(first.fall or 0.0, 2) > 0 else "The least steady conversation"
    )
    if middle.id == first.id:
        return [Specimen("The only conversation" if len(by_fall) == 1 else title, first)]
    return [Specimen(title, first), Specimen("The median conversation, by fall", middle)]
