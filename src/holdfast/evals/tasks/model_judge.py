"""A judge model scores what no rule can, and each verdict is recorded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from holdfast.core.backend import Ask, Backend
from holdfast.core.chat import agent_view
from holdfast.core.errors import HoldfastError
from holdfast.core.run import Run
from holdfast.evals.fixed_batches import ask_missing
from holdfast.evals.tasks.tasks import Task
from holdfast.judge.by_model import judge_answers
from holdfast.judge.rubric import GREEDY, Item
from holdfast.results.verdict import JudgeVerdict, VerdictCount

VerdictKey = tuple[Any, ...]
"""What identifies a verdict."""


def check_judge(models: Sequence[Backend], judge: Backend | None) -> None:
    """Refuse a judge model that is one of those whose replies it would judge."""
    if judge is not None and judge.name in [model.name for model in models]:
        raise HoldfastError(
            f"{judge.name} cannot judge its own replies: name another model with `judge_model`."
        )


def reach_judge(run: Run[Any, Any], judge: Backend | None, needed: bool) -> None:
    """Ask a judge model once before a new run pays for replies: a wrong name or key is said now.

    Args:
        run: the run; nothing is asked where it has records.
        judge: the model that judges, if there is one.
        needed: whether it will judge anything.
    """
    if judge is not None and needed and not run.records:
        chat = agent_view("You judge replies.", ["Are you ready? Answer with one word."])
        judge.reply([Ask(chat, 0)], GREEDY)


def judge_items(
    run: Run[Any, JudgeVerdict],
    spec: Mapping[str, object],
    items: Mapping[VerdictKey, Item],
    judge: Backend,
) -> None:
    """Have the judge model score by a rubric what it has not, and record its verdicts.

    Args:
        run: where verdicts are recorded.
        spec: the rubric.
        items: all answers that it scores, by the keys of their verdicts.
        judge: the model that judges.
    """
    ask = partial(_verdicts, spec, judge)
    ask_missing([items], run.verdict_file, judge, ask, key_of=attrgetter("answer"))


def _verdicts(
    spec: Mapping[str, object], judge: Backend, items: Mapping[VerdictKey, Item]
) -> Iterator[JudgeVerdict]:
    verdicts = judge_answers(spec, list(items.values()), judge)
    for key, verdict in zip(items, verdicts, strict=True):
        yield JudgeVerdict(tuple(key), verdict.value, verdict.why, verdict.failures, judge.name)


def judge_tasks(
    run: Run[Any, JudgeVerdict],
    tasks: Sequence[Task],
    replies: Mapping[VerdictKey, tuple[str, Sequence[str]]],
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
    items: dict[str, dict[VerdictKey, Item]] = {task.id: {} for task in tasks if task.needs_model}
    questions = {task.id: "\n\n".join(task.turns) for task in tasks}
    for key, (task_id, texts) in replies.items():
        if task_id in items:
            items[task_id][key] = Item("", questions[task_id], "\n\n".join(texts))
    for task in tasks:
        if items.get(task.id):
            spec = {"name": "rubric", "criteria": task.rubric}
            judge_items(run, spec, items[task.id], judge)


def count_verdicts(run: Run[Any, JudgeVerdict]) -> VerdictCount | None:
    """How many verdicts a judge model gave, and how many of its calls could not be read."""
    if not run.verdicts:
        return None
    failures = sum(verdict.failures for verdict in run.verdicts)
    return VerdictCount(run.verdicts[0].judge, len(run.verdicts), failures)
