"""Units of a run done by workers on a Ray cluster.

A worker holds the models and does one unit at a time. The unit of a lost worker goes to the next.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.cluster.worker import (
    ModelCard,
    ModelOpener,
    PoolJob,
    PoolJobResult,
    PoolWorker,
    U,
    Work,
)
from holdfast.core.control import Control
from holdfast.core.errors import HoldfastError, RunError, shorten
from holdfast.core.extras import install

MAX_LOSSES = 3
"""Workers that one unit may lose, or that may be lost one after another while they load."""
PATIENCE = 10.0
"""Seconds that a worker may take to begin before it is said what it waits for."""
_NO_WORKERS = "the cluster loses every worker that loads the model: see `ray status`."


class PoolModel:
    """A model that a pool's workers hold, as a backend: the machine that asks needs none."""

    def __init__(self, pool: RayPool, position: int, card: ModelCard) -> None:
        self._pool, self._position, self._card = pool, position, card
        self.name = card.name
        self.local = card.local
        self.context = card.context
        self.user_first = card.user_first
        self.share_refusal = card.share_refusal

    def _call(self, method: str, *args: Any, **options: Any) -> Any:
        return self._pool.call(self._position, method, *args, **options)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """As the backend on a worker replies."""
        return list(self._call("reply", asks, sampling))

    def refusal(self, control: Control) -> str | None:
        """Why the workers' model cannot be put under a control."""
        why = self._call("refusal", control)
        return None if why is None else str(why)

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """As the backend on a worker scores them."""
        return list(self._call("likelihoods", asks, options))

    def count(self, text: str) -> int:
        """Tokens in a text, by a worker's tokenizer."""
        return int(self._call("count", text))

    def forget(self) -> None:
        """Nothing to do: a worker forgets on its own before each unit."""

    def describe(self) -> Mapping[str, object]:
        """What determines the replies; the same on every worker."""
        return dict(self._card.describe)


class _Errand(NamedTuple):
    """What a worker is doing."""

    worker: Any
    unit: int | None
    """The unit it does; None while it loads its models."""
    place: Any = None
    """A result that is ready once a loading worker has a place on a node; None for others."""


class RayPool:
    """Workers on a Ray cluster that all hold the same models.

    A worker has one CPU and, where the models want one, a GPU of its own. There are as many as
    the cluster has room for and units to give them. Leaving the `with` block ends them.
    """

    def __init__(
        self, address: str, openers: Sequence[ModelOpener], *, device: str = "auto"
    ) -> None:
        """Connect, and start the first worker.

        Args:
            address: `auto`, or HOST:PORT of the cluster's head.
            openers: load the models on a worker.
            device: where the models run: auto, cpu or cuda.

        Raises:
            RunError: there is no such cluster, no room on it, or it loses every worker.
        """
        if re.fullmatch(r"cuda:\d+", device):
            raise RunError(
                f"`device` {device} names one machine's GPU: on a cluster it is cuda or auto."
            )
        self._ray = _connect(address)
        self._openers = list(openers)
        cluster = self._ray.cluster_resources()
        self._resources = _resources(device, cluster)
        room = (cluster.get(name, 0.0) // n for name, n in self._resources.items())
        self._room = int(min(room))
        if self._room < 1:
            lacking = _in_words(self._resources)
            raise RunError(f"no node of the cluster at {address} has {lacking}: add one.")
        self._losses: Counter[int] = Counter()
        self._lost_loading = 0  # workers, since the last that loaded its models
        # A result may be lost too, where its node goes before this machine has taken it over.
        errors = self._ray.exceptions
        self._loss_errors = (errors.RayActorError, errors.ObjectLostError)
        self._idle: list[Any] = []
        self._cards = self._open_first()
        #: The models, to plan with.
        self.models: list[Backend] = [PoolModel(self, i, c) for i, c in enumerate(self._cards)]

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _start_worker(self) -> tuple[Any, _Errand]:
        """Start a worker, and return the reference of its models' cards and its errand."""
        resources = self._resources
        options = {"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0)}
        actor = self._ray.remote(PoolWorker).options(scheduling_strategy="SPREAD", **options)
        worker = actor.remote(self._openers)
        place = worker.begin.remote()
        return worker.open.remote(), _Errand(worker, None, place)

    def _await_place(self, errands: Iterable[_Errand]) -> None:
        """Say what new workers wait for, where none of them has begun after some seconds."""
        places = [one.place for one in errands]
        if not self._ray.wait(places, num_returns=1, timeout=PATIENCE)[0]:
            available = self._ray.available_resources()
            free = {name: available.get(name, 0.0) for name in self._resources}
            print(
                f"waiting for a worker to begin: it takes {_in_words(self._resources)} of "
                f"one node, and {_in_words(free)} in all are free (see `ray status`)",
                file=sys.stderr,
                flush=True,
            )

    def _get(self, reference: Any) -> Any:
        """A result; where a worker's model refused, raise the same refusal here."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, HoldfastError):
                raise error.cause from None
            if isinstance(error.cause, ModuleNotFoundError):
                raise RunError(
                    f"a node of the cluster lacks {error.cause.name}: install the same on all."
                ) from None
            raise

    def _open_first(self) -> list[ModelCard]:
        """Start the only worker, or another where it is lost while it loads the models."""
        for _ in range(MAX_LOSSES):
            reference, errand = self._start_worker()
            self._await_place([errand])
            try:
                cards: list[ModelCard] = self._get(reference)
            except self._loss_errors:
                self._ray.kill(errand.worker)  # whose result may be lost while it lives
                continue
            self._idle = [errand.worker]
            return cards
        raise RunError(_NO_WORKERS)

    def call(self, model: int, method: str, *args: Any, **options: Any) -> Any:
        """Call a model's method on a worker that is free, or on another in its place."""
        for _ in range(len(self._idle) + MAX_LOSSES):
            if not self._idle:
                self._refuse_other_models(self._open_first())
            try:
                return self._get(self._idle[0].call.remote(model, method, *args, **options))
            except self._loss_errors:
                self._ray.kill(self._idle.pop(0))  # which may hold the place of the next worker
        raise RunError(_NO_WORKERS)

    def map(
        self, work: Work[U], jobs: Mapping[int, PoolJob[U]]
    ) -> Iterator[tuple[int, PoolJobResult]]:
        """Every unit's position and result, as they come."""
        waiting, shared_work = deque(jobs), self._ray.put(work)
        busy: dict[Any, _Errand] = {}  # by its result
        for _ in range(min(self._room, len(jobs)) - len(self._idle)):
            self._open_worker(busy)
        while waiting or any(errand.unit is not None for errand in busy.values()):
            while self._idle and waiting:
                worker, i = self._idle.pop(), waiting.popleft()
                busy[worker.do.remote(shared_work, jobs[i])] = _Errand(worker, i)
            if all(errand.unit is None for errand in busy.values()):
                self._await_place(busy.values())
            (ready,), _ = self._ray.wait(list(busy), num_returns=1)
            worker, unit, _ = busy.pop(ready)
            try:
                result = self._get(ready)
            except self._loss_errors:
                self._ray.kill(worker)  # whose result may be lost while it lives
                self._replace(unit, waiting, busy)
                continue
            self._idle.append(worker)
            self._lost_loading = 0
            if unit is None:
                self._refuse_other_models(result)
            else:
                yield unit, result
        for errand in busy.values():  # still loading when the last unit was done
            self._ray.kill(errand.worker)

    def _open_worker(self, busy: dict[Any, _Errand]) -> None:
        """Start one more worker; it gets a unit once its models are loaded."""
        reference, errand = self._start_worker()
        busy[reference] = errand

    def _replace(self, unit: int | None, waiting: deque[int], busy: dict[Any, _Errand]) -> None:
        """A worker is gone: its unit goes to the next that is free, its place to another."""
        if unit is not None:
            print(f"a worker was lost: batch {unit} is done again", file=sys.stderr)
            self._requeue(unit, waiting)
            self._open_worker(busy)
            return
        self._lost_loading += 1
        if self._lost_loading < MAX_LOSSES:
            print("a worker was lost: another takes its place", file=sys.stderr)
            self._open_worker(busy)
            return
        if not busy and not self._idle:
            raise RunError(_NO_WORKERS)
        print("a worker was lost while it loaded the model: the others go on", file=sys.stderr)

    def _requeue(self, unit: int, waiting: deque[int]) -> None:
        """Put a lost worker's unit first, unless it has cost too many."""
        waiting.appendleft(unit)
        self._losses[unit] += 1
        if self._losses[unit] == MAX_LOSSES:
            raise RunError(
                f"{MAX_LOSSES} workers were lost on the same batch ({unit}), which may need "
                "more memory than they have: use a smaller `batch`, or larger nodes."
            )

    def _refuse_other_models(self, cards: Sequence[ModelCard]) -> None:
        """Refuse workers whose records would not be those of the first."""
        for card, first in zip(cards, self._cards, strict=True):
            if differ := [k for k, v in card.describe.items() if v != first.describe.get(k)]:
                raise RunError(
                    f"the cluster's nodes differ in {', '.join(differ)} of {card.name}, so that "
                    "records would depend on where they were made: install the same on all."
                )


def _connect(address: str) -> Any:
    """Ray, connected to a cluster."""
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise RunError(f"a Ray cluster needs ray: {install('ray')}.") from missing
    # Ray would report usage to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    unreachable = RunError(
        f"there is no Ray cluster at {address}: start one with `ray start --head`, or give the "
        "address of its head."
    )
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise unreachable from error
    elif address != "auto" and "://" not in address:
        raise RunError(f"`ray` is auto or the head's HOST:PORT, not {address!r}")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise unreachable from error
    except (RuntimeError, ValueError) as error:  # another version, or this process has one already
        raise RunError(
            f"Ray does not connect to the cluster at {address}: {shorten(str(error), 300)}"
        ) from error
    # Ray prints what it says of lost workers on standard output, and has no other switch for that.
    ray._private.worker._worker_logs_enabled = False
    return ray


def _resources(device: str, cluster: Mapping[str, float]) -> dict[str, float]:
    """What a worker takes of a node, for models on a device."""
    gpu = device == "cuda" or (device == "auto" and cluster.get("GPU", 0) >= 1)
    return {"CPU": 1.0, **({"GPU": 1.0} if gpu else {})}


def _in_words(resources: Mapping[str, float]) -> str:
    """Resources as a sentence has them."""
    return " and ".join(f"{n:g} {name}" for name, n in resources.items())
