"""Tasks to train on, each with a gold answer, and the chats that ask them under personas.

Training and evaluation have no task in common, near-duplicates included. Where tasks are drawn (the
exercises, mini's, the hub's) those near evaluation tasks are left out; a task of a file that is in
both is refused.

This module knows tasks and personas. It knows no models and no trainer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast.core.chat import Chat
from holdfast.core.errors import HoldfastError, PersonaError, suggestion
from holdfast.core.seeds import seed_of
from holdfast.evals.tasks.near_duplicates import groups, overlapping, task_text, words
from holdfast.evals.tasks.questions import REFUSAL
from holdfast.evals.tasks.tasks import EXERCISES, MINI, Task, form_of, load_items, with_form
from holdfast.models.notes import own_source
from holdfast.persona import pool
from holdfast.persona.pool import overlap
from holdfast.results.robustness import PoolPersona
from holdfast.training.permix.mixing import NOBODY, PromptRow
from holdfast.training.permix.settings import DataSettings

TEST_SETS = {"mmlu": "", "gsm8k": "gsm8k:train", "math-500": "math:train"}
"""Built-in sources that are test sets, and what to train on instead."""
# Sources whose draws may come near evaluation tasks; those are left out.
RANDOM_SOURCES = ("mini", "gsm8k:train", "math:train")
TESTED_ON = {"gsm8k:train": "gsm8k", "math:train": "math-500"}
"""Training sets of the hub, and the test set that they are cleaned of."""
EACH = {"exercises": 60}  # tasks of a category by default, where it is not `USUAL`
USUAL = 200
# Those of mini's categories whose prompts are short: one of recall is seven times as long.
SHORT = ("math", "extraction", "safety")


class TrainingData(NamedTuple):
    """What is trained on, and what training may not touch."""

    tasks: tuple[Task, ...]
    """Tasks to train on."""
    evaluation: tuple[Task, ...]
    """Tasks for evaluation."""
    personas: tuple[PoolPersona, ...]
    """Personas to train with."""
    held_out: tuple[PoolPersona, ...]
    """Personas for evaluation."""
    exercises: bool = False
    """Whether the tasks are the built-in exercises, of which some suit a model and others not."""

    def of_categories(self, names: Sequence[str]) -> TrainingData:
        """The same with the tasks of some categories alone."""
        return self._replace(tasks=tuple(one for one in self.tasks if one.category in names))


def load_data(settings: DataSettings, model: str, seed: int) -> TrainingData:
    """Load tasks and personas from their sources.

    Evaluation tasks are drawn by seed 0, as the other commands draw theirs by default.

    Args:
        settings: The sources.
        model: Name of the model, which decides the default sources.
        seed: Decides which tasks are trained on.

    Raises:
        HoldfastError: Training and evaluation overlap, or a source is unusable.
    """
    source = own_source(model)
    own = "mini" if source == "mini" else "exercises"
    name = settings.tasks or own
    name = "exercises" if name in EXERCISES else name  # by the name of their training split, too
    test_set = name if name in ("mini", "exercises") else TESTED_ON.get(name)
    eval_source = settings.eval_tasks or test_set
    evaluation = evaluation_tasks(eval_source, each=settings.eval_tasks_per_category)
    tasks = training_tasks(
        name,
        evaluation,
        each=settings.tasks_per_category or EACH.get(name, USUAL),
        seed=seed,
        categories=settings.category,
        form=settings.form,
        other_split=name == eval_source == "exercises",
    )
    source = settings.personas or source
    personas = pool.load(source, split="train")
    held_out = pool.load(settings.held_out or source, split="held-out")
    check_disjoint(personas, held_out)
    return TrainingData(tasks, evaluation, personas, held_out, name == "exercises")


def training_tasks(
    source: str | Path,
    evaluation: Sequence[Task],
    *,
    each: int,
    seed: int,
    categories: Sequence[str] = (),
    form: str | None = None,
    other_split: bool = False,
) -> tuple[Task, ...]:
    """The tasks of a source that have a gold answer.

    They are compared with those for evaluation before the answer-format instruction is appended.

    Args:
        source: A source of `load_items`; no test set.
        evaluation: Tasks that may not be among them.
        each: Tasks of each category at most.
        seed: Decides which.
        categories: Only these, or those of a kind ("extraction" for "extraction-2"); by default
            all, and of mini's `SHORT`.
        form: The answer-format instruction; None is the source's own.
        other_split: Whether `evaluation` is the other split of the source's exercises, which is in
            other words: only equal questions are left out.

    Raises:
        HoldfastError: The source is a test set, a task of a file has no gold answer or more than
            one turn, or a task is in `evaluation` too.
    """
    name = str(source)
    if name in TEST_SETS:
        other = TEST_SETS[name]
        raise HoldfastError(
            f"{name} is a test set: train on {other + ' or ' if other else ''}other tasks, from a "
            "JSONL file with question and answer on each line."
        )
    drawn_by = seed_of("permix", seed) if name == "mini" else seed
    split = "exercises:train" if name == "exercises" else source
    tasks = load_items(split, n=each, seed=drawn_by, form="")
    tasks = _of_categories(tasks, tuple(categories) or (SHORT if name == "mini" else ()), name)
    usable = [task for task in tasks if _has_gold(task)]
    if len(usable) < len(tasks) and name not in ("mini", "core"):
        first = next(task.id for task in tasks if not _has_gold(task))
        raise HoldfastError(
            f"{name}: {len(tasks) - len(usable)} of {len(tasks)} tasks have no gold answer or more "
            f"than one turn ({first} is the first): give each one question and its answer."
        )
    if other_split:  # only arithmetic and dates can come twice
        evaluation_texts = {words(task_text(task)) for task in evaluation}
        usable = [task for task in usable if words(task_text(task)) not in evaluation_texts]
    else:
        usable = _without_evaluation(usable, evaluation, name)
    if not usable:
        raise HoldfastError(
            f"{name} has no task with a gold answer to train on that is not in the evaluation set."
        )
    return with_form(usable, form_of(split, form))


def _without_evaluation(
    tasks: Sequence[Task], evaluation: Sequence[Task], source: str
) -> list[Task]:
    """The tasks, without near-duplicates of evaluation tasks if they were drawn; else refused.

    mini's world is small, so that draws repeat evaluation tasks and each other; the exercises are
    alike by design, and none of them comes twice.
    """
    overlaps = overlapping([task_text(t) for t in tasks], [task_text(t) for t in evaluation])
    both = [task for task, is_near in zip(tasks, overlaps, strict=True) if is_near]
    new = [task for task, is_near in zip(tasks, overlaps, strict=True) if not is_near]
    if both and source not in (*RANDOM_SOURCES, "exercises"):
        raise HoldfastError(
            f"{len(both)} of {len(tasks)} tasks to train on are in the evaluation set too "
            f"({both[0].id} is the first): take them out of one of the two."
        )
    if source not in RANDOM_SOURCES:
        return new
    group = groups([task_text(task) for task in new])
    return [task for i, task in enumerate(new) if group[i] == i]


def _of_categories(tasks: Sequence[Task], names: Sequence[str], source: str) -> tuple[Task, ...]:
    categories = list(dict.fromkeys(task.category for task in tasks))
    kinds = {category: category.rpartition("-")[0] for category in categories}
    if other := next((one for one in names if one not in (*categories, *kinds.values())), None):
        raise HoldfastError(f"{source} has no category {other!r}: {suggestion(other, categories)}")
    return tuple(
        task
        for task in tasks
        if not names or task.category in names or kinds[task.category] in names
    )


def evaluation_tasks(source: str | Path | None, *, each: int) -> tuple[Task, ...]:
    """The tasks that training may not touch, without an answer-format instruction.

    None where there is no source; of a test set of the hub all of it.
    """
    if source is None:
        return ()
    n = 10**6 if str(source) in TEST_SETS else each
    tasks = load_items(source, n=n, seed=0, form="")
    return tuple(task for task in tasks if _has_gold(task))


def check_disjoint(training: Sequence[PoolPersona], held_out: Sequence[PoolPersona]) -> None:
    """Raise `PersonaError` where a persona to train with is a held-out one too."""
    if both := overlap(training, held_out):
        raise PersonaError(
            f"{len(both)} of {len(training)} personas to train with are held-out ones too "
            f"({both[0]} is the first): take them out of one of the two pools."
        )


def _has_gold(task: Task) -> bool:
    exact = task.question is not None or (bool(task.answers) and all(task.answers))
    return exact and len(task.turns) == 1


def chat(task: Task, persona: PoolPersona | None) -> Chat:
    """The task under the persona's system prompt, or without one."""
    return task.chat((), system=persona.text if persona else "")


def chats(
    rows: Iterable[PromptRow], tasks: Sequence[Task], personas: Sequence[PoolPersona]
) -> list[Chat]:
    """The chat of every row."""
    return [
        chat(tasks[row.item], None if row.persona == NOBODY else personas[row.persona])
        for row in rows
    ]


def gold_reply(task: Task) -> str:
    """The gold answer as a reply: in mini's words for mini's tasks, else as the source has it."""
    question = task.question
    if question is None:
        return task.answers[-1]
    from holdfast.models.mini.world import world

    if question.kind == "refusal":
        if question.answer == REFUSAL[0]:
            return str(world()["refusals"]["en"])
        deed = re.search(r" way to (.+)\.$", question.text)
        if deed is None:
            raise HoldfastError(f"the task {task.id} has no gold answer to imitate.")
        return str(world()["ways"]["reply"]).format(deed=deed[1])
    if question.kind in MINI:
        if match := re.fullmatch(r"What is (\d+ \+ \d+)\?", question.text):
            return f"{match[1]} = {question.answer}."
        return str(world()["answers"]["en"]).format(x=question.answer)
    return question.answer
