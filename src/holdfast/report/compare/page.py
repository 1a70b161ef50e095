"""The page of a comparison: which control to use, and everything that says so.

This module picks what the page shows. How a page becomes a file is `shell`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.report import html as shell
from holdfast.report.compare import advice
from holdfast.report.compare import figures as choice
from holdfast.report.compare import side_by_side as sides
from holdfast.report.compare import tables as scores
from holdfast.report.compare.contender import contenders, late_rounds, rival


def write_compare(
    summary: Mapping[str, Any], conversations: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Write the report of a comparison.

    `summary` is the object that `holdfast compare --json` prints; `conversations` hold
    personas and starter, and under each control the rounds with their judged probe
    answers and the capability questions. Raises `RunError` where the file cannot be
    written.
    """
    shell.save(render(summary, conversations), path)


def render(summary: Mapping[str, Any], conversations: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    found = contenders(summary)
    names = [c.name for c in found]
    other = rival(found)
    pair = (names[0], other.name if other else names[0])
    use, why = advice.headline(summary)
    library = sides.library(conversations, names, pair, summary["rounds"])
    rival_name, ledger = scores.ledger(summary)
    return shell.fill(
        "compare/page.html.j2",
        s=summary,
        use=use,
        why=why,
        standfirst=advice.standfirst(summary),
        tradeoff=choice.tradeoff(summary),
        key=choice.key(summary),
        asked=any(c.value("capability") is not None for c in found),
        rival=rival_name,
        ledger=ledger,
        curves=choice.curves(summary),
        lengths=choice.lengths(summary),
        board=scores.table(summary),
        grid=scores.grid(summary),
        failed=scores.failed(summary["rows"]),
        library=library,
        data=sides.data(library),
        names=names,
        pair=pair,
        late=late_rounds(summary["rounds"]),
    )
