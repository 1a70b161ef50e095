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
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.experts import Expert, described
from holdfast.results.prism import AnswerComparison, AnswerPair, PrismManifest, Query
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
        )


def own_source(model: Backend) -> str:
    """Where a model's tasks and personas come from by default."""
    return "mini" if model.name == "mini" else "core"


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
        ModelError: The model was to compare and never could.
    """
    scorer_of = find_scorers(own_source(training.model), training.tasks)

    def compare(batch: Sequence[AnswerPair]) -> Iterable[AnswerComparison]:
        return compare_answers(training.model, batch, scorer_of, training.settings.seed)

    run = Run(training.folder / "verdicts", training.manifest("verdicts"), AnswerComparison)
    comparisons = _go_on(run, answers, compare, training.progress)
    if comparisons and all(one.by == "unparsed" for one in comparisons):
        raise ModelError(
            f"{training.model.name} never said A, B or TIE when it was asked to compare: it "
            "cannot judge its own answers."
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
        by_id = {task.id: task for task in tasks}
        if any(task.needs_model for task in tasks):
            return None
        return lambda pair: lambda text: by_id[pair.query.task or ""].score([text])
    return _mini_scorer if own == "mini" else None


def _mini_scorer(pair: AnswerPair) -> Scorer | None:
    from holdfast.training.prism.mini_truth import question

    known = question(pair.query.query)
    return None if known is None else lambda text: float(right(known, text))
