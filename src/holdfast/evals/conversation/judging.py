"""From records to scores: every answer is judged by its persona's judge.

Everything is computed from the records and the personas, so that a changed judge needs no new
conversations. Where a rubric judges, a judge model is asked, and its verdicts are recorded as
they come, so that an interrupted run asks only for those that are missing. A reply that failed or
is empty scores 0 and is counted; one that did not fit the context has no score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from holdfast import judge
from holdfast.core.backend import Backend
from holdfast.core.stats import Array, numbers
from holdfast.evals.conversation.batches import ConversationRun
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.tasks.model_judge import judge_items, reach_judge
from holdfast.judge import Judge, Score
from holdfast.judge.rubric import Item
from holdfast.persona.suite import Persona
from holdfast.results.conversation import (
    Arm,
    JudgedAnswer,
    JudgedConversation,
    JudgedRound,
    Participant,
    ProbeAnswer,
    RoundRecord,
)

AnswerKey = tuple[int | str, ...]
"""Conversation, round, arm and run: what identifies an answer."""


def reach_judge_of(
    run: ConversationRun, plan: Sequence[Conversation], judge_model: Backend | None
) -> None:
    """Ask the judge model once before a new run, if any of its personas will need it."""
    needed = any(one.needs_model for c in plan for one in (c.agent, c.user))
    reach_judge(run, judge_model, needed)


def judge_conversations(
    run: ConversationRun, plan: Sequence[Conversation], judge_model: Backend | None
) -> list[JudgedConversation]:
    """The planned conversations with every answer of the run scored.

    Args:
        run: the records; takes the judge model's verdicts.
        plan: the conversations.
        judge_model: judges where a rubric does. Without one, answers that need it must have
            their verdicts in the run.
    """
    return judge_records(run.records, plan, _verdicts(run, plan, judge_model))


def judge_records(
    records: Sequence[RoundRecord],
    plan: Sequence[Conversation],
    verdicts: Mapping[AnswerKey, Score],
) -> list[JudgedConversation]:
    """The planned conversations with every answer scored: by its verdict, else by its judge."""
    judges: dict[Persona, Judge] = {}
    rounds: dict[int, list[JudgedRound]] = {c.id: [] for c in plan}
    plans = {c.id: c for c in plan}
    for record in records:
        probes = [
            _judged_answer(answer, verdicts.get(key) or _score(judges, persona, answer))
            for key, persona, answer in _answers(record, plans[record.conversation])
        ]
        rounds[record.conversation].append(
            JudgedRound(
                round=record.round,
                user=record.user.text if record.user else None,
                agent=record.agent.text if record.agent else None,
                probes=tuple(probes),
                share=_first_share(record),
                user_thought=record.user.thought if record.user else None,
                agent_thought=record.agent.thought if record.agent else None,
            )
        )
    return [
        JudgedConversation(c.id, _who(c.agent), _who(c.user), c.starter, tuple(rounds[c.id]))
        for c in plan
    ]


class HasRounds(Protocol):
    """A judged conversation, or one of those under several controls."""

    @property
    def rounds(self) -> Sequence[JudgedRound]:
        """Its rounds."""


def scores(
    conversations: Sequence[HasRounds], arm: Arm, points: int, *, first: bool = False
) -> Array:
    """Scores of one arm: (conversations, points), NaN where nothing was asked.

    An answer that did not fit the context has none: it would look like drift.

    Args:
        conversations: the judged conversations.
        arm: which probe, and on which history.
        points: rounds from 0.
        first: take the first run alone, to compare with arms that have one; by default runs are
            averaged.
    """
    values = np.full((len(conversations), points), np.nan)
    for row, conversation in enumerate(conversations):
        for at in conversation.rounds:
            own = [
                answer.score
                for answer in at.probes
                if answer.arm == arm and answer.score is not None and not (first and answer.run)
            ]
            if own:
                values[row, at.round] = float(np.mean(own))
    return values


def stability_scores(conversations: Sequence[HasRounds], points: int) -> Array:
    """Scores of the agents' own probes, or of recorded replies where no probe was asked."""
    own = scores(conversations, "own", points)
    return scores(conversations, "reply", points) if np.isnan(own).all() else own


def _answers(
    record: RoundRecord, plan: Conversation
) -> Iterator[tuple[AnswerKey, Persona, ProbeAnswer]]:
    """Every answer of a round with its key and the persona whose judge scores it."""
    for answer in record.answers:
        theirs = answer.arm in ("user", "user_floor")
        key = (record.conversation, record.round, answer.arm, answer.run)
        yield key, plan.user if theirs else plan.agent, answer


def _verdicts(
    run: ConversationRun, plan: Sequence[Conversation], judge_model: Backend | None
) -> dict[AnswerKey, Score]:
    """The judge model's scores by answer; asks for those that are not recorded yet."""
    plans = {c.id: c for c in plan}
    by_persona: dict[Persona, dict[AnswerKey, Item]] = {}
    for record in run.records if judge_model else ():
        for key, persona, answer in _answers(record, plans[record.conversation]):
            if persona.needs_model:
                item = Item(persona.prompt, answer.probe, answer.text)
                by_persona.setdefault(persona, {})[key] = item
    for persona, items in by_persona.items():
        assert judge_model is not None
        judge_items(run, persona.judge, items, judge_model)
    return {verdict.answer: Score(verdict.value, verdict.why) for verdict in run.verdicts}


def _score(judges: dict[Persona, Judge], persona: Persona, answer: ProbeAnswer) -> Score:
    """The score by the persona's own judge, which is built once and kept in `judges`."""
    if not answer.text.strip():
        end = "an empty reply" if answer.stop == "stop" else f"no answer ({answer.stop})"
        if answer.thought and answer.stop == "length":
            end = "no answer: the token limit cut its thought"
        return Score(0.0, answer.error or end)
    if persona not in judges:
        judges[persona] = judge.build(persona.judge)
    return judges[persona](answer.text)


def _judged_answer(answer: ProbeAnswer, score: Score) -> JudgedAnswer:
    """The answer with its score; what did not fit the context is no answer."""
    return JudgedAnswer(
        answer.arm,
        answer.run,
        answer.probe,
        answer.stop,
        answer.text,
        None if answer.stop == "overflow" else score.value,
        score.why,
        answer.thought,
    )


def _first_share(record: RoundRecord) -> float | None:
    """The prompt share of the first answer that has one, mean over layers and heads."""
    shares = [answer.share.heads for answer in record.answers if answer.share]
    return numbers(np.mean(shares[0])) if shares else None


def _who(persona: Persona) -> Participant:
    return Participant(persona.id, persona.category, persona.prompt)
