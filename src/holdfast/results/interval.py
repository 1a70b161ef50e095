"""The interval of a number, as summaries hold it."""

from __future__ import annotations

Interval = tuple[float | None, float | None]
"""Both ends of a 95% interval; None where there is none."""
