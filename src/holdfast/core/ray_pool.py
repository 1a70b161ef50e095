"""Units of a run done by workers on a Ray cluster."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.control import Control
from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run, TurnTime

U = TypeVar("U")


Opener = Callable[[], Backend]


# Does a unit with the models and appends what came of it to a run.
Work = Callable[[Sequence[Backend], U, Run, Progress], None]


LOSSES = 3  # workers that one unit may lose before it is blamed


@dataclass(frozen=True)
class Made:
    """What a worker made of a unit."""

    records: list[Record]
    times: list[TurnTime]
    replies: int


class Worker:
    """The models in a process of their own, and the units it does with them."""

    def __init__(self, openers: Sequence[Opener]) -> None:
        self._openers = openers
        self._models: list[Backend] = []

    def open(self) -> list[Record]:
        """Load the models, and say what they are."""
        self._models = [opener() for opener in self._openers]
        return [
            {
                "name": model.name,
                "local": model.local,
                "context": model.context,
                "user_first": model.user_first,
                "share_refusal": getattr(model, "share_refusal", None),
                "describe": dict(model.describe()),
            }
            for model in self._models
        ]

    def do(self, work: Work[Any], unit: Any, held: Sequence[Record]) -> Made:
        """Do a unit, of which `held` was recorded before."""
        run, progress = Run(None, {}), Progress(enabled=False)
        run.append(held)
        work(self._models, unit, run, progress)
        return Made(run.records, run.times, progress.replies)

    def call(self, model: int, method: str, *args: Any, **options: Any) -> Any:
        """Call a model's method."""
        return getattr(self._models[model], method)(*args, **options)


class Remote:
    """A model that a pool's workers hold, as a backend: the machine that asks needs none."""

    def __init__(self, pool: Pool, position: int, about: Record) -> None:
        self._pool, self._position, self._described = pool, position, about["describe"]
        self.name: str = about["name"]
        self.local: bool = about["local"]
        self.context: int | None = about["context"]
        self.user_first: bool = about["user_first"]
        self.share_refusal: str | None = about["share_refusal"]

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
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]], *, per_token: bool = False
    ) -> list[list[float]]:
        """As the backend on a worker scores them."""
        return list(self._call("likelihoods", asks, options, per_token=per_token))

    def count(self, text: str) -> int:
        """Tokens in a text, by a worker's tokenizer."""
        return int(self._call("count", text))

    def forget(self) -> None:
        """Nothing is kept here; a unit's work forgets where it is done."""

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as every worker says it."""
        return dict(self._described)


class Pool:
    """Workers on a Ray cluster that all hold the same models.

    A worker has one CPU and, where the models want one, a GPU of its own. There are as many as
    the cluster has room for and units to give them. Leaving the `with` block ends them.
    """

    def __init__(self, address: str, openers: Sequence[Opener], *, device: str = "auto") -> None:
        if re.fullmatch(r"cuda:\d+", device):
            raise RunError(
                f"--device {device} names one machine's GPU: with --ray it is cuda or auto."
            )
        self._ray = _connected(address)
        self._openers = list(openers)
        self._need = _need(device, self._ray.cluster_resources())
        room = self._ray.cluster_resources()
        self._room = int(min(room.get(name, 0.0) // n for name, n in self._need.items() if n))
        if self._room < 1:
            wanted = " and ".join(f"{n:g} {name}" for name, n in self._need.items() if n)
            raise RunError(f"no node of the cluster at {address} has {wanted}: add one.")
        self._losses: Counter[int] = Counter()
        self._first = self._started()
        self._idle = [self._first]
        self._about = self._get(self._first.open.remote())
        #: The models, to plan with.
        self.models: list[Backend] = [Remote(self, i, a) for i, a in enumerate(self._about)]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _started(self) -> Any:
        options = {"num_cpus": self._need["CPU"], "num_gpus": self._need["GPU"]}
        actor = self._ray.remote(Worker).options(scheduling_strategy="SPREAD", **options)
        return actor.remote(self._openers)

    def _get(self, reference: Any) -> Any:
        """A result; what a worker's model refused is refused here in the same words."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, HoldfastError):
                raise error.cause from None
            raise

    def call(self, model: int, method: str, *args: Any, **options: Any) -> Any:
        """Call a model's method on the first worker, or on another in its place."""
        for _ in range(LOSSES):
            try:
                return self._get(self._first.call.remote(model, method, *args, **options))
            except self._ray.exceptions.RayActorError:
                self._first = self._started()
                self._get(self._first.open.remote())
        raise RunError("the cluster loses every worker that loads the model: see `ray status`.")

    def map(
        self, work: Work[U], jobs: Mapping[int, tuple[U, Sequence[Record]]]
    ) -> Iterator[tuple[int, Made]]:
        """Every unit's result, as they come."""
        waiting, shared = deque(jobs), self._ray.put(work)
        busy: dict[Any, tuple[Any, int | None]] = {}  # by its result: the worker, and its unit
        for _ in range(min(self._room, len(jobs)) - len(self._idle)):
            self._open(busy)
        while waiting or any(unit is not None for _, unit in busy.values()):
            while self._idle and waiting:
                worker, i = self._idle.pop(), waiting.popleft()
                busy[worker.do.remote(shared, *jobs[i])] = worker, i
            (ready,), _ = self._ray.wait(list(busy), num_returns=1)
            worker, unit = busy.pop(ready)
            try:
                found = self._get(ready)
            except self._ray.exceptions.RayActorError:
                self._lost(unit, waiting)
                self._open(busy)
                continue
            self._idle.append(worker)
            if unit is None:
                self._same(found)
            else:
                yield unit, found
        for worker, _ in busy.values():  # came too late to be of use
            self._ray.kill(worker)

    def _open(self, busy: dict[Any, tuple[Any, int | None]]) -> None:
        """Start one more worker; it gets a unit once its models are loaded."""
        worker = self._started()
        busy[worker.open.remote()] = worker, None

    def _lost(self, unit: int | None, waiting: deque[int]) -> None:
        """A worker is gone: its unit goes to the next that is free."""
        again = "another takes its place" if unit is None else f"batch {unit} is done again"
        print(f"a worker was lost: {again}", file=sys.stderr)
        if unit is not None:
            waiting.appendleft(unit)
            self._losses[unit] += 1
            if self._losses[unit] == LOSSES:
                raise RunError(
                    f"{LOSSES} workers were lost on the same batch ({unit}), which may need more "
                    "memory than they have: use a smaller --batch, or larger nodes."
                )

    def _same(self, about: Sequence[Record]) -> None:
        """Refuse workers whose records would not be those of the first."""
        for one, first in zip(about, self._about, strict=True):
            if differ := [k for k, v in one["describe"].items() if v != first["describe"].get(k)]:
                raise RunError(
                    f"the cluster's nodes differ in {', '.join(differ)} of {one['name']}, so that "
                    "records would depend on where they were made: install the same on all."
                )


def _connected(address: str) -> Any:
    """Ray, connected to a cluster."""
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise RunError("--ray needs ray: pip install 'holdfast[ray]'.") from missing
    # Nothing of a user's is reported to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    nobody = RunError(
        f"there is no Ray cluster at {address}: start one with `ray start --head`, or give the "
        "address of its head."
    )
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise nobody from error
    elif address != "auto" and "://" not in address:
        raise RunError(f"--ray is auto or the head's HOST:PORT, not {address!r}")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise nobody from error
    return ray


def _need(device: str, room: Mapping[str, float]) -> dict[str, float]:
    """What a worker takes of a node, for models on a device."""
    gpu = device == "cuda" or (device == "auto" and room.get("GPU", 0) >= 1)
    return {"CPU": 1.0, "GPU": float(gpu)}
