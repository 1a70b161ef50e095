"""Stages 1 to 3 of training: queries, answers and comparisons, each a run of its own.

A stage that was stopped goes on where it was.
"""

from __future__ import annotations

from collections import Counter
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
from holdfast.evals.tasks.tasks import Task, form_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.notes import own_source
from holdfast.persona.experts import Expert, described
from holdfast.results.training.prism import AnswerComparison, AnswerPair, PrismManifest, Query
from holdfast.training.cut_replies import LEAST, refuse_cut
from holdfast.training.prism.comparisons import Scorer, ScorerOf, answer_queries, compare_answers
from holdfast.training.prism.queries import check_matched, queries_from_tasks, write_queries
from holdfast.training.prism.settings import PrismSettings

R = TypeVar("R")
T = TypeVar("T")
BATCH = 192  # queries that are answered, or compared, between two writes to the folder
NOBODY = "none"
"""Whose answers those without a persona are."""


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

    def __post_init__(self) -> None:
        check_matched(self.tasks, self.experts)

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
            form=form_of(self.task_source or "", self.settings.form) or None,
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
        queries = list(queries_from_tasks(training.tasks, training.experts))
        if len(run.records) < len(queries):
            run.keep(queries)
        return run.records
    settings = training.settings

    def write(experts: Sequence[Expert]) -> Iterable[Query]:
        (expert,) = experts
        return write_queries(
            training.model, expert, settings.queries, settings.seed, settings.sampling
        )

    def check(queries: Sequence[Query]) -> None:
        if settings.trial:
            cut = sum(bool(query.cut) for query in queries) / len(queries)
            who = f"that are to be queries for {queries[0].expert}"
            refuse_cut(who, len(queries), cut, settings.max_new_tokens)

    return _go_on(
        run,
        training.experts,
        write,
        training.progress,
        batch=1,
        each=settings.queries,
        check=check,
    )


def make_answers(training: Training, queries: Sequence[Query]) -> list[AnswerPair]:
    """Stage 2: both answers to each query; the first few of every persona come first.

    Raises:
        HoldfastError: The limit of tokens cut nearly all of these, of a persona or without one.
    """
    settings = training.settings
    order, first = trial_first(queries)

    def answer(batch: Sequence[Query]) -> Iterable[AnswerPair]:
        return answer_queries(
            training.model, batch, training.experts, settings.seed, settings.sampling
        )

    def check(answers: Sequence[AnswerPair]) -> None:
        if settings.trial and not run.records:
            scorer_of = find_scorers(own_source(training.model.name), training.tasks)
            check_cut(answers, scorer_of, settings.max_new_tokens)

    run = Run(training.folder / "answers", training.manifest("answers"), AnswerPair)
    answers = _go_on(
        run, [queries[i] for i in order], answer, training.progress, first=first, check=check
    )
    place = dict(zip(order, answers, strict=True))
    return [place[i] for i in range(len(queries))]


def trial_first(queries: Sequence[Query]) -> tuple[list[int], int]:
    """The numbers of the queries with the first few of every persona first, and how many these are.

    Args:
        queries: The queries of all personas.
    """
    counts: Counter[str] = Counter()
    few, rest = list[int](), list[int]()
    for i, query in enumerate(queries):
        counts[query.expert] += 1
        (few if counts[query.expert] <= LEAST else rest).append(i)
    return [*few, *rest], len(few)


def check_cut(answers: Sequence[AnswerPair], scorer_of: ScorerOf | None, limit: int) -> None:
    """Refuse answers that the limit of tokens cut.

    Args:
        answers: The answers to some queries of every persona.
        scorer_of: Says how good an answer is, where that is known.
        limit: Tokens of an answer at most.

    Raises:
        HoldfastError: Nearly all of a persona's, or of those without one, were cut, and none of
            them is known to be right.
    """
    scores: dict[str, list[float]] = {}
    for pair in answers:
        if pair.there and scorer_of and (score := scorer_of(pair)):
            scores.setdefault(pair.query.expert, []).append(score(pair.persona) or 0.0)
            scores.setdefault(NOBODY, []).append(score(pair.plain) or 0.0)
    for name, cut in cut_by_persona(answers).items():
        who = "without a persona" if name == NOBODY else f"under the persona {name}"
        own = scores.get(name)
        right = sum(own) / len(own) if own else None
        refuse_cut(who, len(cut), sum(cut) / len(cut), limit, right=right)


def cut_by_persona(answers: Iterable[AnswerPair]) -> dict[str, list[bool]]:
    """Whether each answer was cut by the limit of tokens, by persona and without one."""
    cut: dict[str, list[bool]] = {}
    for pair in answers:
        if pair.there:
            cut.setdefault(NOBODY, []).append(not pair.plain_ended)
            cut.setdefault(pair.query.expert, []).append(not pair.ended)
    return cut


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
    *,
    batch: int = BATCH,
    each: int = 1,
    first: int = 0,
    check: Callable[[Sequence[R]], None] | None = None,
) -> list[R]:
    """The records of a stage; what an earlier process recorded is not done again.

    Args:
        run: The stage's run.
        inputs: What the stage works on.
        work: Makes the records of some inputs.
        progress: Shows the inputs that are done.
        batch: Inputs that are done together.
        each: Records of an input.
        first: Inputs of the first batch, where that is another.
        check: Raises where the records of a batch are of no use, before they are kept.
    """
    # A batch that a kill tore is done again whole: its check, too, and replies may depend on it.
    ends = [*range(first, len(inputs), batch), len(inputs)]
    position = max((end for end in ends if end * each <= len(run.records)), default=0)
    if len(run.records) > position * each:
        run.keep(run.records[: position * each])
    with progress.of(len(inputs), "prompts"):
        progress.resume(position)
        while position < len(inputs):
            some = inputs[position : (first if position < first else position + batch)]
            records = list(work(some))
            if check:
                check(records)
            run.append(records)
            position += len(some)
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

    truth = question(pair.query.query)
    return None if truth is None else lambda text: float(right(truth, text))
