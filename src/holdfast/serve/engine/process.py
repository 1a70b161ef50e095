"""The engine in a process of its own, so that HTTP and the model do not wait for each other.

    clients ⇄ event loop ─ jobs ⇉ thread ⇉ pipe ⇉ `run_engine` ⇄ engine
                         ⇇ pieces of a step ⇇

In one process the two take turns at Python's lock: decoding a small model is many short
operations, and the other side may take over between any two. Here the server has the model's
outline, which reads chats, and the process that has the weights gets token ids. One message
carries the pieces of all replies of a decoding step.

A process that ends, sends nothing for `silence` seconds or takes no step for `stall` seconds is
replaced; its jobs fail. The next one starts after a delay that doubles with every failure.

`EngineProcess` takes the place of an `EngineThread`. This module knows processes. It knows no HTTP
and no chats.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import multiprocessing
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from holdfast.core.errors import ModelError
from holdfast.serve.engine.thread import NOT_RUNNING, EngineDown, Job, Piece, post
from holdfast.serve.engine.worker import EngineSpec, JobMessage, Ready, Update, run_engine

LOG = logging.getLogger("holdfast.serve")
PATIENCE = 30.0  # seconds that the process may take to end before it is killed
LOADING = 1800.0  # seconds that a model may take to load before its process is replaced
DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before the first restart, and before later ones at most
STEADY = 60.0  # seconds after which an engine's end counts as its first failure again
HOPELESS = 8  # failures in a row after which the server reports that it is not alive
TICK = 0.25  # seconds between two looks at the engine's silence
LATE = 3.0  # seconds of silence after which the server reports that it is not ready
ENGINE_GONE = "the engine's process has ended and is being restarted: try again"

_Outgoing = list[JobMessage] | tuple[int, ...] | None


class _Worker:
    """One process of the engine. A thread of its own sends, so that nobody waits for the pipe."""

    def __init__(self, spec: EngineSpec) -> None:
        # A fresh process: a fork of one that has used CUDA or OpenMP may hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        self.process = context.Process(
            target=run_engine, args=(spec, child_pipe), name="holdfast-engine", daemon=True
        )
        self.process.start()
        child_pipe.close()
        # It ignores SIGTERM, by which Python ends processes that are left at its exit.
        atexit.register(self.process.kill)
        self._outbox: queue.SimpleQueue[_Outgoing] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name="holdfast-outbox", daemon=True)
        self._sender.start()

    def load(self, stopping: threading.Event) -> Ready:
        """Wait for the model. Raises `ModelError` where it cannot be loaded."""
        end = time.monotonic() + LOADING
        try:
            while not self.pipe.poll(TICK):
                if stopping.is_set() or time.monotonic() > end:
                    raise ModelError(f"the model was not loaded within {LOADING:g} seconds")
            first: Ready = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            raise ModelError(
                f"the engine's process ended while it loaded the model (exit code "
                f"{self.process.exitcode}): the log above may say why; too little memory is the "
                "usual cause."
            ) from None
        if first.failure is not None:
            raise ModelError(first.failure)
        return first

    def send(self, message: _Outgoing) -> None:
        """Send jobs, numbers of jobs to drop, or None to stop. Does not wait."""
        self._outbox.put(message)

    def _send_all(self) -> None:
        with suppress(OSError):  # nobody reads: the jobs are failed by whoever listens
            while True:
                message = self._outbox.get()
                self.pipe.send(message)
                if message is None:
                    return

    def end(self, patience: float = 0.0) -> None:
        """Wait for the process, then kill it."""
        self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.send(None)
        self._sender.join()  # what it writes to is closed after it
        self.pipe.close()
        atexit.unregister(self.process.kill)


class EngineProcess:
    """An `EngineThread` in another process, which starts at once; `ready` waits for its model.

    Args:
        spec: the model, and how it is loaded.
        silence: seconds without a message after which the process is replaced. It sends one every
            second, also during a long step, if it runs at all.
        stall: seconds that a step may take, the prefill of new prompts included.
    """

    def __init__(self, spec: EngineSpec, silence: float = 10.0, stall: float = 600.0) -> None:
        self.spec, self.silence, self.stall = spec, silence, stall
        self.steps = self.restarts = 0
        self._failures, self._waiting, self._running = 0, 0, 0
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # of `_up` and of what is sent while it is true
        self._up, self._stopping = False, threading.Event()
        self._ticks = 0  # since the last message
        self._last_move = time.monotonic()  # when the last step was taken, or no job was there
        self._why = ""
        self._supervisor: threading.Thread | None = None
        self._worker = _Worker(spec)

    def ready(self) -> str | None:
        """Wait for the model. Returns why it cannot be put under anchor, or None.

        Raises `ModelError` where it cannot be loaded.
        """
        first = self._worker.load(self._stopping)
        self._up = True
        return first.no_anchor

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._worker.process.pid

    @property
    def waiting(self) -> int:
        """Jobs that are not rows yet."""
        return min(self._waiting, len(self._jobs))

    @property
    def running(self) -> int:
        """Rows under way."""
        return self._running if self._jobs else 0

    @property
    def alive(self) -> bool:
        """True unless it was stopped, or failed so often that a restart of all is better."""
        return not self._stopping.is_set() and (self._up or self._failures < HOPELESS)

    @property
    def up(self) -> bool:
        """True while the process answers."""
        return self._up and not self._stopping.is_set() and self._ticks * TICK < LATE

    def start(self) -> None:
        """Listen to the engine, and replace it where that is needed."""
        self._supervisor = threading.Thread(
            target=self._supervise, name="holdfast-pipe", daemon=True
        )
        self._supervisor.start()
        threading.Thread(target=self._watch, name="holdfast-watch", daemon=True).start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs; their pieces arrive in their inboxes. Raises `EngineDown`."""
        with self._lock:
            if self._supervisor is None:
                raise EngineDown(NOT_RUNNING)
            if not self._up:
                raise EngineDown(ENGINE_GONE)
            messages = []
            for job in jobs:
                number = next(self._numbers)
                self._jobs[number] = job
                messages.append(JobMessage(number, job.request, job.sampling, job.streams))
            self._worker.send(messages)

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs whose client has left: their rows are free after the next step."""
        some = set(map(id, jobs))
        numbers = [number for number, job in list(self._jobs.items()) if id(job) in some]
        for number in numbers:
            self._jobs.pop(number, None)
        if numbers:
            self._worker.send(tuple(numbers))

    def stop(self) -> None:
        """End the process; jobs that remain fail."""
        self._stopping.set()
        self._worker.send(None)
        if self._supervisor is not None:
            self._supervisor.join(PATIENCE)
            self._worker.end()
        else:
            self._worker.end(PATIENCE)

    # In threads

    def _supervise(self) -> None:
        """Listen to one process after the other."""
        while True:
            start = time.monotonic()
            self._listen(self._worker)
            with self._lock:
                self._up = False
            self._fail(list(self._jobs))
            if self._stopping.is_set():
                return
            self._worker.end()
            code = self._worker.process.exitcode
            LOG.error("the engine's process %s: it is replaced", self._why or f"ended ({code})")
            if time.monotonic() - start > STEADY:
                self._failures = 0
            if not self._replace():
                return

    def _listen(self, worker: _Worker) -> None:
        """Hand on what a process sends until it ends."""
        with suppress(EOFError, OSError):
            while True:
                update: Update = worker.pipe.recv()
                self._ticks = 0
                if update.steps != self.steps or not (update.waiting or update.running):
                    self._last_move = time.monotonic()
                self._waiting, self._running, self.steps = update[1:]
                pieces = [
                    (job, piece)
                    for number, piece in update.pieces
                    if (job := self._jobs.get(number)) is not None
                ]
                for number, piece in update.pieces:
                    if piece.result is not None or piece.error is not None:
                        self._jobs.pop(number, None)
                post(pieces)

    def _watch(self) -> None:
        """Kill a process that is stopped or stuck; whoever listens to it then notices.

        Ticks are counted, and not seconds, so that a pause of this process is none of the engine's.
        """
        while self._supervisor is not None and self._supervisor.is_alive():
            time.sleep(TICK)
            if not self._up:
                continue
            self._ticks += 1
            if self._ticks * TICK >= self.silence:
                self._why = f"sent nothing for {self.silence:g} seconds"
            elif time.monotonic() - self._last_move > self.stall:
                self._why = f"took no step for {self.stall:g} seconds"
            else:
                continue
            self._worker.process.kill()

    def _replace(self) -> bool:
        """Start another process, again and again if it fails. False if the server stops."""
        while True:
            delay = min(LONGEST_DELAY, DELAY * 2**self._failures)
            self._failures += 1
            if self._stopping.wait(delay):
                return False
            self._worker = _Worker(self.spec)
            try:
                self._worker.load(self._stopping)
            except ModelError as error:
                self._worker.end()
                if self._stopping.is_set():
                    return False
                LOG.error("the engine did not start: %s", error)
                continue
            self.restarts += 1
            self.steps = self._ticks = 0
            self._last_move, self._why = time.monotonic(), ""
            LOG.info("the engine's process is back")
            self._up = True
            return True

    def _fail(self, numbers: Sequence[int]) -> None:
        jobs = [job for number in numbers if (job := self._jobs.pop(number, None)) is not None]
        post([(job, Piece("", error=ENGINE_GONE, lost=True)) for job in jobs])
