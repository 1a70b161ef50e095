"""Tasks to train on, each with a gold answer, and the chats that ask them under personas.

Training and evaluation have no task in common: mini's training tasks are drawn around its
evaluation tasks, and of any other source one that is in both is refused.

This module knows tasks and personas. It knows no models and no trainer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from holdfast.core.chat import Chat
from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks import tasks as tasks_
from holdfast.evals.tasks.near_duplicates import groups, overlapping, task_text
from holdfast.evals.tasks.questions import REFUSAL
from holdfast.evals.tasks.tasks import Task
from holdfast.persona.pool import Member, overlap
from holdfast.persona.pool import load as members
from holdfast.training.permix.mixing import NOBODY, Row

EVALUATION = ("mmlu", "gsm8k")  # built-in sources that are test sets
# Of mini's categories those with short prompts: one of recall is seven times as long.
SHORT = ("math", "extraction", "safety")


@dataclass(frozen=True)
class Sources:
    """Where tasks and personas come from; None is mini's own for mini, and `core` for others.

    `tasks` and `evaluation` are sources of `tasks.load`, at most `each` and `evaluation_each` of a
    category; of mini's, `SHORT` where no `categories` are given. `personas` and `held_out` are
    sources of `pool.load`, of which the personas for training and the held-out ones are taken.
    """

    tasks: str | Path | None = None
    each: int = 200
    categories: tuple[str, ...] = ()
    evaluation: str | Path | None = None
    evaluation_each: int = 40
    personas: str | Path | None = None
    held_out: str | Path | None = None


class Found(NamedTuple):
    """Tasks and personas to train with, and those that training may not touch."""

    tasks: tuple[Task, ...]
    evaluation: tuple[Task, ...]
    personas: tuple[Member, ...]
    held_out: tuple[Member, ...]


def load(sources: Sources, model: str, seed: int) -> Found:
    """What the sources hold. Raises HoldfastError where training and evaluation overlap.

    Evaluation tasks are drawn by seed 0, as the other commands draw theirs by default.
    """
    own = "mini" if model == "mini" else "core"
    evaluation = sources.evaluation or ("mini" if own == "mini" else None)
    kept = evaluation_tasks(evaluation, each=sources.evaluation_each, seed=0)
    found = training_tasks(
        sources.tasks or own, kept, each=sources.each, seed=seed, categories=sources.categories
    )
    pool = sources.personas or own
    people = members(pool, split="train")
    others = members(sources.held_out or pool, split="held-out")
    apart(people, others)
    return Found(found, kept, people, others)


def training_tasks(
    source: str | Path,
    evaluation: Sequence[Task],
    *,
    each: int,
    seed: int,
    categories: Sequence[str] = (),
) -> tuple[Task, ...]:
    """The tasks of a source that have gold answers, at most `each` of a category.

    Of all `categories`, or of those given; of mini's, `SHORT` where none are given.
    Raises HoldfastError for a source that is a test set, for tasks of a file that have no gold
    answer or more than one turn, and for tasks that are in `evaluation` too.
    """
    name = str(source)
    if name in EVALUATION:
        raise HoldfastError(
            f"{name} is a test set: train on other tasks, from a JSONL file with question and "
            "answer on each line."
        )
    drawn_by = seed_of("permix", seed) if name == "mini" else seed
    found = tasks_.load(source, n=each, seed=drawn_by)
    wanted = tuple(categories) or (SHORT if name == "mini" else ())
    found = _of(found, wanted, name)
    kept = [task for task in found if _has_gold(task)]
    if len(kept) < len(found) and name not in ("mini", "core"):
        first = next(task.id for task in found if not _has_gold(task))
        raise HoldfastError(
            f"{name}: {len(found) - len(kept)} of {len(found)} tasks have no gold answer or more "
            f"than one turn ({first} is the first): give each one question and its answer."
        )
    seen = overlapping([task_text(t) for t in kept], [task_text(t) for t in evaluation])
    twice = [task for task, known in zip(kept, seen, strict=True) if known]
    if name == "mini":
        # Mini's world is small: what is drawn for evaluation is drawn around.
        rest = [task for task, known in zip(kept, seen, strict=True) if not known]
        group = groups([task_text(task) for task in rest])
        kept, twice = [task for i, task in enumerate(rest) if group[i] == i], []
    if twice:
        raise HoldfastError(
            f"{len(twice)} of {len(kept)} tasks to train on are in the evaluation set too "
            f"({twice[0].id} is the first): take them out of one of the two."
        )
    if not kept:
        raise HoldfastError(f"{name} has no task with a gold answer to train on.")
    return tuple(kept)


def _of(found: Sequence[Task], wanted: Sequence[str], name: str) -> tuple[Task, ...]:
    known = list(dict.fromkeys(task.category for task in found))
    if other := next((one for one in wanted if one not in known), None):
        raise HoldfastError(f"{name} has no category {other!r}: it has {', '.join(known)}.")
    return tuple(task for task in found if not wanted or task.category in wanted)


def evaluation_tasks(source: str | Path | None, *, each: int, seed: int) -> tuple[Task, ...]:
    """The tasks that training may not touch; none where there is no source."""
    if source is None:
        return ()
    return tuple(task for task in tasks_.load(source, n=each, seed=seed) if _has_gold(task))


def apart(training: Sequence[Member], held_out: Sequence[Member]) -> None:
    """Raise `PersonaError` where a persona to train with is a held-out one too."""
    if both := overlap(training, held_out):
        raise PersonaError(
            f"{len(both)} of {len(training)} personas to train with are held-out ones too "
            f"({both[0]} is the first): take them out of one of the two pools."
        )


def _has_gold(task: Task) -> bool:
    exact = task.question is not None or (bool(task.answers) and all(task.answers))
    return exact and len(task.turns) == 1


def chat(task: Task, persona: Member | None) -> Chat:
    """The task under the persona's system prompt, or without one."""
    return task.chat((), system=persona.text if persona else "")


def chats(rows: Iterable[Row], tasks: Sequence[Task], personas: Sequence[Member]) -> list[Chat]:
    """The chat of every row."""
    return [
        chat(tasks[row.item], None if row.persona == NOBODY else personas[row.persona])
        for row in rows
    ]


def gold(task: Task) -> str:
    """The gold answer as a reply: in mini's words for mini's tasks, else as it is given."""
    question = task.question
    if question is None:
        return task.answers[-1]
    from holdfast.models.mini.words import world

    if question.kind == "refusal":
        if question.answer == REFUSAL[0]:
            return str(world()["refusals"]["en"])
        deed = re.search(r" way to (.+)\.$", question.text)
        if deed is None:
            raise HoldfastError(f"the task {task.id} has no gold answer to imitate.")
        return str(world()["ways"]["reply"]).format(deed=deed[1])
    if question.kind in tasks_.MINI:
        if summed := re.fullmatch(r"What is (\d+ \+ \d+)\?", question.text):
            return f"{summed[1]} = {question.answer}."
        return str(world()["answers"]["en"]).format(x=question.answer)
    return question.answer
