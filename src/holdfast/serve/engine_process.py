"""The engine in a process of its own, so that HTTP and the model do not wait for each other.

    clients ⇄ event loop ─ jobs ⇉ pipe ⇉ `EngineThread` ⇄ engine
                         ⇇ pieces of a step ⇇

In one process the two take turns at Python's lock: decoding a small model is many short
operations, and the other side may take over between any two. Here the server has the model's
outline, which reads chats, and the process that has the weights gets token ids. One message
carries the pieces of all replies of a decoding step.

`EngineProcess` takes the place of an `EngineThread`. This module knows pipes. It knows no HTTP and
no chats.
"""

from __future__ import annotations

import gc
import itertools
import logging
import multiprocessing
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.core.backend import Sampling
from holdfast.core.errors import ModelError
from holdfast.models.engine.request import Request
from holdfast.models.load import import_local
from holdfast.serve.detokenize import ReplyText
from holdfast.serve.engine_thread import EngineThread, Job, Piece, Pieces, post

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

PATIENCE = 30.0  # seconds that the process may take to end before it is killed
CPU_CACHE = 512 << 20  # bytes of keys and values kept between requests, on a CPU
GONE = "the engine's process has ended: restart the server"


@dataclass(frozen=True)
class EngineSpec:
    """The model that an engine's process loads, and how."""

    name: str
    """mini, a folder or a hub id."""
    rows: int
    """Rows decoded at once, at most."""
    dtype: str = "auto"
    """As `models.local.load.load` takes it."""
    device: str = "auto"
    """As `models.local.load.load` takes it."""
    cache_bytes: int | None = None
    """Bytes of keys and values kept between requests; None is the device's default, and on a CPU
    at most `CPU_CACHE`."""


class Ready(NamedTuple):
    """The engine's first message: why the model cannot be under anchor, or why it did not load."""

    no_anchor: str | None = None
    failed: str | None = None


class JobMessage(NamedTuple):
    """A job, as the pipe carries it."""

    number: int
    request: Request
    sampling: Sampling
    streams: bool


class Update(NamedTuple):
    """The pieces of a step by the numbers of their jobs, and the engine's state."""

    pieces: Sequence[tuple[int, Piece]]
    waiting: int
    running: int
    steps: int


class EngineProcess:
    """An `EngineThread` in another process, which starts at once; `ready` waits for its model."""

    def __init__(self, spec: EngineSpec) -> None:
        self.steps = 0
        self._waiting = self._running = 0
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # of the pipe's sending end
        self._lost = False
        self._listener: threading.Thread | None = None
        # A fresh process: a fork of one that has used CUDA or OpenMP may hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run_engine, args=(spec, theirs), name="holdfast-engine", daemon=True
        )
        self._process.start()
        theirs.close()

    def ready(self) -> str | None:
        """Wait for the model. Returns why it cannot be put under anchor, or None.

        Raises `ModelError` where it cannot be loaded.
        """
        try:
            first: Ready = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            raise ModelError(
                f"the engine's process ended while it loaded the model (exit code {code}): the "
                "log above may say why; too little memory is the usual cause."
            ) from None
        if first.failed is not None:
            raise ModelError(first.failed)
        return first.no_anchor

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
        """True while the process runs."""
        return not self._lost and self._process.is_alive()

    def start(self) -> None:
        """Listen to the engine."""
        self._listener = threading.Thread(target=self._listen, name="holdfast-pipe", daemon=True)
        self._listener.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs; their pieces arrive in their inboxes."""
        messages = []
        for job in jobs:
            number = next(self._numbers)
            self._jobs[number] = job
            messages.append(JobMessage(number, job.request, job.sampling, job.streams))
        if not self._send(messages):
            self._fail([one.number for one in messages])

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs whose client has left: their rows are free after the next step."""
        some = set(map(id, jobs))
        numbers = [number for number, job in list(self._jobs.items()) if id(job) in some]
        for number in numbers:
            self._jobs.pop(number, None)
        if numbers:
            self._send(tuple(numbers))

    def stop(self) -> None:
        """End the process; jobs that remain fail."""
        self._send(None)
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._listener is not None:
            self._listener.join(PATIENCE)
        self._pipe.close()

    def _send(self, what: list[JobMessage] | tuple[int, ...] | None) -> bool:
        """Send jobs, numbers of jobs to drop, or None to stop. False if nobody reads."""
        try:
            with self._lock:
                self._pipe.send(what)
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                update: Update = self._pipe.recv()
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
        self._lost = True
        self._fail(list(self._jobs))

    def _fail(self, numbers: Sequence[int]) -> None:
        jobs = [job for number in numbers if (job := self._jobs.pop(number, None)) is not None]
        post([(job, Piece("", error=GONE)) for job in jobs])


def load_engine(spec: EngineSpec) -> LocalBackend:
    """Load the model with its weights. Raises `ModelError`."""
    backend: LocalBackend = import_local(spec.name).load(
        spec.name, dtype=spec.dtype, device=spec.device, cache_bytes=spec.cache_bytes
    )
    store = backend.engine.store
    if spec.cache_bytes is None and backend.engine.device.type == "cpu":
        store.limit = min(store.limit, CPU_CACHE)
    return backend


# In the engine's process


def _run_engine(spec: EngineSpec, pipe: Connection[Any, Any]) -> None:
    """Load the model, report it, and work until the server says stop or goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which stops us
    import torch

    try:
        backend = load_engine(spec)
    except ModelError as error:
        pipe.send(Ready(failed=str(error)))
        return
    if backend.small:  # its operations are too short to be shared out, and the server needs a core
        torch.set_num_threads(1)
    jobs: dict[int, Job] = {}

    def deliver(pieces: Pieces) -> None:
        if not pieces:  # a step without pieces needs no message
            return
        for job, piece in pieces:
            if piece.result is not None or piece.error is not None:
                jobs.pop(job.index, None)
        numbered = [(job.index, piece) for job, piece in pieces]
        with suppress(OSError):  # nobody is there: the loop below ends as well
            pipe.send(Update(numbered, engine.waiting, engine.running, engine.steps))

    engine = EngineThread(backend.engine, backend.ends, spec.rows, deliver)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    pipe.send(Ready(backend.engine.no_anchor))
    engine.start()
    gc.freeze()  # what exists now stays; looking through it again takes time
    with suppress(EOFError, OSError):
        while (message := pipe.recv()) is not None:
            if isinstance(message, tuple):
                engine.drop([job for number in message if (job := jobs.pop(number, None))])
                continue
            fresh = [
                Job(number, request, sampling, ReplyText(backend.decode, sampling.stop), streams)
                for number, request, sampling, streams in message
            ]
            jobs |= {job.index: job for job in fresh}
            engine.submit(fresh)
    engine.stop()
