"""When does a persona help? The same tasks with and without it, in every length and place.

For each task the score with a persona less that without it, everything else equal: chat
template, sampling and seeds. A persona stands in the system prompt or before the user's
first message; beside the one matched to the task are another, the safety monitor, and
random text as long as the longest persona (`persona.experts`). In a category with tasks T,

    effect = mean over T of (mean over seeds of score(with) - mean over seeds of score(without))

with a 95% interval over tasks. Scores come from exact answers and deterministic
judges, or from a judge model that is none of the models measured (arXiv:2603.18507 is the
study that this controls for what it mixed; notes in docs/guide/effect.md).

This module plans and runs. `summary` makes rows of the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.seeds import seed_of
from holdfast.core.settings import settle
from holdfast.core.shards import Where, open_run
from holdfast.core.version import __version__
from holdfast.evals.effect.settings import EffectSettings
from holdfast.evals.effect.summary import EffectRun, reply_pairs, summarise, verdict_key
from holdfast.evals.estimate import RunEstimate
from holdfast.evals.tasks.batches import TaskBatch, TaskUnit, ask, batches, estimate_batches
from holdfast.evals.tasks.model_judge import check_judge, count_verdicts, judge_tasks, reach_judge
from holdfast.evals.tasks.tasks import Task, load_tasks_with_form
from holdfast.evals.trained_on import describe_trained
from holdfast.models.notes import NOTES, own_source
from holdfast.persona.experts import (
    LENGTHS,
    Expert,
    describe_experts,
    load_experts,
    random_text,
    roles,
)
from holdfast.persona.files import find_repeat
from holdfast.persona.suite import load_suite
from holdfast.report.words import describe_missing, describe_unread, notes
from holdfast.results.effect import EffectManifest, EffectRow, EffectSummary
from holdfast.results.tasks import TaskArm, TaskRecord
from holdfast.results.verdict import JudgeVerdict


@dataclass(frozen=True)
class Effect:
    """The result of `effect`."""

    summary: EffectSummary
    """The object that `holdfast effect --json` prints."""

    @property
    def rows(self) -> tuple[EffectRow, ...]:
        """One row per model, category, kind of persona, length and place."""
        return self.summary.numbers.rows


def effect(
    models: Backend | Sequence[Backend],
    settings: EffectSettings | None = None,
    *,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
    **changes: Any,
) -> Effect:
    """Measure what personas do to tasks, as `holdfast effect` does.

    Args:
        models: the models to measure.
        settings: which tasks are asked under which personas.
        judge_model: scores tasks that only a model can judge; none of `models`. Without it such
            tasks are left out and named in the summary.
        out: folder of the run, which the same call resumes; None keeps everything in memory.
        command: the command line, for the summary and the page.
        progress: shows how far the run is.
        where: a shard or a cluster that asks the batches.
        **changes: fields of `settings` to change.

    Raises:
        HoldfastError: what the user can mend.
    """
    start = time.monotonic()
    plan = _plan(models, settings, judge_model, changes)
    models, settings = plan.models, plan.settings
    run: EffectRun = open_run(out, plan.manifest(), TaskRecord, JudgeVerdict, where)
    progress = progress or Progress(enabled=False)
    reach_judge(run, judge_model, any(task.needs_model for task in plan.tasks))
    ask(run, plan.batches(), models, settings.sampling, settings.seed, progress, where)
    if judge_model is not None:
        judge_tasks(run, plan.tasks, _replies(run), judge_model)
    summary = plan.summary(run, command, start)
    pairs = reply_pairs(run, plan.tasks, summary.models)
    run.finish(summary, partial(report.write_effect, summary, pairs))
    return Effect(summary)


def estimate_effect(
    models: Backend | Sequence[Backend],
    settings: EffectSettings | None = None,
    *,
    judge_model: Backend | None = None,
    **changes: Any,
) -> RunEstimate:
    """Measure one step and say what a run will take; `holdfast effect --plan`.

    The arguments are those of `effect`.
    """
    plan = _plan(models, settings, judge_model, changes)
    return estimate_batches(plan.batches(), plan.models, plan.settings.sampling, plan.settings.seed)


def _plan(
    models: Backend | Sequence[Backend],
    settings: EffectSettings | None,
    judge_model: Backend | None,
    changes: Mapping[str, Any],
) -> _EffectPlan:
    """Plan what each model is asked; raises `HoldfastError` for what cannot be asked."""
    if isinstance(models, str) or not isinstance(models, Sequence):
        models = [models]
    settings = settle(
        settings, EffectSettings, changes, *models, *([judge_model] if judge_model else [])
    )
    if not models:
        raise HoldfastError("name a model with `model`.")
    if (twice := find_repeat(model.name for model in models)) is not None:
        raise HoldfastError(f"two models have the name {twice}: name each once.")
    check_judge(models, judge_model)
    settings.check()
    return _EffectPlan.of(models, judge_model, settings)


def _replies(run: EffectRun) -> dict[tuple[Any, ...], tuple[str, Sequence[str]]]:
    """A task's id and its replies under each arm, by the key of their verdict."""
    return {
        verdict_key(record, arm): (record.task, arm.replies)
        for record in run.records
        for arm in record.arms
    }


@dataclass(frozen=True)
class _EffectPlan:
    """What each model is asked."""

    models: Sequence[Backend]
    judge_model: Backend | None
    settings: EffectSettings
    tasks: tuple[Task, ...]
    left_out: tuple[str, ...]
    personas: Sequence[Expert]
    filler_words: Sequence[str]
    """Words that random text is made of."""

    @classmethod
    def of(
        cls, models: Sequence[Backend], judge_model: Backend | None, settings: EffectSettings
    ) -> _EffectPlan:
        own = "mini" if {own_source(model.name) for model in models} == {"mini"} else "core"
        source, n = settings.tasks or own, settings.tasks_per_category
        tasks = load_tasks_with_form(source, n=n, seed=settings.seed, form=settings.form)
        personas = load_experts(own if settings.personas is None else settings.personas)
        if not personas:
            raise HoldfastError("at least 1 persona is needed: name core, mini or a TOML file.")
        if (twice := find_repeat(one.id for one in personas)) is not None:
            raise HoldfastError(f"two personas have the id {twice}: give each one of its own.")
        left_out = tuple(task.id for task in tasks if judge_model is None and task.needs_model)
        scorable = tuple(task for task in tasks if judge_model is not None or not task.needs_model)
        if not scorable:
            raise HoldfastError(
                "none of the tasks has an exact answer or a judge: name a model with `judge_model`."
            )
        return cls(
            models,
            judge_model,
            settings,
            tasks=scorable,
            left_out=left_out,
            personas=personas,
            filler_words=sorted({w for line in load_suite(own).fillers for w in line.split()}),
        )

    def manifest(self) -> EffectManifest:
        """What determines the records."""
        settings = self.settings
        return EffectManifest(
            command="effect",
            version=__version__,
            models=tuple(model.describe() for model in self.models),
            judge_model=self.judge_model.describe() if self.judge_model else None,
            tasks=tuple(asdict(task) for task in self.tasks),
            personas=tuple(describe_experts(self.personas)),
            lengths=tuple(settings.lengths),
            places=tuple(settings.placements),
            samples=settings.samples,
            seed=settings.seed,
            sampling=settings.sampling,
            matrix=settings.matrix,
        )

    def batches(self) -> list[TaskBatch]:
        """Every task under every arm, model by model."""
        return [
            batch
            for m, model in enumerate(self.models)
            for batch in batches(
                m,
                (
                    TaskUnit(task, sample, arms)
                    for task in self.tasks
                    for arms in [tuple(self.arms(task, model))]
                    for sample in range(self.settings.samples)
                ),
            )
        ]

    def arms(self, task: Task, model: Backend) -> Iterator[TaskArm]:
        """Every way that a task is asked, the one without a persona first."""
        settings = self.settings
        seed = seed_of("other persona", settings.seed, task.id)
        cast = roles(self.personas, task.category, seed)
        yield TaskArm()
        for kind, expert in cast.items():
            for length in settings.lengths:
                for place in settings.placements:
                    yield TaskArm(kind, length, place, expert.id, expert.prompt(length))
        longest = max(settings.lengths, key=LENGTHS.index)
        example = (cast.get("matched") or next(iter(cast.values()))).prompt(longest)
        text = random_text(self.filler_words, model.count(example), model.count, seed)
        for place in settings.placements:
            yield TaskArm("random", longest, place, None, text)
        if settings.matrix:
            for expert in self.personas:
                place, prompt = settings.placements[0], expert.prompt(longest)
                yield TaskArm("each", longest, place, expert.id, prompt)

    def summary(self, run: EffectRun, command: str | None, start: float) -> EffectSummary:
        """What the records say."""
        names = tuple(model.name for model in self.models)
        numbers = summarise(run, self.tasks, names)
        return EffectSummary(
            models=names,
            tasks=len(self.tasks),
            samples=self.settings.samples,
            seed=self.settings.seed,
            judge_model=self.judge_model.name if self.judge_model else None,
            left_out=self.left_out,
            command=command,
            numbers=numbers,
            **run.of_work(seconds=round(time.monotonic() - start, 1)),
            note=notes(
                *dict.fromkeys(map(NOTES.get, names)),
                *(describe_trained(name, self.tasks) for name in names),
                describe_missing(numbers.failed, numbers.answers),
                describe_unread(count_verdicts(run)),
            ),
            report=run.page,
        )
