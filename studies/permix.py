"""What training under personas does to robustness, fidelity and drift, on mini.

Arms at equal steps, prompts and rows a step:

    base      mini as it ships
    sft       gold answers imitated under mixed personas
    rlvr      verifiable rewards without personas
    permix    verifiable rewards under mixed personas

each with three seeds at one β, mixing per prompt; then permix on the first seed with other β, and
per rollout. Every trained model is measured under personas and on tasks that no training
saw: robustness (held-out personas of the pool, greedy), fidelity (the suite's own probes) and
drift (self-chat, the user's side being mini as it ships in every arm).

    OMP_NUM_THREADS=1 python studies/permix.py run --out DIR             # all of it
    OMP_NUM_THREADS=1 python studies/permix.py run --out DIR --seeds 0   # one process a seed
    python studies/permix.py report --out DIR

`run` prints a JSON line for every cell and keeps it in DIR/cells.jsonl; done cells are skipped, and
one that was stopped goes on within its training or its measurement. `report` prints the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from holdfast import models
from holdfast.backend import Backend, Sampling
from holdfast.drift import drift
from holdfast.fidelity import fidelity
from holdfast.permix.training import train
from holdfast.progress import Progress
from holdfast.robustness import robustness
from holdfast.run import dumps

Row = dict[str, Any]
STEPS, BETA, BETAS = 60, 0.04, (0.0, 0.4)
SEEDS = (0, 1, 2)
ARMS = ("base", "sft", "rlvr", "permix")
CELLS = "cells.jsonl"
GREEDY = Sampling(max_new_tokens=48, temperature=0.0)
SAMPLED = Sampling(max_new_tokens=48)


class Cell(NamedTuple):
    """One model to measure."""

    arm: str
    seed: int
    beta: float | None = None
    mixing: str | None = None

    @property
    def name(self) -> str:
        """Its folder."""
        parts = (self.arm, self.seed, self.beta, self.mixing)
        return "-".join(str(part) for part in parts if part is not None)


def cells(seeds: Sequence[int]) -> Iterator[Cell]:
    """The main comparison seed by seed, and then what varies on the first seed."""
    for seed in seeds:
        yield Cell("base", seed)
        yield Cell("sft", seed, None, "prompt")
        yield Cell("rlvr", seed, BETA)
        yield Cell("permix", seed, BETA, "prompt")
    if SEEDS[0] in seeds:
        yield from (Cell("permix", SEEDS[0], beta, "prompt") for beta in BETAS)
        yield Cell("permix", SEEDS[0], BETA, "rollout")


def trained(cell: Cell, name: str, folder: Path, steps: int) -> Row:
    """Train the cell's model, and what the run says; nothing for the base."""
    if cell.arm == "base":
        return {"checkpoint": name}
    return train(
        name,
        folder / "train",
        arm=cell.arm,
        steps=steps,
        seed=cell.seed,
        per=cell.mixing or "prompt",
        beta=cell.beta,
        progress=Progress(step="steps"),
    ).summary


def measured(model: Backend, user: Backend, cell: Cell, folder: Path, small: bool) -> Row:
    """Robustness, fidelity and drift, with the intervals that the library gives."""
    shown = Progress(step="items")
    robust = robustness(
        model,
        tasks="mini",
        personas="mini",
        split="held-out",
        n=2 if small else 20,
        sampling=GREEDY,
        out=folder / "robustness",
        progress=shown,
    ).summary
    faithful = fidelity(
        model,
        suite="mini",
        samples=1 if small else 2,
        seed=cell.seed,
        sampling=SAMPLED,
        out=folder / "fidelity",
        progress=shown,
    ).summary
    held = drift(
        model,
        user_model=user,
        suite="mini",
        pairs=2 if small else 40,
        rounds=2 if small else 8,
        seed=cell.seed,
        sampling=SAMPLED,
        out=folder / "drift",
        progress=shown,
    ).summary
    keys = ("mean", "worst", "best", "ratio", "std", "all_correct", "pss", "intervals", "kinds",
            "categories")  # fmt: skip
    return {
        "robustness": {key: robust[key] for key in keys},
        "bare": robust["none"]["accuracy"],
        "fidelity": {key: faithful[key] for key in ("score", "interval", "by_task")},
        "drift": {key: held[key] for key in ("stability", "interval", "change")},
    }


def run(out: Path, seeds: Sequence[int], name: str, steps: int, small: bool) -> None:
    """Train and measure every cell that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    user = models.load(name)
    for cell in cells(seeds):
        if cell in {_cell(row) for row in read(out)}:
            continue
        print(cell.name, file=sys.stderr)
        folder, began = out / cell.name, time.monotonic()
        made = trained(cell, name, folder, steps)
        row: Row = {**cell._asdict(), "steps": steps}
        kept = ("reward_first", "reward_last", "zero_variance_last", "kl_last", "tokens")
        row |= {key: made.get(key) for key in kept}
        row["train_seconds"] = made.get("seconds")
        row |= measured(models.load(str(made["checkpoint"])), user, cell, folder, small)
        row["seconds"] = round(time.monotonic() - began, 1)
        with (out / CELLS).open("a", encoding="utf-8") as file:
            file.write(dumps(row) + "\n")
        print(dumps(row), flush=True)


def read(out: Path) -> list[Row]:
    """The cells that are done."""
    path = out / CELLS
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if (path.exists())
        else []
    )


def _cell(row: Row) -> Cell:
    return Cell(row["arm"], row["seed"], row["beta"], row["mixing"])


def table(rows: Sequence[Row]) -> str:
    """Every arm's means over its seeds, and the seeds' own values, as Markdown."""
    columns = {
        "accuracy": lambda row: row["robustness"]["mean"],
        "worst": lambda row: row["robustness"]["worst"],
        "worst/best": lambda row: row["robustness"]["ratio"],
        "no persona": lambda row: row["bare"],
        "fidelity": lambda row: row["fidelity"]["score"],
        "stability": lambda row: mean(row["drift"]["stability"][1:]),
        "reward": lambda row: row["reward_last"],
        "KL": lambda row: row["kl_last"],
        "tokens": lambda row: row["tokens"],
    }
    head = ["arm", "β", "mixing", "seeds", *columns]
    lines = [head, ["---", "---:", "---", "---:", *["---:"] * len(columns)]]
    for key in dict.fromkeys((row["arm"], row["beta"], row["mixing"]) for row in rows):
        mine = [row for row in rows if (row["arm"], row["beta"], row["mixing"]) == key]
        told = ["–" if part is None else str(part) for part in key]
        lines.append(
            [*told, str(len(mine)), *(_shown([of(row) for row in mine]) for of in columns.values())]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if max(known) > 10:
        return f"{mean(known):,.0f}"
    each = " ".join(f"{value:.2f}" for value in known)
    return f"{mean(known):.3f}" + (f" ({each})" if len(known) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("do", choices=("run", "report"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--small", action="store_true", help="few items: to see that it runs")
    args = parser.parse_args()
    if args.do == "run":
        run(args.out, args.seeds, args.model, args.steps, args.small)
    print(table(read(args.out)))


if __name__ == "__main__":
    main()
