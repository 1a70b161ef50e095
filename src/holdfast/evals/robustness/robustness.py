"""How much accuracy the wrong persona costs: the same tasks under every persona of a pool.

    A[persona, item] = share of samples that are right,  mean, worst, best, worst/best, …

over the personas, with intervals over the items (`persona_lottery`, which has the equations).
Every item is asked with the same seeds, template and sampling under every persona, and without
one. An answer is read strictly and leniently (`reader`), since a persona may change the phrasing
and not the reasoning; the matrix takes the lenient reading unless told otherwise.

This module plans and runs. `summary` makes numbers of the records.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.run import Run
from holdfast.core.seeds import numpy_seed
from holdfast.core.settings import settle
from holdfast.core.shards import Where, open_run
from holdfast.core.version import __version__
from holdfast.evals.estimate import RunEstimate
from holdfast.evals.robustness.settings import RobustnessSettings
from holdfast.evals.robustness.summary import Answers, lost_items, summarise
from holdfast.evals.tasks.batches import TaskBatch, TaskUnit, ask, batches, estimate_batches
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.tasks import Task, load_items
from holdfast.evals.tasks.verifier import verifier
from holdfast.evals.trained_on import describe_trained
from holdfast.models.notes import NOTES, own_source
from holdfast.persona import pool
from holdfast.persona.files import find_repeat
from holdfast.report.robustness import headline
from holdfast.report.words import inconclusive, notes
from holdfast.results.robustness import (
    PersonaAccuracy,
    PoolPersona,
    RobustnessManifest,
    RobustnessNumbers,
    RobustnessSummary,
)
from holdfast.results.tasks import TaskArm, TaskRecord


@dataclass(frozen=True)
class Robustness:
    """The result of `robustness`."""

    summary: RobustnessSummary
    """The object that `holdfast robustness --json` prints."""
    answers: Answers
    """How every reply was read."""

    @property
    def rows(self) -> tuple[PersonaAccuracy, ...]:
        """One row per persona, in the pool's order."""
        return self.summary.numbers.rows

    @property
    def lottery(self) -> tuple[float, ...]:
        """Expected accuracy of the best of k personas, k = 1…n."""
        return self.summary.numbers.lottery


def robustness(
    model: Backend,
    settings: RobustnessSettings | None = None,
    *,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
    **changes: Any,
) -> Robustness:
    """Measure accuracy under every persona, as `holdfast robustness` does.

    Args:
        model: the model to measure.
        settings: which tasks are asked under which personas.
        out: folder of the run, which the same call resumes; None keeps everything in memory.
        command: the command line, for the summary and the page.
        progress: shows how far the run is.
        where: a shard or a cluster that asks the batches.
        **changes: fields of `settings` to change.

    Raises:
        HoldfastError: what the user can mend.
    """
    start = time.monotonic()
    settings = settle(settings, RobustnessSettings, changes, model)
    settings.check()
    plan = _RobustnessPlan.of(model, settings)
    run: Run[TaskRecord] = open_run(out, plan.manifest(), TaskRecord, where=where)
    progress = progress or Progress(enabled=False)
    ask(run, plan.batches(), [model], settings.sampling, settings.seed, progress, where)
    with MathCheck() as math:
        answers = Answers.of(run.records, plan.tasks, plan.personas, plan.verifiers, math)
    summary = plan.summary(run, answers, command, start)
    run.finish(summary, partial(report.write_robustness, summary))
    return Robustness(summary, answers)


def estimate_robustness(
    model: Backend, settings: RobustnessSettings | None = None, **changes: Any
) -> RunEstimate:
    """Measure one step and say what a run will take; `holdfast robustness --plan`.

    The arguments are those of `robustness`.
    """
    settings = settle(settings, RobustnessSettings, changes, model)
    settings.check()
    plan = _RobustnessPlan.of(model, settings)
    return estimate_batches(plan.batches(), [model], settings.sampling, settings.seed)


@dataclass(frozen=True)
class _RobustnessPlan:
    """What is asked of the model."""

    model: Backend
    settings: RobustnessSettings
    tasks: tuple[Task, ...]
    left_out: tuple[str, ...]
    verifiers: Mapping[str, str]
    """The verifier of each task, by its id."""
    personas: Sequence[PoolPersona]

    @classmethod
    def of(cls, model: Backend, settings: RobustnessSettings) -> _RobustnessPlan:
        own = own_source(model.name)
        personas = own if settings.personas is None else settings.personas
        if isinstance(personas, str | Path):
            personas = pool.load(personas, split=settings.split)
        elif (twice := find_repeat(one.id for one in personas)) is not None:
            raise HoldfastError(f"two personas have the id {twice}: give each one of its own.")
        source, n = settings.tasks or own, settings.tasks_per_category
        tasks = load_items(source, n=n, seed=settings.seed, form=settings.form)
        # The built-in tasks have some that only a model can judge; the user's must all be right.
        built_in = str(source) in ("core", "mini")
        items = tuple(task for task in tasks if not (built_in and task.needs_model))
        verifiers = {task.id: verifier(task, settings.verifier) for task in items}
        if len(personas) < 2 or len(items) < 2:
            raise HoldfastError(
                f"at least 2 personas and 2 tasks are needed, not {len(personas)} and {len(items)}."
            )
        left_out = tuple(task.id for task in tasks if built_in and task.needs_model)
        return cls(model, settings, items, left_out, verifiers, tuple(personas))

    def manifest(self) -> RobustnessManifest:
        """What determines the records."""
        return RobustnessManifest(
            command="robustness",
            version=__version__,
            model=self.model.describe(),
            tasks=tuple(asdict(task) for task in self.tasks),
            personas=tuple(pool.describe(self.personas)),
            place=self.settings.placement,
            samples=self.settings.samples,
            seed=self.settings.seed,
            sampling=self.settings.sampling,
        )

    def batches(self) -> list[TaskBatch]:
        """Every task under every persona and without one."""
        place = self.settings.placement
        personas = (TaskArm("pool", None, place, one.id, one.text) for one in self.personas)
        arms, samples = (TaskArm(), *personas), range(self.settings.samples)
        units = (TaskUnit(task, sample, arms) for task in self.tasks for sample in samples)
        return list(batches(0, units))

    def summary(
        self, run: Run[TaskRecord], answers: Answers, command: str | None, start: float
    ) -> RobustnessSummary:
        """What the records say."""
        settings = self.settings
        seed = numpy_seed(settings.seed)
        numbers = summarise(answers, settings.reading, settings.pss, settings.search, seed)
        return RobustnessSummary(
            model=self.model.name,
            command=command,
            headline=_headline(numbers, run.records),
            numbers=numbers,
            lost=lost_items(answers, run.records, settings.reading),
            samples=settings.samples,
            seed=settings.seed,
            place=settings.placement,
            verifiers=dict(Counter(self.verifiers.values())),
            left_out=self.left_out,
            **run.of_work(seconds=round(time.monotonic() - start, 1)),
            note=notes(NOTES.get(self.model.name), describe_trained(self.model.name, self.tasks)),
            report=run.page,
        )


def _headline(numbers: RobustnessNumbers, records: Sequence[TaskRecord]) -> str:
    """The result in one sentence, or why there is none; without a full stop."""
    cut = numbers.cut / max(1, sum(len(record.arms) for record in records))
    why = inconclusive([numbers.none.accuracy, *(row.accuracy for row in numbers.rows)], cut)
    return why.rstrip(".") if why else headline(numbers)
