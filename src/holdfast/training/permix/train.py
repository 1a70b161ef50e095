"""`holdfast permix train`: the arms, the folder they leave, and how they go on after a stop.

    manifest.json    everything that determines the result
    trial.json       what the untrained model did with a few prompts
    items.jsonl      the tasks that were trained on
    answers.jsonl    replies of the untrained model, of which rft imitates the right ones
    metrics.jsonl    one line per step (`metrics`)
    checkpoints/     the trainer's own, from which the same command goes on
    adapter/         the LoRA, where one was trained, as PEFT saves it
    model/           the trained model whole, a stock folder for every command's --model
    summary.json, report.html

Four arms take as many steps over the same tasks: *permix* with personas drawn for its prompts,
*rlvr* without any, and two that imitate answers under personas drawn as for permix, as many rows a
step as the others have rollouts: *sft* gold ones, *rft* right ones of the untrained model's own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import report
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import read_record
from holdfast.core.run import PAGE, Run
from holdfast.core.settings import settle
from holdfast.core.version import __version__
from holdfast.models.notes import NOTES
from holdfast.persona import pool
from holdfast.results.training.permix import (
    IMITATIONS,
    ITEMS,
    LearningMeans,
    PermixManifest,
    PermixSummary,
    PermixTrial,
)
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.adapter_card import permix_card, write_adapter_card
from holdfast.training.estimate import check_fits, show
from holdfast.training.permix import trial as trials
from holdfast.training.permix.dataset import TrainingData
from holdfast.training.permix.metrics import learning_means, read_metrics
from holdfast.training.permix.mixing import PersonaMix
from holdfast.training.permix.plan import (
    ADAPTER,
    MODEL,
    TrainingPlan,
    main_process,
    processes,
    write_items,
)
from holdfast.training.permix.prepare import PreparedTraining, estimate_training, prepare
from holdfast.training.permix.settings import (
    NEXT_PROMPTS,
    NO_RESULT,
    PermixSettings,
    TrainerSettings,
)
from holdfast.training.permix.task_reward import Reward, Verify

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend


@dataclass(frozen=True)
class PermixResult:
    """A trained model."""

    summary: PermixSummary
    """What `holdfast permix train --json` prints."""

    @property
    def checkpoint(self) -> Path:
        """The trained model's folder."""
        return Path(self.summary.checkpoint)


def train(
    model: str,
    settings: PermixSettings | None = None,
    *,
    out: Path | str,
    verify: Verify | None = None,
    dtype: str = "auto",
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    base: str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> PermixResult:
    """Train one arm; what the command `holdfast permix train` does.

    Args:
        model: "mini", a folder or a hub id.
        settings: What is trained on, under whom, and how.
        out: The folder; the same call goes on there.
        verify: Gives the reward for a task and a completion, in place of the settings' verifier.
        dtype: Number format of the weights; by default float32 where they all learn.
        device: Where the model runs.
        options: Options of the chat template (`enable_thinking`, for instance).
        base: The model under an adapter, in place of the one that it names.
        command: The command that was given, for the summary.
        progress: Shows the steps.
        changes: Fields of the settings that differ from them.

    Raises:
        ModelError: The model cannot be trained.
        HoldfastError: As `prepare`; or rewards have no variance.
    """
    start, folder = time.monotonic(), Path(out)
    settings = settle(settings, PermixSettings, changes)
    training = prepare(model, settings, dtype=dtype, device=device, options=options, base=base)
    backend, data, trainer, _ = training
    with Reward(data.tasks, settings.verifier, settings.reading, verify) as reward:
        run = Run(folder if main_process() else None, _manifest(backend, trainer, data, settings))
        if (summary := _read_summary(folder)) is not None:
            return PermixResult(summary)
        _check_plan(training, settings, folder)
        trial, data = _select(training, settings, reward, folder)
    plan = _plan(settings, data, trainer)
    write_items(folder / ITEMS, data.tasks)
    with reward.over(data.tasks) as reward:
        means = _fit(backend, plan, reward, folder, progress or Progress(enabled=False))
    summary = PermixSummary(
        **_training_fields(plan, settings, data, folder),
        model=model,
        means=means,
        trial=trial,
        verifier_errors=reward.errors,
        command=command,
        seconds=round(time.monotonic() - start, 1),
        note=NOTES.get(model),
    )
    if main_process() and trainer.rank:
        write_adapter_card(folder / ADAPTER, permix_card(summary, asdict(trainer)))
    return _finish(run, summary, folder)


def _finish(run: Run[Any], summary: PermixSummary, folder: Path) -> PermixResult:
    if main_process():
        run.finish(summary)
        report.write_permix(summary, read_metrics(folder), folder / PAGE)
    return PermixResult(summary)


def _check_plan(training: PreparedTraining, settings: PermixSettings, folder: Path) -> None:
    """Say what a training that begins will take, and refuse one that does not fit."""
    if main_process() and not (folder / ITEMS).exists():
        estimate = estimate_training(training, settings)
        show(estimate, "permix train")
        check_fits(estimate, training.backend, folder)


def plan_training(
    model: str,
    settings: PermixSettings | None = None,
    *,
    out: Path | str,
    dtype: str = "auto",
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    base: str | None = None,
    **changes: Any,
) -> TrainingEstimate:
    """What `train` with the same arguments would take; `holdfast permix train --plan`.

    Raises:
        HoldfastError: As `train`; and it does not fit.
    """
    settings = settle(settings, PermixSettings, changes)
    training = prepare(model, settings, dtype=dtype, device=device, options=options, base=base)
    estimate = estimate_training(training, settings)
    check_fits(estimate, training.backend, Path(out))
    return estimate


def _try(
    training: PreparedTraining, settings: PermixSettings, reward: Reward, folder: Path
) -> PermixTrial:
    """What the untrained model does with a few prompts; read back where the run goes on.

    One process asks; the others wait for its file.
    """
    while not main_process() and not (folder / trials.NAME).exists():
        time.sleep(0.2)
    if (trial := trials.read_trial(folder)) is not None:
        return trial
    backend, data, trainer, _ = training
    personas = () if settings.arm == "rlvr" else data.personas
    mix = PersonaMix(len(personas), settings.data.bare, "prompt", settings.seed)
    prompts = trials.TrialPrompts.of(data.tasks, personas, mix)
    trial = trials.try_out(backend, prompts, reward, trainer, settings.seed)
    if settings.arm != "sft":  # which learns from gold answers, whatever the model says
        trials.check(trial, trainer.max_new_tokens)
    trials.write(trial, folder)
    return trial


def _select(
    training: PreparedTraining, settings: PermixSettings, reward: Reward, folder: Path
) -> tuple[PermixTrial | None, TrainingData]:
    """Try a few prompts, and keep the exercises that the model can learn from."""
    trial = _try(training, settings, reward, folder) if settings.trial else None
    if trial is None or settings.arm == "sft":
        return trial, training.data  # sft learns from gold answers, whatever the model can do
    if training.chooses == "none":
        sentence = trials.warning(trial, training.trainer.rollouts)
        if sentence and settings.arm not in IMITATIONS and main_process():
            print(f"permix train: {sentence}", file=sys.stderr, flush=True)
        return trial, training.data
    names = (
        trials.middling_categories(trial)
        if training.chooses == "some"
        else trials.most_varied_category(trial)
    )
    return trial, _teachable(training.data, trial, names)


def _teachable(data: TrainingData, trial: PermixTrial, names: Sequence[str]) -> TrainingData:
    """The exercises of the categories that the model can learn from, of which there must be one."""
    if not names:
        raise HoldfastError(
            f"of {len(trial.by_category)} categories of exercises the model solves none in "
            f"{trials.MIDDLING[0]:g} to {trials.MIDDLING[1]:g} of cases ({trial.reward:g} "
            "overall): name tasks of your own with `tasks`, or some with `category`."
        )
    return data.of_categories(names)


def _plan(settings: PermixSettings, data: TrainingData, trainer: TrainerSettings) -> TrainingPlan:
    """Lay out the prompts of all steps, and some more."""
    mixing = settings.data.mixing
    personas = () if settings.arm == "rlvr" else data.personas
    prompts = settings.steps * trainer.prompts
    if settings.arm in IMITATIONS:
        prompts *= trainer.rollouts
    mix = PersonaMix(len(personas), settings.data.bare, mixing, settings.seed)
    rows = list(mix.rows(len(data.tasks), prompts + NEXT_PROMPTS, trainer.rollouts))
    end = prompts * (trainer.rollouts if mixing == "rollout" else 1)
    return TrainingPlan(
        arm=settings.arm,
        rows=rows[:end],
        next_rows=rows[end:],
        tasks=data.tasks,
        personas=personas,
        mixing=mixing,
        steps=settings.steps,
        seed=settings.seed,
        settings=trainer,
    )


def _manifest(
    backend: LocalBackend,
    trainer: TrainerSettings,
    data: TrainingData,
    settings: PermixSettings,
) -> PermixManifest:
    import trl

    recipe = {name: one for name, one in asdict(trainer).items() if name not in NO_RESULT}
    return PermixManifest(
        command="permix train",
        version=__version__,
        model=backend.describe(),
        arm=settings.arm,
        steps=settings.steps,
        recipe=recipe,
        personas=tuple(pool.describe(() if settings.arm == "rlvr" else data.personas)),
        held_out=tuple(pool.describe(data.held_out)),
        bare=settings.data.bare,
        mixing=settings.data.mixing,
        tasks=tuple(asdict(task) for task in data.tasks),
        evaluation=tuple(task.id for task in data.evaluation),
        seed=settings.seed,
        processes=processes(),
        trl=trl.__version__,
        reward=(settings.verifier, settings.reading),
    )


def _training_fields(
    plan: TrainingPlan, settings: PermixSettings, data: TrainingData, folder: Path
) -> dict[str, Any]:
    """The fields of the summary that say what was trained on."""
    return {
        "arm": plan.arm,
        "steps": plan.steps,
        "beta": plan.settings.beta if plan.arm not in IMITATIONS else None,
        "mixing": plan.mixing if plan.arm != "rlvr" else None,
        "bare": settings.data.bare if plan.arm != "rlvr" else 1.0,
        "tasks": len(data.tasks),
        "categories": tuple(dict.fromkeys(task.category for task in data.tasks)),
        "personas": len(plan.personas),
        "held_out": len(data.held_out),
        "seed": plan.seed,
        "checkpoint": str(folder / MODEL),
        "report": str(folder / PAGE),
    }


def _read_summary(folder: Path) -> PermixSummary | None:
    """The summary of a run that is done, whose files are where its folder is now."""
    path = folder / "summary.json"
    if not path.exists():
        return None
    summary = read_record(PermixSummary, json.loads(path.read_text(encoding="utf-8")), str(path))
    return replace(summary, checkpoint=str(folder / MODEL), report=str(folder / PAGE))


def _fit(
    backend: LocalBackend, plan: TrainingPlan, reward: Reward, folder: Path, progress: Progress
) -> LearningMeans:
    """Train and save; an arm without rollouts has its reward measured before and after."""
    from holdfast.training.permix.fit import fit, mean_reward

    measured = plan.arm in IMITATIONS and main_process()
    first = mean_reward(backend, plan, reward) if measured else None
    means = learning_means(fit(backend, plan, reward, folder, progress))
    if not measured:
        return means
    from holdfast.models.local.load import load

    trained_model = load(
        str(folder / MODEL),
        dtype=backend.engine.model.dtype,
        device=str(backend.engine.device),
        options=backend.template.options,
    )
    last = mean_reward(trained_model, plan, reward)
    return replace(means, reward_first=first, reward_last=last)
