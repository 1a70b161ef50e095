"""A recipe: all arms and seeds of a study in one file, trained, measured and put into one table.

    model, method, seeds, gpu_hours     what is trained, and about how long it takes
    [train]                             settings of `permix train` or `prism train`
    [arms.NAME]                         settings that an arm differs by; one without any is the base
    [robustness], [fidelity]            settings of the commands that measure every arm
    [evaluation]                        those of `prism eval`
    [groups]                            ids of held-out personas that are reported apart, by a name
    compare                             pairs of arms whose differences get intervals
    [[published]]                       the paper's figures: what, value, source
    known, unknown                      what is known of the original's settings and what is not

An arm with `match_tokens = {of = "permix", by = "rlvr"}` takes as many steps as give it the tokens
of one arm at the tokens that a step of another has. A file that is named in a recipe is looked for
beside it. A stopped recipe goes on with the same command: each part is a run of its own in the
folder, seed after seed, and the table is written after each.

This module knows files and calls trainings and measurements. It knows no models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import dumps
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.evals.robustness.settings import RobustnessSettings
from holdfast.persona import pool
from holdfast.persona.files import read_toml
from holdfast.results.training.recipe import ArmRow, PublishedFigure, RecipeSummary
from holdfast.training.arm_differences import ArmMeasurement, differences_of, group_means
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.prism.settings import PrismEvalSettings, PrismSettings
from holdfast.training.recipe_table import table_of

S = TypeVar("S")
METHODS = ("permix", "prism")
_KEYS = {"title", "method", "model", "seeds", "gpu_hours", "known", "unknown", "compare"}
_TABLES = {"train", "arms", "robustness", "fidelity", "evaluation", "groups", "published"}
_FILES = ("tasks", "eval_tasks", "personas", "held_out", "suite")


@dataclass(frozen=True)
class Recipe:
    """What a recipe's file says."""

    title: str
    """What it reproduces."""
    method: str
    """permix or prism."""
    model: str
    """The model that every arm begins with."""
    seeds: tuple[int, ...]
    """A training of every arm for each."""
    gpu_hours: float | None
    """About how long it takes on one GPU; an estimate."""
    known: str
    """What is known of the original's settings."""
    unknown: str
    """What is not."""
    published: tuple[PublishedFigure, ...]
    """The paper's figures."""
    compare: tuple[tuple[str, str], ...]
    """Pairs of arms whose differences get intervals; by default each with the first."""
    tables: Mapping[str, Mapping[str, Any]]
    """The settings, by the name of their table."""

    @property
    def arms(self) -> Mapping[str, Mapping[str, Any]]:
        """The settings that each arm differs by."""
        return self.tables.get("arms", {"permix": {"arm": "permix"}})


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        HoldfastError: The file is missing, or something in it is unknown or missing.
    """
    table = read_toml(path, "recipe", "name a TOML file, as in recipes/", HoldfastError)
    if unknown := sorted(table.keys() - _KEYS - _TABLES):
        raise HoldfastError(f"{path}: {', '.join(unknown)} is unknown in a recipe.")
    for name in ("title", "method", "model"):
        if not isinstance(table.get(name), str):
            raise HoldfastError(f"{path}: there is no {name}, which is a text.")
    if table["method"] not in METHODS:
        raise HoldfastError(f"{path}: the method is {' or '.join(METHODS)}.")
    _check_shapes(path, table)
    tables = {name: table[name] for name in _TABLES - {"published"} if name in table}
    for name in ("train", "robustness", "fidelity", "evaluation"):
        tables[name] = _beside(path, tables[name]) if name in tables else None
    recipe = Recipe(
        title=table["title"],
        method=table["method"],
        model=table["model"],
        seeds=tuple(table.get("seeds", (0,))),
        gpu_hours=table.get("gpu_hours"),
        known=table.get("known", ""),
        unknown=table.get("unknown", ""),
        published=tuple(PublishedFigure(**one) for one in table.get("published", ())),
        compare=tuple((one, other) for one, other in table.get("compare", ())),
        tables={name: one for name, one in tables.items() if one is not None},
    )
    _check_arms(path, recipe)
    return recipe


def _check_shapes(path: Path, table: Mapping[str, Any]) -> None:
    """Refuse what is no list or table where one is needed."""
    pairs, groups = table.get("compare", []), table.get("groups", {})
    if not isinstance(pairs, list) or not all(_are_names(one) and len(one) == 2 for one in pairs):
        raise HoldfastError(f'{path}: compare is a list of pairs of arms, [["a", "b"]].')
    if not isinstance(groups, dict) or not all(_are_names(ids) and ids for ids in groups.values()):
        raise HoldfastError(f"{path}: a group is a list of ids of personas.")
    arms = table.get("arms", {})
    if not isinstance(arms, dict) or not all(isinstance(one, dict) for one in arms.values()):
        raise HoldfastError(f"{path}: an arm is a table of settings, [arms.NAME].")
    for arm, settings in arms.items():
        if not isinstance(settings.get("match_tokens", {}), dict):
            raise HoldfastError(f"{path}: match_tokens of {arm} has of and by, two arms before it.")


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _beside(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the files that are beside the recipe found there."""
    return {
        name: str(path.parent / value)
        if name in _FILES and isinstance(value, str) and (path.parent / value).exists()
        else value
        for name, value in table.items()
    }


def _check_arms(path: Path, recipe: Recipe) -> None:
    """Refuse names of arms and personas that there are not."""
    named = [name for pair in recipe.compare for name in pair]
    before = list[str]()
    for arm, settings in recipe.arms.items():
        matched = settings.get("match_tokens", {})
        if matched and set(matched) != {"of", "by"}:
            raise HoldfastError(f"{path}: match_tokens of {arm} has of and by, two arms before it.")
        if late := [one for one in matched.values() if one not in before]:
            raise HoldfastError(f"{path}: {arm} matches the tokens of {late[0]}, no arm before it.")
        before.append(arm)
    if wrong := [name for name in named if name not in before]:
        raise HoldfastError(f"{path}: there is no arm {wrong[0]} to compare.")
    if groups := recipe.tables.get("groups"):
        source = recipe.tables.get("robustness", {}).get("personas", "core")
        known = {one.id for one in pool.load(source)}
        if missing := [one for ids in groups.values() for one in ids if one not in known]:
            raise HoldfastError(f"{path}: {missing[0]}, of a group, is no persona of {source}.")


def settings_of(kind: type[S], *tables: Mapping[str, Any]) -> S:
    """Settings from tables of a recipe, later ones first; fields of inner settings are named alike.

    Raises:
        HoldfastError: A name is no field.
    """
    values = {name: value for table in tables for name, value in table.items()}
    filled, left = _fill(kind, values)
    settings: S = filled
    if left:
        raise HoldfastError(f"{kind.__name__} has no {', '.join(sorted(left))}: look at --help.")
    return settings


def _fill(kind: Any, values: Mapping[str, Any]) -> tuple[Any, set[str]]:
    hints, chosen, left = get_type_hints(kind), {}, set(values)
    for one in fields(kind):
        if is_dataclass(hints[one.name]):
            inner, others = _fill(hints[one.name], {name: values[name] for name in left})
            if others != left:
                chosen[one.name], left = inner, others
        elif one.name in left:
            value = values[one.name]
            chosen[one.name] = tuple(value) if isinstance(value, list) else value
            left.discard(one.name)
    return kind(**chosen), left


def run_recipe(
    path: Path, out: Path, progress: Progress | None = None, *, model: str | None = None
) -> RecipeSummary:
    """Train every arm for every seed, measure it, and write `table.md` and `summary.json`.

    Args:
        path: The recipe.
        out: The folder, where the same call goes on.
        progress: Shows the steps.
        model: The model that every arm begins with, in place of the recipe's.

    Raises:
        HoldfastError: The recipe, or one of its trainings, cannot be done.
    """
    began, recipe = time.monotonic(), read_recipe(path)
    recipe = replace(recipe, model=model or recipe.model)
    progress = progress or Progress(enabled=False)
    measure = _permix_arms if recipe.method == "permix" else _prism_arms
    out.mkdir(parents=True, exist_ok=True)
    measured: list[ArmMeasurement] = []
    for one in measure(recipe, out, progress):
        measured.append(one)
        summary = RecipeSummary(
            title=recipe.title,
            model=recipe.model,
            rows=tuple(each.row for each in measured),
            differences=tuple(
                differences_of(measured, recipe.compare, recipe.tables.get("groups", {}))
            ),
            published=recipe.published,
            known=recipe.known,
            unknown=recipe.unknown,
            seeds=recipe.seeds,
            table=str(out / "table.md"),
            seconds=round(time.monotonic() - began, 1),
        )
        (out / "table.md").write_text(table_of(summary), encoding="utf-8")
        (out / "summary.json").write_text(dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _permix_arms(recipe: Recipe, out: Path, progress: Progress) -> Iterator[ArmMeasurement]:
    """Train and measure arm after arm, seed after seed; an arm without settings is the base."""
    from holdfast.training.permix.train import train

    for seed in recipe.seeds:
        for name, arm in recipe.arms.items():
            folder = out / f"{name}-{seed}"
            if not arm and seed == recipe.seeds[0]:
                yield _measured(recipe, name, seed, recipe.model, folder, {}, progress)
            elif arm:
                settings = _arm_settings(recipe, arm, seed, out)
                result = train(recipe.model, settings, out=folder / "train", progress=progress)
                means = result.summary.means
                learned: dict[str, float | None] = {
                    "reward first": means.reward_first,
                    "reward last": means.reward_last,
                    "KL": means.kl_last,
                    "steps": result.summary.steps,
                    "tokens": means.tokens,
                }
                yield _measured(
                    recipe, name, seed, str(result.checkpoint), folder, learned, progress
                )


def _arm_settings(recipe: Recipe, arm: Mapping[str, Any], seed: int, out: Path) -> PermixSettings:
    """The settings of an arm's training, with the steps that its tokens ask for."""
    own = {name: value for name, value in arm.items() if name != "match_tokens"}
    settings = settings_of(PermixSettings, recipe.tables.get("train", {}), {"seed": seed}, own)
    if matched := arm.get("match_tokens"):
        of, by = (
            json.loads(
                (out / f"{matched[name]}-{seed}" / "train" / "summary.json").read_text("utf-8")
            )
            for name in ("of", "by")
        )
        steps = max(1, round(by["steps"] * of["tokens"] / by["tokens"]))
        return settings_of(
            PermixSettings, recipe.tables.get("train", {}), {"seed": seed}, own, {"steps": steps}
        )
    return settings


def _measured(
    recipe: Recipe,
    arm: str,
    seed: int,
    model_name: str,
    folder: Path,
    learned: Mapping[str, float | None],
    progress: Progress,
) -> ArmMeasurement:
    """Robustness and fidelity of a model, as far as the recipe wants them."""
    from holdfast.evals.fidelity.fidelity import fidelity
    from holdfast.evals.robustness.robustness import robustness
    from holdfast.models.load import load

    model, numbers = load(model_name), dict[str, float | None]()
    answers, reading = None, "lenient"
    in_character, categories = dict[str, float](), dict[str, str]()
    if (table := recipe.tables.get("robustness")) is not None:
        settings = settings_of(RobustnessSettings, table)
        robust = robustness(model, settings, out=folder / "robustness", progress=progress)
        found, answers, reading = robust.summary.numbers, robust.answers, settings.reading
        numbers |= {"mean": found.mean, "worst": found.worst, "worst/best": found.ratio}
        numbers |= {"no persona": found.none.accuracy}
        numbers |= group_means(answers, reading, recipe.tables.get("groups", {}))
        numbers |= {"cut": found.cut / (found.items * (1 + found.personas))}
    if (table := recipe.tables.get("fidelity")) is not None:
        asked = settings_of(FidelitySettings, table)
        scores = fidelity(model, asked, out=folder / "fidelity", progress=progress).summary.scores
        numbers["fidelity"] = scores.score
        if len(asked.category) > 1:
            numbers |= {f"fidelity, {name}": one for name, one in scores.by_task.items()}
            categories = {row.persona: next(iter(row.by_task)) for row in scores.rows}
        in_character = {row.persona: row.score for row in scores.rows if row.score is not None}
    row = ArmRow(arm, seed, {**numbers, **learned})
    return ArmMeasurement(row, bool(learned), answers, reading, in_character, categories)


def _prism_arms(recipe: Recipe, out: Path, progress: Progress) -> Iterator[ArmMeasurement]:
    """Train and evaluate PRISM, seed after seed."""
    from holdfast.models.load import load
    from holdfast.models.local.backend import LocalBackend
    from holdfast.training.prism.evaluation import evaluate
    from holdfast.training.prism.pipeline import train

    for seed in recipe.seeds:
        model = load(recipe.model)
        if not isinstance(model, LocalBackend):
            raise HoldfastError(f"{recipe.model} does not run on this machine.")
        folder = out / f"prism-{seed}"
        settings = settings_of(PrismSettings, recipe.tables.get("train", {}), {"seed": seed})
        train(model, settings, out=folder / "train", progress=progress)
        asked = settings_of(PrismEvalSettings, recipe.tables.get("evaluation", {}))
        summary = evaluate(model, folder / "train", asked, out=folder / "eval")
        for row in summary.rows:
            numbers = {"overall": row.overall, "routed": row.routed, **row.by_category}
            yield ArmMeasurement(ArmRow(row.arm, seed, numbers))
