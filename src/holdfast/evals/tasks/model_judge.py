"""A judge model scores what no rule can, and each verdict is recorded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.run import Run
from holdfast.evals.tasks.tasks import Task
from holdfast.judge.by_model import judge_answers
from holdfast.judge.rubric import Item
from holdfast.results.verdict import JudgeVerdict


def judge_items(
    run: Run[Any, JudgeVerdict],
    spec: Mapping[str, object],
    items: Mapping[tuple[Any, ...], Item],
    judge: Backend,
) -> None:
    """Have the judge model score items by a rubric, and record its verdicts by their keys."""
    given = judge_answers(spec, list(items.values()), judge)
    run.add_verdicts(
        JudgeVerdict(tuple(key), verdict.value, verdict.why, verdict.failures, judge.name)
        for key, verdict in zip(items, given, strict=True)
    )


def judge_tasks(
    run: Run[Any, JudgeVerdict],
    tasks: Sequence[Task],
    replies: Mapping[tuple[Any, ...], tuple[str, Sequence[str]]],
    judge: Backend,
) -> None:
    """Have the judge model score what only a model can, task by task, and nothing twice.

    `replies` are a task's id and the replies to it, by the key of their verdict. The judge sees
    no persona.
    """
    known = {verdict.answer for verdict in run.verdicts}
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
