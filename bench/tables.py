"""Rows of numbers as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as Markdown, the first column to the left."""
    cells = [[_number(v) if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
    head = [list(rows[0]), ["---", *["---:"] * (len(rows[0]) - 1)]]
    return "\n".join(f"| {' | '.join(line)} |" for line in head + cells) + "\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
