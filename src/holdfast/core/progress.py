"""Progress on standard error: stage, steps, replies and tokens per second, time left.

On a terminal it is a bar. Elsewhere, as in a log file, it is a plain line about every ten seconds
in which something was done, and one at the end of each stage:

    drift: 120 of 216 rounds, 63.2 replies/s, 1,410 tokens/s, 0:04:10 left

A rate without a count is left out. A run that goes on from an earlier one says how
many steps that did, and reckons the time left from its own. Nothing here knows what a step is.
Disabled, it writes nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

INTERVAL = 10.0
"""Seconds between two plain lines."""


class Progress:
    """Shows steps done out of a total, and replies per second, while `of` is open."""

    def __init__(
        self,
        enabled: bool = True,
        *,
        stage: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`of` opens the display.

        Args:
            enabled: show anything at all.
            stage: what the steps belong to; begins a plain line.
            stream: where the bar goes; by default standard error.
            clock: seconds from any beginning.
        """
        self.replies = 0
        self._step, self._stage, self._clock = "", stage, clock
        self._stream = stream or sys.stderr
        self._enabled, self._plain = enabled, enabled and not self._stream.isatty()
        self._bar = Bar(
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rates]}"),
            console=Console(file=self._stream),
            disable=not enabled or self._plain,
        )
        self._task: TaskID | None = None
        self._began = self._last_line = 0.0
        self._first_replies = self._first_tokens = 0
        self._tokens: Callable[[], int] = lambda: 0
        self._lock = threading.Lock()
        self._done = self._resumed = self._total = 0.0
        self._last_state: tuple[float, int, int] | None = None

    @contextlib.contextmanager
    def of(
        self, total: float, step: str, stage: str = "", tokens: Callable[[], int] = lambda: 0
    ) -> Iterator[None]:
        """Show progress over a number of steps.

        Args:
            total: how many there are.
            step: what one is called, in the plural.
            stage: their name, where they have one of their own.
            tokens: says how many tokens have been generated so far, also while a step takes long.
        """
        outer, self._stage, self._step = self._stage, stage or self._stage, step
        self._tokens, self._first_tokens = tokens, tokens()
        self._began = self._last_line = self._clock()
        self._first_replies, self._total = self.replies, float(total)
        self._done = self._resumed = 0.0
        self._last_state = None
        end = threading.Event()
        if self._enabled:
            threading.Thread(target=self._keep_writing, args=(end,), daemon=True).start()
        try:
            with self._bar:
                self._task = self._bar.add_task(step, total=total, rates="")
                yield
            if self._plain and self._state != self._last_state:
                self._write_line()
        finally:
            end.set()
            self._stage = outer
            with self._lock:
                if self._task is not None:  # the next stage's bar is drawn without this one's
                    self._bar.remove_task(self._task)
                    self._task = None

    def advance(self, steps: float, replies: int) -> None:
        """Say that steps are done, and how many replies were generated for them."""
        self.replies += replies
        self._done += steps
        self.tick()

    def resume(self, steps: float) -> None:
        """Count steps that an earlier run has done; they took no time in this one."""
        self._resumed += steps
        self.advance(steps, 0)

    def tick(self) -> None:
        """Move the bar, or write a plain line where the last one is old enough."""
        with self._lock:
            if self._plain and self._clock() - self._last_line >= INTERVAL:
                if self._state != self._last_state:
                    self._write_line()
            elif self._task is not None:
                rates = ", ".join([*self._earlier(), *self._rates(), *self._time_left()])
                self._bar.update(self._task, completed=self._whole, rates=rates)

    def _keep_writing(self, end: threading.Event) -> None:
        while not end.wait(1.0):
            self.tick()

    @property
    def _state(self) -> tuple[float, int, int]:
        """What a line tells, apart from the time."""
        return self._done, self.replies, self._tokens()

    @property
    def _whole(self) -> int:
        """Steps that are done to the end; parts of one may have come in pieces such as thirds."""
        return int(self._done + 1e-6)

    def _earlier(self) -> list[str]:
        """How many steps an earlier run had done, if any."""
        if not self._resumed:
            return []
        steps = "all" if self._resumed >= self._total else f"{self._resumed:.0f}"
        return [f"{steps} of an earlier run"]

    def _rates(self) -> list[str]:
        """Replies and tokens a second, where they were counted."""
        seconds = self._clock() - self._began
        if seconds <= 0:
            return []
        replies = (self.replies - self._first_replies) / seconds
        tokens = (self._tokens() - self._first_tokens) / seconds
        rates = [f"{replies:.1f} replies/s"] if replies else []
        return [*rates, f"{tokens:,.0f} tokens/s"] if tokens else rates

    def _time_left(self) -> list[str]:
        """How long the rest takes at this run's pace, once it has done a step."""
        own = self._done - self._resumed
        if own <= 0 or self._done >= self._total:
            return []
        seconds = (self._clock() - self._began) * (self._total - self._done) / own
        return [f"{timedelta(seconds=round(seconds))} left"]

    def _write_line(self) -> None:
        self._last_line, self._last_state = self._clock(), self._state
        stage = f"{self._stage}: " if self._stage else ""
        tenths = int(10 * self._done + 1e-6)
        done = f"{tenths / 10:.1f}" if tenths % 10 else f"{self._whole}"
        steps = f"{stage}{done} of {self._total:.0f} {self._step}"
        line = ", ".join([steps, *self._earlier(), *self._rates(), *self._time_left()])
        print(line, file=self._stream, flush=True)
