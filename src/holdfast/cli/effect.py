"""`holdfast effect`: on which tasks a persona helps, and on which it hurts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.session import (
    as_names,
    opened,
    own_command,
    placed,
    print_json,
    resumable,
    verified,
)
from holdfast.core.backend import Sampling


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
    out: options.Out = None,
    lengths: Annotated[str, typer.Option(help="Of these, with commas.")] = "minimal,half,full",
    placements: Annotated[str, typer.Option(help="Of these, with commas.")] = "system,user",
    n: Annotated[
        int | None, typer.Option("--tasks-per-category", help="At most so many of each.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Times that each task is asked.")] = 3,
    seed: options.Seed = 0,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Ask every task under every persona as well.")
    ] = False,
    judge_model: options.TaskJudge = None,
    base_url: options.BaseUrl = None,
    api_key: options.ApiKey = None,
    verify: options.Verify = None,
    concurrency: options.Concurrency = 8,
    temperature: options.Temperature = 1.0,
    top_p: options.TopP = 0.9,
    top_k: options.TopK = 0,
    max_new_tokens: options.MaxNewTokens = 512,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    ray: options.Ray = None,
    shard: options.Shard = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask the same tasks with and without personas, and say when to use one."""
    from holdfast.core.progress import Progress
    from holdfast.evals.effect.effect import effect

    open_model = partial(
        opened,
        dtype=dtype,
        device=device,
        base_url=base_url,
        api_key=api_key,
        concurrency=concurrency,
    )
    names = model or ["mini"]
    with (
        placed(ray, shard, names, open_model, device, as_json=as_json, alone=[verify]) as (
            where,
            models,
        ),
        contextlib.ExitStack() as ends,
        resumable(out, "effect", names[0]) as folder,
    ):
        result = effect(
            [ends.enter_context(verified(one, verify)) for one in models],
            tasks=tasks,
            personas=personas,
            lengths=as_names(lengths),
            places=as_names(placements),
            n=n,
            samples=samples,
            seed=seed,
            sampling=Sampling(max_new_tokens, temperature, top_p, top_k),
            matrix=matrix,
            judge_model=open_model(judge_model) if judge_model else None,
            out=folder,
            command=own_command(),
            progress=Progress(enabled=True),
            where=where,
        )
        if as_json:
            print_json(result.summary)
        else:
            _show(result.summary)


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
