"""`holdfast prism`: a persona in an adapter, and a gate that switches it on per query."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import ModelError, shorten
from holdfast.core.progress import Progress
from holdfast.report.words import number, quantity
from holdfast.training.prism.settings import PrismEvalSettings, PrismSettings

if TYPE_CHECKING:
    from holdfast.results.training.prism import GateScores, PairedDifference, PrismEvalSummary
    from holdfast.training.prism.pipeline import PrismResult

app = typer.Typer(
    help="Distil personas into an adapter with a gate that switches it on per query.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("train")
@flatten_options
def train(
    settings: PrismSettings,
    loading: options.ModelOptions,
    model: options.LocalModel = "mini",
    out: Annotated[
        Path | None, typer.Option(help="Folder of adapter and gate; the same command resumes it.")
    ] = None,
    as_json: options.AsJson = False,
    judge_model: Annotated[
        str | None,
        typer.Option(help="A model that compares answers, in place of the model itself."),
    ] = None,
    plan: options.Plan = False,
) -> None:
    """Write queries, answer and judge them, train gate and adapter."""
    from holdfast.models.load import BEHIND_URL
    from holdfast.training.prism.pipeline import plan_training, train

    if model.startswith(BEHIND_URL):
        raise ModelError(f"{model} cannot be trained for: name a model that runs on this machine.")
    loading.require_use(model, judge_model)
    folder, backend = session.require_folder(out, plan), loading.open(model)
    if plan:
        session.print_plan(plan_training(backend, settings, out=folder), as_json)
        return
    with session.resumable(folder):
        result = train(
            backend,
            settings,
            out=folder,
            judge=loading.open(judge_model) if judge_model else None,
            command=session.own_command(),
            progress=Progress(stage="prism train"),
        )
    session.print_result(result.summary, _training_lines(result), as_json)


def _training_lines(result: PrismResult) -> Iterator[str]:
    summary, gate = result.summary, result.summary.gate
    yield (
        f"{summary.queries} queries: {summary.wins} won, {summary.losses} lost, "
        f"{summary.ties} tied; dropped {summary.dropped}, of which {summary.repeated} repeated"
    )
    cut = [f"{name} {share:.0%}" for name, share in summary.cut.items() if share]
    yield f"answers cut by the limit of tokens: {', '.join(cut) or 'none'}"
    yield _describe_gate(gate)
    yield (
        f"adapter: its KL from the prompted model goes from {number(summary.kl_first)} to "
        f"{number(summary.kl_last)} a token; {quantity(summary.too_long, 'win')} did not fit"
    )
    for pair, comparison in result.examples():
        yield f"{comparison.verdict} of {comparison.expert}: {shorten(pair.query.query, 100)}"
        yield f"  without: {shorten(pair.plain, 100)}"
        yield f"  with:    {shorten(pair.persona, 100)}"
    yield from filter(None, (summary.note, summary.adapter))


def _describe_gate(gate: GateScores) -> str:
    few = "too few queries were won and lost to hold some out"
    if gate.auc is None and gate.auc_queries is None:
        return f"gate: {few}, so nothing says how well it decides"
    gap = f"; –: {few}" if gate.auc is None or gate.auc_queries is None else ""
    return (
        f"gate: ranks queries with an AUC of {number(gate.auc_queries)} among queries it never saw "
        f"and {number(gate.auc)} under personas it never saw (0.50 is chance); of "
        f"{quantity(gate.held_out or 0, 'query')} of the latter it is right for "
        f"{number(gate.accuracy)}, one that always says the more frequent for "
        f"{number(gate.majority)}{gap}"
    )


@app.command("eval")
@flatten_options
def evaluation(
    settings: PrismEvalSettings,
    loading: options.ModelOptions,
    output: options.OutputOptions,
    adapter: Annotated[Path, typer.Option(help="A folder of holdfast prism train.")],
    model: Annotated[
        str | None, typer.Option(help="The model it was trained on, where it is not by that name.")
    ] = None,
    judge_model: options.TaskJudge = None,
    plan: options.Plan = False,
) -> None:
    """Put the gated adapter beside base, personas, and the adapter without its gate."""
    from holdfast.models.local.backend import LocalBackend
    from holdfast.models.local.gated_adapter import read_about
    from holdfast.training.prism.evaluation import estimate_evaluation, evaluate

    name = model or str(read_about(adapter)["model"])
    loading.require_use(name, judge_model)
    subject = loading.open(name)
    if not isinstance(subject, LocalBackend):
        raise ModelError(f"{name} does not run on this machine, where the adapter would be.")
    judge = loading.open(judge_model) if judge_model else None
    if plan:
        estimate = estimate_evaluation(subject, adapter, settings, judge_model=judge)
        session.print_estimate(estimate, output.as_json, "A judge's replies come on top.")
        return
    with session.resumable(output.out, quiet=True):
        summary = evaluate(
            subject,
            adapter,
            settings,
            judge_model=judge,
            out=output.out,
            command=session.own_command(),
            progress=Progress(stage="prism eval"),
        ).summary
    session.print_result(summary, _arm_lines(summary), output.as_json)


def _arm_lines(summary: PrismEvalSummary) -> Iterator[str]:
    yield f"{summary.tasks} tasks; {summary.dropped.sentence()}"
    for arm, categories in summary.without_persona.items():
        counts = ", ".join(f"{name} {count}" for name, count in categories.items())
        yield f"{arm}: no persona for {sum(categories.values())} tasks, asked as base: {counts}"
    yield "arm         overall  against base             against matched           routed   cut"
    for row in summary.rows:
        cut = "   –" if row.cut is None else f"{row.cut:4.0%}"
        differences = "  ".join(_difference(row.against[arm]) for arm in ("base", "matched"))
        overall = "–" if row.overall is None else f"{row.overall:.3f}"
        yield f"{row.arm:<10} {overall:>8}  {differences}  {row.routed:6.2f}  {cut}"
    yield from (
        f"{row.arm}: scored on {row.n} of {summary.tasks} tasks, since the others did not fit the "
        "context"
        for row in summary.rows
        if row.n < summary.tasks
    )
    yield "oracle: the better of two noisy scores of each task, and so above both by chance alone"
    yield from filter(None, [summary.note])


def _difference(difference: PairedDifference) -> str:
    low, high = difference.interval
    if difference.delta is None:
        return f"{'–':23}"
    if low is None or high is None:
        return f"{difference.delta:+z.3f} {'no interval':16}"
    return f"{difference.delta:+z.3f} [{low:+z.3f}, {high:+z.3f}]"
