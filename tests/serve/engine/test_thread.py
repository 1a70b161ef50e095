"""The thread that runs the engine, and what it keeps of jobs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.serve.engine.thread import EngineThread, Job, Pieces
from holdfast.serve.engine.worker import reply_text
from serve.running import small


def test_a_job_whose_client_leaves_while_it_waits_is_kept_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, may_decode = small(), threading.Event()
    decoding = backend.engine.decoding

    @contextmanager
    def late_decoding() -> Iterator[None]:
        may_decode.wait()
        with decoding():
            yield

    monkeypatch.setattr(backend.engine, "decoding", late_decoding)
    request = backend.request(Ask((message("user", "Tea?"),), 0))
    sampling = Sampling(max_new_tokens=1)
    jobs = [
        Job(i, request, sampling, reply_text(backend, request, sampling), streams=False)
        for i in range(3)
    ]
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def deliver(pieces: Pieces) -> None:
        for job, _ in pieces:
            ended.put(job.index)

    thread = EngineThread(backend.engine, backend.ends, rows=1, deliver=deliver)
    thread.start()
    try:
        thread.submit(jobs)
        thread.drop(jobs[:2])
        assert thread.waiting == 1
        may_decode.set()
        assert ended.get(timeout=30) == 2
    finally:
        may_decode.set()
        thread.stop()
