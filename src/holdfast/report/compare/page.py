"""The page of a comparison: which control to use, and the numbers behind it.

This module chooses what the page shows. `report.html` makes a file of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.report import html
from holdfast.report.compare import figures, sentences, side_by_side, tables
from holdfast.report.compare.entries import control_entries, counterpart, late_rounds
from holdfast.results.compare import ComparedConversation, CompareSummary


def write_compare(
    summary: CompareSummary, conversations: Sequence[ComparedConversation], path: Path
) -> None:
    """Write the page of a comparison.

    Args:
        summary: what the comparison found.
        conversations: personas, starter, and under each control the rounds with their judged
            probe answers and the capability questions.
        path: the file.

    Raises:
        RunError: where the file cannot be written.
    """
    html.save(render(summary, conversations), path)


def render(summary: CompareSummary, conversations: Sequence[ComparedConversation]) -> str:
    """The page as text."""
    entries = control_entries(summary)
    names = [entry.name for entry in entries]
    other = counterpart(entries)
    pair = (names[0], other.name if other else names[0])
    use, why = sentences.headline(summary.recommendation)
    transcripts = side_by_side.transcripts(conversations, names, pair, summary.setting.rounds)
    other_name, measures = tables.beside_none(summary)
    return html.fill(
        "compare/page.html.j2",
        s=summary,
        use=use,
        why=why,
        lead=sentences.lead_sentences(summary),
        tradeoff=figures.tradeoff(summary),
        legend=figures.legend(summary),
        asked=any(entry.row.capability is not None for entry in entries),
        other_name=other_name,
        measures=measures,
        curves=figures.curves(summary),
        by_length=figures.by_length(summary),
        controls=tables.controls_table(summary),
        parts=tables.parts_table(summary),
        failures=tables.failures(summary.rows),
        transcripts=transcripts,
        data=side_by_side.data(transcripts),
        names=names,
        pair=pair,
        late=late_rounds(summary.setting.rounds),
    )
