"""The thread that runs the engine: replies side by side, each joining while others are under way.

Between two decoding steps rows whose client has left are dropped, and requests that wait
become rows of the running batch. What came of a step is handed to the event loop in one
call. A row whose cache cannot be padded beside others (a recurrent model's) is a batch
of its own, and takes its steps in turn.

A request that cannot be prefilled, or whose logits are no numbers, fails alone: the other
rows go on with the tokens that they would have had without it.

This module knows token ids and threads. It knows no HTTP and no chats, and where pieces
go only by a function that takes them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core.backend import Sampling
from holdfast.core.errors import HoldfastError
from holdfast.models.engine.batch import Batch
from holdfast.models.engine.engine import Engine
from holdfast.models.engine.row import Logprob, Request, Result, Row, result_of
from holdfast.serve.detokenize import Text

LOG = logging.getLogger("holdfast.serve")


class Piece(NamedTuple):
    """What a step added to a reply: its text, its log-probabilities, and at the end the result."""

    text: str
    logprobs: Sequence[Logprob] = ()
    result: Result | None = None
    error: str | None = None


class Inbox(NamedTuple):
    """Where the pieces of a request's replies go, each with its reply's place: a loop's queue."""

    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[tuple[int, Piece]]


@dataclass(eq=False)
class Job:
    """One reply to be had: its place among those of a request, or another number of it.

    `streams` says that every piece is wanted, and not only the last.
    """

    index: int
    request: Request
    sampling: Sampling
    text: Text
    streams: bool
    inbox: Inbox | None = None
    row: Row | None = None
    told: int = 0
    gone: bool = False

    @property
    def units(self) -> int:
        """Rows that it takes."""
        return 2 if self.request.guide else 1


Pieces = Sequence[tuple[Job, Piece]]


def post(pieces: Pieces) -> None:
    """Put pieces in their jobs' inboxes, in one call for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Piece]]] = {}
    for job, piece in pieces:
        if job.inbox is not None:
            by_loop.setdefault(job.inbox.loop, []).append((job, piece))
    for loop, some in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_hand, some)


def _hand(pieces: Pieces) -> None:
    for job, piece in pieces:
        assert job.inbox is not None
        job.inbox.pieces.put_nowait((job.index, piece))


class Worker:
    """Runs jobs on an engine, at most `rows` rows at once, in the order in which they came.

    What a step brings is handed to `deliver`, in the worker's thread.
    """

    def __init__(
        self,
        engine: Engine,
        ends: frozenset[int],
        rows: int,
        deliver: Callable[[Pieces], None] = post,
    ) -> None:
        self.engine, self.ends, self.rows, self._deliver = engine, ends, rows, deliver
        self.steps = 0
        self._waiting: deque[Job] = deque()
        self._batches: dict[Batch, list[Job]] = {}
        self._shared = Batch(engine, ends)
        self._wake = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Jobs that are not rows yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Rows under way."""
        return sum(batch.running for batch in list(self._batches))

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, after a `stop` too."""
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="holdfast-engine", daemon=True)
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs on; their pieces come in their queues."""
        with self._wake:
            self._waiting.extend(jobs)
            self._wake.notify()

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs whose client has left: their rows are free after the next step."""
        for job in jobs:
            job.gone = True

    def stop(self) -> None:
        """End the thread; jobs that are left are told."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    # In the thread

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopped:
                    self._wake.wait()
            try:
                with self.engine.decoding():
                    self._decode()
            except Exception:  # a bug of ours: what is under way is lost, the server is not
                LOG.exception("the engine's thread failed")
                self._abandon("the server failed; its log says why")
            if self._stopped:
                self._fail([*self._waiting], "the server is stopping")
                self._waiting.clear()
                return

    def _decode(self) -> None:
        """Steps until nothing is left to do."""
        while not self._stopped:
            self._admit()
            if not self._batches:
                return
            for batch in list(self._batches):
                self._step(batch)
            self.steps += 1
        self._abandon("the server is stopping")

    def _abandon(self, why: str) -> None:
        """End all that is under way."""
        for jobs in self._batches.values():
            self._fail(jobs, why)
        self._batches.clear()
        self._shared = Batch(self.engine, self.ends)
        self.engine.forget()

    def _admit(self) -> None:
        """Make rows of jobs that wait, as far as there is room, and prefill them together."""
        jobs = self._next()
        if not jobs:
            return
        ready = [job for job in jobs if self._prepare(job)]
        together = [job for job in ready if job.row is not None and job.row.reuses]
        for job in ready:
            if job not in together:
                self._join(Batch(self.engine, self.ends), [job])
        if together:
            self._join(self._shared, together)

    def _next(self) -> list[Job]:
        running = self.running
        with self._wake:
            jobs: list[Job] = []
            room = self.rows - running
            while self._waiting and (self._waiting[0].units <= room or (not running and not jobs)):
                job = self._waiting.popleft()
                if not job.gone:
                    jobs.append(job)
                    room -= job.units
            return jobs

    def _prepare(self, job: Job) -> bool:
        """Make a job's row; False where it has ended already."""
        halt = job.text.feed if job.streams or job.sampling.stop else None
        try:
            job.row = self.engine.row(job.request, job.sampling, halt)
        except Exception as error:
            if not isinstance(error, HoldfastError):
                LOG.exception("a request could not be prepared")
            said = str(error) if isinstance(error, HoldfastError) else type(error).__name__
            self._fail([job], f"the model failed on this request ({said})")
            return False
        if job.row.stop is not None:
            self._deliver([(job, Piece("", (), Result((), job.row.stop)))])
            return False
        return True

    def _join(self, batch: Batch, jobs: list[Job]) -> None:
        """Prefill jobs; where that fails, each alone, so that one cannot hurt the others."""
        rows = [row for job in jobs for row in (job.row, job.row and job.row.shadow) if row]
        try:
            batch.join(sorted(rows, key=lambda row: (row.new, len(row.ids))))
        except Exception as error:
            if len(jobs) == 1:
                LOG.exception("a request could not be prefilled")
                self._fail(jobs, f"the model failed on this request ({type(error).__name__})")
                return
            for job in jobs:
                if self._prepare(job):
                    self._join(batch, [job])
            return
        self._batches.setdefault(batch, []).extend(jobs)

    def _step(self, batch: Batch) -> None:
        """A token for every row of a batch."""
        jobs = self._batches[batch]
        try:
            if not batch.advance():
                del self._batches[batch]
                return
            batch.pick()
            self._tell(batch, jobs)
        except Exception as error:
            LOG.exception("a decoding step failed")
            self._fail(jobs, f"the model failed ({type(error).__name__})")
            self.engine.forget()  # the buffers may hold anything
            del self._batches[batch]
            if batch is self._shared:
                self._shared = Batch(self.engine, self.ends)

    def _tell(self, batch: Batch, jobs: list[Job]) -> None:
        """Hand over what the step brought; jobs that have ended leave the list."""
        pieces: list[tuple[Job, Piece]] = []
        left: list[Job] = []
        for job in jobs:
            assert job.row is not None
            if job.gone and job.row.stop is None:
                job.row.end()
            if job.row.stop is None:
                left.append(job)
                if job.streams and (piece := self._piece(job)):
                    pieces.append((job, piece))
            elif not job.gone:
                pieces.append((job, self._last(job)))
        jobs[:] = left
        self._deliver(pieces)

    def _piece(self, job: Job) -> Piece | None:
        text = job.text.take()
        return Piece(text, self._logprobs(job)) if text else None

    def _logprobs(self, job: Job) -> Sequence[Logprob]:
        assert job.row is not None
        told, job.told = job.told, len(job.row.reply)
        return tuple(job.row.logprobs[told : job.told])

    def _last(self, job: Job) -> Piece:
        row = job.row
        assert row is not None
        if row.stop == "error":
            return Piece("", error="the model's logits for this request are not finite")
        job.text.end(row.reply)
        return Piece(job.text.take(), self._logprobs(job), result_of(row))

    def _fail(self, jobs: Sequence[Job], why: str) -> None:
        self._deliver([(job, Piece("", error=why)) for job in jobs if not job.gone])
