"""`holdfast watch`: does a persona hold in a log of real conversations?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, session
from holdfast.cli.options.flatten import flatten_options
from holdfast.evals.logs.formats import FORMAT_HELP
from holdfast.evals.watch.watch import watch as watch_log
from holdfast.evals.watch.watcher import WatchSettings
from holdfast.report.words import log_reading, number, quantity
from holdfast.results.watch import Alarm, WatchState, WatchSummary


@flatten_options
def watch(
    log: Annotated[
        Path, typer.Argument(help="Conversations in any format, or a server's own log.")
    ],
    *,
    persona: Annotated[
        str | None,
        typer.Option(
            help="The persona to keep: a TOML file with one or with every_reply, or FILE:ID; by "
            "default what the log's own system prompts demand, or the scores of a server's log."
        ),
    ] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    source: options.PersonaSource,
    settings: WatchSettings,
    fail: Annotated[
        bool, typer.Option("--fail", help="End with exit code 1 where a drift is certain.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Replay a log of conversations: does the persona drift, and when was that certain?"""
    subject = source.as_one(persona)
    if subject and source.prompt is not None:  # whose id would be one that we made up
        subject = replace(subject, id="the prompt’s persona")
    result = watch_log(log, subject, settings, format=format)
    session.print_summary(result.summary, _lines(result.summary), as_json)
    if fail and result.summary.state.drifts:
        raise typer.Exit(1)


def _lines(summary: WatchSummary) -> Iterator[str]:
    state = summary.state
    counts = f"{quantity(state.conversations, 'conversation')}, {quantity(state.replies, 'reply')}"
    if state.alarms:
        alarm = state.alarms[0]
        more = (
            f", and {quantity(state.alarm_count - 1, 'later alarm')}"
            if state.alarm_count > 1
            else ""
        )
        yield f"{state.persona} drifts: {_drop(state, alarm)} ({counts}{more})."
        # Of very many alarms the newest are kept.
        which = "first" if len(state.alarms) == state.alarm_count else "an"
        yield (
            f"  {which} alarm at conversation {alarm.conversations}, round {alarm.round}: "
            f"{quantity(alarm.delay, 'conversation')} after the likeliest beginning, at a drop of "
            f"{alarm.drop:.2f}"
        )
    else:
        yield f"{state.persona}: a drift of {state.drop:g} is not certain ({counts})."
    if summary.reading:
        yield from log_reading(summary.reading)
    yield f"  {quantity(state.slips, 'conversation')} lost the persona for certain"
    for row in state.rounds:
        yield f"  round {row.rounds:>5}  {number(row.score)}  {quantity(row.replies, 'reply')}"


def _drop(state: WatchState, alarm: Alarm) -> str:
    """Which rounds score lower than what, over all conversations.

    The drop of an alarm is that of the conversations that raised it, and so larger than it is.
    """
    drops = (test.drop for test in state.tests if test.rounds == alarm.rounds)
    drop = next((one for one in drops if one is not None), alarm.drop)
    if alarm.rounds == "first":
        return f"in the first rounds the score is {number(drop)} lower than expected"
    return (
        f"from round {alarm.rounds} on the score is {number(drop)} lower than in the first rounds"
    )
