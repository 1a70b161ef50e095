"""`holdfast train RECIPE`: all arms and seeds of a study, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.session import needed, print_json, resumable


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, as in recipes/.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of all runs; the same command goes on there.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="What every arm begins with, in place of the recipe's.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Train all arms of a recipe, measure them, and write their table beside published figures."""
    from holdfast.core.progress import Progress
    from holdfast.training.recipe import run_recipe

    with resumable(needed(out)) as folder:
        assert folder is not None
        summary = run_recipe(recipe, folder, Progress(stage="train", step="steps"), model=model)
    if as_json:
        print_json(summary)
    else:
        print(Path(summary.table).read_text(encoding="utf-8"), end="")
        print(summary.table)
