"""A recipe: all arms and seeds of a study in one file, trained, measured and put into one table.

    model, method, seeds, gpu_hours     what is trained, and about how long it takes
    [train]                             settings of `permix train` or `prism train`
    [arms.NAME]                         settings that an arm differs by; one without any is the base
    [robustness], [fidelity], [effect]  settings of the commands that measure every arm
    [[published]]                       the paper's figures: what, value, source
    known, unknown                      what is known of the original's settings and what is not

A stopped recipe goes on with the same command: each part is a run of its own in the folder.

This module knows files and calls trainings and measurements. It knows no models.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import dumps
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.evals.robustness.settings import RobustnessSettings
from holdfast.persona.files import read_toml
from holdfast.results.training.recipe import ArmRow, PublishedFigure, RecipeSummary
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.prism.settings import PrismEvalSettings, PrismSettings

S = TypeVar("S")
METHODS = ("permix", "prism")
_KEYS = {"title", "method", "model", "seeds", "gpu_hours", "known", "unknown"}
_TABLES = {"train", "arms", "robustness", "fidelity", "evaluation", "published"}


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
    tables: Mapping[str, Mapping[str, Any]]
    """The settings, by the name of their table."""


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
    published = tuple(PublishedFigure(**one) for one in table.get("published", ()))
    return Recipe(
        title=table["title"],
        method=table["method"],
        model=table["model"],
        seeds=tuple(table.get("seeds", (0,))),
        gpu_hours=table.get("gpu_hours"),
        known=table.get("known", ""),
        unknown=table.get("unknown", ""),
        published=published,
        tables={name: table[name] for name in _TABLES - {"published"} if name in table},
    )


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


def run_recipe(path: Path, out: Path, progress: Progress | None = None) -> RecipeSummary:
    """Train every arm for every seed, measure it, and write `table.md` and `summary.json`.

    Args:
        path: The recipe.
        out: The folder, where the same call goes on.
        progress: Shows the steps.

    Raises:
        HoldfastError: The recipe, or one of its trainings, cannot be done.
    """
    began, recipe = time.monotonic(), read_recipe(path)
    progress = progress or Progress(enabled=False)
    measure: Callable[[Recipe, Path, Progress], list[ArmRow]] = (
        _permix_rows if recipe.method == "permix" else _prism_rows
    )
    out.mkdir(parents=True, exist_ok=True)
    summary = RecipeSummary(
        title=recipe.title,
        model=recipe.model,
        rows=tuple(measure(recipe, out, progress)),
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


def _permix_rows(recipe: Recipe, out: Path, progress: Progress) -> list[ArmRow]:
    from holdfast.training.permix.train import train

    rows = []
    for name, arm in recipe.tables.get("arms", {"permix": {}}).items():
        for seed in recipe.seeds:
            folder, model, reward = out / f"{name}-{seed}", recipe.model, None
            if arm:
                settings = settings_of(
                    PermixSettings, recipe.tables.get("train", {}), {"seed": seed}, arm
                )
                result = train(recipe.model, settings, out=folder / "train", progress=progress)
                model, reward = str(result.checkpoint), result.summary.means
            numbers = _measured(recipe, model, folder)
            if reward is not None:
                numbers |= {"reward first": reward.reward_first, "reward last": reward.reward_last}
                numbers |= {"KL": reward.kl_last}
            rows.append(ArmRow(name, seed, numbers))
            if not arm:
                break  # the base has no seeds
    return rows


def _measured(recipe: Recipe, name: str, folder: Path) -> dict[str, float | None]:
    """Robustness and fidelity of a model, as far as the recipe wants them."""
    from holdfast.evals.fidelity.fidelity import fidelity
    from holdfast.evals.robustness.robustness import robustness
    from holdfast.models.load import load

    model, numbers = load(name), dict[str, float | None]()
    if (table := recipe.tables.get("robustness")) is not None:
        settings = settings_of(RobustnessSettings, table)
        measured = robustness(model, settings, out=folder / "robustness").summary.numbers
        numbers |= {"mean": measured.mean, "worst": measured.worst, "worst/best": measured.ratio}
    if (table := recipe.tables.get("fidelity")) is not None:
        scores = fidelity(
            model, settings_of(FidelitySettings, table), out=folder / "fidelity"
        ).summary.scores
        numbers["fidelity"] = scores.score
    return numbers


def _prism_rows(recipe: Recipe, out: Path, progress: Progress) -> list[ArmRow]:
    from holdfast.models.load import load
    from holdfast.models.local.backend import LocalBackend
    from holdfast.training.prism.evaluation import evaluate
    from holdfast.training.prism.pipeline import train

    rows = []
    for seed in recipe.seeds:
        model = load(recipe.model)
        if not isinstance(model, LocalBackend):
            raise HoldfastError(f"{recipe.model} does not run on this machine.")
        folder = out / f"prism-{seed}"
        settings = settings_of(PrismSettings, recipe.tables.get("train", {}), {"seed": seed})
        train(model, settings, out=folder / "train", progress=progress)
        asked = settings_of(PrismEvalSettings, recipe.tables.get("evaluation", {}))
        summary = evaluate(model, folder / "train", asked, out=folder / "eval")
        rows += [
            ArmRow(row.arm, seed, {"overall": row.overall, "routed": row.routed, **row.by_category})
            for row in summary.rows
        ]
    return rows


# --- the table ------------------------------------------------------------------


def table_of(summary: RecipeSummary) -> str:
    """The arms' means over seeds, with their least and most, and the published figures below."""
    names = list(dict.fromkeys(name for row in summary.rows for name in row.numbers))
    arms = list(dict.fromkeys(row.arm for row in summary.rows))
    lines = [f"# {summary.title}", "", f"Model {summary.model}, seeds {list(summary.seeds)}.", ""]
    lines += [_line(["arm", *names]), _line(["---"] * (len(names) + 1))]
    lines += [_line([arm, *(_cell(summary.rows, arm, name) for name in names)]) for arm in arms]
    if summary.published:
        lines += ["", "Published, on other models and settings:", ""]
        lines += [_line(["what", "published", "source"]), _line(["---"] * 3)]
        lines += [_line([one.what, one.value, one.source]) for one in summary.published]
    for title, text in (("Known", summary.known), ("Not known", summary.unknown)):
        lines += ["", f"{title} of the original: {text.strip()}"] if text else []
    return "\n".join(lines) + "\n"


def _cell(rows: Sequence[ArmRow], arm: str, name: str) -> str:
    values = [v for row in rows if row.arm == arm if (v := row.numbers.get(name)) is not None]
    if not values:
        return ""
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
