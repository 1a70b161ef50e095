"""Units of a run, done by several machines: a shard of a job array, or workers of a Ray cluster.

A unit is what a run does at once, a batch that its manifest fixes: so many conversations under
all controls, which take turns and share prefixes and therefore stay together, or so many tasks.
What it records depends on nothing but the unit and the models. So units may be done anywhere, in
any order, and done again, and in the end the records stand in the order of the units, as one
machine would have written them.

    shard   `--shard 2/8` does every eighth unit into OUT/shard-2-of-8; the same command without
            it takes over what the shards have done, does what is missing, and sums up
    pool    `--ray ADDRESS` gives units to actors that each hold the models; the unit of a worker
            that is lost is given to another

This module knows units and records, not what is in them. Ray is imported when a pool is made.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from holdfast.backend import Ask, Backend, Reply, Sampling
from holdfast.errors import HoldfastError, RunError
from holdfast.progress import Progress
from holdfast.run import Record, Run

U = TypeVar("U")
Opener = Callable[[], Backend]
# Does a unit with the models and appends what came of it to a run.
Work = Callable[[Sequence[Backend], U, Run, Progress], None]
LOSSES = 3  # workers that one unit may lose before it is blamed


@dataclass(frozen=True)
class Shard:
    """The part `index` (from 1) of `of` of a run's units."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From i/n as in `2/8`; raises `HoldfastError` for anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise HoldfastError(f"--shard is i/n with i from 1 to n, as in 2/8, not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def folder(self, out: Path) -> Path:
        """Where its records go, inside the run's folder."""
        return out / f"shard-{self.index}-of-{self.of}"

    def has(self, unit: int) -> bool:
        """Whether a unit is its own."""
        return unit % self.of == self.index - 1


class ShardDone(Exception):
    """A shard has done its units: there is nothing to sum up before all have."""

    def __init__(self, shard: Shard, units: int, of: int, folder: Path) -> None:
        self.summary: Record = {
            "shard": f"{shard.index}/{shard.of}",
            "units": units,
            "of": of,
            "folder": str(folder),
        }
        super().__init__(
            f"shard {shard.index}/{shard.of} has done its {units} of {of} units ({folder}): when "
            "all have, the same command without --shard sums up."
        )


@dataclass(frozen=True)
class Made:
    """What a worker made of a unit."""

    records: list[Record]
    times: list[Record]
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

    def refusal(self, control: str) -> str | None:
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


Where = Shard | Pool | None


def opened(out: Path | str | None, manifest: Mapping[str, Any], where: Where) -> Run:
    """The run that the records of this process go to."""
    if isinstance(where, Shard):
        if out is None:
            raise RunError("a shard needs a folder for its records: name one with --out.")
        return Run(where.folder(Path(out)), manifest)
    return Run(out, manifest)


def spread(
    run: Run,
    units: Sequence[U],
    unit_of: Callable[[Record], int],
    done: Callable[[U, Sequence[Record]], bool],
    work: Work[U],
    models: Sequence[Backend],
    progress: Progress,
    *,
    steps: Callable[[U], float],
    where: Where = None,
) -> None:
    """Do all units that are not done, here or elsewhere; the records end in the units' order.

    `unit_of` a record is the position of its unit, and `steps` are a unit's in the progress bar.
    Here `work` finds in the run what an earlier process recorded of its unit; elsewhere it finds
    the same in a run of its own, whose records then replace it. Raises `ShardDone` at the end of
    a shard.
    """
    if isinstance(where, Shard):
        mine = [i for i in range(len(units)) if where.has(i)]
    else:
        mine = list(range(len(units)))
        _gather(run, unit_of)
    if isinstance(where, Pool):
        _farm(run, units, unit_of, done, work, progress, steps, where)
    else:
        for i in mine:
            work(models, units[i], run, progress)
    order = [unit_of(record) for record in run.records]
    if order != sorted(order):
        run.keep(sorted(run.records, key=unit_of))
    if isinstance(where, Shard):
        assert run.folder is not None
        raise ShardDone(where, len(mine), len(units), run.folder)


def _gather(run: Run, unit_of: Callable[[Record], int]) -> None:
    """Take over the units that shards have done and this run has not begun."""
    if run.folder is None:
        return
    begun = {unit_of(record) for record in run.records}
    for folder in sorted(run.folder.glob("shard-*-of-*")):
        part = Run(folder, run.manifest)
        new = [record for record in part.records if unit_of(record) not in begun]
        if new:
            run.append(new)
            run.add_times(part.times)
            begun |= {unit_of(record) for record in new}


def _farm(
    run: Run,
    units: Sequence[U],
    unit_of: Callable[[Record], int],
    done: Callable[[U, Sequence[Record]], bool],
    work: Work[U],
    progress: Progress,
    steps: Callable[[U], float],
    pool: Pool,
) -> None:
    """Give every unit that is not done to the pool, and merge what comes back."""
    known: dict[int, list[Record]] = {i: [] for i in range(len(units))}
    for record in run.records:
        known[unit_of(record)].append(record)
    waiting = {i: held for i, held in known.items() if not done(units[i], held)}
    progress.advance(sum(steps(units[i]) for i in known if i not in waiting), 0)
    for i, made in pool.map(work, {i: (units[i], held) for i, held in waiting.items()}):
        if waiting[i]:
            run.keep([record for record in run.records if unit_of(record) != i])
        run.append(made.records)
        run.add_times(made.times)
        progress.advance(steps(units[i]), made.replies)


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
