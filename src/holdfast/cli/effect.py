"""`holdfast effect`: on which tasks a persona helps, and on which it hurts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.settings import changed_settings
from holdfast.evals.effect.settings import EffectSettings
from holdfast.persona.experts import Expert
from holdfast.persona.files import text_or_file

if TYPE_CHECKING:
    from holdfast.results.effect import EffectSummary


@flatten_options
def effect(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(help="mini, a folder, a hub id, or api:NAME; repeat for several."),
    ] = None,
    settings: EffectSettings,
    prompt: Annotated[
        str | None,
        typer.Option(help="A system prompt, or @FILE with one: the only persona."),
    ] = None,
    judge_model: options.TaskJudge = None,
    verify: options.Verify = None,
    loading: options.ModelOptions,
    sharing: options.SharingOptions,
    output: options.OutputOptions,
    planning: options.PlanOptions,
) -> None:
    """Ask the same tasks with and without personas, and say when to use one."""
    from holdfast.evals.effect.effect import effect, estimate_effect

    if prompt is not None:
        settings = _alone(settings, text_or_file(prompt).strip())
    names = model or ["mini"]
    loading.require_use(*names, judge_model)
    place = session.open_models(
        sharing, names, loading.open, loading.device, output, alone=[verify]
    )
    with (
        place as (where, models),
        contextlib.ExitStack() as checks,
        session.resumable(output.out, quiet=planning.plan) as folder,
    ):
        judge = loading.open(judge_model) if judge_model else None
        if planning.plan:
            estimate = estimate_effect(models, settings, judge_model=judge)
            session.print_estimate(estimate, output.as_json, "A judge's replies come on top.")
            return
        summary = effect(
            [checks.enter_context(session.verify_replies(one, verify)) for one in models],
            settings,
            judge_model=judge,
            out=folder,
            command=session.own_command(),
            progress=Progress(stage="effect"),
            where=where,
        ).summary
        session.print_summary(summary, _lines(summary), output.as_json)


def _alone(settings: EffectSettings, prompt: str) -> EffectSettings:
    """The settings with a prompt as the only persona, which has but one length."""
    if settings.personas is not None:
        raise HoldfastError("give --prompt or --personas, not both.")
    if not prompt:
        raise HoldfastError("--prompt needs a system prompt: give its text, or @FILE.")
    if unread := changed_settings(settings, "lengths"):
        raise HoldfastError(f"{unread[0]} is of --personas, and a --prompt has but one: leave it.")
    return replace(settings, personas=(Expert("prompt", (), *(prompt,) * 3),), lengths=("full",))


def _lines(summary: EffectSummary) -> Iterator[str]:
    for model, advice in summary.numbers.advice.items():
        yield f"{model}: {advice}"
    if summary.left_out:
        yield (
            f"{len(summary.left_out)} tasks that only a model can judge were left out: name one "
            "with --judge-model."
        )
