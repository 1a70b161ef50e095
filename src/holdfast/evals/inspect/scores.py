"""Judged conversations as scores of Inspect, and their means as one metric of many numbers.

A sample's score has a number for the floor and for every round; the metric has, for each,

    stability(r) = mean over conversations of the mean judge score of the probe's answers

and a 95% interval (`core.intervals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from inspect_ai.model import ModelUsage
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from holdfast.core.records import Record, as_record, read_record
from holdfast.core.stats import Array, mean
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.judging import judge_records, scores
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.run_folder import read_persona
from holdfast.results.conversation import Arm, JudgedConversation, RoundRecord

ROUNDS = "rounds"
"""The key of a sample's records in its store."""
ARMS: tuple[Arm, ...] = ("own", "floor", "reply")


def model_usage(prompt: int, cached: int, completion: int) -> ModelUsage:
    """Tokens as Inspect counts them, the cached ones apart from the input's."""
    return ModelUsage(
        input_tokens=prompt - cached,
        input_tokens_cache_read=cached,
        output_tokens=completion,
        total_tokens=prompt + completion,
    )


def sample_id(conversation: Conversation, controlled: bool = False) -> str:
    """A conversation's id in a log: its number and its personas.

    Args:
        conversation: the conversation.
        controlled: add the control.
    """
    c = conversation
    name = f"{c.id:03d} {c.agent.id} × {c.user.id}"
    return f"{name} under {c.control}" if controlled else name


def conversation_of(metadata: Mapping[str, Any], starter: str = "") -> Conversation:
    """The conversation that a sample's metadata describe."""
    agent, user = (read_persona(metadata[side]) for side in ("agent", "user"))
    return Conversation(metadata["conversation"], agent, user, starter, metadata["seed"])


@metric
def stability() -> Metric:
    """Stability after every round, the floor, and the change, each with its 95% interval."""

    def compute(scores: list[SampleScore]) -> Value:
        if not scores:  # Inspect's display asks before a sample is done
            return {}
        plans = [conversation_of(one.sample_metadata or {}) for one in scores]
        names = next(list(v) for one in scores if isinstance(v := one.score.value, dict))
        rows = [[_number(one.score.value, name) for name in names] for one in scores]
        return stability_table(np.array(rows, float), plans)

    return compute


def _number(value: Any, name: str) -> float:
    number = value.get(name) if isinstance(value, Mapping) else None
    return float("nan") if number is None else float(number)


def points(rounds: int) -> list[str]:
    """The names of a sample's scores: the floor, then one for every round."""
    return ["floor", *(f"r{r:02d}" for r in range(rounds + 1))]


def stability_table(values: Array, plans: Sequence[Conversation]) -> dict[str, float]:
    """Means and intervals in one flat table.

    Args:
        values: scores, (conversations, 1 + rounds + 1): the floor, then every round from 0.
        plans: the conversations, which share personas.
    """
    names = points(values.shape[1] - 2)
    sample = sample_of(plans)
    table: dict[str, float] = {}
    bands = sample.score_interval(values)
    for name, value, (low, high) in zip(names, mean(values), bands, strict=True):
        table |= {name: value, f"{name}_lo": low, f"{name}_hi": high}
    whole = np.where(np.isnan(values[:, -1:]), np.nan, values)
    start = 1 + int((~np.isnan(values[:, 1:])).any(axis=0).argmax())  # recorded replies: round 1
    first_last = mean(whole)[[start, -1]]
    low, high = sample.difference_interval(whole[:, -1], whole[:, start])
    table |= {"change": first_last[1] - first_last[0], "change_lo": low, "change_hi": high}
    return {name: round(float(value), 4) for name, value in table.items()}


@scorer(metrics=[stability()])
def persona_judge(rounds: int) -> Scorer:
    """The persona's own judge on every answer: the mean of each round's, and of the floor's."""

    async def score(state: TaskState, target: Target) -> Score:
        plan = conversation_of(state.metadata, state.input_text)
        rows: list[Record] = state.store.get(ROUNDS, [])
        records = [read_record(RoundRecord, record) for record in rows]
        return as_score(judge_records(records, [plan], {})[0], rounds)

    return score


def as_score(conversation: JudgedConversation, rounds: int) -> Score:
    """A judged conversation as Inspect's score: a number for the floor and for every round.

    Args:
        conversation: the conversation.
        rounds: rounds of the longest conversation.
    """
    own, floor, replies = (scores([conversation], arm, rounds + 1)[0] for arm in ARMS)
    if np.isnan(own).all():
        own = replies  # recorded chats that were judged without a model
    # NaN where a round was not reached: Inspect's reducers would turn None into zero.
    values = [round(float(v), 6) for v in (floor[0], *own)]
    answers = [{"round": at.round, **as_record(a)} for at in conversation.rounds for a in at.probes]
    last = [a for a in conversation.rounds[-1].probes if a.arm == "own"]
    return Score(
        value=dict(zip(points(rounds), values, strict=True)),
        answer=last[-1].answer if last else None,
        explanation=last[-1].why if last else None,
        metadata={"answers": answers},
    )
