"""The page of a drift run: one HTML file that asks nothing of the network.

This module picks what the page shows. How a page becomes a file, `report.html` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.report import html as shell
from holdfast.report import transcript, words
from holdfast.report.drift import figures, headline
from holdfast.report.drift import prompt_share as attention
from holdfast.results.conversation import JudgedConversation
from holdfast.results.drift import DriftSummary


def write_drift(
    summary: DriftSummary, conversations: Sequence[JudgedConversation], path: Path
) -> None:
    """Write the page of a drift run.

    Args:
        summary: what the run found.
        conversations: its conversations, judged.
        path: where the page goes.

    Raises:
        RunError: the file cannot be written.
    """
    shell.save(render(summary, conversations), path)


def render(summary: DriftSummary, conversations: Sequence[JudgedConversation]) -> str:
    """The page as text."""
    entries = transcript.entries(conversations)
    start = words.start_of(summary.curves_to_the_end.stability)
    return shell.fill(
        "drift/page.html.j2",
        s=summary,
        setting=summary.setting,
        curves=summary.curves,
        change=summary.curves_to_the_end.change,
        full_length=headline.describe_full_length(summary),
        costs=summary.costs,
        failures=words.count_failures(vars(summary.costs.failures)),
        headline=headline.headline(summary),
        log=words.log_reading(summary.history) if summary.history else [],
        start=start,
        course=start < summary.setting.rounds,
        recorded=not any(entry.user for entry in entries),
        standfirst=headline.standfirst(summary),
        stability=figures.stability(summary),
        ledger=figures.ledger(summary),
        categories=figures.categories(summary),
        category_table=figures.category_table(summary),
        attention=[f for f in (attention.layers(summary), attention.share(summary)) if f],
        within=attention.within(summary),
        heads=attention.heads(summary),
        specimens=transcript.specimens(entries),
        portraits=transcript.portraits(entries),
        entries=entries,
        left_out=sum(not entry.whole for entry in entries),
        slip=transcript.SLIP,
    )
