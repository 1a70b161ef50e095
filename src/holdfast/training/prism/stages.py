"""Stages 1 to 3 of training: queries, answers and comparisons, each a run of its own.

A stage that was stopped goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError
from holdfast.core.progress import Progress
from holdfast.core.run import Run
from holdfast.core.version import __version__
from holdfast.evals.fixed_batches import ask_missing, in_batches
from holdfast.evals.tasks.answers import right
from holdfast.evals.tasks.reader import right as is_right
from holdfast.evals.tasks.tasks import Task, form_of
from holdfast.models.local.backend import LocalBackend
from holdfast.models.notes import own_source
from holdfast.persona.experts import Expert, describe_experts
from holdfast.results.training.prism import AnswerComparison, AnswerPair, PrismManifest, Query
from holdfast.training.cut_replies import LEAST, refuse_cut
from holdfast.training.prism.comparisons import Scorer, ScorerOf, answer_queries, compare_answers
from holdfast.training.prism.queries import check_matched, queries_from_tasks, write_queries
from holdfast.training.prism.settings import PrismSettings

R = TypeVar("R", Query, AnswerPair, AnswerComparison)
T = TypeVar("T")
BATCH = 192  # queries that are answered, or compared, between two writes to the folder
NOBODY = "none"
"""Whose answers those without a persona are."""
QueryKey = tuple[str, int]
"""Id of the persona, and number of the query."""


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
            personas=tuple(describe_experts(self.experts)),
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

    def write(batch: Mapping[QueryKey, Expert]) -> Sequence[Query]:
        expert = next(iter(batch.values()))
        count, seed = settings.queries, settings.seed
        queries = list(write_queries(training.model, expert, count, seed, settings.sampling))
        if settings.trial:
            cut = sum(bool(query.cut) for query in queries) / len(queries)
            who = f"that are to be queries for {expert.id}"
            refuse_cut(who, len(queries), cut, settings.max_new_tokens)
        return queries

    batches = [{(one.id, i): one for i in range(settings.queries)} for one in training.experts]
    return _go_on(run, batches, training.model, write, training.progress)


def make_answers(training: Training, queries: Sequence[Query]) -> list[AnswerPair]:
    """Stage 2: both answers to each query; the first few of every persona come first.

    Raises:
        HoldfastError: The limit of tokens cut nearly all of these, of a persona or without one.
    """
    settings = training.settings
    order, first = trial_first(queries)

    def answer(batch: Mapping[QueryKey, Query]) -> Sequence[AnswerPair]:
        chunk, experts, seed = list(batch.values()), training.experts, settings.seed
        answers = list(answer_queries(training.model, chunk, experts, seed, settings.sampling))
        if settings.trial and not run.records:
            scorer_of = find_scorers(own_source(training.model.name), training.tasks)
            check_cut(answers, scorer_of, settings.max_new_tokens)
        return answers

    run = Run(training.folder / "answers", training.manifest("answers"), AnswerPair)
    in_order = [(_key(queries[i]), queries[i]) for i in order]
    batches = [dict(in_order[:first]), *in_batches(dict(in_order[first:]), BATCH)]
    answers = _go_on(run, batches, training.model, answer, training.progress)
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

    def compare(batch: Mapping[QueryKey, AnswerPair]) -> Iterable[AnswerComparison]:
        pairs = list(batch.values())
        return compare_answers(training.comparer, pairs, scorer_of, training.settings.seed)

    run = Run(training.folder / "verdicts", training.manifest("verdicts"), AnswerComparison)
    batches = in_batches({_key(one): one for one in answers}, BATCH)
    comparisons = _go_on(run, batches, training.comparer, compare, training.progress)
    if comparisons and all(one.by == "unparsed" for one in comparisons):
        name = (training.comparer or training.model).name
        raise ModelError(
            f"{name} never said A, B or TIE when it was asked to compare: name another judge with "
            "`judge_model`."
        )
    return comparisons


def _go_on(
    run: Run[R, Any],
    batches: Sequence[Mapping[QueryKey, T]],
    model: Backend | None,
    work: Callable[[dict[QueryKey, T]], Iterable[R]],
    progress: Progress,
) -> list[R]:
    """The records of a stage; what an earlier process recorded is not done again.

    Args:
        run: The stage's run.
        batches: What the stage works on, side by side.
        model: Who is asked; None where nobody is.
        work: Makes the records of some of a batch.
        progress: Shows the prompts that are done.
    """
    with progress.of(sum(map(len, batches)), "prompts"):
        ask_missing(
            batches,
            run.record_file,
            model,
            work,
            key_of=_key,
            progress=progress,
            replies_of=lambda item: 0,
        )
    return run.records


def _key(record: Query | AnswerPair | AnswerComparison) -> QueryKey:
    query = record.query if isinstance(record, AnswerPair) else record
    return query.expert, query.number


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
