"""`holdfast robustness`: how much accuracy the wrong persona costs."""

from __future__ import annotations

from holdfast.cli import options
from holdfast.cli.options import ModelOptions, OutputOptions, PlanOptions, SharingOptions
from holdfast.cli.options.flatten import flatten_options
from holdfast.cli.session import open_models, own_command, print_estimate, print_summary, resumable
from holdfast.core.progress import Progress
from holdfast.evals.robustness.settings import RobustnessSettings


@flatten_options
def robustness(
    *,
    model: options.Model = "mini",
    settings: RobustnessSettings,
    loading: ModelOptions,
    sharing: SharingOptions,
    output: OutputOptions,
    planning: PlanOptions,
) -> None:
    """Ask the same tasks under every persona of a pool: mean, worst, best, and the lottery."""
    from holdfast.evals.robustness.robustness import estimate_robustness, robustness
    from holdfast.report.robustness import remarks

    loading.require_use(model)
    with (
        open_models(sharing, [model], loading.open, loading.device, output) as (where, models),
        resumable(output.out, quiet=planning.plan) as folder,
    ):
        if planning.plan:
            print_estimate(estimate_robustness(models[0], settings), output.as_json)
            return
        summary = robustness(
            models[0],
            settings,
            out=folder,
            command=own_command(),
            progress=Progress(stage="robustness"),
            where=where,
        ).summary
        lines = (f"{summary.model}: {summary.headline}.", *remarks(summary))
        print_summary(summary, lines, output.as_json)
