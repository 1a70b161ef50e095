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

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.progress import Progress
from holdfast.core.ray_pool import Pool, U, Work
from holdfast.core.records import Record
from holdfast.core.run import Run


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
