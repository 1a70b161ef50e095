"""The capability questions of a comparison: drawn once, the same under every control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import Question
from holdfast.results.conversation import RoundRecord, Turn

Questions = Mapping[tuple[int, int], Sequence[Question]]
"""The questions that are asked of a conversation after a round, by (conversation, round)."""


def rounds_with_questions(lengths: Sequence[int], chosen: Sequence[int]) -> dict[int, list[int]]:
    """The rounds whose questions count for each length.

    Args:
        lengths: the lengths in rounds, in ascending order.
        chosen: the rounds to ask after; by default the last of every length.

    Raises:
        HoldfastError: for a round that no length has.
    """
    for r in chosen:
        if not 1 <= r <= lengths[-1]:
            raise HoldfastError(
                f"--question-round is a round from 1 to {lengths[-1]}, not {r}: choose another"
            )
    return {
        length: sorted({r for r in chosen if r <= length}) if chosen else [length]
        for length in lengths
    }


def draw_questions(
    source: str, conversations: Sequence[Conversation], rounds: Sequence[int], each: int, seed: int
) -> dict[tuple[int, int], list[Question]]:
    """Give every conversation its questions, `each` of every kind after each of `rounds`.

    Args:
        source: a source of `capability.load`; "none" asks nothing.
        conversations: the plan.
        rounds: the rounds to ask after.
        each: questions of a kind for one conversation at a time.
        seed: decides which.
    """
    if source == "none":
        return {}
    questions: dict[tuple[int, int], list[Question]] = {}
    for r in sorted(rounds):
        by_kind: dict[str, list[Question]] = {}
        question_seed = seed_of(seed, "questions", r)
        for question in capability.load(
            source, n=each * len(conversations), seed=question_seed, rounds=r
        ):
            by_kind.setdefault(question.kind, []).append(question)
        for i, c in enumerate(conversations):
            questions[c.id, r] = [
                q for of_kind in by_kind.values() for q in of_kind[i * each : (i + 1) * each]
            ]
    return questions


def under_every_control(questions: Questions, plan: ControlledPlan) -> Questions:
    """The same questions by the ids that conversations have in the records."""
    return {
        (plan.record_id(k, conversation), r): asked
        for k in range(len(plan.controls))
        for (conversation, r), asked in questions.items()
    }


def question_answers(
    record: RoundRecord, conversation: int, questions: Questions
) -> list[tuple[Question, Turn]]:
    """The questions after the round of a record, each with its answer."""
    if not record.questions:
        return []
    return list(zip(questions[conversation, record.round], record.questions, strict=True))


def count_by_kind(questions: Questions, rounds: Sequence[int]) -> dict[str, int]:
    """Questions of each kind after some rounds."""
    return dict(
        Counter(q.kind for (_, r), asked in questions.items() if r in rounds for q in asked)
    )


def described(questions: Questions) -> list[Any]:
    """What the questions put before the model, for the manifest."""
    return [
        [*key, [[q.kind, q.asked, q.plant, q.back, q.alone] for q in questions[key]]]
        for key in sorted(questions)
    ]
