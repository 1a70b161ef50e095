"""`holdfast personas consistency`: do both sides of a log keep to their prompts?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.errors import HoldfastError
from holdfast.evals.consistency.consistency import ConsistencySettings
from holdfast.evals.consistency.consistency import consistency as measure
from holdfast.report.words import between, log_reading, number, percent, quantity
from holdfast.results.recorded.consistency import (
    Consistency,
    ConsistencySummary,
    Planted,
    SideConsistency,
)

FAULTS = {
    "assistant": "the user turned into the assistant",
    "persona": "the user never shows its persona",
    "soft": "a difficult user was softened",
}
"""Each kind of fault in words."""
NEEDS = {
    "assistant": "from one conversation on",
    "persona": "from three lines of the user on, whose prompt says who or how it is",
    "soft": "from two lines on of a user whose prompt asks for somebody difficult",
}
"""In which conversations it is looked for."""
_MOST_FAULTS = 10


@flatten_options
def consistency(
    log: Annotated[
        Path,
        typer.Argument(metavar="LOG", help="A log in any format, or the folder of a drift run."),
    ],
    *,
    judge_model: Annotated[
        str | None, typer.Option(help="A model that judges lines against the prompts.")
    ] = None,
    settings: ConsistencySettings,
    models: options.ModelOptions,
    output: options.OutputOptions,
) -> None:
    """Was the simulated user valid, and do both sides keep to their prompts?"""
    models.require_use(judge_model)
    if output.out and not judge_model:
        raise HoldfastError("--out keeps a judge's replies: name a --judge-model, or leave it out.")
    with session.resumable(output.out, quiet=True) as folder:
        judge = models.open(judge_model) if judge_model else None
        summary = measure(log, judge, settings, out=folder)
    session.print_result(summary, _lines(summary), output.as_json)


def _lines(summary: ConsistencySummary) -> Iterator[str]:
    made = sum(summary.checked[kind] > 0 for kind in FAULTS)
    extent = "" if made == len(FAULTS) else f" by {made} of {len(FAULTS)} checks"
    interval = between(summary.valid_interval)
    within = "too few for an interval" if interval == "–" else f"95% interval {interval}"
    if summary.pairs < summary.runs:
        within += f", of {quantity(summary.pairs, 'pair')} that met under every control"
    yield (
        f"Your evaluation was valid in {summary.valid} of {quantity(summary.runs, 'run')}{extent} "
        f"({within})."
    )
    if summary.reading:
        yield from log_reading(summary.reading)
    for kind, words in FAULTS.items():
        of = summary.checked[kind]
        count = f"{summary.faults[kind]} of {of}" if of else f"not looked for ({NEEDS[kind]})"
        yield f"  {words}: {count}{_describe_planted(summary.planted.get(kind))}"
    if not summary.prompted:
        yield "  (the user's prompt is not in the log: --user-prompt gives it)"
    for fault in summary.flagged[:_MOST_FAULTS]:
        at = f", line {fault.line} of the user" if fault.line else ""
        yield f"  {fault.run}{at}: {FAULTS[fault.kind]} ({fault.why})"
    if len(summary.flagged) > _MOST_FAULTS:
        yield f"  and {len(summary.flagged) - _MOST_FAULTS} more (--json has all)"
    if summary.judge:
        check = summary.judge
        yield (
            f"{check.judge} as a judge, on {check.n} labelled lines: balanced accuracy "
            f"{number(check.balanced_accuracy)} ({between(check.interval)}), "
            f"{check.unparsed} unparsed"
        )
    for name, side in (("user", summary.user), ("agent", summary.agent)):
        if side is not None:
            yield from _side(name, side)


def _describe_planted(planted: Planted | None) -> str:
    """How much of that kind the rules see in this log."""
    if planted is None:
        return ""
    share = planted.seen / planted.of
    doubt = ": next to none, so that this says little" if share < 0.25 else ""
    return f" (put into this log on purpose, {planted.seen} of {planted.of} are seen{doubt})"


def _side(name: str, side: SideConsistency) -> Iterator[str]:
    yield f"  {name}: prompt to line   {_measure(side.prompt_to_line)}"
    yield f"  {name}: line to line     {_measure(side.line_to_line)}"
    yield f"  {name}: question, answer {_measure(side.question_answer)}, {side.unsaid} unsaid"


def _measure(one: Consistency) -> str:
    if one.value is None:
        return f"–, {one.unparsed} unparsed"
    of = one.judged + one.unparsed
    share = percent(one.unparsed / of)
    return f"{number(one.value)} [{between(one.interval)}], n {one.n}, {share} unparsed"
