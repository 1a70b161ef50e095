"""Conversations under several controls, made ready to be set side by side.

The page holds every conversation under every control, bounded by `BUDGET` characters:
conversations past it, in the order of the run, are left out and named. One pair stands
in the page as markup: none and the recommended control, in the conversation where the
second gains most over the first, which is a rule that the page states. The others are
data that the script makes elements of, text by text: as markup they would be a hundred
thousand elements that nobody looks at.

This module knows records. Texts are made safe and folded by `transcript`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from holdfast.report import transcript
from holdfast.report.charts.chart import tag
from holdfast.report.transcript import Exchange, Said, said, visible
from holdfast.report.words import known, number

BUDGET = 8_000_000
CELL, HIGH = 9, 13  # pixels of a bar's place in the strip
LOW = 0.5  # a score below is shown as failed, as in the drift page
FRAME = 30  # characters about one text, roughly


@dataclass(frozen=True)
class Asked:
    """One capability question with the answer expected and the one given."""

    kind: str
    question: Said
    plant: str
    expected: str
    answer: Said
    right: bool


@dataclass(frozen=True)
class Turn:
    """One round of one side: the exchange, and the questions asked after it."""

    exchange: Exchange
    asked: tuple[Asked, ...]

    @property
    def right(self) -> int:
        """How many of the questions were answered right."""
        return sum(one.right for one in self.asked)


@dataclass(frozen=True)
class Side:
    """One conversation under one control; `late` is its mean score over the last rounds."""

    key: int
    control: str
    turns: tuple[Turn, ...]
    first: float | None
    late: float | None
    bars: str
    strip: Markup


@dataclass(frozen=True)
class Talk:
    """One conversation under every control."""

    id: int
    agent: Mapping[str, str]
    user: Mapping[str, str]
    starter: str
    sides: tuple[Side, ...]

    def side(self, control: str) -> Side | None:
        """This conversation under one control."""
        return next((side for side in self.sides if side.control == control), None)


@dataclass(frozen=True)
class Library:
    """The conversations kept whole, those left out, and the pair that stands open."""

    talks: tuple[Talk, ...]
    left_out: tuple[int, ...]
    shown: Talk | None
    left: Side | None
    right: Side | None


def library(
    conversations: Iterable[Mapping[str, Any]],
    controls: Sequence[str],
    pair: tuple[str, str],
    rounds: int,
    budget: int = BUDGET,
) -> Library:
    """The conversations that the page holds, in the order given."""
    kept, left_out = list[Talk](), list[int]()
    for record in conversations:
        budget -= _size(record)
        if budget >= 0 or not kept:
            kept.append(_talk(record, controls, rounds))
        else:
            left_out.append(record["id"])
    shown = max(kept, key=lambda talk: _gain(talk, pair), default=None)
    left, right = (shown.side(name) if shown else None for name in pair)
    return Library(tuple(kept), tuple(left_out), shown, left, right)


def _gain(talk: Talk, pair: tuple[str, str]) -> float:
    left, right = (talk.side(name) for name in pair)
    if left is None or right is None or left.late is None or right.late is None:
        return -2.0
    return right.late - left.late


def _size(record: Mapping[str, Any]) -> int:
    total = 0
    for side in record["controls"].values():
        for one in side["rounds"]:
            total += len(one.get("user") or "") + len(one.get("agent") or "") + 2 * FRAME
            total += sum(len(p["answer"] or "") + len(p["why"] or "") for p in one["probes"])
            total += sum(len(p["probe"] or "") for p in one["probes"][:1])
            total += FRAME * len(one["probes"])
        for q in side.get("questions") or ():
            total += len(q["question"] or "") + len(q["answer"] or "") + 2 * FRAME
    return total


def _talk(record: Mapping[str, Any], controls: Sequence[str], rounds: int) -> Talk:
    return Talk(
        record["id"],
        transcript.person(record["agent"]),
        transcript.person(record["user"]),
        visible(record.get("starter") or ""),
        tuple(
            _side(key, name, record["controls"][name], rounds)
            for key, name in enumerate(controls)
            if name in record["controls"]
        ),
    )


def _side(key: int, control: str, record: Mapping[str, Any], rounds: int) -> Side:
    asked: dict[int, list[Asked]] = {}
    for question in record.get("questions") or ():
        asked.setdefault(question["round"], []).append(_asked(question))
    scores = [transcript.mean(one["probes"], "own") for one in record["rounds"]]
    bars, late = _bars(scores), scores[rounds - -(-rounds // 4) + 1 :]
    return Side(
        key,
        control,
        tuple(
            Turn(transcript.exchange(one), tuple(asked.get(one["round"], ())))
            for one in record["rounds"]
        ),
        next((s for s in scores if s is not None), None),
        transcript.average(late),
        bars,
        _strip(bars, len(scores)),
    )


def _asked(record: Mapping[str, Any]) -> Asked:
    return Asked(
        visible(record["kind"]),
        said(record["question"]),
        visible(record.get("plant") or ""),
        visible(record["expected"]),
        said(record["answer"]),
        bool(record["right"]),
    )


def _bars(scores: Sequence[float | None]) -> str:
    """A side at a glance: path data with a bar for every round that has a score."""
    tall = [(i, max(1.0, HIGH * s)) for i, s in enumerate(map(known, scores)) if s is not None]
    return "".join(f"M{i * CELL} {HIGH}v-{t:.1f}h{CELL - 2}V{HIGH}z" for i, t in tall)


def _strip(bars: str, rounds: int) -> Markup:
    wide = max(1, rounds) * CELL
    drawn = tag("path", class_="bar", d=bars), tag("path", class_="ground", d=f"M0 {HIGH}h{wide}")
    return tag("svg", *drawn, class_="strip", viewBox=f"0 0 {wide} {HIGH + 1}", width=wide,
               height=HIGH + 1, aria_hidden="true")  # fmt: skip


def data(found: Library) -> Markup:
    """The conversations as JSON that may stand in a script element, whatever they hold."""
    talks = {
        str(talk.id): {
            "agent": [talk.agent["id"], talk.agent["prompt"]],
            "user": [talk.user["id"], talk.user["prompt"]],
            "starter": talk.starter,
            "sides": {str(side.key): _side_data(side) for side in talk.sides},
        }
        for talk in found.talks
    }
    text = json.dumps(talks, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _side_data(side: Side) -> dict[str, Any]:
    return {
        "name": visible(side.control),
        "course": f"{number(side.first)} → {number(side.late)}",
        "bars": side.bars,
        "turns": [_turn_data(turn) for turn in side.turns],
    }


def _turn_data(turn: Turn) -> dict[str, Any]:
    x, asked = turn.exchange, ""
    answers = []
    for a in x.own:
        probe = a.probe.head + a.probe.rest
        answers.append(
            [number(a.score), a.score is not None and a.score < LOW,
             "" if probe == asked else probe, a.text, a.why, a.stop]
        )  # fmt: skip
        asked = probe
    exam = [[q.right, q.kind, q.question.head + q.question.rest, q.plant, q.answer, q.expected]
            for q in turn.asked]  # fmt: skip
    return {"round": x.round, "user": x.user, "agent": x.agent, "answers": answers, "exam": exam}
