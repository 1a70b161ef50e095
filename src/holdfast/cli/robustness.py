"""`holdfast robustness`: how much accuracy the wrong persona costs."""

from __future__ import annotations

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.progress import Progress
from holdfast.evals.robustness.settings import RobustnessSettings


@flatten_options
def robustness(
    *,
    model: options.Model = "mini",
    settings: RobustnessSettings,
    loading: options.ModelOptions,
    sharing: options.SharingOptions,
    output: options.OutputOptions,
    planning: options.PlanOptions,
) -> None:
    """Ask the same tasks under every persona of a pool: mean, worst, best, and the lottery."""
    from holdfast.evals.robustness.robustness import estimate_robustness, robustness
    from holdfast.report.robustness import remarks

    loading.require_use(model)
    with (
        session.open_models(sharing, [model], loading.open, loading.device, output) as (
            where,
            models,
        ),
        session.resumable(output.out, quiet=planning.plan) as folder,
    ):
        if planning.plan:
            session.print_estimate(estimate_robustness(models[0], settings), output.as_json)
            return
        summary = robustness(
            models[0],
            settings,
            out=folder,
            command=session.own_command(),
            progress=Progress(stage="robustness"),
            where=where,
        ).summary
        lines = (f"{summary.model}: {summary.headline}.", *remarks(summary))
        session.print_summary(summary, lines, output.as_json)
