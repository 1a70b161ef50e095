"""`holdfast explain`: what attention and the model's own vectors do while a persona drifts."""

from __future__ import annotations

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.progress import Progress
from holdfast.evals.conversation.estimate import name_uncounted
from holdfast.evals.explain.settings import ExplainSettings


@flatten_options
def explain(
    settings: ExplainSettings,
    others: options.OtherModels,
    source: options.PersonaSource,
    models: options.LocalOptions,
    output: options.OutputOptions,
    planning: options.PlanOptions,
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
        judged = judge_model is not None
        beside = name_uncounted(
            rounds=settings.rounds, screen=settings.screen, judge=judged, vectors=True
        )
        session.print_estimate(estimate, output.as_json, beside)
        return
    with session.resumable(output.out, hint=session.batch_hint(settings, [subject])) as folder:
        result = explain(
            subject,
            settings,
            user_model=user_model,
            judge_model=judge_model,
            out=folder,
            command=session.own_command(),
            progress=Progress(stage="explain"),
        )
    session.print_summary(result.summary, result.findings, output.as_json)
