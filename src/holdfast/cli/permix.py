"""`holdfast permix`: training for robustness across personas and fidelity in character."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.session import own_command, print_json, resumable

app = typer.Typer(
    help="Train a model with verifiable rewards under mixed personas.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Tasks = Annotated[
    str | None, typer.Option(help="To train on: core, mini, or a JSONL file with answers.")
]
Each = Annotated[int, typer.Option("--tasks-per-category", help="At most so many of each.")]
Categories = Annotated[
    list[str] | None,
    typer.Option("--category", help="Only this one (repeat); mini's recall only so."),
]
Evaluation = Annotated[
    str | None,
    typer.Option("--eval-tasks", help="Tasks that training may not have in common with it."),
]
Kept = Annotated[
    int, typer.Option("--eval-tasks-per-category", help="So many of these are kept apart.")
]
Personas = Annotated[
    str | None, typer.Option(help="core, mini, or a TOML file of [[persona]] tables.")
]
HeldOut = Annotated[
    str | None, typer.Option(help="Another pool, whose held-out personas are for evaluation.")
]
Bare = Annotated[float, typer.Option(help="Share of prompts without a persona.")]
Mixing = Annotated[str, typer.Option(help="A persona per prompt, or one per rollout of it.")]


@app.command("train")
def train(
    model: options.LocalModel = "mini",
    arm: Annotated[
        str, typer.Option(help="permix; rlvr, without personas; sft, on gold answers.")
    ] = "permix",
    steps: Annotated[int, typer.Option(help="Of the optimiser.")] = 200,
    out: options.Out = None,
    tasks: Tasks = None,
    each: Each = 200,
    categories: Categories = None,
    evaluation: Evaluation = None,
    kept: Kept = 40,
    personas: Personas = None,
    held_out: HeldOut = None,
    bare: Bare = 0.25,
    mixing: Mixing = "prompt",
    verifier: Annotated[
        str, typer.Option(help="Of answers in words and numbers: auto, exact, numeric or math.")
    ] = "auto",
    reading: Annotated[
        str, typer.Option(help="Of answers, for the reward: final, lenient or strict.")
    ] = "final",
    beta: Annotated[
        float | None, typer.Option(help="Weight of the KL to the model before training: 0.04.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Rewards are divided by the deviation of their group, batch, or none."),
    ] = None,
    prompts: Annotated[int | None, typer.Option(help="Prompts of a step: 8.")] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts of a prompt: 8.")] = None,
    parts: Annotated[
        int | None, typer.Option(help="Parts that a step is computed in, to save memory: 1.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="1e-6 (LoRA 1e-5, sft 2e-5), or more if small.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the rollouts: 1.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a rollout at most: 512, or 48 if small.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Of a LoRA; 0 trains all weights.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints: 20.")] = None,
    vllm: Annotated[
        str | None, typer.Option(help="Who writes the rollouts: off, colocate or server.")
    ] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Train one arm; a stopped run goes on with the same command."""
    from holdfast.core.errors import RunError
    from holdfast.core.progress import Progress
    from holdfast.training.permix import plan, training
    from holdfast.training.permix.dataset import Sources

    if out is None and plan.processes() > 1:
        raise RunError("several processes need one folder: give it with --out.")
    with resumable(out, "permix", model) as folder:
        made = training.train(
            model,
            folder,
            arm=arm,
            steps=steps,
            sources=Sources(
                tasks, each, tuple(categories or ()), evaluation, kept, personas, held_out
            ),
            bare=bare,
            per=mixing,
            seed=seed,
            verifier=verifier,
            reading=reading,
            dtype=dtype,
            device=device,
            command=own_command(),
            progress=Progress(enabled=plan.main_process(), step="steps"),
            beta=beta,
            scale=scale,
            prompts=prompts,
            rollouts=rollouts,
            parts=parts,
            learning_rate=learning_rate,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            rank=rank,
            save_every=save_every,
            vllm=vllm,
        ).summary
    if not plan.main_process():
        return
    if as_json:
        print_json(made)
        return
    print(f"{made['arm']}, {made['steps']} steps in {made['seconds']:.0f} s")
    print(f"reward {made['reward_first']} in the first steps, {made['reward_last']} in the last")
    print(made["checkpoint"])
    print(made["report"])


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="The parquet file to write.")],
    model: Annotated[str, typer.Option(help="Whose own tasks and personas are meant.")] = "mini",
    prompts: Annotated[
        int | None, typer.Option(help="So many: each task once, unless given.")
    ] = None,
    tasks: Tasks = None,
    each: Each = 200,
    categories: Categories = None,
    evaluation: Evaluation = None,
    kept: Kept = 40,
    personas: Personas = None,
    held_out: HeldOut = None,
    bare: Bare = 0.25,
    mixing: Mixing = "prompt",
    seed: options.Seed = 0,
) -> None:
    """Write the prompts of training under their personas as a parquet file for verl."""
    from holdfast.training.permix import dataset, export
    from holdfast.training.permix.mixing import Mix

    sources = dataset.Sources(
        tasks, each, tuple(categories or ()), evaluation, kept, personas, held_out
    )
    found = dataset.load(sources, model, seed)
    mix = Mix(len(found.personas), bare, mixing, seed)
    made = export.rows(found, mix, prompts or len(found.tasks))
    export.write(made, out)
    print(f"{len(made)} prompts in {out}")
