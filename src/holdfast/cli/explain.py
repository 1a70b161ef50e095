"""`holdfast explain`: what attention and the model's own vectors do while a persona drifts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.backend import Sampling
from holdfast.cli.compare import as_controls
from holdfast.cli.drift import as_command, as_pairs, free_folder


def explain(
    model: Annotated[str, typer.Option(help="mini, a folder or a hub id.")] = "mini",
    controls: Annotated[
        str, typer.Option(help="Controls, with commas between; none is always among them.")
    ] = "none,split-softmax:0.7,anchor",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; the same command resumes it.")
    ] = None,
    pairs: Annotated[str, typer.Option(help="Pairs of personas to draw, or “all”.")] = "12",
    rounds: Annotated[int, typer.Option(help="Rounds of each conversation.")] = 8,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    runs: Annotated[int, typer.Option(help="Probe answers drawn at each point.")] = 2,
    suite: Annotated[
        str | None, typer.Option(help="core, mini, a TOML file or a folder of them.")
    ] = None,
    persona: Annotated[
        Path | None, typer.Option(help="A TOML file with your own personas for the agent.")
    ] = None,
    agent: Annotated[
        list[str] | None, typer.Option(help="Only agents with this persona id (repeat).")
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="Only users with this persona id (repeat).")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Starter of every conversation.")] = None,
    user_model: Annotated[
        str | None, typer.Option(help="Another model for the user's side.")
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(help="A model for personas that a rubric judges.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="0 is off.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a reply at most.")] = 200,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps…")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Measure prompt share and intrinsic dimension by round, and whether the score follows."""
    from holdfast.explain import elsewhere, explain
    from holdfast.models import API, load
    from holdfast.progress import Progress

    if model.startswith(API):
        raise elsewhere(model)
    wanted = as_pairs(pairs)
    subject = load(model, dtype=dtype, device=device)
    folder = out or free_folder("explain", model)
    try:
        result = explain(
            subject,
            controls=as_controls(controls),
            user_model=load(user_model, dtype=dtype, device=device) if user_model else None,
            judge_model=load(judge_model, dtype=dtype, device=device) if judge_model else None,
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
            command=as_command(sys.argv[1:]),
            progress=Progress(enabled=True),
        )
    except KeyboardInterrupt as interrupt:
        again = as_command([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        raise KeyboardInterrupt(f"interrupted; this goes on from here: {again}") from interrupt
    if as_json:
        print(json.dumps(result.summary, ensure_ascii=False, allow_nan=False))
        return
    print("\n".join(result.findings))
    if result.summary["note"]:
        print(result.summary["note"])
    print(result.summary["report"])
