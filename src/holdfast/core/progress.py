"""A progress bar on standard error: steps, replies per second, time left.

Nothing here knows what a step is. Disabled, it does nothing and costs nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Shows steps done out of a total, and replies per second, while `of` is open."""

    def __init__(self, enabled: bool = True, step: str = "rounds") -> None:
        self._bar = Bar(
            TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {step}"),
            BarColumn(),
            TextColumn("{task.fields[rate]} replies/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not enabled,
        )
        self._task: TaskID | None = None
        self._began = 0.0
        self.replies = 0

    @contextlib.contextmanager
    def of(self, total: int) -> Iterator[None]:
        """Show the bar for `total` steps."""
        self._began = time.monotonic()
        with self._bar:
            self._task = self._bar.add_task("", total=total, rate="0.0")
            yield

    def advance(self, steps: float, replies: int) -> None:
        """Say that steps are done, and how many replies were generated for them."""
        self.replies += replies
        seconds = time.monotonic() - self._began
        if self._task is not None:
            rate = f"{self.replies / seconds:.1f}" if seconds > 0 else "0.0"
            self._bar.update(self._task, advance=steps, rate=rate)
