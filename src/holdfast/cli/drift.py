"""`holdfast drift`: does a persona outlast a conversation?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.evals.conversation.estimate import name_uncounted
from holdfast.evals.drift import DriftResult, DriftSettings, estimate_drift
from holdfast.evals.drift import drift as measure_drift
from holdfast.report.words import log_reading, screening


@flatten_options
def drift(
    settings: DriftSettings,
    others: options.OtherModels,
    source: options.PersonaSource,
    models: options.ModelOptions,
    sharing: options.SharingOptions,
    output: options.OutputOptions,
    planning: options.PlanOptions,
    model: Annotated[
        str | None, typer.Option(help="mini (the default), a folder, a hub id, or api:NAME.")
    ] = None,
    verify: options.Verify = None,
    context: options.Context = None,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Price of a million prompt and completion tokens, to add up the cost."),
    ] = None,
) -> None:
    """Measure persona drift: two models chat, and the agent is probed after every round."""
    rubrics = others.judge_model is not None
    settings = source.into(settings, rubrics=rubrics, probed=settings.history is None)
    open_model = partial(models.open, context=context, price=price)
    # Recorded chats can be judged without a model; everything else is about one.
    name = model or (None if settings.history else "mini")
    _refuse_unread(settings, name, others.user_model, verify)
    models.require_use(name, others.user_model, others.judge_model, context=context, price=price)
    names = [name, *([others.user_model] if others.user_model else [])] if name else []
    place = session.open_models(sharing, names, open_model, models.device, output, alone=[verify])
    with (
        place as (where, agents),
        session.verify_replies(agents[0], verify)
        if agents
        else contextlib.nullcontext() as subject,
        session.resumable(
            output.out, quiet=planning.plan, hint=session.batch_hint(settings, agents)
        ) as folder,
    ):
        if planning.plan:
            if subject is None:
                raise HoldfastError("--plan measures a model: name one with --model.")
            estimate = estimate_drift(subject, settings, user_model=agents[-1], rubrics=rubrics)
            beside = name_uncounted(rounds=settings.rounds, screen=settings.screen, judge=rubrics)
            session.print_estimate(estimate, output.as_json, beside)
            return
        result = measure_drift(
            subject,
            settings,
            user_model=agents[-1] if agents and (others.user_model or verify) else None,
            judge_model=open_model(others.judge_model) if others.judge_model else None,
            out=folder,
            command=session.own_command(),
            progress=Progress(stage="drift"),
            where=where,
        )
        session.print_summary(result.summary, _lines(result), output.as_json)


def _refuse_unread(
    settings: DriftSettings, model: str | None, user_model: str | None, verify: str | None
) -> None:
    """Refuse options that nothing reads where recorded chats are judged."""
    if settings.history is not None and user_model:
        raise HoldfastError("--user-model is for self-chat, and a --history has its users already.")
    if model is None:
        settings.require_model()
        if verify:
            raise HoldfastError("--verify checks a model’s replies: name one with --model.")


def _lines(result: DriftResult) -> Iterator[str]:
    curves = result.summary.curves
    yield result.headline
    if result.summary.history:
        yield from log_reading(result.summary.history)
    if screened := result.summary.setting.screened:
        yield screening(screened)
    for r, (value, (low, high)) in enumerate(zip(curves.stability, curves.interval, strict=True)):
        interval = "no interval" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
        if value is not None:
            yield f"  round {r:>2}  {value:.2f}  {interval}  n {curves.n[r]}"
