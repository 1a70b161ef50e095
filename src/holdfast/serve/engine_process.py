"""The engine in a process of its own, so that HTTP never waits for the model, nor it for HTTP.

    clients ⇄ event loop ─ jobs ⇉ pipe ⇉ `Worker` ⇄ engine
                         ⇇ what a step brought ⇇

In one process the two take turns at Python's lock: decoding a small model is many short
operations, between each of which the other may take over. Here the server has the model's
outline, which reads chats, and the process that holds the weights gets token ids. What a
decoding step brings to all replies is one message.

`Remote` stands where a `Worker` would. This module knows pipes. It knows no HTTP and no
chats.
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
from holdfast.models.engine.row import Request
from holdfast.models.load import import_local
from holdfast.serve.detokenize import Text
from holdfast.serve.engine_thread import Job, Piece, Pieces, Worker, post

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

PATIENCE = 30.0  # seconds that the process may take to end before it is killed
CPU_CACHE = 512 << 20  # bytes of keys and values kept between requests, on a CPU
GONE = "the engine's process has ended: restart the server"


@dataclass(frozen=True)
class Recipe:
    """What an engine's process loads, as `holdfast.local.load` takes it.

    `rows` are decoded at most at once; `cache_bytes` None is the default of its device, and on
    a CPU at most `CPU_CACHE`.
    """

    name: str
    rows: int
    dtype: str = "auto"
    device: str = "auto"
    cache_bytes: int | None = None


class Ready(NamedTuple):
    """The engine's first message: why `anchor` cannot be, if so; or why there is no engine."""

    no_anchor: str | None = None
    failed: str | None = None


class Asked(NamedTuple):
    """A job on its way to the engine."""

    number: int
    request: Request
    sampling: Sampling
    streams: bool


class Told(NamedTuple):
    """What a step brought, by the jobs' numbers, and how the worker stands."""

    pieces: Sequence[tuple[int, Piece]]
    waiting: int
    running: int
    steps: int


class Remote:
    """A `Worker` in another process, which is started at once; `ready` waits until it is."""

    def __init__(self, recipe: Recipe) -> None:
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
            target=_engine, args=(recipe, theirs), name="holdfast-engine", daemon=True
        )
        self._process.start()
        theirs.close()

    def ready(self) -> str | None:
        """Wait for the model; why it cannot be put under anchor, or None.

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
        """Whether the process runs."""
        return not self._lost and self._process.is_alive()

    def start(self) -> None:
        """Listen to the engine."""
        self._listener = threading.Thread(target=self._listen, name="holdfast-pipe", daemon=True)
        self._listener.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs on; their pieces come in their inboxes."""
        asked = []
        for job in jobs:
            number = next(self._numbers)
            self._jobs[number] = job
            asked.append(Asked(number, job.request, job.sampling, job.streams))
        if not self._send(asked):
            self._fail([one.number for one in asked])

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs whose client has left: their rows are free after the next step."""
        some = set(map(id, jobs))
        numbers = [number for number, job in list(self._jobs.items()) if id(job) in some]
        for number in numbers:
            self._jobs.pop(number, None)
        if numbers:
            self._send(tuple(numbers))

    def stop(self) -> None:
        """End the process; jobs that are left are told."""
        self._send(None)
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._listener is not None:
            self._listener.join(PATIENCE)
        self._pipe.close()

    def _send(self, what: list[Asked] | tuple[int, ...] | None) -> bool:
        """Send jobs, the numbers of those to drop, or None for the end; False if nobody reads."""
        try:
            with self._lock:
                self._pipe.send(what)
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                told: Told = self._pipe.recv()
                self._waiting, self._running, self.steps = told[1:]
                pieces = [
                    (job, piece)
                    for number, piece in told.pieces
                    if (job := self._jobs.get(number)) is not None
                ]
                for number, piece in told.pieces:
                    if piece.result is not None or piece.error is not None:
                        self._jobs.pop(number, None)
                post(pieces)
        self._lost = True
        self._fail(list(self._jobs))

    def _fail(self, numbers: Sequence[int]) -> None:
        jobs = [job for number in numbers if (job := self._jobs.pop(number, None)) is not None]
        post([(job, Piece("", error=GONE)) for job in jobs])


def loaded(recipe: Recipe) -> LocalBackend:
    """The model, weights and all. Raises `ModelError`."""
    made: LocalBackend = import_local(recipe.name).load(
        recipe.name, dtype=recipe.dtype, device=recipe.device, cache_bytes=recipe.cache_bytes
    )
    store = made.engine.store
    if recipe.cache_bytes is None and made.engine.device.type == "cpu":
        store.limit = min(store.limit, CPU_CACHE)
    return made


# In the engine's process


def _engine(recipe: Recipe, pipe: Connection[Any, Any]) -> None:
    """Load the model, say so, and work until told to stop, or until nobody is there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's, which tells us
    import torch

    try:
        home = loaded(recipe)
    except ModelError as error:
        pipe.send(Ready(failed=str(error)))
        return
    if home.small:  # its operations are too short to be shared out, and the server needs a core
        torch.set_num_threads(1)
    jobs: dict[int, Job] = {}

    def deliver(pieces: Pieces) -> None:
        if not pieces:  # a step without news is no message
            return
        for job, piece in pieces:
            if piece.result is not None or piece.error is not None:
                jobs.pop(job.index, None)
        told = [(job.index, piece) for job, piece in pieces]
        with suppress(OSError):  # nobody is there: the loop below ends as well
            pipe.send(Told(told, worker.waiting, worker.running, worker.steps))

    worker = Worker(home.engine, home.ends, recipe.rows, deliver)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    pipe.send(Ready(home.engine.no_anchor))
    worker.start()
    gc.freeze()  # what is here now stays: looking through it again and again takes time
    with suppress(EOFError, OSError):
        while (said := pipe.recv()) is not None:
            if isinstance(said, tuple):
                worker.drop([job for number in said if (job := jobs.pop(number, None))])
                continue
            fresh = [
                Job(number, request, sampling, Text(home.decode, sampling.stop), streams)
                for number, request, sampling, streams in said
            ]
            jobs |= {job.index: job for job in fresh}
            worker.submit(fresh)
    worker.stop()
