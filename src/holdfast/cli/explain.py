"""`holdfast explain`: what attention and the model's own vectors do while a persona drifts."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.flatten import flattened
from holdfast.cli.options import LocalOptions, OtherModels, OutputOptions
from holdfast.cli.session import as_controls, own_command, print_json, resumable
from holdfast.core.backend import Sampling
from holdfast.evals.conversation.settings import read_pairs


@flattened
def explain(
    others: OtherModels,
    models: LocalOptions,
    sampling: Sampling,
    output: OutputOptions,
    model: options.LocalModel = "mini",
    controls: Annotated[
        str, typer.Option(help="Controls, with commas between; none is always among them.")
    ] = "none,split-softmax:0.7,anchor",
    pairs: options.Pairs = "12",
    rounds: Annotated[int, typer.Option(help="Rounds of each conversation.")] = 8,
    seed: options.Seed = 0,
    runs: options.Runs = 2,
    suite: options.Suite = None,
    persona: options.PersonaFile = None,
    agent: options.Agents = None,
    user: options.Users = None,
    topic: options.Topic = None,
) -> None:
    """Measure prompt share and intrinsic dimension by round, and whether the score follows."""
    from holdfast.core.progress import Progress
    from holdfast.evals.explain.explain import elsewhere, explain
    from holdfast.models.load import API

    if model.startswith(API):
        raise elsewhere(model)
    number = read_pairs(pairs)
    subject = models.open(model)
    with resumable(output.out) as folder:
        result = explain(
            subject,
            controls=as_controls(controls),
            user_model=models.open(others.user_model) if others.user_model else None,
            judge_model=models.open(others.judge_model) if others.judge_model else None,
            suite=suite,
            persona=persona,
            agents=agent or (),
            users=user or (),
            topic=topic,
            pairs=number,
            rounds=rounds,
            seed=seed,
            runs=runs,
            sampling=sampling,
            out=folder,
            command=own_command(),
            progress=Progress(),
        )
    if output.as_json:
        print_json(result.summary)
        return
    print("\n".join(result.findings))
    if result.summary["note"]:
        print(result.summary["note"])
    if result.summary["report"]:
        print(result.summary["report"])
