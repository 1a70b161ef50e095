"""`holdfast explain`: what attention and the model's own vectors do while a persona drifts."""

from __future__ import annotations

from holdfast.cli import options
from holdfast.cli.options import (
    LocalOptions,
    OtherModels,
    OutputOptions,
    PersonaSource,
    PlanOptions,
)
from holdfast.cli.options.flatten import flatten_options
from holdfast.cli.session import batch_hint, own_command, print_estimate, print_summary, resumable
from holdfast.core.progress import Progress
from holdfast.evals.conversation.estimate import name_uncounted
from holdfast.evals.explain.settings import ExplainSettings


@flatten_options
def explain(
    settings: ExplainSettings,
    others: OtherModels,
    source: PersonaSource,
    models: LocalOptions,
    output: OutputOptions,
    planning: PlanOptions,
    model: options.LocalModel = "mini",
) -> None:
    """Measure prompt share and intrinsic dimension by round, and whether the score follows."""
    from holdfast.evals.explain.explain import estimate_explain, explain, not_here
    from holdfast.models.load import BEHIND_URL

    if model.startswith(BEHIND_URL):
        raise not_here(model)
    settings = source.into(settings, rubrics=others.judge_model is not None)
    subject = models.open(model)
    user_model = models.open(others.user_model) if others.user_model else None
    judge_model = models.open(others.judge_model) if others.judge_model else None
    if planning.plan:
        estimate = estimate_explain(
            subject, settings, user_model=user_model, judge_model=judge_model
        )
        print_estimate(
            estimate,
            output.as_json,
            name_uncounted(
                rounds=settings.rounds,
                screen=settings.screen,
                judge=judge_model is not None,
                vectors=True,
            ),
        )
        return
    with resumable(output.out, hint=batch_hint(settings, [subject])) as folder:
        result = explain(
            subject,
            settings,
            user_model=user_model,
            judge_model=judge_model,
            out=folder,
            command=own_command(),
            progress=Progress(stage="explain"),
        )
    print_summary(result.summary, result.findings, output.as_json)
