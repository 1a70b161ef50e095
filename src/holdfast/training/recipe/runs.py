"""`holdfast train RECIPE`: train every arm for every seed, measure it, and write the table.

A stopped recipe goes on with the same command: each part is a run of its own in the folder, seed
after seed, and the table is written after each.

This module knows files and calls trainings and measurements. It knows no models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import RunError
from holdfast.core.folder import lock, write_whole
from holdfast.core.progress import Progress
from holdfast.core.records import as_record, dumps
from holdfast.core.run import refuse_another_run
from holdfast.results.training.recipe import ArmRow, RecipeManifest, RecipeSummary
from holdfast.training.estimate import show
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.recipe.arm_differences import ArmMeasurement, differences_of, group_means
from holdfast.training.recipe.plan import estimate_recipe, matched_steps
from holdfast.training.recipe.reading import Recipe, read_recipe
from holdfast.training.recipe.table import table_of

TABLE, SUMMARY = "table.md", "summary.json"


@dataclass(frozen=True)
class _RecipeRun:
    """What all parts of a run need."""

    recipe: Recipe
    folder: Path
    loading: Mapping[str, Any]
    progress: Progress


def run_recipe(
    path: Path,
    out: Path,
    progress: Progress | None = None,
    *,
    model: str | None = None,
    loading: Mapping[str, Any] | None = None,
) -> RecipeSummary:
    """Train every arm for every seed, measure it, and write `table.md` and `summary.json`.

    Args:
        path: The recipe.
        out: The folder, where the same call goes on.
        progress: Shows the steps.
        model: The model that every arm begins with, in place of the recipe's.
        loading: How every model is loaded: `dtype`, `device`, `options` and `base` of
            `models.local.load.load`, whose defaults are those here.

    Raises:
        HoldfastError: The recipe, or one of its trainings, cannot be done; memory or disk cannot
            hold it; or the folder holds another run.
    """
    start, recipe = time.monotonic(), read_recipe(path, model)
    run = _RecipeRun(recipe, out, loading or {}, progress or Progress(enabled=False))
    _begin(run)
    _ = lock(out)  # to the end, so that no other process writes there
    measure = _permix_arms if recipe.method == "permix" else _prism_arms
    measurements: list[ArmMeasurement] = []
    for one in measure(run):
        measurements.append(one)
        summary = RecipeSummary(
            title=recipe.title,
            model=recipe.model,
            rows=tuple(each.row for each in measurements),
            differences=tuple(differences_of(measurements, recipe.compare, recipe.groups)),
            published=recipe.published,
            known=recipe.known,
            unknown=recipe.unknown,
            seeds=recipe.seeds,
            table=str(out / TABLE),
            seconds=round(time.monotonic() - start, 1),
        )
        write_whole(out / TABLE, table_of(summary))
        write_whole(out / SUMMARY, dumps(summary, indent=1) + "\n")
    return summary


def _begin(run: _RecipeRun) -> None:
    """Refuse a folder whose files would be overwritten; say what a new one takes, if it fits."""
    recipe, path = run.recipe, run.folder / "manifest.json"
    manifest = RecipeManifest("train", recipe.title, recipe.method, recipe.model)
    if path.exists():
        refuse_another_run(json.loads(path.read_text("utf-8")), as_record(manifest), run.folder)
        return
    for name in (TABLE, SUMMARY):  # the recipe and its tasks may be there
        if (run.folder / name).exists():
            raise RunError(f"{run.folder} holds no run, and a {name}: choose another `out`")
    show(estimate_recipe(recipe, run.folder, run.loading), "train")
    run.folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, dumps(manifest, indent=1) + "\n")


def _permix_arms(run: _RecipeRun) -> Iterator[ArmMeasurement]:
    """Train and measure arm after arm, seed after seed; an arm without settings is the base."""
    from holdfast.training.permix.train import train

    recipe = run.recipe
    for seed in recipe.seeds:
        for name, arm in recipe.arms.items():
            folder = run.folder / f"{name}-{seed}"
            if not arm and seed == recipe.seeds[0]:
                yield _measure_arm(run, name, seed, recipe.model, {})
            elif arm:
                settings = _arm_settings(run, name, seed)
                result = train(
                    recipe.model,
                    settings,
                    out=folder / "train",
                    progress=run.progress,
                    **run.loading,
                )
                means = result.summary.means
                training_numbers: dict[str, float | None] = {
                    "reward first": means.reward_first,
                    "reward last": means.reward_last,
                    "KL": means.kl_last,
                    "steps": result.summary.steps,
                    "tokens": means.tokens,
                }
                yield _measure_arm(run, name, seed, str(result.checkpoint), training_numbers)


def _arm_settings(run: _RecipeRun, arm: str, seed: int) -> PermixSettings:
    """The settings of an arm's training, with the steps that its tokens ask for."""
    match = run.recipe.matched_tokens(arm)
    if match is None:
        return run.recipe.permix_settings(arm, seed)
    of, by = (
        json.loads((run.folder / f"{name}-{seed}" / "train" / "summary.json").read_text("utf-8"))
        for name in (match.of, match.by)
    )
    steps = matched_steps(of["tokens"], by["tokens"], by["steps"])
    return run.recipe.permix_settings(arm, seed, steps=steps)


def _measure_arm(
    run: _RecipeRun,
    arm: str,
    seed: int,
    model_name: str,
    training_numbers: Mapping[str, float | None],
) -> ArmMeasurement:
    """Robustness and fidelity of a model, as far as the recipe wants them."""
    from holdfast.evals.fidelity.fidelity import fidelity
    from holdfast.evals.robustness.robustness import robustness
    from holdfast.models.local.load import load

    recipe, folder = run.recipe, run.folder / f"{arm}-{seed}"
    model, numbers = load(model_name, **run.loading), dict[str, float | None]()
    answers, reading = None, "lenient"
    in_character, categories = dict[str, float](), dict[str, str]()
    if (settings := recipe.robustness_settings) is not None:
        robust = robustness(model, settings, out=folder / "robustness", progress=run.progress)
        figures, answers, reading = robust.summary.numbers, robust.answers, settings.reading
        numbers |= {"mean": figures.mean, "worst": figures.worst, "worst/best": figures.ratio}
        numbers |= {"no persona": figures.none.accuracy}
        numbers |= group_means(answers, reading, recipe.groups)
        replies = (figures.items + len(figures.missing)) * (1 + figures.personas) * settings.samples
        numbers |= {"cut": figures.cut / replies}
    if (settings_of_fidelity := recipe.fidelity_settings) is not None:
        scores = fidelity(
            model, settings_of_fidelity, out=folder / "fidelity", progress=run.progress
        ).summary.scores
        numbers["fidelity"] = scores.score
        if len(settings_of_fidelity.category) > 1:
            numbers |= {f"fidelity, {name}": one for name, one in scores.by_task.items()}
            categories = {row.persona: next(iter(row.by_task)) for row in scores.rows}
        in_character = {row.persona: row.score for row in scores.rows if row.score is not None}
    row = ArmRow(arm, seed, {**numbers, **training_numbers})
    return ArmMeasurement(row, bool(training_numbers), answers, reading, in_character, categories)


def _prism_arms(run: _RecipeRun) -> Iterator[ArmMeasurement]:
    """Train and evaluate PRISM, seed after seed."""
    from holdfast.models.local.load import load
    from holdfast.training.prism.evaluation import evaluate
    from holdfast.training.prism.pipeline import train

    recipe = run.recipe
    for seed in recipe.seeds:
        model = load(recipe.model, **run.loading)
        folder = run.folder / f"prism-{seed}"
        train(model, recipe.prism_settings(seed), out=folder / "train", progress=run.progress)
        evaluation = evaluate(
            model,
            folder / "train",
            recipe.evaluation_settings,
            out=folder / "eval",
            progress=run.progress,
        )
        summary = evaluation.summary
        for row in summary.rows:
            numbers = {"overall": row.overall, "routed": row.routed}
            persona = "matched" if row.arm == "router" else row.arm
            if lacking := summary.without_persona.get(persona):
                numbers["as base"] = sum(lacking.values()) / summary.tasks
            numbers |= row.by_category
            scores = evaluation.scores[row.arm]
            yield ArmMeasurement(ArmRow(row.arm, seed, numbers), scores=scores)
