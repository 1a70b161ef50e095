"""`holdfast fidelity`: how well a model stays in character."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.session import opened, own_command, print_json, resumable
from holdfast.core.backend import Sampling


def fidelity(
    model: options.Model = "mini",
    suite: options.Suite = None,
    questions: Annotated[
        str | None,
        typer.Option(help="PersonaGym's tasks: a folder of JSON files, or “generate”."),
    ] = None,
    out: options.Out = None,
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
    base_url: options.BaseUrl = None,
    api_key: options.ApiKey = None,
    concurrency: options.Concurrency = 8,
    temperature: options.Temperature = 1.0,
    top_p: options.TopP = 0.9,
    top_k: options.TopK = 0,
    max_new_tokens: options.MaxNewTokens = 512,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Ask what a persona decides, and grade how well the model stays in character."""
    from holdfast.core.progress import Progress

    open_model = partial(
        opened,
        dtype=dtype,
        device=device,
        base_url=base_url,
        api_key=api_key,
        concurrency=concurrency,
    )
    judges = [open_model(name) for name in judge_model or []]
    if calibrate:
        from holdfast.evals.fidelity.calibration import calibration

        with resumable(out, "calibration", judge_model[0] if judge_model else "given") as folder:
            found = calibration(calibrate, judges=judges, calls=calls, seed=seed, out=folder)
        print_json(found) if as_json else _show_calibration(found)
        return
    from holdfast.evals.fidelity.fidelity import fidelity

    gym: dict[str, Any] = {}
    if questions:
        gym = {
            "personas": personas,
            "author": open_model(author_model) if author_model else None,
            "examples": examples,
            "n": n,
            "people": people,
            "calls": calls,
        }
    with resumable(out, "fidelity", model) as folder:
        result = fidelity(
            open_model(model),
            suite=suite,
            questions=questions,
            judges=judges,
            samples=samples,
            seed=seed,
            sampling=Sampling(max_new_tokens, temperature, top_p, top_k),
            out=folder,
            command=own_command(),
            progress=Progress(enabled=True, step="answers"),
            **gym,
        )
    if as_json:
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
    print(summary["report"])


def _show_calibration(found: Mapping[str, Any]) -> None:
    from holdfast.evals.fidelity.calibration import sentences

    for sentence in sentences(found):
        print(sentence)
