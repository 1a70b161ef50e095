"""A number in a text: its values and its place."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

Values = frozenset[Decimal]
"""Every way to read a number."""


@dataclass(frozen=True)
class Number:
    """A number in a text."""

    values: frozenset[Decimal]
    """Every way to read it: "1.234" may be 1234, and "8 April 2025" is the 8th or 2025."""
    start: int
    """Where it begins in the text."""
    end: int
    """Where it ends."""
    label: bool = False
    """Whether it names something (a telephone number, a room) and measures nothing."""
