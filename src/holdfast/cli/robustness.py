"""`holdfast robustness`: how much accuracy the wrong persona costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.flatten import flattened
from holdfast.cli.options import GreedyTaskSampling, ModelOptions, OutputOptions, SharingOptions
from holdfast.cli.session import own_command, placed, print_json, resumable


@flattened
def robustness(
    models: ModelOptions,
    sampling: GreedyTaskSampling,
    sharing: SharingOptions,
    output: OutputOptions,
    model: options.Model = "mini",
    tasks: Annotated[
        str | None, typer.Option(help="mini, core, math-500, gsm8k, mmlu, or a JSONL file.")
    ] = None,
    personas: Annotated[
        str | None, typer.Option(help="core, mini, or a TOML file of [[persona]] tables.")
    ] = None,
    split: Annotated[str, typer.Option(help="Personas: all, train or held-out.")] = "all",
    n: Annotated[
        int | None, typer.Option("--tasks-per-category", help="At most so many of each.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Times that each task is asked.")] = 1,
    seed: options.Seed = 0,
    placement: Annotated[str, typer.Option(help="Of the persona: system or user.")] = "system",
    verifier: Annotated[
        str, typer.Option(help="Of answers in words and numbers: auto, exact, numeric or math.")
    ] = "auto",
    reading: Annotated[
        str, typer.Option(help="Of answers, for the matrix: lenient or strict.")
    ] = "lenient",
    form: Annotated[
        str | None,
        typer.Option(help="Said after each question: where the answer is to stand."),
    ] = None,
    pss: Annotated[
        str, typer.Option(help="The one number: worst/best, worst, mean-std or all-correct.")
    ] = "worst/best",
    search: Annotated[
        bool,
        typer.Option("--search", help="Choose the best persona on half of the items."),
    ] = False,
) -> None:
    """Ask the same tasks under every persona of a pool: mean, worst, best, and the lottery."""
    from holdfast.core.progress import Progress
    from holdfast.evals.robustness.robustness import robustness

    with (
        placed(sharing, [model], models.open, models.device, output) as (where, subjects),
        resumable(output.out) as folder,
    ):
        result = robustness(
            subjects[0],
            tasks=tasks,
            personas=personas,
            split=split,
            n=n,
            samples=samples,
            seed=seed,
            sampling=sampling,
            place=placement,
            verify=verifier,
            reading=reading,
            form=form,
            pss=pss,
            search=search,
            out=folder,
            command=own_command(),
            progress=Progress(step="items"),
            where=where,
        )
        if output.as_json:
            print_json(result.summary)
        else:
            _show(result.summary)


def _show(summary: Mapping[str, Any]) -> None:
    from holdfast.report.robustness import remarks

    print(f"{summary['model']}: {summary['headline']}.")
    for sentence in remarks(summary):
        print(sentence)
    if summary["note"]:
        print(summary["note"])
    if summary["report"]:
        print(summary["report"])
