"""Do the 95% intervals cover what they say, on the plans that the commands draw?

`coverage_plans.py` simulates conversations, `coverage_statistics.py` tasks, personas and grades.
A row fails where its coverage is outside [.92, .98], or below .90 from fewer than 24 observations,
by more standard errors of a simulation at that bound than chance gives the worst of so many rows
(`coverage_rows.outside`: 4.1 of two thousand). The upper bound does not hold where fewer than six
scores (or personas, where each recurs) are expected to differ from the nearer end of the scale,
since coverage there jumps from one count to the next, where personas are all alike, and for the
extremes of personas, whose outer limit moves out. An interval that is not given counts for nothing.
It also fails where the same interval from more observations is wider, by a tenth where they are of
the same few personas.
Exit code 1 says that a row failed, 2 that --out holds another run.

    python studies/coverage.py --quick                       fewer rows and replications, printed
    python studies/coverage.py --out runs/coverage --pages   all; written into docs/

With `--out` the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from functools import partial
from inspect import getfile
from pathlib import Path

import coverage_plans
import coverage_statistics
import numpy as np
from coverage_rows import Row, outside, summary, table, widening
from pages import fill

from holdfast.core import intervals, stats
from holdfast.core.errors import RunError
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.evals.fidelity import calibration
from holdfast.evals.robustness import halves, persona_lottery

DOCS = Path(__file__).parents[1] / "docs" / "reference"
REPLICATIONS, QUICK_REPLICATIONS = 4000, 800
_MODULES = (calibration, halves, intervals, persona_lottery, stats)
_CODE = (*(Path(getfile(m)) for m in _MODULES), *Path(__file__).parent.glob("coverage*.py"))


@dataclass(frozen=True)
class Block:
    """Rows that are simulated together."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Settings:
    """What determines the rows."""

    replications: int
    quick: bool
    seed: int
    code: str
    """Hash of the equations and of this study."""


def blocks(settings: Settings) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Every block's name and what simulates it."""
    replications, quick = settings.replications, settings.quick
    kinds = coverage_plans.QUICK if quick else coverage_plans.KINDS
    for label, conversations in coverage_plans.plans(quick):
        for kind, runs in kinds:
            name = f"{label} {len(conversations)} {kind} {runs}"
            seed = seed_of(settings.seed, name)
            cells = partial(
                coverage_plans.cells, label, conversations, kind, runs, replications, seed
            )
            yield name, cells
    for name, function, n, share in coverage_statistics.parts(quick):
        seed = seed_of(settings.seed, name)
        yield name, partial(_simulate_part, function, seed, round(share * replications), n)


def _simulate_part(
    function: coverage_statistics.Part, seed: int, replications: int, n: int
) -> list[Row]:
    rows = function(np.random.default_rng(seed), replications, n)
    return [row for row in rows if row is not None]


def simulate(settings: Settings, out: Path | None, workers: int) -> list[Row]:
    """All rows; those of blocks that the run has are read."""
    run: Run[Block] = Run(out, settings, Block)
    whole, began = dict(blocks(settings)), time.monotonic()
    missing = {
        name: task for name, task in whole.items() if name not in {b.name for b in run.records}
    }
    for name, rows in _results(missing, workers):
        run.append([Block(name, tuple(rows))])
        count = f"{len(run.records)} of {len(whole)}"
        print(f"{count}: {name}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    by_name = {block.name: block.rows for block in run.records}
    return [row for name in whole for row in by_name[name]]


def _results(
    tasks: dict[str, Callable[[], list[Row]]], workers: int
) -> Iterator[tuple[str, list[Row]]]:
    if workers <= 1:
        for name, task in tasks.items():
            yield name, task()
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by each process as it starts
    with ProcessPoolExecutor(workers) as pool:
        futures = {pool.submit(task): name for name, task in tasks.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def write(rows: Sequence[Row], settings: Settings) -> None:
    """Put the tables between the marks of the pages."""
    note = (
        f"{settings.replications} replications a row (kappa half of it, robustness a fifth), of "
        f"`python studies/coverage.py --replications {settings.replications}`, seed "
        f"{settings.seed}, {date.today():%-d %B %Y}."
    )
    fill(DOCS / "intervals.md", {"coverage": f"{note}\n\n{summary(rows)}"})
    fill(DOCS / "coverage.md", {"coverage": f"{note}\n\n{table(rows)}"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print, and return 1 where a row fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="Fewer rows; under three minutes.")
    parser.add_argument("--replications", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="Processes, one thread each.")
    parser.add_argument("--out", type=Path, help="Folder of the run, which it can go on from.")
    parser.add_argument("--pages", action="store_true", help="Write the tables into docs/.")
    options = parser.parse_args(arguments)
    replications = options.replications or (QUICK_REPLICATIONS if options.quick else REPLICATIONS)
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_CODE))).hexdigest()
    settings = Settings(replications, options.quick, options.seed, code)
    try:
        rows = simulate(settings, options.out, options.workers)
    except RunError as error:
        print(error, file=sys.stderr)
        return 2
    if options.pages:
        write(rows, settings)
    else:
        print(f"{table(rows)}\n\n{summary(rows)}")
    failures = outside(rows)
    for row in failures:
        print(f"outside: {row.label}, n = {row.n}, mean {row.mean:.2f}: {row.coverage:.3f}")
    wider = list(widening(rows))
    for label, few, many in wider:
        print(f"wider: {label}, from {few} to {many}")
    return 1 if failures or wider else 0


if __name__ == "__main__":
    raise SystemExit(main())
