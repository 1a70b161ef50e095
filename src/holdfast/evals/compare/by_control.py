"""One control's measurements, by conversation and round.

A comparison holds the same conversations once under each control. Its records become arrays
of the same shape for every control, with conversations in the plan's order, so that any two
controls can be subtracted. NaN marks what was not measured: a round that was not reached, a
probe or a question that did not fit the context, a token count that an API did not give.

This module reads records. It knows no means and no intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from holdfast.core.control import Control
from holdfast.core.run import TurnTime
from holdfast.core.stats import Array
from holdfast.evals.compare.questions import Questions, is_right, question_answers
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.judging import scores
from holdfast.results.conversation import JudgedConversation, RoundRecord


@dataclass(frozen=True)
class Measurements:
    """What was measured under one control, over C conversations and rounds 0…R."""

    control: Control
    scores: Array
    """Judge scores of the agents' own probes, (C, R + 1)."""
    correct: Mapping[str, Array]
    """Share of the questions after a round that were answered right, by kind, (C, R + 1) each."""
    tokens: Array
    """Prompt and completion tokens of the agents' turns, (C, R + 1)."""
    timing: Array
    """Seconds and generated tokens of the agents' turns, (batches, R + 1, 2)."""
    failures: Mapping[str, Array]
    """Failed replies by kind, (R + 1,) each."""

    def subset(self, conversations: Sequence[int]) -> Measurements:
        """The measurements of some conversations; times stay those of all."""
        rows = list(conversations)
        return replace(
            self,
            scores=self.scores[rows],
            correct={kind: share[rows] for kind, share in self.correct.items()},
            tokens=self.tokens[rows],
        )

    def mask(self, keep: Sequence[bool]) -> Measurements:
        """A copy with the other conversations set to NaN."""
        offset = np.where(np.asarray(keep), 0.0, np.nan)[:, None]
        return replace(
            self,
            scores=self.scores + offset,
            correct={kind: share + offset for kind, share in self.correct.items()},
            tokens=self.tokens + offset,
        )


def measurements(
    plan: ControlledPlan,
    rounds: int,
    conversations: Sequence[JudgedConversation],
    records: Sequence[RoundRecord],
    times: Sequence[TurnTime],
    questions: Questions,
) -> list[Measurements]:
    """The measurements of every control, in the plan's order.

    Args:
        plan: the conversations and the controls they were held under.
        rounds: R, the rounds of each conversation.
        conversations: the judged conversations (`judge_conversations`).
        records: the records of the run.
        times: the lines of its `timing.jsonl`.
        questions: the capability questions after each round.
    """
    by_id = {one.id: one for one in conversations}
    by_control: list[list[RoundRecord]] = [[] for _ in plan.controls]
    for record in records:
        by_control[plan.locate(record.conversation)[0]].append(record)
    batches = 1 + max((time.batch for time in times), default=-1)
    return [
        Measurements(
            control,
            scores([by_id[id_] for id_ in plan.record_ids(k)], "own", rounds + 1),
            _correct(plan, rounds, by_control[k], questions),
            _tokens(plan, rounds, by_control[k]),
            _timing([time for time in times if time.control == control.text], batches, rounds),
            _failures(by_control[k], rounds),
        )
        for k, control in enumerate(plan.controls)
    ]


def _correct(
    plan: ControlledPlan, rounds: int, records: Sequence[RoundRecord], questions: Questions
) -> dict[str, Array]:
    kinds = dict.fromkeys(q.kind for group in questions.values() for q in group)
    shape = (len(plan.conversations), rounds + 1)
    right, total = ({kind: np.zeros(shape) for kind in kinds} for _ in range(2))
    for record in records:
        _, conversation = plan.locate(record.conversation)
        at = conversation, record.round
        for question, answer in question_answers(record, conversation, questions):
            correct = is_right(question, answer)
            if correct is not None:
                total[question.kind][at] += 1
                right[question.kind][at] += correct
    return {kind: _ratio(right[kind], total[kind]) for kind in kinds}


def _ratio(top: Array, bottom: Array) -> Array:
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))


def _tokens(plan: ControlledPlan, rounds: int, records: Sequence[RoundRecord]) -> Array:
    """Prompt and completion tokens of the agents' turns that were answered and counted."""
    tokens = np.full((len(plan.conversations), rounds + 1), np.nan)
    for record in records:
        if record.agent and record.agent.stop in ("stop", "length"):
            prompt, _, completion = record.agent.tokens
            if prompt:
                _, conversation = plan.locate(record.conversation)
                tokens[conversation, record.round] = prompt + completion
    return tokens


def _timing(times: Sequence[TurnTime], batches: int, rounds: int) -> Array:
    """Seconds and tokens by batch and round; the last times of a batch that was run again."""
    timing = np.full((batches, rounds + 1, 2), np.nan)
    for time in times:
        if time.tokens:
            timing[time.batch, time.round] = time.seconds, time.tokens
    return timing


def _failures(records: Sequence[RoundRecord], rounds: int) -> dict[str, Array]:
    by_round: list[list[RoundRecord]] = [[] for _ in range(rounds + 1)]
    for record in records:
        by_round[record.round].append(record)
    counts = [vars(costs(of_round).failures) for of_round in by_round]
    return {kind: np.array([count[kind] for count in counts]) for kind in counts[0]}
