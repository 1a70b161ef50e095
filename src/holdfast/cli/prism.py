"""`holdfast prism`: a persona in an adapter, and a gate that switches it on per query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.session import opened, own_command, print_json, resumable, shortened
from holdfast.core.backend import Sampling

app = typer.Typer(
    help="Distil personas into an adapter with a gate that switches it on per query.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("train")
def train(
    model: options.LocalModel = "mini",
    personas: Annotated[
        str | None, typer.Option(help="core, mini, or a TOML file of [[expert]] tables.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of adapter and gate; the same command resumes it.")
    ] = None,
    each: Annotated[int, typer.Option("--queries", help="Queries written for each persona.")] = 50,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Take the queries from here instead: core, mini (its default), a JSONL file; none."
        ),
    ] = None,
    seed: options.Seed = 0,
    temperature: Annotated[float, typer.Option(help="Of queries and answers.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 512,
    epochs: Annotated[
        int | None, typer.Option(help="Times that the adapter sees every win: 10, or 20 if small.")
    ] = None,
    rank: Annotated[int, typer.Option(help="Of the adapter.")] = 16,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the adapter: 2e-4, or 2e-3 if the model is small.")
    ] = None,
    top: Annotated[int, typer.Option(help="Teacher's tokens in the KL; 0 is all.")] = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Write queries, answer and judge them, train gate and adapter."""
    from holdfast.core.errors import ModelError
    from holdfast.core.progress import Progress
    from holdfast.models.load import API
    from holdfast.training.prism.distil import recipe_for
    from holdfast.training.prism.pipeline import samples, train

    if model.startswith(API):
        raise ModelError(f"{model} cannot be trained for: name a model that runs on this machine.")
    subject = opened(model, dtype=dtype, device=device)
    with resumable(out, "prism", model) as folder:
        made = train(
            subject,
            folder,
            personas=personas,
            each=each,
            tasks=tasks,
            seed=seed,
            sampling=Sampling(max_new_tokens, temperature, top_p=1.0),
            recipe=recipe_for(subject, rank, epochs, learning_rate, top),
            command=own_command(),
            progress=Progress(enabled=True, step="steps"),
        ).summary
    if as_json:
        print_json(made)
        return
    print(
        f"{made['queries']} queries: {made['wins']} won, {made['losses']} lost, "
        f"{made['ties']} tied; dropped {made['dropped']}, of which {made['repeated']} repeated"
    )
    gate = made["gate"]
    print(
        f"gate: AUC {gate['auc']} on personas it never saw, {gate['auc_queries']} on queries it "
        f"never saw; accuracy {gate['accuracy']}, always the more frequent {gate['majority']}"
    )
    print(f"KL a token from {made['kl_first']} to {made['kl_last']}")
    for one in samples(folder):
        print(f"{one['verdict']} of {one['expert']}: {shortened(one['query'], 100)}")
        print(f"  without: {shortened(one['plain'], 100)}")
        print(f"  with:    {shortened(one['persona'], 100)}")
    print(made["adapter"])


@app.command("eval")
def evaluation(
    adapter: Annotated[Path, typer.Option(help="A folder of holdfast prism train.")],
    model: Annotated[
        str | None, typer.Option(help="The model it was trained on, where it is not by that name.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="core, mini, mmlu, gsm8k, or a JSONL file.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--tasks-per-category", help="At most so many of each.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Times that each task is asked.")] = 3,
    judge_model: options.TaskJudge = None,
    base_url: options.BaseUrl = None,
    api_key: options.ApiKey = None,
    seed: options.Seed = 0,
    out: options.Out = None,
    temperature: options.Temperature = 1.0,
    top_p: options.TopP = 0.9,
    max_new_tokens: options.MaxNewTokens = 512,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Put the gated adapter beside base, personas, and the adapter without its gate."""
    from holdfast.core.errors import ModelError
    from holdfast.core.progress import Progress
    from holdfast.models.local.backend import LocalBackend
    from holdfast.models.local.gated_adapter import read_about
    from holdfast.training.prism.evaluation import dropped_line, evaluate

    name = model or str(read_about(adapter)["model"])
    subject = opened(name, dtype=dtype, device=device)
    if not isinstance(subject, LocalBackend):
        raise ModelError(f"{name} does not run on this machine, where the adapter would be.")
    summary = evaluate(
        subject,
        adapter,
        tasks=tasks,
        n=n,
        samples=samples,
        seed=seed,
        sampling=Sampling(max_new_tokens, temperature, top_p),
        judge_model=opened(
            judge_model, dtype=dtype, device=device, base_url=base_url, api_key=api_key
        )
        if judge_model
        else None,
        out=out,
        command=own_command(),
        progress=Progress(enabled=True, step="arms"),
    )
    if as_json:
        print_json(summary)
        return
    print(f"{summary['tasks']} tasks; {dropped_line(summary['dropped'])}")
    print("arm         overall  against base             against matched           routed")
    for row in summary["rows"]:
        told = "  ".join(_told(row["against"][other]) for other in ("base", "matched"))
        print(f"{row['arm']:<10} {row['overall']:8.3f}  {told}  {row['routed']:6.2f}")


def _told(against: Mapping[str, Any]) -> str:
    low, high = against["interval"]
    return f"{against['delta']:+.3f} [{low:+.3f}, {high:+.3f}]"
