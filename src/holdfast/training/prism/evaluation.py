"""PRISM beside what it has to beat, on tasks with and without a persona.

    base        no system message             no system   an empty one
    matched     the persona meant for the task's category, as the system prompt
    other       another persona, drawn by task; where there is none, both ask as base does
    router      the matched persona's system prompt, where the prompt router says so
    always      the adapter, on for every query
    random      the adapter, on in as many conversations as the gate has it on in, at random
    prism       the adapter where the gate says so of a conversation's first user message
    every turn  the same decided anew at every turn, where a task has several
    oracle      for each task the better of base and always: what a perfect gate would reach

A conversation of prism or random is wholly base's or always', whose answers it has: asked again
it would differ by rounding alone, which adds noise to the difference from base.

Scores and intervals are `effect`'s: means over samples, then over tasks, differences paired
by task with base.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Backend
from holdfast.core.chat import first_turn, has_prompt, message
from holdfast.core.control import NONE, Control
from holdfast.core.errors import HoldfastError, suggestion
from holdfast.core.progress import Progress
from holdfast.core.records import read_record
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.settings import settle
from holdfast.core.version import __version__
from holdfast.evals.estimate import RunEstimate, estimate_asks
from holdfast.evals.fixed_batches import ask_missing
from holdfast.evals.tasks.model_judge import check_judge, judge_tasks, reach_judge
from holdfast.evals.tasks.near_duplicates import groups, overlapping_tasks, task_text
from holdfast.evals.tasks.tasks import Task, load_tasks_with_form
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import GatedAdapter, read_about
from holdfast.models.notes import NOTES, own_source
from holdfast.persona.experts import Expert, read_described, roles, without_persona
from holdfast.results.training.prism import (
    ArmAnswer,
    DroppedTasks,
    PrismAbout,
    PrismEvalManifest,
    PrismEvalSummary,
)
from holdfast.results.verdict import JudgeVerdict
from holdfast.training.prism.arm_scores import EvaluationScores, PrismEvaluation, answer_key
from holdfast.training.prism.settings import ADAPTER_ARMS, PROMPT_ARMS, PrismEvalSettings

MODES = ("gate", "every turn", "always", "random", "never")
COMPOSED = {"prism": "gate", "random": "random"}
"""Arms that have the answers of base and always, and the mode that says of which."""


@dataclass(frozen=True)
class _Evaluation:
    """What all arms need."""

    model: LocalBackend
    adapter: GatedAdapter
    settings: PrismEvalSettings
    experts: Sequence[Expert]
    tasks: Sequence[Task]

    @property
    def units(self) -> list[tuple[Task, int]]:
        """Every task with the number of each of its samples."""
        return [(task, sample) for task in self.tasks for sample in range(self.settings.samples)]


def evaluate(
    model: LocalBackend,
    adapter: Path | str,
    settings: PrismEvalSettings | None = None,
    *,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> PrismEvaluation:
    """Score every arm on tasks that were not trained on; what `holdfast prism eval` does.

    Args:
        model: The model that the adapter was trained on.
        adapter: A folder of `holdfast prism train`.
        settings: What is asked, and how replies are drawn.
        judge_model: Another model, for tasks that only a model judges; else they are left out.
        out: The folder of the run; the same call goes on there.
        command: The command that was given, for the summary.
        progress: Shows the arms.
        changes: Fields of the settings that differ from them.

    Raises:
        ModelError: The adapter is another model's.
        HoldfastError: No task is left.
    """
    start, settings = time.monotonic(), settle(settings, PrismEvalSettings, changes, model)
    settings.check()
    check_judge([model], judge_model)
    folder, about = Path(adapter), _read_about(Path(adapter))
    tasks = _load_tasks(model, settings)
    usable, drop_counts = _usable(tasks, about.trained_on, judged=judge_model is not None)
    ids = {task.id for task in usable}
    run = Run(out, _manifest(model, judge_model, about, usable, settings), ArmAnswer, JudgeVerdict)
    arms, experts = _arms(about, usable), tuple(map(read_described, about.personas))
    reach_judge(run, judge_model, any(task.needs_model for task in usable))
    with GatedAdapter(model.engine, model.name, model.digest, folder) as gated_adapter:
        evaluation = _Evaluation(model, gated_adapter, settings, experts, usable)
        _ask_arms(evaluation, run, arms, progress or Progress(enabled=False))
    _judge(run, usable, judge_model)
    scores = EvaluationScores.of(run, usable, settings.samples, (*arms, "oracle"))
    summary = PrismEvalSummary(
        model=model.name,
        judge_model=judge_model.name if judge_model else None,
        adapter=str(folder),
        tasks=len(usable),
        samples=settings.samples,
        seed=settings.seed,
        left_out=tuple(task.id for task in tasks if task.id not in ids),
        dropped=drop_counts,
        without_persona=without_persona([task.category for task in usable], experts),
        rows=scores.rows(),
        gate=about.summary.gate,
        command=command,
        note=NOTES.get(model.name),
        **run.of_work(seconds=round(time.monotonic() - start, 1)),
    )
    run.finish(summary)
    return PrismEvaluation(summary, scores.by_task(usable))


def estimate_evaluation(
    model: LocalBackend,
    adapter: Path | str | None,
    settings: PrismEvalSettings | None = None,
    *,
    judge_model: Backend | None = None,
    **changes: Any,
) -> RunEstimate:
    """Measure one step and say what a run will take; `holdfast prism eval --plan`.

    The arguments are those of `evaluate`; of an adapter that is still to be trained it is None.
    """
    settings = settle(settings, PrismEvalSettings, changes, model)
    settings.check()
    about, tasks = _read_about(Path(adapter)) if adapter else None, _load_tasks(model, settings)
    trained_on = about.trained_on if about else ()
    usable, _ = _usable(tasks, trained_on, judged=judge_model is not None)
    replies = sum(len(task.turns) for task in usable) * settings.samples
    asks = [Ask(task.chat(()), seed_of("prism eval", settings.seed, task.id)) for task in usable]
    number = len(set(_arms(about, usable)) - COMPOSED.keys())
    return estimate_asks(model, asks, settings.sampling, replies * number)


def _arms(about: PrismAbout | None, tasks: Sequence[Task]) -> list[str]:
    """The arms that can differ from others.

    A router needs two queries of either kind to be trained on, which there may not have been.
    """
    router = about is None or about.summary.router is not None
    needs = {"router": router, "every turn": any(len(task.turns) > 1 for task in tasks)}
    return [arm for arm in (*PROMPT_ARMS, *ADAPTER_ARMS) if needs.get(arm, True)]


def _read_about(folder: Path) -> PrismAbout:
    return read_record(PrismAbout, read_about(folder), str(folder / "prism.json"))


def _load_tasks(model: LocalBackend, settings: PrismEvalSettings) -> tuple[Task, ...]:
    source = settings.tasks or own_source(model.name)
    seed = seed_of("prism eval", settings.seed)
    n = settings.tasks_per_category
    return load_tasks_with_form(source, n=n, seed=seed, form=settings.form)


def _usable(
    tasks: Sequence[Task], trained_on: Sequence[str], *, judged: bool
) -> tuple[list[Task], DroppedTasks]:
    """The tasks to evaluate on, and how many were dropped for each reason.

    A task is dropped if only a model can judge it and none does, if its text is a near-duplicate
    of a training query, or if it repeats an earlier task, which would count one question twice.
    """
    scorable = [task for task in tasks if judged or not task.needs_model]
    overlaps = overlapping_tasks(scorable, trained_on)
    new = [task for task, overlap in zip(scorable, overlaps, strict=True) if not overlap]
    group = groups([task_text(task) for task in new])
    usable = [task for i, task in enumerate(new) if group[i] == i]
    drop_counts = DroppedTasks(
        needs_judge=len(tasks) - len(scorable),
        trained_on=len(scorable) - len(new),
        repeated=len(new) - len(usable),
    )
    if not usable:
        raise HoldfastError(
            "no task is left that has an exact answer or a judge and was not trained on "
            f"({drop_counts.sentence()})."
        )
    return usable, drop_counts


def _manifest(
    model: LocalBackend,
    judge_model: Backend | None,
    about: PrismAbout,
    tasks: Sequence[Task],
    settings: PrismEvalSettings,
) -> PrismEvalManifest:
    return PrismEvalManifest(
        command="prism eval",
        version=__version__,
        model=model.describe(),
        judge_model=judge_model.describe() if judge_model else None,
        adapter={
            "base": about.base,
            "seed": about.seed,
            "wins": about.summary.wins,
            "kl_last": about.summary.kl_last,
        },
        tasks=tuple(asdict(task) for task in tasks),
        samples=settings.samples,
        seed=settings.seed,
        sampling=settings.sampling,
    )


def _judge(
    run: Run[ArmAnswer, JudgeVerdict], tasks: Sequence[Task], judge_model: Backend | None
) -> None:
    if judge_model is None:
        return
    replies = {answer_key(record): (record.task, record.replies) for record in run.records}
    judge_tasks(run, tasks, replies, judge_model)


# --- asking -------------------------------------------------------------------


def _ask_arms(
    evaluation: _Evaluation,
    run: Run[ArmAnswer, JudgeVerdict],
    arms: Sequence[str],
    progress: Progress,
) -> None:
    """Ask in every arm that the run does not have all records of."""
    units = evaluation.units
    batches = [{(arm, task.id, sample): arm for task, sample in units} for arm in arms]
    with progress.of(len(arms) * len(units), "answers"):
        ask_missing(
            batches,
            run.record_file,
            evaluation.model,
            lambda batch: _answer(evaluation, next(iter(batch.values())), run.records),
            key_of=attrgetter("arm", "task", "sample"),
            progress=progress,
        )


def _compose_arm(
    evaluation: _Evaluation, arm: str, records: Sequence[ArmAnswer]
) -> Iterator[ArmAnswer]:
    """Take each conversation of an arm from always or base, as the first turn is decided."""
    answers = {(one.arm, one.task, one.sample): one for one in records}
    asks = [_ask(evaluation, arm, task, sample, []) for task, sample in evaluation.units]
    routing = [one.routed[0] for one in records if one.arm == "prism"]
    rate = float(np.mean(routing)) if routing else 0.0
    on = decide(evaluation.model, evaluation.adapter, asks, COMPOSED[arm], rate)
    for (task, sample), adapted in zip(evaluation.units, on, strict=True):
        yield replace(answers["always" if adapted else "base", task.id, sample], arm=arm)


def _answer(evaluation: _Evaluation, arm: str, records: Sequence[ArmAnswer]) -> Iterator[ArmAnswer]:
    """Ask every task and sample in an arm, turn by turn, unless other arms have its answers."""
    if arm in COMPOSED:
        yield from _compose_arm(evaluation, arm, records)
        return
    units = evaluation.units
    replies: list[list[str]] = [[] for _ in units]
    routing: list[list[bool]] = [[] for _ in units]
    stops: list[list[str]] = [[] for _ in units]
    mode = arm if arm in MODES else "never"
    for turn in range(max(len(task.turns) for task, _ in units)):
        live = [i for i, (task, _) in enumerate(units) if turn < len(task.turns)]
        asks = [_ask(evaluation, arm, *units[i], replies[i]) for i in live]
        on = decide(evaluation.model, evaluation.adapter, asks, mode)
        adapters = [evaluation.adapter.name if one else "" for one in on]
        answers = evaluation.model.reply(asks, evaluation.settings.sampling, adapters)
        for i, ask, adapted, answer in zip(live, asks, on, answers, strict=True):
            replies[i].append(answer.text)
            stops[i].append(answer.stop)
            routed = arm == "router" and has_prompt(rewrite(ask.chat, ask.control))
            routing[i].append(adapted or routed)
    for i, (task, sample) in enumerate(units):
        cut = tuple(stop == "length" for stop in stops[i])
        failed = not {"overflow", "error"}.isdisjoint(stops[i])
        yield ArmAnswer(arm, task.id, sample, tuple(replies[i]), tuple(routing[i]), cut, failed)


def _ask(evaluation: _Evaluation, arm: str, task: Task, sample: int, replies: list[str]) -> Ask:
    """The ask of a task's next turn, after the replies so far."""
    seed = evaluation.settings.seed
    own = seed_of("prism eval", seed, task.id, sample, len(replies))
    # Not parsed: a folder's name may hold what separates controls.
    router = Control("route", route=evaluation.adapter.name, system="routed")
    control = router if arm == "router" else NONE
    if arm == "no system":
        return Ask((message("system", ""), *task.chat(replies)), own, control, keep=False)
    cast = roles(evaluation.experts, task.category, seed_of("other persona", seed, task.id))
    persona = "matched" if arm == "router" else arm
    system = cast[persona].full if persona in cast else ""
    return Ask(task.chat(replies, system), own, control, keep=False)


def decide(
    model: LocalBackend,
    adapter: GatedAdapter,
    asks: Sequence[Ask],
    mode: str = "gate",
    rate: float = 0.0,
) -> list[bool]:
    """Say which asks are answered with the adapter.

    `mode` is "gate" (where the gate says so of the first user message), "every turn" (of the
    last), "always", "never" (the base model) or "random" (a share `rate` of the asks, by seed).
    """
    if mode not in MODES:
        raise ValueError(f"there is no mode {mode!r}: {suggestion(mode, MODES)}")
    if mode in ("always", "never"):
        return [mode == "always"] * len(asks)
    if mode == "random":
        draws = [seed_of("random gate", ask.seed) for ask in asks]
        first = set(np.argsort(draws)[: round(rate * len(asks))].tolist())
        return [i in first for i in range(len(asks))]
    if mode == "gate":
        asks = [replace(ask, chat=first_turn(ask.chat)) for ask in asks]
    return adapter.ask_gate([model.ids(ask) for ask in asks])
