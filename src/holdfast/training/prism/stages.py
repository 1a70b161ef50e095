"""Stages 1 to 3 of training: queries, answers and comparisons, each a run of its own.

A stage that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError
from holdfast.core.progress import Progress
from holdfast.core.run import Run
from holdfast.core.version import __version__
from holdfast.evals.tasks.answers import right
from holdfast.evals.tasks.reader import right as is_right
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local.backend import LocalBackend
from holdfast.models.notes import own_source
from holdfast.persona.experts import Expert, described
from holdfast.results.training.prism import AnswerComparison, AnswerPair, PrismManifest, Query
from holdfast.training.prism.comparisons import Scorer, ScorerOf, answer_queries, compare_answers
from holdfast.training.prism.queries import queries_from_tasks, write_queries
from holdfast.training.prism.settings import PrismSettings

R = TypeVar("R")
T = TypeVar("T")
BATCH = 192  # queries that are answered, or compared, between two writes to the folder


@dataclass(frozen=True)
class Training:
    """What all stages need."""

    model: LocalBackend
    settings: PrismSettings
    experts: Sequence[Expert]
    tasks: Sequence[Task]
    task_source: str | None
    folder: Path
    progress: Progress
    judge: Backend | None = None
    """Compares answers in place of the model."""

    def manifest(self, stage: str) -> PrismManifest:
        """What determines the records of a stage."""
        return PrismManifest(
            command="prism train",
            version=__version__,
            model=self.model.describe(),
            personas=tuple(described(self.experts)),
            each=self.settings.queries,
            tasks=self.task_source,
            seed=self.settings.seed,
            sampling=self.settings.sampling,
            stage=stage,
            judge=self.judge.name if self.judge and stage == "verdicts" else None,
        )

    @property
    def comparer(self) -> Backend | None:
        """Who compares answers that no scorer decides; of mini's world nobody has to."""
        if own_source(self.model.name) == "mini" and not self.tasks:
            return self.judge
        return self.judge or self.model

    @property
    def needs_comparer(self) -> bool:
        """Whether some query has nothing else that decides."""
        if not self.tasks:
            return self.comparer is not None
        return any(first_turn_scorer(task) is None for task in self.tasks)


def make_queries(training: Training) -> list[Query]:
    """Stage 1: the queries, written by the model or taken from tasks."""
    run = Run(training.folder / "queries", training.manifest("queries"), Query)
    if training.tasks:
        if not run.records:
            run.append(queries_from_tasks(training.tasks, training.experts))
        return run.records
    settings = training.settings

    def write(experts: Sequence[Expert]) -> Iterable[Query]:
        (expert,) = experts
        return write_queries(
            training.model, expert, settings.queries, settings.seed, settings.sampling
        )

    return _go_on(run, training.experts, write, training.progress, 1, settings.queries)


def make_answers(training: Training, queries: Sequence[Query]) -> list[AnswerPair]:
    """Stage 2: both answers to each query."""
    settings = training.settings

    def answer(batch: Sequence[Query]) -> Iterable[AnswerPair]:
        return answer_queries(
            training.model, batch, training.experts, settings.seed, settings.sampling
        )

    run = Run(training.folder / "answers", training.manifest("answers"), AnswerPair)
    return _go_on(run, queries, answer, training.progress)


def make_comparisons(training: Training, answers: Sequence[AnswerPair]) -> list[AnswerComparison]:
    """Stage 3: which answer is better.

    Raises:
        ModelError: The judge was to compare and never could.
    """
    scorer_of = find_scorers(own_source(training.model.name), training.tasks)

    def compare(batch: Sequence[AnswerPair]) -> Iterable[AnswerComparison]:
        return compare_answers(training.comparer, batch, scorer_of, training.settings.seed)

    run = Run(training.folder / "verdicts", training.manifest("verdicts"), AnswerComparison)
    comparisons = _go_on(run, answers, compare, training.progress)
    if comparisons and all(one.by == "unparsed" for one in comparisons):
        name = (training.comparer or training.model).name
        raise ModelError(
            f"{name} never said A, B or TIE when it was asked to compare: name another judge with "
            "--judge-model."
        )
    return comparisons


def _go_on(
    run: Run[R, Any],
    inputs: Sequence[T],
    work: Callable[[Sequence[T]], Iterable[R]],
    progress: Progress,
    batch: int = BATCH,
    each: int = 1,
) -> list[R]:
    """The records of a stage; what an earlier process recorded is not done again.

    Args:
        run: The stage's run.
        inputs: What the stage works on.
        work: Makes the records of some inputs.
        progress: Shows the inputs that are done.
        batch: Inputs that are done together.
        each: Records of an input.
    """
    done = len(run.records) // each
    if len(run.records) > done * each:
        run.keep(run.records[: done * each])
    with progress.of(len(inputs)):
        progress.advance(done, 0)
        for start in range(done, len(inputs), batch):
            some = inputs[start : start + batch]
            run.append(work(some))
            progress.advance(len(some), 0)
    return run.records


def find_scorers(own: str, tasks: Sequence[Task]) -> ScorerOf | None:
    """Who knows how good an answer is: the tasks' own judges, or mini's world."""
    if tasks:
        by_id = {task.id: first_turn_scorer(task) for task in tasks}
        return lambda pair: by_id.get(pair.query.task or "")
    return _mini_scorer if own == "mini" else None


def first_turn_scorer(task: Task) -> Scorer | None:
    """Who scores the reply to a task's first turn, the only one that a query asks.

    A judge of the last reply does not, where there are more turns; nor does a rubric.
    """
    if len(task.turns) == 1:
        return None if task.needs_model else lambda text: task.score([text])
    if task.answers and task.answers[0]:
        gold = task.golds()[0]
        return lambda text: float(is_right(gold, text))
    return None


def _mini_scorer(pair: AnswerPair) -> Scorer | None:
    from holdfast.training.prism.mini_truth import question

    known = question(pair.query.query)
    return None if known is None else lambda text: float(right(known, text))
