"""`holdfast effect`: on which tasks a persona helps, and on which it hurts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.backend import Backend, Sampling
from holdfast.cli.drift import as_command, free_folder


def effect(
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
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; the same command resumes it.")
    ] = None,
    lengths: Annotated[str, typer.Option(help="Of these, with commas.")] = "minimal,half,full",
    placements: Annotated[str, typer.Option(help="Of these, with commas.")] = "system,user",
    n: Annotated[
        int | None, typer.Option("--tasks-per-category", help="At most so many of each.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Times that each task is asked.")] = 3,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Ask every task under every persona as well.")
    ] = False,
    judge_model: Annotated[
        str | None, typer.Option(help="A model for tasks that only a model can judge.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Where api: models are served (OpenAI's protocol).")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="Its key; better in OPENAI_API_KEY, which no process list shows."),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests to an API in flight.")] = 8,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="0 is off.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a reply at most.")] = 512,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps…")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Ask the same tasks with and without personas, and say when to use one."""
    from holdfast.effect import effect
    from holdfast.models import API, load
    from holdfast.progress import Progress

    def opened(name: str) -> Backend:
        if name.startswith(API):
            limits: dict[str, Any] = {"concurrency": concurrency}
            return load(name, base_url=base_url, api_key=api_key, **limits)
        return load(name, dtype=dtype, device=device)

    names = model or ["mini"]
    folder = out or free_folder("effect", names[0])
    try:
        result = effect(
            [opened(name) for name in names],
            tasks=tasks,
            personas=personas,
            lengths=_listed(lengths),
            places=_listed(placements),
            n=n,
            samples=samples,
            seed=seed,
            sampling=Sampling(max_new_tokens, temperature, top_p, top_k),
            matrix=matrix,
            judge_model=opened(judge_model) if judge_model else None,
            out=folder,
            command=as_command(sys.argv[1:]),
            progress=Progress(enabled=True),
        )
    except KeyboardInterrupt as interrupt:
        again = as_command([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        raise KeyboardInterrupt(f"interrupted; this goes on from here: {again}") from interrupt
    if as_json:
        print(json.dumps(result.summary, ensure_ascii=False, allow_nan=False))
        return
    _show(result.summary)


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _show(summary: Mapping[str, Any]) -> None:
    for model in summary["models"]:
        print(f"{model}: {summary['advice'][model]}")
    if summary["left_out"]:
        print(
            f"{len(summary['left_out'])} tasks that only a model can judge were left out: name one "
            "with --judge-model."
        )
    if summary["note"]:
        print(summary["note"])
    print(summary["report"])
