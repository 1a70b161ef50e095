"""The thread that runs the engine: continuous batching of replies.

Between two decoding steps the thread drops rows whose client has left, and turns waiting requests
into rows of the running batch. It hands the new pieces of a step to the event loop in one call. A
row whose cache cannot be padded beside others (a recurrent model's) is a batch of its own, and
takes its steps in turn.

A request that cannot be prefilled, or whose logits are not finite, fails alone: the other rows
get the tokens that they would have had without it.

This module knows token ids and threads. It knows no HTTP and no chats.
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
from holdfast.models.engine.request import Continuation, Logprob, Request, Row, result_of
from holdfast.serve.detokenize import ReplyText

LOG = logging.getLogger("holdfast.serve")
NOT_RUNNING = "the engine does not run: a mounted application needs its lifespan run by the outer"


class Piece(NamedTuple):
    """What a step added to a reply: text, log-probabilities, and the result with the last piece."""

    text: str
    logprobs: Sequence[Logprob] = ()
    result: Continuation | None = None
    error: str | None = None
    lost: bool = False
    """With an error: the engine is gone, and another one may answer."""
    refused: bool = False
    """With an error: what the request asks for cannot be done."""
    thought: str = ""
    """What of the text is a thought; the engine does not tell it apart yet."""
    steps: int = 0
    """Tokens of the reply so far; a result has its own number."""


class EngineDown(HoldfastError):
    """The engine takes no jobs, since it does not run or is being restarted."""


class Inbox(NamedTuple):
    """A queue of an event loop, for the pieces of a request's replies and their choice numbers."""

    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[tuple[int, Piece]]


@dataclass(eq=False)
class Job:
    """One reply to generate."""

    index: int
    """What its pieces are delivered under: a choice of the request, or a number in the pipe."""
    request: Request
    """The chat in token ids."""
    sampling: Sampling
    """How its tokens are drawn."""
    text: ReplyText
    """Its text so far."""
    streams: bool
    """True to deliver every piece, False for the last alone."""
    inbox: Inbox | None = None
    """Where its pieces go."""
    row: Row | None = None
    """Its row, once it is decoded."""
    logprobs_sent: int = 0
    """Tokens whose log-probabilities were delivered."""
    dropped: bool = False
    """True once its client has left."""

    @property
    def units(self) -> int:
        """Number of rows that it takes."""
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
            loop.call_soon_threadsafe(_put, some)


def _put(pieces: Pieces) -> None:
    for job, piece in pieces:
        assert job.inbox is not None
        job.inbox.pieces.put_nowait((job.index, piece))


class EngineThread:
    """Runs jobs on an engine in a thread, in the order in which they came.

    Args:
        engine: the engine.
        ends: token ids that end a reply.
        rows: rows decoded at once, at most.
        deliver: takes the pieces of a step, in the engine's thread; by default `post`.
    """

    def __init__(
        self,
        engine: Engine,
        ends: frozenset[int],
        rows: int,
        deliver: Callable[[Pieces], None] = post,
    ) -> None:
        self.engine, self.ends, self.rows, self._deliver = engine, ends, rows, deliver
        self.steps = self.restarts = 0
        self._waiting: deque[Job] = deque()
        self._batches: dict[Batch, list[Job]] = {}
        self._shared_batch = Batch(engine, ends)
        self._wake = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Number of jobs that are not rows yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of rows in progress."""
        return sum(batch.running for batch in list(self._batches))

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def up(self) -> bool:
        """True while it takes jobs."""
        return self.alive

    def start(self) -> None:
        """Start the thread, after a `stop` too."""
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="holdfast-engine", daemon=True)
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs; their pieces arrive in their inboxes. Raises `EngineDown`."""
        with self._wake:
            if self._stopped or not self.alive:
                raise EngineDown(NOT_RUNNING)
            self._waiting.extend(jobs)
            self._wake.notify()

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs whose client has left; their rows are free after the next step."""
        with self._wake:
            for job in jobs:
                job.dropped = True
            self._waiting = deque(job for job in self._waiting if not job.dropped)

    def stop(self) -> None:
        """End the thread; jobs that remain fail."""
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
            except Exception:  # a bug of ours: the replies in progress are lost, the server is not
                LOG.exception("the engine's thread failed")
                self._abandon("the server failed; its log says why")
            if self._stopped:
                self._fail([*self._waiting], "the server is stopping")
                self._waiting.clear()
                return

    def _decode(self) -> None:
        """Decode until no job is left."""
        while not self._stopped:
            self._admit()
            if not self._batches:
                return
            for batch in list(self._batches):
                self._step(batch)
            self.steps += 1
        self._abandon("the server is stopping")

    def _abandon(self, why: str) -> None:
        """Fail every job in progress."""
        for jobs in self._batches.values():
            self._fail(jobs, why)
        self._batches.clear()
        self._shared_batch = Batch(self.engine, self.ends)
        self.engine.forget()

    def _admit(self) -> None:
        """Turn waiting jobs into rows, as far as there is room, and prefill them together."""
        jobs = self._take_next()
        if not jobs:
            return
        ready = [job for job in jobs if self._prepare(job)]
        together = [job for job in ready if job.row is not None and job.row.reuses]
        for job in ready:
            if job not in together:
                self._join(Batch(self.engine, self.ends), [job])
        if together:
            self._join(self._shared_batch, together)

    def _take_next(self) -> list[Job]:
        running = self.running
        with self._wake:
            jobs: list[Job] = []
            room = self.rows - running
            while self._waiting and (self._waiting[0].units <= room or (not running and not jobs)):
                jobs.append(self._waiting.popleft())
                room -= jobs[-1].units
            return jobs

    def _prepare(self, job: Job) -> bool:
        """Make a job's row. False if the job has ended already."""
        halt = job.text.feed if job.streams or job.sampling.stop else None
        try:
            job.row = self.engine.row(job.request, job.sampling, halt)
        except Exception as error:
            if not isinstance(error, HoldfastError):
                LOG.exception("a request could not be prepared")
            reason = str(error) if isinstance(error, HoldfastError) else type(error).__name__
            self._fail([job], f"the model failed on this request ({reason})")
            return False
        if job.row.stop is not None:
            self._deliver([(job, Piece("", (), Continuation((), job.row.stop)))])
            return False
        return True

    def _join(self, batch: Batch, jobs: list[Job]) -> None:
        """Prefill jobs together, or, if that fails, one by one: a bad one hurts no other."""
        rows = [row for job in jobs for row in (job.row, job.row and job.row.shadow) if row]
        try:
            batch.join(rows)
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
        """Draw a token for every row of a batch."""
        jobs = self._batches[batch]
        try:
            if not batch.advance():
                del self._batches[batch]
                return
            batch.pick()
            self._deliver_step(jobs)
        except Exception as error:
            LOG.exception("a decoding step failed")
            self._fail(jobs, f"the model failed ({type(error).__name__})")
            self.engine.forget()  # the buffers may hold anything
            del self._batches[batch]
            if batch is self._shared_batch:
                self._shared_batch = Batch(self.engine, self.ends)

    def _deliver_step(self, jobs: list[Job]) -> None:
        """Deliver the pieces of a step, and take jobs that have ended off the list."""
        pieces: list[tuple[Job, Piece]] = []
        running: list[Job] = []
        for job in jobs:
            assert job.row is not None
            if job.dropped and job.row.stop is None:
                job.row.end()
            if job.row.stop is None:
                running.append(job)
                if job.streams and (piece := self._piece(job)):
                    pieces.append((job, piece))
            elif not job.dropped:
                pieces.append((job, self._last(job)))
        jobs[:] = running
        self._deliver(pieces)

    def _piece(self, job: Job) -> Piece | None:
        assert job.row is not None
        text, steps = job.text.take(), job.row.steps
        return Piece(text, self._logprobs(job), steps=steps) if text else None

    def _logprobs(self, job: Job) -> Sequence[Logprob]:
        assert job.row is not None
        start, job.logprobs_sent = job.logprobs_sent, len(job.row.reply)
        return tuple(job.row.logprobs[start : job.logprobs_sent])

    def _last(self, job: Job) -> Piece:
        row = job.row
        assert row is not None
        if row.stop == "error" and row.shaper is not None and row.shaper.lost:
            return Piece("", error="following the grammar takes too much work", refused=True)
        if row.stop == "error":
            return Piece("", error="the model's logits for this request are not finite")
        job.text.end(row.reply)
        return Piece(job.text.take(), self._logprobs(job), result_of(row))

    def _fail(self, jobs: Sequence[Job], why: str) -> None:
        self._deliver([(job, Piece("", error=why)) for job in jobs if not job.dropped])
