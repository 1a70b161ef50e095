"""What runs in the engine's process: the model, an `EngineThread`, and one end of a pipe.

The server sends jobs, numbers of jobs to drop, or None to stop. The process sends one message for
each decoding step that has pieces, and one every `PULSE` seconds, so that the server notices if it
is stopped or stuck.

This module knows models and pipes. It knows no HTTP and no chats.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.core.backend import Sampling
from holdfast.core.errors import ModelError
from holdfast.models.engine.request import Request
from holdfast.models.load import import_local
from holdfast.serve.detokenize import ReplyText
from holdfast.serve.engine.thread import EngineThread, Job, Piece, Pieces

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

CPU_CACHE = 512 << 20  # bytes of keys and values kept between requests, on a CPU
PULSE = 1.0  # seconds


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
    base: str | None = None
    """As `models.local.load.load` takes it."""
    options: Mapping[str, Any] | None = None
    """As `models.local.load.load` takes it."""


class Ready(NamedTuple):
    """The engine's first message: why the model cannot be under anchor, or why it did not load."""

    no_anchor: str | None = None
    failure: str | None = None


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


def load_engine(spec: EngineSpec) -> LocalBackend:
    """Load the model with its weights. Raises `ModelError`."""
    backend: LocalBackend = import_local(spec.name).load(
        spec.name,
        dtype=spec.dtype,
        device=spec.device,
        cache_bytes=spec.cache_bytes,
        base=spec.base,
        options=spec.options,
    )
    store = backend.engine.store
    if spec.cache_bytes is None and backend.engine.device.type == "cpu":
        store.limit = min(store.limit, CPU_CACHE)
    return backend


def reply_text(backend: LocalBackend, request: Request, sampling: Sampling) -> ReplyText:
    """The text of a reply that has not begun."""
    thoughts = backend.thoughts
    return ReplyText(thoughts.decode, sampling.stop, thoughts.opens(request.ids))


def run_engine(spec: EngineSpec, pipe: Connection[Any, Any]) -> None:
    """Load the model, report it, and work until the server says stop or goes away."""
    # Ctrl-C and a service manager's SIGTERM go to the whole group; the server stops us in time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import torch

    try:
        backend = load_engine(spec)
    except ModelError as error:
        pipe.send(Ready(failure=str(error)))
        return
    if backend.small:  # its operations are too short to be shared out, and the server needs a core
        torch.set_num_threads(1)
    jobs: dict[int, Job] = {}
    pipe_lock, stop = threading.Lock(), threading.Event()

    def send(pieces: Sequence[tuple[int, Piece]]) -> None:
        with suppress(OSError), pipe_lock:  # if nobody is there the loop below ends as well
            pipe.send(Update(pieces, engine.waiting, engine.running, engine.steps))

    def pulse() -> None:
        while not stop.wait(PULSE):
            send(())

    def deliver(pieces: Pieces) -> None:
        if not pieces:  # a step without pieces needs no message
            return
        for job, piece in pieces:
            if piece.result is not None or piece.error is not None:
                jobs.pop(job.index, None)
        send([(job.index, piece) for job, piece in pieces])

    engine = EngineThread(backend.engine, backend.ends, spec.rows, deliver)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger(__name__).info(backend.format_line)
    pipe.send(Ready(backend.engine.no_anchor))
    engine.start()
    threading.Thread(target=pulse, name="holdfast-pulse", daemon=True).start()
    gc.freeze()  # what exists now stays; looking through it again takes time
    with suppress(EOFError, OSError):
        while (message := pipe.recv()) is not None:
            if isinstance(message, tuple):
                engine.drop([job for number in message if (job := jobs.pop(number, None))])
            else:
                new_jobs = [_make_job(backend, one) for one in message]
                jobs |= {job.index: job for job in new_jobs}
                engine.submit(new_jobs)
    engine.stop()
    stop.set()


def _make_job(backend: LocalBackend, message: JobMessage) -> Job:
    number, request, sampling, streams = message
    return Job(number, request, sampling, reply_text(backend, request, sampling), streams)
