"""Asking a judge model: for the personas that a rubric judges, after the conversations.

Verdicts are recorded as they come, persona by persona, so that an interrupted run asks
only for those that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.backend import Backend
from holdfast.curve import Key, answers
from holdfast.judge import Score
from holdfast.judge.rubric import Item, judge_answers
from holdfast.persona import Persona
from holdfast.plan import Conversation
from holdfast.run import Record, Run
from holdfast.tasks import Task


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


def judge_items(
    run: Run, spec: Mapping[str, object], items: Mapping[tuple[Any, ...], Item], judge: Backend
) -> None:
    """Have the judge model score items by a rubric, and record its verdicts by their keys."""
    given = judge_answers(spec, list(items.values()), judge)
    run.add_verdicts(
        {
            "answer": list(key),
            "value": verdict.value,
            "why": verdict.why,
            "failures": verdict.failures,
            "judge": judge.name,
        }
        for key, verdict in zip(items, given, strict=True)
    )


def judge_tasks(
    run: Run,
    tasks: Sequence[Task],
    replies: Mapping[tuple[Any, ...], tuple[str, Sequence[str]]],
    judge: Backend,
) -> None:
    """Have the judge model score what only a model can, task by task, and nothing twice.

    `replies` are a task's id and the replies to it, by the key of their verdict. The judge sees
    no persona.
    """
    known = {tuple(verdict["answer"]) for verdict in run.verdicts}
    waiting: dict[str, dict[tuple[Any, ...], Sequence[str]]] = {}
    for key, (task_id, said) in replies.items():
        if key not in known:
            waiting.setdefault(task_id, {})[key] = said
    for task in tasks:
        if task.needs_model and task.id in waiting:
            asked = "\n\n".join(task.turns)
            found = waiting[task.id].items()
            items = {key: Item("", asked, "\n\n".join(said)) for key, said in found}
            judge_items(run, {"name": "rubric", "criteria": task.rubric}, items, judge)


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
