"""`holdfast compare`: what every control buys and costs, and which one to use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options
from holdfast.cli.flatten import flattened
from holdfast.cli.options import ModelOptions, OtherModels, OutputOptions, SharingOptions
from holdfast.cli.session import (
    as_controls,
    own_command,
    placed,
    print_json,
    resumable,
    verified,
)
from holdfast.core.backend import Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.records import as_record
from holdfast.evals.conversation.settings import read_pairs

if TYPE_CHECKING:
    from holdfast.evals.compare.compare import Comparison
    from holdfast.results.compare import ControlRow


@flattened
def compare(
    others: OtherModels,
    models: ModelOptions,
    sampling: Sampling,
    sharing: SharingOptions,
    output: OutputOptions,
    model: options.Model = "mini",
    controls: Annotated[
        str | None,
        typer.Option(help="Controls, with commas between; by default all, at several strengths."),
    ] = None,
    pairs: options.Pairs = "24",
    rounds: Annotated[
        str, typer.Option(help="Rounds of each conversation, or several lengths: 2,4,8,16.")
    ] = "8",
    seed: options.Seed = 0,
    runs: options.Runs = 2,
    questions: Annotated[
        str | None,
        typer.Option(
            help="What capability is asked with: mini, core, mmlu, gsm8k, a JSONL file, or none."
        ),
    ] = None,
    each: Annotated[
        int, typer.Option("--questions-per-kind", help="Of these, per conversation and length.")
    ] = 2,
    after: Annotated[
        list[int] | None,
        typer.Option(
            "--question-round", help="Ask them after this round (repeat; the last by default)."
        ),
    ] = None,
    scoring: Annotated[
        str, typer.Option(help="Of multiple choice: generation or likelihood (local models).")
    ] = "generation",
    suite: options.Suite = None,
    persona: options.PersonaFile = None,
    agent: options.Agents = None,
    user: options.Users = None,
    topic: options.Topic = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another model as a row of its own: a trained checkpoint (repeat)."),
    ] = None,
    verify: options.Verify = None,
    context: options.Context = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Conversations held side by side, each under every control."),
    ] = None,
) -> None:
    """Put every control on the same conversations, and say which one to use."""
    from holdfast.core.progress import Progress
    from holdfast.evals.compare.compare import compare

    open_model = partial(models.open, context=context)
    lengths, user_model = _lengths(rounds), others.user_model
    names = [model, *([user_model] if user_model else [])]
    alone = [verify, *(also or ())]
    with (
        placed(sharing, names, open_model, models.device, output, alone=alone) as (where, agents),
        verified(agents[0], verify) as subject,
        resumable(output.out) as folder,
    ):
        result = compare(
            subject,
            controls=as_controls(controls) if controls is not None else None,
            user_model=agents[-1] if user_model or verify else None,
            also=[open_model(name) for name in also or ()],
            judge_model=open_model(others.judge_model) if others.judge_model else None,
            suite=suite,
            persona=persona,
            agents=agent or (),
            users=user or (),
            topic=topic,
            pairs=read_pairs(pairs),
            rounds=lengths,
            seed=seed,
            runs=runs,
            sampling=sampling,
            questions=questions,
            each=each,
            question_rounds=after or (),
            scoring=scoring,
            batch=batch,
            out=folder,
            command=own_command(),
            progress=Progress(),
            where=where,
        )
        _show(result, output.as_json)


def _lengths(text: str) -> list[int]:
    try:
        return [int(piece) for piece in text.split(",")]
    except ValueError:
        raise HoldfastError(
            f"--rounds is a number, or several with commas between, not {text!r}"
        ) from None


def _show(result: Comparison, as_json: bool) -> None:
    s = result.summary
    if as_json:
        print_json(as_record(s))
        return
    print(result.recommendation)
    width = max(len(row.control) for row in s.rows)
    print(f"  {'control':{width}}  stability  late  late vs none         capability  ms/token")
    for row in s.rows:
        cells = [
            f"{row.control:{width}}",
            f"{_number(row.stability):>9}",
            f"{_number(row.late_stability):>4}",
            f"{_change(row):19}",
            f"{_number(row.capability):>10}",
            f"{_number(row.relative_ms_per_token):>8}",
        ]
        print("* " if row.pareto else "  ", "  ".join(cells), sep="")
    for row in s.rows:
        if row.n < s.conversations:
            print(
                f"  {row.control}: n/a but on the personas it was trained on, those of "
                f"{row.n} of {s.conversations} conversations; the system prompt "
                f"{'is dropped' if row.system_prompt == 'dropped' else 'stays'}"
            )
    print("  * on the front of stability and capability; late is the last quarter of the rounds")
    for control, why in s.refused.items():
        print(f"  left out: {control} ({why})")
    if s.note:
        print(s.note)
    if s.report:
        print(s.report)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _change(row: ControlRow) -> str:
    interval = row.late_delta_interval
    if interval is None:
        return "–"
    return f"{row.late_delta:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"
