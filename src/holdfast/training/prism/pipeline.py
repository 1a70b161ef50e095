"""The five stages of training, each with its artefact in the run's folder.

    queries/    what the model asked for each persona
    answers/    both answers to each query
    verdicts/   which of the two is better
    gate.safetensors, adapter_config.json, adapter_model.safetensors    what is served
    route.json  the same decision from the text alone (`control.router`)
    prism.json  what they were made with, and how well the gate ranks personas it never saw

A run that was stopped goes on where it was. The gate learns from all verdicts, the adapter from
the answers that a persona won. Queries that repeat another of the same persona are dropped before
they are answered. The gate is measured on personas and on queries that it did not learn from,
fold by fold; near-duplicates are always in the same fold.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError
from holdfast.core.progress import Progress
from holdfast.core.records import dumps
from holdfast.core.run import Run
from holdfast.core.settings import settle
from holdfast.core.stats import Array, auc, mean
from holdfast.core.version import __version__
from holdfast.evals.tasks import tasks as tasks_
from holdfast.evals.tasks.answers import right
from holdfast.evals.tasks.near_duplicates import groups
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local import gate
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import ABOUT
from holdfast.persona import experts as experts_
from holdfast.persona.experts import Expert
from holdfast.results.prism import (
    AnswerComparison,
    AnswerPair,
    GateScores,
    Outcome,
    PrismAbout,
    PrismManifest,
    PrismSummary,
    Query,
    RouterScores,
)
from holdfast.training.prism.comparisons import Scorer, ScorerOf, answer_queries, compare_answers
from holdfast.training.prism.distillation import (
    Distillation,
    Divergences,
    distil,
    require_peft,
    two_views,
)
from holdfast.training.prism.gate_training import folds, train_gate
from holdfast.training.prism.queries import (
    distinct_queries,
    queries_from_tasks,
    query_chat,
    query_text,
    write_queries,
)
from holdfast.training.prism.router_training import enough_queries, train_router
from holdfast.training.prism.settings import PrismSettings

R = TypeVar("R")
T = TypeVar("T")
FOLDS = 5
BATCH = 192  # queries that are answered, or compared, between two writes to the folder


@dataclass(frozen=True)
class PrismResult:
    """A trained adapter with its gate."""

    summary: PrismSummary
    """What `holdfast prism train --json` prints."""
    answers: Sequence[AnswerPair]
    """Both answers to each query."""
    comparisons: Sequence[AnswerComparison]
    """Which of them is better, in the same order."""

    @property
    def folder(self) -> Path:
        """Where adapter and gate are."""
        return Path(self.summary.adapter)

    def examples(self, count: int = 2) -> list[tuple[AnswerPair, AnswerComparison]]:
        """The first answers that were won and lost, `count` of each."""
        both = list(zip(self.answers, self.comparisons, strict=True))
        outcomes: tuple[Outcome, ...] = ("win", "loss")
        return [
            one
            for outcome in outcomes
            for one in [pair for pair in both if pair[1].verdict == outcome][:count]
        ]


@dataclass(frozen=True)
class _Training:
    """What all stages need."""

    model: LocalBackend
    settings: PrismSettings
    experts: Sequence[Expert]
    tasks: Sequence[Task]
    task_source: str | None
    folder: Path
    progress: Progress

    def manifest(self, stage: str) -> PrismManifest:
        return PrismManifest(
            command="prism train",
            version=__version__,
            model=self.model.describe(),
            personas=tuple(experts_.described(self.experts)),
            each=self.settings.queries,
            tasks=self.task_source,
            seed=self.settings.seed,
            sampling=self.settings.sampling,
            stage=stage,
        )


def train(
    model: Backend,
    settings: PrismSettings | None = None,
    *,
    out: Path | str,
    experts: Sequence[Expert] | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> PrismResult:
    """Train an adapter with its gate; what the command `holdfast prism train` does.

    A task that has an answer or a judge, and what mini asks, has a verifier for its verdict.
    Elsewhere the model compares its own answers in both orders.

    Args:
        model: A model on this machine, built like a Llama.
        settings: What is asked and how the adapter is trained.
        out: The folder; the same call goes on there.
        experts: The personas, in place of a source in the settings.
        command: The command that was given, for the summary.
        progress: Shows the steps of each stage.
        changes: Fields of the settings that differ from them.

    Raises:
        ModelError: The model cannot be trained or cannot judge, no persona won any query, or a
            stage gives numbers that are not finite.
    """
    began = time.monotonic()
    settings = settle(settings, PrismSettings, changes)
    training = _set_up(model, settings, Path(out), experts, progress or Progress(enabled=False))
    written = _queries(training)
    queries = distinct_queries(written)
    answers = _answers(training, queries)
    comparisons = _comparisons(training, answers)
    won = [one.verdict == "win" for one in comparisons]
    if not any(won):
        raise ModelError(
            f"no persona won any of {len(won)} queries, so there is nothing to distil: choose "
            "personas that help (holdfast effect), or write more queries."
        )
    gate_scores, router_scores = _train_deciders(training, queries, won)
    distillation = Distillation.of(settings, training.model)
    kl = _distil(training, answers, won, distillation)
    outcomes = Counter(one.verdict for one in comparisons)
    summary = PrismSummary(
        model=training.model.name,
        queries=len(queries),
        dropped=len(written) - len(queries),
        repeated=sum(bool(query.query) for query in written) - len(queries),
        wins=outcomes["win"],
        losses=outcomes["loss"],
        ties=outcomes["tie"],
        unparsed=sum(one.by == "unparsed" for one in comparisons),
        by_persona=_by_persona(comparisons),
        gate=gate_scores,
        router=router_scores,
        kl_first=round(kl.first, 5),
        kl_last=round(kl.last, 5),
        kl_same=kl.same,
        adapter=str(training.folder),
        command=command,
        seconds=round(time.monotonic() - began, 1),
    )
    _write_about(training, summary, queries, distillation)
    return PrismResult(summary, answers, comparisons)


def _set_up(
    model: Backend,
    settings: PrismSettings,
    folder: Path,
    experts: Sequence[Expert] | None,
    progress: Progress,
) -> _Training:
    if not isinstance(model, LocalBackend):
        raise ModelError(
            f"{model.name} cannot be trained for: an adapter needs a model on this machine."
        )
    gate.first_layer(model.engine.model, model.name)
    require_peft()
    own = _own_source(model)
    # mini's own questions are too easy to separate personas, so it gets tasks by default.
    source = settings.tasks or ("mini" if own == "mini" else None)
    source = None if source == "none" else source
    return _Training(
        model,
        settings,
        tuple(experts) if experts is not None else experts_.load(settings.personas or own),
        tasks_.load(source, n=settings.queries, seed=settings.seed) if source else (),
        source,
        folder,
        progress,
    )


def _own_source(model: Backend) -> str:
    """Where a model's tasks and personas come from by default."""
    return "mini" if model.name == "mini" else "core"


# --- stages 1 to 3 ------------------------------------------------------------


def _queries(training: _Training) -> list[Query]:
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


def _answers(training: _Training, queries: Sequence[Query]) -> list[AnswerPair]:
    settings = training.settings

    def answer(batch: Sequence[Query]) -> Iterable[AnswerPair]:
        return answer_queries(
            training.model, batch, training.experts, settings.seed, settings.sampling
        )

    run = Run(training.folder / "answers", training.manifest("answers"), AnswerPair)
    return _go_on(run, queries, answer, training.progress)


def _comparisons(training: _Training, answers: Sequence[AnswerPair]) -> list[AnswerComparison]:
    scorer_of = _scorers(_own_source(training.model), training.tasks)

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


def _scorers(own: str, tasks: Sequence[Task]) -> ScorerOf | None:
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


# --- stages 4 and 5 -----------------------------------------------------------


def _train_deciders(
    training: _Training, queries: Sequence[Query], won: Sequence[bool]
) -> tuple[GateScores, RouterScores | None]:
    """Train and save the gate, and the router where there are queries enough for one."""
    model, seed = training.model, training.settings.seed
    prompts = [model.template.render(query_chat(query)).ids for query in queries]
    h = gate.features(model.engine.model, prompts, model.name)
    texts = groups([query_text(query) for query in queries])
    scores = _gate_scores(h, won, [query.expert for query in queries], texts, seed)
    train_gate(h, won, seed=seed).save(training.folder, model=model.name, seed=seed)
    if not enough_queries(won, texts):
        return scores, None
    router = train_router([query.query for query in queries], won, texts, seed=seed)
    router.save(training.folder)
    return scores, RouterScores(router.auc)


def _gate_scores(
    h: Tensor, won: Sequence[bool], personas: Sequence[str], texts: Sequence[int], seed: int
) -> GateScores:
    """Test gates on personas and on queries that they did not learn from."""
    chances = _held_out(h, won, personas, texts, seed)
    by_query = _held_out(h, won, texts, texts, seed)
    labels = np.asarray(won)
    tested = ~np.isnan(chances)
    correct = np.asarray((chances[tested] >= gate.THRESHOLD) == labels[tested], float)
    share = float(mean(np.asarray(labels[tested], float)))
    return GateScores(
        auc=_rounded(auc(chances, won)),
        auc_queries=_rounded(auc(by_query, won)),
        accuracy=_rounded(float(mean(correct))),
        majority=_rounded(max(share, 1 - share)),
        held_out=int(tested.sum()),
    )


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _held_out(
    h: Tensor, won: Sequence[bool], units: Sequence[Any], texts: Sequence[int], seed: int
) -> Array:
    """Chances of every query by a gate that saw neither its unit nor its text.

    NaN where such a gate would have only one kind of query to learn from.
    """
    chances = np.full(len(won), np.nan)
    for out in folds(units, FOLDS, seed):
        seen = {texts[i] for i in out}
        rest = [i for i in np.setdiff1d(np.arange(len(won)), out) if texts[i] not in seen]
        labels = [won[i] for i in rest]
        if any(labels) and not all(labels):
            chances[out] = train_gate(h[rest], labels, seed=seed).probabilities(h[out]).numpy()
    return chances


def _distil(
    training: _Training,
    answers: Sequence[AnswerPair],
    won: Sequence[bool],
    distillation: Distillation,
) -> Divergences:
    """Train and save the adapter on the answers that the personas won."""
    prompts = {expert.id: expert.full for expert in training.experts}
    views = [
        two_views(
            training.model,
            prompts[pair.query.expert],
            query_chat(pair.query),
            pair.persona,
            ended=pair.ended,
        )
        for pair, win in zip(answers, won, strict=True)
        if win
    ]
    return distil(
        training.model,
        views,
        distillation,
        training.folder,
        training.settings.seed,
        training.progress,
    )


# --- what is said of it -------------------------------------------------------


def _by_persona(comparisons: Sequence[AnswerComparison]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for one in comparisons:
        counts.setdefault(one.expert, Counter())[one.verdict] += 1
    return {expert: dict(outcomes) for expert, outcomes in counts.items()}


def _write_about(
    training: _Training,
    summary: PrismSummary,
    queries: Sequence[Query],
    distillation: Distillation,
) -> None:
    about = PrismAbout(
        summary=summary,
        base=training.model.describe(),
        recipe=asdict(distillation),
        seed=training.settings.seed,
        personas=tuple(experts_.described(training.experts)),
        trained_on=tuple(query_text(query) for query in queries),
    )
    (training.folder / ABOUT).write_text(dumps(about, indent=1) + "\n", encoding="utf-8")
