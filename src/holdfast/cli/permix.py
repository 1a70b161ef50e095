"""`holdfast permix`: training for robustness across personas and fidelity in character."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.report.words import describe_checks
from holdfast.results.training.permix import IMITATIONS
from holdfast.training.permix.settings import NEXT_PROMPTS, DataSettings, PermixSettings

if TYPE_CHECKING:
    from holdfast.results.training.permix import PermixSummary

app = typer.Typer(
    help="Train a model with verifiable rewards under mixed personas.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("train")
@flatten_options
def train(
    settings: PermixSettings,
    loading: options.LocalOptions,
    output: options.OutputOptions,
    model: options.LocalModel = "mini",
    plan: options.Plan = False,
) -> None:
    """Train one arm; a stopped run goes on with the same command."""
    from holdfast.training.permix.plan import main_process
    from holdfast.training.permix.train import plan_training, train

    folder = session.require_folder(output.out, plan)
    if plan:
        estimate = plan_training(model, settings, out=folder, **loading.arguments())
        session.print_plan(estimate, output.as_json)
        return
    with session.resumable(folder):
        summary = train(
            model,
            settings,
            out=folder,
            **loading.arguments(),
            command=session.own_command(),
            progress=Progress(enabled=main_process(), stage="permix train"),
        ).summary
    if not main_process():
        return
    session.print_summary(summary, _lines(summary), output.as_json)


def _lines(summary: PermixSummary) -> Iterator[str]:
    means = summary.means
    yield f"{summary.arm}, {summary.steps} steps in {summary.seconds:.0f} s"
    if summary.arm in IMITATIONS:
        places = f"over {NEXT_PROMPTS} replies before training", "over as many after"
    else:
        steps = "step" if means.window == 1 else f"{means.window} steps"
        each = f" ({means.rollouts} rollouts each, of different prompts)" if means.rollouts else ""
        places = f"in the first {steps}", f"in the last{each}"
    yield f"mean reward {means.reward_first} {places[0]}, {means.reward_last} {places[1]}"
    first, last = means.zero_variance_first, means.zero_variance_last
    if first is not None and last is not None:
        yield f"groups of rollouts paid alike, which teach nothing: {first:.0%}, then {last:.0%}"
    if means.kl_last is not None:  # arms that imitate have none
        yield f"KL to the model before training: {means.kl_last} a token in the last steps"
    if failures := describe_checks(summary.verifier_errors):
        yield failures
    yield summary.checkpoint


@app.command("export")
@flatten_options
def export(
    data: DataSettings,
    template: options.TemplateOptions,
    out: Annotated[Path, typer.Option(help="The parquet file to write.")],
    model: Annotated[str, typer.Option(help="Whose own tasks and personas are meant.")] = "mini",
    prompts: Annotated[
        int | None, typer.Option(help="Prompts to write; by default each task once.")
    ] = None,
    seed: options.Seed = 0,
    verifier: Annotated[
        str,
        typer.Option(
            help="How answers in words and numbers are checked: auto, exact, numeric or math."
        ),
    ] = "auto",
    reading: Annotated[
        str, typer.Option(help="How the reward reads answers: final, lenient or strict.")
    ] = "final",
) -> None:
    """Write the prompts of training under their personas as a parquet file for verl.

    verl renders the chats: what it needs for the options of the template is printed.
    """
    from holdfast.training.permix.dataset import load_data
    from holdfast.training.permix.export import export_rows, write_parquet
    from holdfast.training.permix.mixing import PersonaMix

    template_options = template.template_options()
    data.check()
    if prompts is not None and prompts < 1:
        raise HoldfastError(f"--prompts is 1 or more, not {prompts}.")
    training_data = load_data(data, template.base or model, seed)
    mix = PersonaMix(len(training_data.personas), data.bare, data.mixing, seed)
    prompts = prompts or len(training_data.tasks)
    rows = export_rows(training_data, mix, prompts, choice=verifier, reading=reading)
    write_parquet(rows, out)
    print(f"{len(rows)} prompts in {out}")
    for name, value in template_options.items():
        print(f"+data.apply_chat_template_kwargs.{name}={json.dumps(value, ensure_ascii=False)}")
