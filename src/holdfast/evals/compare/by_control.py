"""One control's measurements, conversation by conversation and round by round.

A comparison holds the same conversations once under each control. What came of them is
cut here into arrays of one shape for every control, conversations in the plan's order,
so that any two can be subtracted. NaN is what was not measured: a round that was not
reached, a probe or a question that did not fit the context, a token count that an API
did not give.

This module reads records. It knows no means and no intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from holdfast.core.records import Record
from holdfast.core.run import TurnTime
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation, number
from holdfast.evals.conversation.scores import costs, scores
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import Question

Asked = Mapping[tuple[int, int], Sequence[Question]]  # by conversation and round


@dataclass(frozen=True)
class Lane:
    """What was measured under one control, over conversations and rounds 0…R.

    `own` are judge scores, `tokens` those of the agents' turns (prompt and completion),
    `right` the share of the questions after a round that were answered right, by kind,
    each (conversations, R + 1). `spent` are seconds and tokens of the agents' turns of
    a batch, (batches, R + 1, 2), and `failures` their number by name, (R + 1,).
    """

    control: str
    own: Array
    right: Mapping[str, Array]
    tokens: Array
    spent: Array
    failures: Mapping[str, Array]

    def part(self, at: Sequence[int]) -> Lane:
        """The same of some conversations only; times are of all of them."""
        rows = list(at)
        right = {kind: share[rows] for kind, share in self.right.items()}
        return replace(self, own=self.own[rows], right=right, tokens=self.tokens[rows])

    def only(self, known: Sequence[bool]) -> Lane:
        """The same with what came of the other conversations taken as not measured."""
        kept = np.where(np.asarray(known), 0.0, np.nan)[:, None]
        right = {kind: share + kept for kind, share in self.right.items()}
        return replace(self, own=self.own + kept, right=right, tokens=self.tokens + kept)


def lanes(
    controls: Sequence[str],
    base: Sequence[Conversation],
    talks: Sequence[Record],
    records: Sequence[Record],
    times: Sequence[TurnTime],
    asked: Asked,
    rounds: int,
) -> list[Lane]:
    """Every control's lane, from the judged talks, the records and the times of a run."""
    held: dict[int, Record] = {talk["id"]: talk for talk in talks}
    by_control: list[list[Record]] = [[] for _ in controls]
    for record in records:
        by_control[record["conversation"] // len(base)].append(record)
    batches = 1 + max((time.batch for time in times), default=-1)
    return [
        Lane(
            control,
            scores([held[number(k, c.id, len(base))] for c in base], "own", rounds + 1),
            _right(by_control[k], base, asked, rounds),
            _tokens(by_control[k], base, rounds),
            _spent([t for t in times if t.control == control], batches, rounds),
            _failures(by_control[k], rounds),
        )
        for k, control in enumerate(controls)
    ]


def _right(
    records: Sequence[Record], base: Sequence[Conversation], asked: Asked, rounds: int
) -> dict[str, Array]:
    kinds = dict.fromkeys(question.kind for held in asked.values() for question in held)
    shape = (len(base), rounds + 1)
    hits, counted = ({kind: np.zeros(shape) for kind in kinds} for _ in range(2))
    for record in records:
        at = record["conversation"] % len(base), record["round"]
        for question, answer in answered(record, asked, len(base)):
            if answer["stop"] != "overflow":
                counted[question.kind][at] += 1
                hits[question.kind][at] += capability.right(question, answer["text"])
    return {kind: _over(hits[kind], counted[kind]) for kind in kinds}


def answered(record: Record, asked: Asked, conversations: int) -> list[tuple[Question, Record]]:
    """The questions that followed a round, and what was answered."""
    key = (record["conversation"] % conversations, record["round"])
    given = record.get("questions")
    return list(zip(asked[key], given, strict=True)) if given else []


def _over(top: Array, bottom: Array) -> Array:
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))


def _tokens(records: Sequence[Record], base: Sequence[Conversation], rounds: int) -> Array:
    """Prompt and completion tokens of the agents' turns that were answered and counted."""
    found = np.full((len(base), rounds + 1), np.nan)
    for record in records:
        if "agent" in record and record["agent"]["stop"] in ("stop", "length"):
            prompt, _, completion = record["agent"]["tokens"]
            if prompt:
                found[record["conversation"] % len(base), record["round"]] = prompt + completion
    return found


def _spent(times: Sequence[TurnTime], batches: int, rounds: int) -> Array:
    """Seconds and tokens by batch and round. A batch that was run again has its last times."""
    found = np.full((batches, rounds + 1, 2), np.nan)
    for time in times:
        if time.tokens:
            found[time.batch, time.round] = time.seconds, time.tokens
    return found


def _failures(records: Sequence[Record], rounds: int) -> dict[str, Array]:
    by_round: list[list[Record]] = [[] for _ in range(rounds + 1)]
    for record in records:
        by_round[record["round"]].append(record)
    counts = [costs(found)["failures"] for found in by_round]
    return {name: np.array([count[name] for count in counts]) for name in counts[0]}
