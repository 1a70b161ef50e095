"""`holdfast train RECIPE`: all arms and seeds of a study, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.progress import Progress


@flatten_options
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, as in recipes/.")],
    loading: options.LocalOptions,
    output: options.OutputOptions,
    model: Annotated[
        str | None, typer.Option(help="What every arm begins with, in place of the recipe's.")
    ] = None,
    plan: options.Plan = False,
) -> None:
    """Train all arms of a recipe, measure them, and write their table beside published figures."""
    from holdfast.training.recipe.plan import estimate_recipe
    from holdfast.training.recipe.reading import read_recipe
    from holdfast.training.recipe.runs import run_recipe

    folder = session.require_folder(output.out, plan)
    if plan:
        recipe_plan = read_recipe(recipe, model)
        session.print_plan(
            estimate_recipe(recipe_plan, folder, loading.arguments()), output.as_json
        )
        return
    with session.resumable(folder):
        summary = run_recipe(
            recipe,
            folder,
            Progress(stage="train"),
            model=model,
            loading=loading.arguments(),
        )
    table = Path(summary.table).read_text(encoding="utf-8").removesuffix("\n")
    session.print_result(summary, (table, summary.table), output.as_json)
