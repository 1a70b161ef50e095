"""`holdfast effect`: on which tasks a persona helps, and on which it hurts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options
from holdfast.cli.flatten import flattened
from holdfast.cli.options import ModelOptions, OutputOptions, SharingOptions
from holdfast.cli.session import as_names, own_command, placed, print_json, resumable, verified
from holdfast.evals.effect.settings import EffectSettings

if TYPE_CHECKING:
    from holdfast.results.effect import EffectSummary


@flattened
def effect(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(help="mini, a folder, a hub id, or api:NAME; repeat for several."),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="core, mini, mmlu, gsm8k, or a JSONL file.")
    ] = None,
    personas: Annotated[
        str | None, typer.Option(help="core, mini, or a TOML file of [[expert]] tables.")
    ] = None,
    settings: EffectSettings,
    lengths: Annotated[str, typer.Option(help="Of these, with commas.")] = "minimal,half,full",
    placements: Annotated[str, typer.Option(help="Of these, with commas.")] = "system,user",
    judge_model: options.TaskJudge = None,
    verify: options.Verify = None,
    loading: ModelOptions,
    sharing: SharingOptions,
    output: OutputOptions,
) -> None:
    """Ask the same tasks with and without personas, and say when to use one."""
    from holdfast.core.progress import Progress
    from holdfast.evals.effect.effect import effect

    names = model or ["mini"]
    settings = replace(
        settings,
        tasks=tasks,
        personas=personas,
        lengths=tuple(as_names(lengths)),
        placements=tuple(as_names(placements)),
    )
    place = placed(sharing, names, loading.open, loading.device, output, alone=[verify])
    with (
        place as (where, models),
        contextlib.ExitStack() as checks,
        resumable(output.out) as folder,
    ):
        summary = effect(
            [checks.enter_context(verified(one, verify)) for one in models],
            settings,
            judge_model=loading.open(judge_model) if judge_model else None,
            out=folder,
            command=own_command(),
            progress=Progress(stage="effect"),
            where=where,
        ).summary
        if output.as_json:
            print_json(summary)
        else:
            _print_summary(summary)


def _print_summary(summary: EffectSummary) -> None:
    for model in summary.models:
        print(f"{model}: {summary.numbers.advice[model]}")
    if summary.left_out:
        print(
            f"{len(summary.left_out)} tasks that only a model can judge were left out: name one "
            "with --judge-model."
        )
    if summary.note:
        print(summary.note)
    if summary.report:
        print(summary.report)
