"""`holdfast fidelity`: how well a model stays in character."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.flatten import flattened
from holdfast.cli.options import ModelOptions, OutputOptions
from holdfast.cli.session import own_command, print_json, resumable
from holdfast.evals.tasks.settings import TaskSampling


@flattened
def fidelity(
    models: ModelOptions,
    sampling: TaskSampling,
    output: OutputOptions,
    model: options.Model = "mini",
    suite: options.Suite = None,
    questions: Annotated[
        str | None,
        typer.Option(help="PersonaGym's tasks: a folder of JSON files, or “generate”."),
    ] = None,
    judge_model: Annotated[
        list[str] | None, typer.Option(help="A model that grades; repeat for several.")
    ] = None,
    author_model: Annotated[
        str | None,
        typer.Option(help="Writes questions and example answers; else the first judge."),
    ] = None,
    personas: Annotated[
        str | None, typer.Option(help="With generate: a text file, a description on each line.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--questions-per-task", help="At most so many of each.")
    ] = None,
    people: Annotated[int | None, typer.Option(help="Draw so many persons.")] = None,
    calls: Annotated[int, typer.Option(help="Calls of each judge for an answer.")] = 2,
    examples: Annotated[
        bool, typer.Option(help="Show judges an example answer for every grade.")
    ] = True,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="A CSV file of answers graded by people: compare a judge with them."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Answers drawn for each question.")] = 1,
    seed: options.Seed = 0,
) -> None:
    """Ask what a persona decides, and grade how well the model stays in character."""
    from holdfast.core.progress import Progress

    judges = [models.open(name) for name in judge_model or []]
    if calibrate:
        from holdfast.evals.fidelity.calibration import calibration

        with resumable(output.out) as folder:
            found = calibration(calibrate, judges=judges, calls=calls, seed=seed, out=folder)
        print_json(found) if output.as_json else _show_calibration(found)
        return
    from holdfast.evals.fidelity.fidelity import fidelity

    gym: dict[str, Any] = {}
    if questions:
        gym = {
            "personas": personas,
            "author": models.open(author_model) if author_model else None,
            "examples": examples,
            "n": n,
            "people": people,
            "calls": calls,
        }
    with resumable(output.out) as folder:
        result = fidelity(
            models.open(model),
            suite=suite,
            questions=questions,
            judges=judges,
            samples=samples,
            seed=seed,
            sampling=sampling,
            out=folder,
            command=own_command(),
            progress=Progress(step="answers"),
            **gym,
        )
    if output.as_json:
        print_json(result.summary)
        return
    _show(result.summary)


def _show(summary: Mapping[str, Any]) -> None:
    from holdfast.report.fidelity import headline, remarks

    print(f"{summary['model']}: {headline(summary)}.")
    for sentence in remarks(summary):
        print(sentence)
    if summary["note"]:
        print(summary["note"])
    if summary["report"]:
        print(summary["report"])


def _show_calibration(found: Mapping[str, Any]) -> None:
    from holdfast.evals.fidelity.calibration import sentences

    for sentence in sentences(found):
        print(sentence)
