"""`holdfast explain`: what attention and the model's own vectors do while a persona drifts."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.session import as_controls, as_pairs, opened, own_command, print_json, resumable
from holdfast.core.backend import Sampling


def explain(
    model: options.LocalModel = "mini",
    controls: Annotated[
        str, typer.Option(help="Controls, with commas between; none is always among them.")
    ] = "none,split-softmax:0.7,anchor",
    out: options.Out = None,
    pairs: options.Pairs = "12",
    rounds: Annotated[int, typer.Option(help="Rounds of each conversation.")] = 8,
    seed: options.Seed = 0,
    runs: options.Runs = 2,
    suite: options.Suite = None,
    persona: options.PersonaFile = None,
    agent: options.Agents = None,
    user: options.Users = None,
    topic: options.Topic = None,
    user_model: options.UserModel = None,
    judge_model: options.JudgeModel = None,
    temperature: options.Temperature = 1.0,
    top_p: options.TopP = 0.9,
    top_k: options.TopK = 0,
    max_new_tokens: options.MaxNewTokens = 200,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Measure prompt share and intrinsic dimension by round, and whether the score follows."""
    from holdfast.core.progress import Progress
    from holdfast.evals.explain.explain import elsewhere, explain
    from holdfast.models.load import API

    if model.startswith(API):
        raise elsewhere(model)
    wanted = as_pairs(pairs)
    open_model = partial(opened, dtype=dtype, device=device)
    subject = open_model(model)
    with resumable(out, "explain", model) as folder:
        result = explain(
            subject,
            controls=as_controls(controls),
            user_model=open_model(user_model) if user_model else None,
            judge_model=open_model(judge_model) if judge_model else None,
            suite=suite,
            persona=persona,
            agents=agent or (),
            users=user or (),
            topic=topic,
            pairs=wanted,
            rounds=rounds,
            seed=seed,
            runs=runs,
            sampling=Sampling(max_new_tokens, temperature, top_p, top_k),
            out=folder,
            command=own_command(),
            progress=Progress(enabled=True),
        )
    if as_json:
        print_json(result.summary)
        return
    print("\n".join(result.findings))
    if result.summary["note"]:
        print(result.summary["note"])
    print(result.summary["report"])
