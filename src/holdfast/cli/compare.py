"""`holdfast compare`: what every control buys and costs, and which one to use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.progress import Progress
from holdfast.evals.compare.settings import CompareSettings
from holdfast.evals.conversation.estimate import name_uncounted
from holdfast.report.compare.entries import scored_on
from holdfast.report.words import number, screening, signed_ascii

if TYPE_CHECKING:
    from holdfast.evals.compare.compare import Comparison
    from holdfast.results.compare import ControlRow


@flatten_options
def compare(
    settings: CompareSettings,
    others: options.OtherModels,
    source: options.PersonaSource,
    models: options.ModelOptions,
    sharing: options.SharingOptions,
    output: options.OutputOptions,
    planning: options.PlanOptions,
    model: options.Model = "mini",
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another model as a row of its own: a trained checkpoint (repeat)."),
    ] = None,
    verify: options.Verify = None,
    context: options.Context = None,
) -> None:
    """Put every control on the same conversations, and say which one to use."""
    from holdfast.evals.compare.compare import compare, estimate_compare

    models.require_use(model, others.user_model, others.judge_model, *(also or ()), context=context)
    settings = source.into(settings, rubrics=others.judge_model is not None)
    open_model, user_model = partial(models.open, context=context), others.user_model
    names = [model, *([user_model] if user_model else [])]
    alone = [verify, *(also or ())]
    place = session.open_models(sharing, names, open_model, models.device, output, alone=alone)
    with (
        place as (where, agents),
        session.verify_replies(agents[0], verify) as subject,
        session.resumable(
            output.out, quiet=planning.plan, hint=session.batch_hint(settings, agents)
        ) as folder,
    ):
        judge = open_model(others.judge_model) if others.judge_model else None
        checkpoints = [open_model(name) for name in also or ()]
        if planning.plan:
            estimate = estimate_compare(
                subject, settings, user_model=agents[-1], judge_model=judge, also=checkpoints
            )
            beside = name_uncounted(
                rounds=settings.lengths()[-1], screen=settings.screen, judge=judge is not None
            )
            session.print_estimate(estimate, output.as_json, beside)
            return
        result = compare(
            subject,
            settings,
            user_model=agents[-1] if user_model or verify else None,
            judge_model=judge,
            also=checkpoints,
            out=folder,
            command=session.own_command(),
            progress=Progress(stage="compare"),
            where=where,
        )
        session.print_summary(result.summary, _lines(result), output.as_json)


def _lines(result: Comparison) -> Iterator[str]:
    s = result.summary
    yield result.recommendation
    if s.setting.screened:
        yield screening(s.setting.screened)
    width = max(len(row.control) for row in s.rows)
    yield f"  {'control':{width}}  stability  late  late vs none         capability  time/token"
    for row in s.rows:
        cells = [
            f"{row.control:{width}}",
            f"{number(row.stability):>9}",
            f"{number(row.late_stability):>4}",
            f"{_change(row):19}",
            f"{number(row.capability):>10}",
            f"{_times(row.relative_ms_per_token):>10}",
        ]
        yield ("* " if row.pareto else "  ") + "  ".join(cells)
    for row in s.rows:
        if some := scored_on(row, s.setting.conversations):
            dropped = "; the system prompt is dropped" if row.system_prompt == "dropped" else ""
            yield f"  {row.control}: {some}{dropped}"
    yield "  * on the front of stability and capability; late is the last quarter of the rounds"
    for control, why in s.refused.items():
        yield f"  left out: {control} ({why})"


def _times(ratio: float | None) -> str:
    """Time relative to none's."""
    return "–" if ratio is None else f"{ratio:.2f} ×"


def _change(row: ControlRow) -> str:
    if row.control == "none" or row.late_delta is None or row.late_delta_interval is None:
        return "–"
    return signed_ascii(row.late_delta, row.late_delta_interval)
