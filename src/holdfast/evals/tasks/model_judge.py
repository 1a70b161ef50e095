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
    verdicts = judge_answers(spec, list(items.values()), judge)
    run.add_verdicts(
        JudgeVerdict(tuple(key), verdict.value, verdict.why, verdict.failures, judge.name)
        for key, verdict in zip(items, verdicts, strict=True)
    )


def judge_tasks(
    run: Run[Any, JudgeVerdict],
    tasks: Sequence[Task],
    replies: Mapping[tuple[Any, ...], tuple[str, Sequence[str]]],
    judge: Backend,
) -> None:
    """Have the judge model score what only a model can, task by task, and nothing twice.

    The judge sees no persona.

    Args:
        run: where verdicts are recorded.
        tasks: the tasks.
        replies: a task's id and the replies to it, by the key of their verdict.
        judge: the model that judges.
    """
    answers_so_far = {verdict.answer for verdict in run.verdicts}
    for task in tasks:
        question = "\n\n".join(task.turns)
        items = {
            key: Item("", question, "\n\n".join(texts))
            for key, (task_id, texts) in replies.items()
            if task.needs_model and task_id == task.id and key not in answers_so_far
        }
        if items:
            judge_items(run, {"name": "rubric", "criteria": task.rubric}, items, judge)
