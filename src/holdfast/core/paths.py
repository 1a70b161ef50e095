"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path


def expanded(path: Path | str) -> Path:
    """A path with ~ and ~USER as that user's home; as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
