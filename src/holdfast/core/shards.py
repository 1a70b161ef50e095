"""Units of a run, done by several machines: a shard of a job array, or workers of a Ray cluster.

A unit is a batch that the run's manifest fixes: some tasks, or some conversations under all
controls, which stay together because they take turns and share prefixes. Its records depend on
the unit and the models only. So any machine may do any unit, in any order, and do it again; at
the end the records are in the order of the units, as if one machine had written them.

    shard   `--shard 2/8` does every eighth unit into OUT/shard-2-of-8; the same command without
            it merges what the shards have done, does what is missing, and sums up
    pool    `--ray ADDRESS` gives units to actors that each hold the models; the unit of a lost
            worker goes to another

This module knows units and records, not what is in them. Ray is imported when a pool is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from holdfast.core.backend import Backend
from holdfast.core.cluster.ray_pool import RayPool
from holdfast.core.cluster.worker import PoolJob, Work
from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.progress import Progress
from holdfast.core.run import Run

U = TypeVar("U")
R = TypeVar("R")
V = TypeVar("V")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a run's units."""

    index: int
    """Which part, from 1."""
    of: int
    """How many parts there are."""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From i/n as in `2/8`; raises `HoldfastError` for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise HoldfastError(f"`shard` is i/n with i from 1 to n, as in 2/8, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def folder(self, out: Path) -> Path:
        """Where its records go, inside the run's folder."""
        return out / f"shard-{self.index}-of-{self.of}"

    def has(self, unit: int) -> bool:
        """Whether the unit at a position is in this part."""
        return unit % self.of == self.index - 1


@dataclass(frozen=True)
class ShardSummary:
    """What a shard prints with `--json`."""

    shard: str
    """The part, as in 2/8."""
    units: int
    """Units of the part."""
    of: int
    """Units of the run."""
    folder: str
    """Where the part's records are."""


class ShardDone(Exception):
    """A shard has done its units: there is nothing to sum up before all have."""

    def __init__(self, shard: Shard, units: int, of: int, folder: Path) -> None:
        self.summary = ShardSummary(f"{shard.index}/{shard.of}", units, of, str(folder))
        super().__init__(
            f"shard {shard.index}/{shard.of} has done its {units} of {of} units ({folder}): when "
            "all have, the same command without a shard sums up."
        )


Where = Shard | RayPool | None
"""Who does a run's units: a shard, a pool of workers, or this process alone."""


@dataclass(frozen=True)
class Units(Generic[U, R]):
    """What a run does, cut into units."""

    units: Sequence[U]
    """The units, in the order of their records."""
    unit_of: Callable[[R], int]
    """The position of the unit that a record belongs to."""
    is_done: Callable[[U, Sequence[R]], bool]
    """Whether a unit's records are all that it will have."""
    steps: Callable[[U], float]
    """Steps of the progress bar that a unit takes."""
    work: Work[U]
    """Does a unit and appends its records to a run, which may hold some of them already."""

    def done_here(self, where: Where) -> list[int]:
        """Positions of the units that a shard does, or of all."""
        every = range(len(self.units))
        return [i for i in every if where.has(i)] if isinstance(where, Shard) else [*every]

    def total_steps(self, where: Where) -> float:
        """Steps of the units that a shard does, or of all."""
        return sum(self.steps(self.units[i]) for i in self.done_here(where))


def open_run(
    out: Path | str | None,
    manifest: object,
    record_type: type[R] = dict,  # type: ignore[assignment]
    verdict_type: type[V] = dict,  # type: ignore[assignment]
    where: Where = None,
) -> Run[R, V]:
    """The run that the records of this process go to; see `Run` for its arguments."""
    if isinstance(where, Shard):
        if out is None:
            raise RunError("a shard needs a folder for its records: name one with `out`.")
        out = where.folder(Path(out))
    return Run(out, manifest, record_type, verdict_type)


def share_out(
    job: Units[U, R],
    run: Run[R, V],
    models: Sequence[Backend],
    progress: Progress,
    where: Where = None,
) -> None:
    """Do all units that are not done, here or elsewhere; the records end in the units' order.

    Args:
        job: the units and how they are done.
        run: the records so far, and where new ones go.
        models: the models of this process.
        progress: shows the steps.
        where: who does the units.

    Raises:
        ShardDone: at the end of a shard.
    """
    mine = job.done_here(where)
    if not isinstance(where, Shard):
        _merge_shards(job, run)
    if isinstance(where, RayPool):
        _give_to_pool(job, run, progress, where)
    else:
        for i in mine:
            job.work(models, job.units[i], run, progress)
    order = [job.unit_of(record) for record in run.records]
    if order != sorted(order):
        run.keep(sorted(run.records, key=job.unit_of))
    if isinstance(where, Shard):
        assert run.folder is not None
        raise ShardDone(where, len(mine), len(job.units), run.folder)


def _merge_shards(job: Units[U, R], run: Run[R, V]) -> None:
    """Take over the units that shards have done and this run has not begun."""
    if run.folder is None:
        return
    own_units = {job.unit_of(record) for record in run.records}
    for folder in sorted(run.folder.glob("shard-*-of-*")):
        part = Run(folder, run.manifest, run.record_type, run.verdict_type, read_only=True)
        new = [record for record in part.records if job.unit_of(record) not in own_units]
        if new:
            run.append(new)
            run.add_times(part.times)
            own_units |= {job.unit_of(record) for record in new}


def _give_to_pool(job: Units[U, R], run: Run[R, V], progress: Progress, pool: RayPool) -> None:
    """Give every unit that is not done to the pool, and merge what comes back."""
    records: list[list[R]] = [[] for _ in job.units]
    for record in run.records:
        records[job.unit_of(record)].append(record)
    jobs = {
        i: PoolJob(unit, records[i], run.record_type)
        for i, unit in enumerate(job.units)
        if not job.is_done(unit, records[i])
    }
    progress.resume(sum(job.steps(unit) for i, unit in enumerate(job.units) if i not in jobs))
    for i, result in pool.map(job.work, jobs):
        if records[i]:
            run.keep([record for record in run.records if job.unit_of(record) != i])
        run.append(result.records)
        run.add_times(result.times)
        progress.advance(job.steps(job.units[i]), result.replies)
