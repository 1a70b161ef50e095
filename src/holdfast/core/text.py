"""Texts as people read them in one line of a terminal, an error or a page."""

from __future__ import annotations


def shortened(text: str, most: int) -> str:
    """A text on one line of at most `most` characters; a longer one ends in an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
