"""`holdfast drift`: does a persona outlast a conversation?"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options
from holdfast.cli.session import (
    as_pairs,
    opened,
    own_command,
    placed,
    print_json,
    resumable,
    verified,
)
from holdfast.core.backend import Sampling

if TYPE_CHECKING:
    from holdfast.evals.conversation.scores import Result


def drift(
    model: Annotated[
        str | None, typer.Option(help="mini (the default), a folder, a hub id, or api:NAME.")
    ] = None,
    out: options.Out = None,
    pairs: options.Pairs = "24",
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of each conversation (8; all of a --history).")
    ] = None,
    seed: options.Seed = 0,
    runs: options.Runs = 2,
    control: Annotated[
        str, typer.Option(help="What holds the persona: window:3, reminder:0.5, anchor…")
    ] = "none",
    suite: options.Suite = None,
    persona: options.PersonaFile = None,
    agent: options.Agents = None,
    user: options.Users = None,
    topic: options.Topic = None,
    history: Annotated[
        Path | None,
        typer.Option(help="Recorded chats (JSONL of messages) in place of self-chat."),
    ] = None,
    user_model: options.UserModel = None,
    judge_model: options.JudgeModel = None,
    base_url: options.BaseUrl = None,
    api_key: options.ApiKey = None,
    verify: options.Verify = None,
    concurrency: options.Concurrency = 8,
    context: options.Context = None,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Price of a million prompt and completion tokens, to add up the cost."),
    ] = None,
    temperature: options.Temperature = 1.0,
    top_p: options.TopP = 0.9,
    top_k: options.TopK = 0,
    max_new_tokens: options.MaxNewTokens = 200,
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
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    ray: options.Ray = None,
    shard: options.Shard = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure persona drift: two models chat, and the agent is probed after every round."""
    from holdfast.core.progress import Progress
    from holdfast.evals.conversation.rounds import Protocol
    from holdfast.evals.drift import drift

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

    open_model = partial(
        opened,
        dtype=dtype,
        device=device,
        base_url=base_url,
        api_key=api_key,
        concurrency=concurrency,
        context=context,
        price=price,
    )
    # Recorded chats can be judged without a model; everything else is about one.
    name = model or (None if history else "mini")
    names = [name, *([user_model] if user_model else [])] if name else []
    with (
        placed(ray, shard, names, open_model, device, as_json=as_json, alone=[verify]) as (
            where,
            models,
        ),
        verified(models[0], verify) if models else contextlib.nullcontext() as subject,
        resumable(out, "drift", name or "history") as folder,
    ):
        result = drift(
            subject,
            user_model=models[-1] if models and (user_model or verify) else None,
            judge_model=open_model(judge_model) if judge_model else None,
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
            command=own_command(),
            progress=Progress(enabled=True),
            where=where,
        )
        _show(result, as_json)


def _show(result: Result, as_json: bool) -> None:
    s = result.summary
    if as_json:
        print_json(s)
        return
    print(result.headline)
    for r, (value, band) in enumerate(zip(s["stability"], s["interval"], strict=True)):
        if value is not None:
            print(f"  round {r:>2}  {value:.2f}  [{band[0]:.2f}, {band[1]:.2f}]  n {s['n'][r]}")
    if s["note"]:
        print(s["note"])
    print(f"{s['report']}")
