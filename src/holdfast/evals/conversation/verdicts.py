"""Asking a judge model: for the personas that a rubric judges, after the conversations.

Verdicts are recorded as they come, persona by persona, so that an interrupted run asks
only for those that are missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.backend import Backend
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.scores import Key, answers
from holdfast.evals.tasks.model_judge import judge_items
from holdfast.judge import Score
from holdfast.judge.rubric import Item
from holdfast.persona.suite import Persona


def verdicts(run: Run, planned: Sequence[Conversation], judge: Backend | None) -> dict[Key, Score]:
    """The scores a judge model gave, by answer; asks for those not recorded yet."""
    known = {_key(verdict) for verdict in run.verdicts}
    waiting: dict[Persona, list[tuple[Key, Record]]] = {}
    for key, persona, answer in answers(run.records, planned):
        if persona.needs_model and key not in known:
            waiting.setdefault(persona, []).append((key, answer))
    for persona, found in waiting.items():
        if judge is None:
            break
        items = {key: Item(persona.prompt, a["probe"], a["text"]) for key, a in found}
        judge_items(run, persona.judge, items, judge)
    return {_key(verdict): Score(verdict["value"], verdict["why"]) for verdict in run.verdicts}


def counted(run: Run) -> Record:
    """How many verdicts there are, by which judge, and how many calls did not parse."""
    return {
        "judge": run.verdicts[0]["judge"],
        "n": len(run.verdicts),
        "failures": sum(v["failures"] for v in run.verdicts),
    }


def _key(verdict: Record) -> Key:
    conversation, number, arm, run = verdict["answer"]
    return conversation, number, arm, run
