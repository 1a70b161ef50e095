"""`holdfast compare`: what every control buys and costs, and which one to use."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.backend import Sampling
from holdfast.cli.drift import as_command, as_pairs, free_folder
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.backend import Backend
    from holdfast.compare import Comparison


def compare(
    model: Annotated[str, typer.Option(help="mini, a folder, a hub id, or api:NAME.")] = "mini",
    controls: Annotated[
        str | None,
        typer.Option(help="Controls, with commas between; by default all, at several strengths."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; the same command resumes it.")
    ] = None,
    pairs: Annotated[str, typer.Option(help="Pairs of personas to draw, or “all”.")] = "24",
    rounds: Annotated[
        str, typer.Option(help="Rounds of each conversation, or several lengths: 2,4,8,16.")
    ] = "8",
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    runs: Annotated[int, typer.Option(help="Probe answers drawn at each point.")] = 2,
    questions: Annotated[
        str | None,
        typer.Option(
            help="What capability is asked with: mini, core, mmlu, gsm8k, a JSONL file, or none."
        ),
    ] = None,
    each: Annotated[
        int, typer.Option("--questions-per-kind", help="Of these, per conversation and length.")
    ] = 2,
    after: Annotated[
        list[int] | None,
        typer.Option(
            "--question-round", help="Ask them after this round (repeat; the last by default)."
        ),
    ] = None,
    scoring: Annotated[
        str, typer.Option(help="Of multiple choice: generation or likelihood (local models).")
    ] = "generation",
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
    base_url: Annotated[
        str | None, typer.Option(help="Where api: models are served (OpenAI's protocol).")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="Its key; better in OPENAI_API_KEY, which no process list shows."),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests to an API in flight.")] = 8,
    context: Annotated[
        int | None, typer.Option(help="Tokens that an API's model can see, where known.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="0 is off.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a reply at most.")] = 200,
    batch: Annotated[
        int | None,
        typer.Option(help="Conversations held side by side, each under every control."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps…")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Put every control on the same conversations, and say which one to use."""
    from holdfast.compare import compare
    from holdfast.models import API, load
    from holdfast.progress import Progress

    def opened(name: str | None) -> Backend | None:
        if not name:
            return None
        if not name.startswith(API):
            return load(name, dtype=dtype, device=device)
        limits: dict[str, Any] = {"concurrency": concurrency, "context": context}
        return load(name, base_url=base_url, api_key=api_key, **limits)

    wanted, lengths = as_pairs(pairs), _lengths(rounds)
    agent_model = opened(model)
    if agent_model is None:
        raise HoldfastError("--model needs a name: mini, a folder, a hub id or api:NAME.")
    folder = out or free_folder("compare", model)
    try:
        result = compare(
            agent_model,
            controls=as_controls(controls) if controls is not None else None,
            user_model=opened(user_model),
            judge_model=opened(judge_model),
            suite=suite,
            persona=persona,
            agents=agent or (),
            users=user or (),
            topic=topic,
            pairs=wanted,
            rounds=lengths,
            seed=seed,
            runs=runs,
            sampling=Sampling(max_new_tokens, temperature, top_p, top_k),
            questions=questions,
            each=each,
            question_rounds=after or (),
            scoring=scoring,
            batch=batch,
            out=folder,
            command=as_command(sys.argv[1:]),
            progress=Progress(enabled=True),
        )
    except KeyboardInterrupt as interrupt:
        again = as_command([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        raise KeyboardInterrupt(f"interrupted; this goes on from here: {again}") from interrupt
    _show(result, as_json)


def as_controls(text: str) -> list[str]:
    """--controls as a list: a comma before an option (`heads=0-3`) belongs to its control."""
    return re.split(r",(?!\s*\w+=)", text)


def _lengths(text: str) -> list[int]:
    try:
        return [int(piece) for piece in text.split(",")]
    except ValueError:
        raise HoldfastError(
            f"--rounds is a number, or several with commas between, not {text!r}"
        ) from None


def _show(result: Comparison, as_json: bool) -> None:
    s = result.summary
    if as_json:
        print(json.dumps(s, ensure_ascii=False, allow_nan=False))
        return
    print(result.recommendation)
    width = max(len(row["control"]) for row in s["rows"])
    print(f"  {'control':{width}}  stability  late  late vs none         capability  ms/token")
    for row in s["rows"]:
        cells = [
            f"{row['control']:{width}}",
            f"{_number(row['stability']):>9}",
            f"{_number(row['late_stability']):>4}",
            f"{_change(row):19}",
            f"{_number(row['capability']):>10}",
            f"{_number(row['relative_ms_per_token']):>8}",
        ]
        print("* " if row["pareto"] else "  ", "  ".join(cells), sep="")
    print("  * on the front of stability and capability; late is the last quarter of the rounds")
    for control, why in s["refused"].items():
        print(f"  left out: {control} ({why})")
    if s["note"]:
        print(s["note"])
    print(s["report"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _change(row: Mapping[str, Any]) -> str:
    band = row["late_delta_interval"]
    return "–" if band is None else f"{row['late_delta']:+.2f} [{band[0]:+.2f}, {band[1]:+.2f}]"
