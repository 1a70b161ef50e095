"""`holdfast robustness`: how much accuracy the wrong persona costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options
from holdfast.cli.flatten import flattened
from holdfast.cli.options import ModelOptions, OutputOptions, SharingOptions
from holdfast.cli.session import own_command, placed, print_json, resumable
from holdfast.evals.robustness.settings import RobustnessSettings

if TYPE_CHECKING:
    from holdfast.results.robustness import RobustnessSummary


@flattened
def robustness(
    *,
    model: options.Model = "mini",
    tasks: Annotated[
        str | None, typer.Option(help="mini, core, math-500, gsm8k, mmlu, or a JSONL file.")
    ] = None,
    personas: Annotated[
        str | None, typer.Option(help="core, mini, or a TOML file of [[persona]] tables.")
    ] = None,
    settings: RobustnessSettings,
    loading: ModelOptions,
    sharing: SharingOptions,
    output: OutputOptions,
) -> None:
    """Ask the same tasks under every persona of a pool: mean, worst, best, and the lottery."""
    from holdfast.core.progress import Progress
    from holdfast.evals.robustness.robustness import robustness

    with (
        placed(sharing, [model], loading.open, loading.device, output) as (where, models),
        resumable(output.out) as folder,
    ):
        summary = robustness(
            models[0],
            replace(settings, tasks=tasks, personas=personas),
            out=folder,
            command=own_command(),
            progress=Progress(stage="robustness", step="items"),
            where=where,
        ).summary
        if output.as_json:
            print_json(summary)
        else:
            _print_summary(summary)


def _print_summary(summary: RobustnessSummary) -> None:
    from holdfast.report.robustness import remarks

    print(f"{summary.model}: {summary.headline}.")
    for sentence in remarks(summary):
        print(sentence)
    if summary.note:
        print(summary.note)
    if summary.report:
        print(summary.report)
