"""`holdfast drift`: does a persona outlast a conversation?"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.backend import Sampling
from holdfast.errors import HoldfastError, RunError

if TYPE_CHECKING:
    from holdfast.backend import Backend
    from holdfast.curve import Result
    from holdfast.drift import Pairs


def drift(
    model: Annotated[
        str | None, typer.Option(help="mini (the default), a folder, a hub id, or api:NAME.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; the same command resumes it.")
    ] = None,
    pairs: Annotated[str, typer.Option(help="Pairs of personas to draw, or “all”.")] = "24",
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of each conversation (8; all of a --history).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    runs: Annotated[int, typer.Option(help="Probe answers drawn at each point.")] = 2,
    control: Annotated[
        str, typer.Option(help="What holds the persona: window:3, reminder:0.5, anchor…")
    ] = "none",
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
    history: Annotated[
        Path | None,
        typer.Option(help="Recorded chats (JSONL of messages) in place of self-chat."),
    ] = None,
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
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Price of a million prompt and completion tokens, to add up the cost."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="0 is off.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a reply at most.")] = 200,
    filler: Annotated[
        bool, typer.Option(help="A twin of each conversation with a neutral user.")
    ] = True,
    history_floor: Annotated[
        bool, typer.Option(help="The probe on the same history without the persona.")
    ] = True,
    share: Annotated[bool, typer.Option(help="Measure the prompt share (local models).")] = True,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference", help="As the paper's code: newlines folded, first point r = 1."
        ),
    ] = False,
    batch: Annotated[int, typer.Option(help="Conversations held side by side.")] = 64,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps…")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Measure persona drift: two models chat, and the agent is probed after every round."""
    from holdfast.conversation import Protocol
    from holdfast.drift import drift
    from holdfast.models import API, load
    from holdfast.progress import Progress

    protocol = Protocol(
        seed=seed,
        runs=runs,
        control=control,
        sampling=Sampling(max_new_tokens, temperature, top_p, top_k),
        filler=filler and history is None,
        history_floor=history_floor,
        user_persona=history is None,
        measure=share,
        reference=reference,
        batch=batch,
    )
    wanted = as_pairs(pairs)

    def opened(name: str | None) -> Backend | None:
        if not name:
            return None
        if not name.startswith(API):
            return load(name, dtype=dtype, device=device)
        limits: dict[str, Any] = {"concurrency": concurrency, "context": context, "price": price}
        return load(name, base_url=base_url, api_key=api_key, **limits)

    # Recorded chats can be judged without a model; everything else is about one.
    name = model or (None if history else "mini")
    folder = out or free_folder("drift", name or "history")
    try:
        result = drift(
            opened(name),
            user_model=opened(user_model),
            judge_model=opened(judge_model),
            suite=suite,
            persona=persona,
            agents=agent or (),
            users=user or (),
            topic=topic,
            history=history,
            pairs=wanted,
            rounds=rounds,
            protocol=protocol,
            out=folder,
            command=as_command(sys.argv[1:]),
            progress=Progress(enabled=True),
        )
    except KeyboardInterrupt as interrupt:
        again = as_command([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        raise KeyboardInterrupt(f"interrupted; this goes on from here: {again}") from interrupt
    _show(result, as_json)


def as_command(args: Sequence[str]) -> str:
    """The command as it was given, but for the key."""
    shown = list(args)
    for i, word in enumerate(args):
        if word.startswith("--api-key="):
            shown[i] = "--api-key=…"
        elif i and args[i - 1] == "--api-key":
            shown[i] = "…"
    return shlex.join(["holdfast", *shown])


def as_pairs(text: str) -> Pairs:
    """--pairs as a number or "all"."""
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise HoldfastError(f"--pairs is a number or “all”, not {text!r}") from None


def free_folder(command: str, model: str) -> Path:
    """runs/COMMAND-MODEL-1, or the next number that is free."""
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in model)
    for number in range(1, 10_000):
        folder = Path("runs") / f"{command}-{name}-{number}"
        if not folder.exists():
            return folder
    raise RunError("runs/ is full of runs of this name; choose a folder with --out")


def _show(result: Result, as_json: bool) -> None:
    s = result.summary
    if as_json:
        print(json.dumps(s, ensure_ascii=False, allow_nan=False))
        return
    print(result.headline)
    for r, (value, band) in enumerate(zip(s["stability"], s["interval"], strict=True)):
        if value is not None:
            print(f"  round {r:>2}  {value:.2f}  [{band[0]:.2f}, {band[1]:.2f}]  n {s['n'][r]}")
    if s["note"]:
        print(s["note"])
    print(f"{s['report']}")
