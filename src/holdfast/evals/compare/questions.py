"""The capability questions of a comparison: drawn once, the same under every control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.seeds import seed_of
from holdfast.evals.compare.settings import CompareSettings
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import Question
from holdfast.results.compare import CapabilityAnswer
from holdfast.results.conversation import RoundRecord, Turn

Questions = Mapping[tuple[int, int], Sequence[Question]]
"""The questions that are asked of a conversation after a round, by (conversation, round)."""


@dataclass(frozen=True)
class QuestionPlan:
    """Which questions follow which rounds of which conversations."""

    source: str
    """Where they come from; "none" asks nothing."""
    counted_rounds: Mapping[int, Sequence[int]]
    """For every length, the rounds whose questions count."""
    questions: Questions
    """The questions, by the plan's conversations."""

    @property
    def rounds(self) -> list[int]:
        """The rounds that questions follow."""
        return sorted({r for _, r in self.questions})

    def count_by_kind(self, length: int) -> dict[str, int]:
        """Questions of each kind that count for a length."""
        rounds = self.counted_rounds[length]
        counts = Counter(q.kind for (_, r), of in self.questions.items() if r in rounds for q in of)
        return dict(counts)

    def under_every_control(self, plan: ControlledPlan) -> Questions:
        """The same questions by the ids that conversations have in the records."""
        return {
            (plan.record_id(k, conversation), r): questions
            for k in range(len(plan.controls))
            for (conversation, r), questions in self.questions.items()
        }

    def as_records(self) -> list[Any]:
        """What the questions put before the model, for the manifest."""
        return [
            [*key, [[q.kind, q.prompt, q.plant, q.back, q.alone] for q in self.questions[key]]]
            for key in sorted(self.questions)
        ]


def plan_questions(
    settings: CompareSettings, source: str, conversations: Sequence[Conversation]
) -> QuestionPlan:
    """Draw the questions of every conversation.

    Args:
        settings: how many of a kind, and after which rounds.
        source: a source of `capability.load`; "none" asks nothing.
        conversations: the plan.

    Raises:
        HoldfastError: for a round that no length has, and for a source that cannot be read.
    """
    lengths, question_rounds = settings.lengths(), settings.question_rounds
    for r in question_rounds:
        if not 1 <= r <= lengths[-1]:
            raise HoldfastError(
                f"`question_rounds` is a round from 1 to {lengths[-1]}, not {r}: choose another"
            )
    scored_rounds = {
        length: sorted({r for r in question_rounds if r <= length}) if question_rounds else [length]
        for length in lengths
    }
    questions: dict[tuple[int, int], list[Question]] = {}
    if source != "none":
        for r in sorted({r for rounds in scored_rounds.values() for r in rounds}):
            questions |= _draw(source, conversations, r, settings.each, settings.seed)
    return QuestionPlan(source, scored_rounds, questions)


def _draw(
    source: str, conversations: Sequence[Conversation], r: int, each: int, seed: int
) -> dict[tuple[int, int], list[Question]]:
    """`each` questions of every kind to each conversation after round r."""
    by_kind: dict[str, list[Question]] = {}
    draw, count = seed_of(seed, "questions", r), each * len(conversations)
    for question in capability.load(source, n=count, seed=draw, rounds=r):
        by_kind.setdefault(question.kind, []).append(question)
    return {
        (c.id, r): [q for of in by_kind.values() for q in of[i * each : (i + 1) * each]]
        for i, c in enumerate(conversations)
    }


def is_right(question: Question, answer: Turn) -> bool | None:
    """Whether a question is answered right; None where it did not fit the context."""
    return None if answer.stop == "overflow" else capability.right(question, answer.text)


def question_answers(
    record: RoundRecord, conversation: int, questions: Questions
) -> list[tuple[Question, Turn]]:
    """The questions after the round of a record, each with its answer."""
    if not record.questions:
        return []
    return list(zip(questions[conversation, record.round], record.questions, strict=True))


def capability_answers(
    record: RoundRecord, conversation: int, questions: Questions
) -> Iterator[CapabilityAnswer]:
    """The same as the page shows them."""
    for question, answer in question_answers(record, conversation, questions):
        yield CapabilityAnswer(
            round=record.round,
            kind=question.kind,
            question=question.prompt,
            plant=question.plant,
            expected=question.answer,
            answer=answer.text,
            right=is_right(question, answer),
            stop=answer.stop,
            thought=answer.thought,
        )
