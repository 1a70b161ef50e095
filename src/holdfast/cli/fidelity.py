"""`holdfast fidelity`: how well a model stays in character."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.settings import changed_settings
from holdfast.evals.fidelity.settings import GENERATE, FidelitySettings

_OF_ANSWERS = ("suite", "category", "questions", "samples", "seed", "sampling")
_OF_QUESTIONS = ("personas", "questions_per_task", "people", "examples")


@flatten_options
def fidelity(
    *,
    model: options.Model = "mini",
    judge_model: Annotated[
        list[str] | None, typer.Option(help="A model that grades; repeat for several.")
    ] = None,
    author_model: Annotated[
        str | None,
        typer.Option(help="Writes questions and example answers; else the first judge."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="A CSV file of answers graded by people: compare a judge with them."),
    ] = None,
    settings: FidelitySettings,
    source: options.PersonaSource,
    loading: options.ModelOptions,
    output: options.OutputOptions,
    planning: options.PlanOptions,
) -> None:
    """Ask what a persona decides, and grade how well the model stays in character."""

    loading.require_use(*([] if calibrate else [model]), *(judge_model or []), author_model)
    _refuse_unread(settings, source, author_model, calibrate)
    settings = source.into(settings, "suite", rubrics=bool(judge_model))
    judges = [loading.open(name) for name in judge_model or []]
    calls = settings.questionnaire.calls
    if calibrate:
        if planning.plan:
            raise HoldfastError("--plan measures the model's answers, and --calibrate asks none.")
        from holdfast.evals.fidelity.calibration import calibration, sentences

        with session.resumable(output.out) as folder:
            agreement = calibration(calibrate, judges=judges, calls=calls, out=folder)
        session.print_result(agreement, sentences(agreement), output.as_json)
        return
    from holdfast.evals.fidelity.fidelity import estimate_fidelity, fidelity
    from holdfast.report.fidelity import headline, remarks

    if planning.plan:
        estimate = estimate_fidelity(loading.open(model), settings, judges=judges)
        beside = "What judges and authors write comes on top." if judges or author_model else ""
        session.print_estimate(estimate, output.as_json, beside)
        return
    with session.resumable(output.out) as folder:
        summary = fidelity(
            loading.open(model),
            settings,
            judges=judges,
            author_model=loading.open(author_model) if author_model else None,
            out=folder,
            command=session.own_command(),
            progress=Progress(stage="fidelity"),
        ).summary
    lines = (f"{summary.model}: {headline(summary)}.", *remarks(summary))
    session.print_summary(summary, lines, output.as_json)


def _refuse_unread(
    settings: FidelitySettings,
    source: options.PersonaSource,
    author_model: str | None,
    calibrate: Path | None,
) -> None:
    """Refuse options that nothing reads beside the others."""
    given = {"--prompt": source.prompt, "--card": source.card, "--author-model": author_model}
    unread = [name for name, value in given.items() if value is not None]
    if calibrate:
        unread += changed_settings(settings, *_OF_ANSWERS)
        unread += changed_settings(settings.questionnaire, *_OF_QUESTIONS)
        if unread:
            raise HoldfastError(
                f"{unread[0]} is about a model's answers, and --calibrate asks none: leave it out."
            )
    writes = settings.questionnaire.examples or str(settings.questions) == GENERATE
    if author_model and (settings.questions is None or not writes):
        raise HoldfastError(
            "--author-model writes the questions of --questions generate and the example answers "
            "of a questionnaire, and neither is asked for: leave it out."
        )
    if settings.questions is not None and unread and unread[0] != "--author-model":
        raise HoldfastError(
            f"{unread[0]} has personas drafted, and --questions has its own: leave one of the two "
            "out."
        )
