"""What a recipe's trainings and measurements will take, from measured steps of its model.

Of a recipe that was begun only what is not done yet is counted, part by part.

This module knows recipes and the estimates of their parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from holdfast.core.errors import ModelError
from holdfast.models.load import BEHIND_URL
from holdfast.models.local.backend import LocalBackend
from holdfast.models.template_options import warn_of_unread
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.estimate import check_fits, estimate_measurement
from holdfast.training.recipe.reading import Recipe

_NOTHING = TrainingEstimate(prompts=0, tokens=0, memory_gb=0.0, disk_gb=0.0, seconds=0.0)


def estimate_recipe(recipe: Recipe, out: Path, loading: Mapping[str, Any]) -> TrainingEstimate:
    """What is still to be done of a recipe will take this much.

    Args:
        recipe: The recipe.
        out: The folder of its runs.
        loading: How its model is loaded (`runs.run_recipe`).

    Raises:
        HoldfastError: A part of it cannot be done, or memory or disk cannot hold it.
    """
    from holdfast.models.local.load import load

    if recipe.model.startswith(BEHIND_URL):
        raise ModelError(
            f"{recipe.model} cannot be trained: name a model that runs on this machine."
        )
    # Each training loads a model of its own, which is gone before the next is loaded.
    parts = list(_permix_trainings(recipe, out, loading)) if recipe.method == "permix" else []
    model = load(recipe.model, **loading)
    if recipe.method == "permix":
        parts += _measurements(recipe, out, model)
    else:
        warn_of_unread(recipe.model, model, loading.get("options", ()))
        parts += _prism(recipe, out, model)
    total = reduce(TrainingEstimate.plus, parts, _NOTHING)
    check_fits(total, model, out)
    return total


def matched_steps(tokens: float, others: float, steps: int) -> int:
    """Steps that have so many tokens, at those of a step of another arm.

    Args:
        tokens: Tokens that the steps are to have.
        others: Tokens of the other arm.
        steps: Its steps.
    """
    return max(1, round(steps * tokens / others))


def _permix_trainings(
    recipe: Recipe, out: Path, loading: Mapping[str, Any]
) -> Iterator[TrainingEstimate]:
    """The trainings of each arm for the seeds that are not done."""
    from holdfast.training.permix.train import plan_training

    whole: dict[str, tuple[TrainingEstimate, int]] = {}  # of a training, and its steps
    for arm in recipe.arms:
        if not recipe.arms[arm]:
            continue
        changes = {}
        if match := recipe.matched_tokens(arm):
            (of, _), (by, steps) = whole[match.of], whole[match.by]
            changes["steps"] = matched_steps(of.tokens, by.tokens, steps)
        settings = recipe.permix_settings(arm, recipe.seeds[0], **changes)
        estimate = plan_training(recipe.model, settings, out=out, **loading)
        whole[arm] = estimate, settings.steps
        folders = (out / f"{arm}-{seed}" / "train" for seed in recipe.seeds)
        yield estimate.times(sum(_is_left(folder) for folder in folders))


def _measurements(recipe: Recipe, out: Path, model: LocalBackend) -> Iterator[TrainingEstimate]:
    """The measurements of the untrained model and of all trained ones."""
    from holdfast.evals.fidelity.fidelity import estimate_fidelity
    from holdfast.evals.robustness.robustness import estimate_robustness

    models = [
        out / f"{arm}-{seed}"
        for arm, settings in recipe.arms.items()
        for seed in (recipe.seeds if settings else recipe.seeds[:1])
    ]
    if (robustness := recipe.robustness_settings) is not None:
        estimate = estimate_measurement(model, estimate_robustness(model, robustness))
        yield estimate.times(sum(_is_left(one / "robustness") for one in models))
    if (fidelity := recipe.fidelity_settings) is not None:
        estimate = estimate_measurement(model, estimate_fidelity(model, fidelity))
        yield estimate.times(sum(_is_left(one / "fidelity") for one in models))


def _prism(recipe: Recipe, out: Path, model: LocalBackend) -> Iterator[TrainingEstimate]:
    """The trainings of PRISM and their evaluations."""
    from holdfast.training.prism.evaluation import estimate_evaluation
    from holdfast.training.prism.pipeline import plan_training

    seeds = [out / f"prism-{seed}" for seed in recipe.seeds]
    estimate = plan_training(model, recipe.prism_settings(recipe.seeds[0]), out=out)
    yield estimate.times(sum(not (one / "train" / "prism.json").exists() for one in seeds))
    evaluation = estimate_measurement(
        model, estimate_evaluation(model, None, recipe.evaluation_settings)
    )
    yield evaluation.times(sum(_is_left(one / "eval") for one in seeds))


def _is_left(run: Path) -> bool:
    return not (run / "summary.json").exists()
