"""What training with verifiable rewards does to a persona, with personas mixed in and without.

    python studies/mixing.py --out permix-study [--steps 60] [--only permix/0,rlvr/0]
    python studies/mixing.py --out permix-study --table

Base, SFT, RLVR and PerMix from the same `mini`, at equal steps and about equal tokens, three
seeds each; then β and per-rollout mixing on one seed. Every trained model is measured on
what it was not trained on: robustness over held-out personas and tasks, fidelity on mini's
suite, and drift over eight rounds. One line of `rows.jsonl` per model; those that are there
are not made again, so several processes may share the work by `--only`.

Differences are paired by item (robustness) and by persona (fidelity, drift), means over seeds
first, with 95% bootstrap intervals over items or personas. They hold for these seeds: three are
too few for an interval over trainings, so each seed is shown too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.stats import Array, Resampler, mean
from holdfast.evals.conversation.rounds import Protocol
from holdfast.evals.drift import drift
from holdfast.evals.fidelity.fidelity import fidelity
from holdfast.evals.robustness.robustness import load, robustness
from holdfast.evals.robustness.summary import Answers
from holdfast.evals.tasks import verifier
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.models import load as models
from holdfast.persona import pool

SEEDS = (0, 1, 2)
BETA = 0.04
# name: arm, seed, β, mixing
RUNS: dict[str, tuple[str, int, float, str]] = {
    "base": ("base", 0, 0.0, ""),
    **{f"{a}/{s}": (a, s, BETA, "prompt") for s in SEEDS for a in ("permix", "rlvr", "sft")},
    "permix/beta-0": ("permix", 0, 0.0, "prompt"),
    "permix/beta-0.2": ("permix", 0, 0.2, "prompt"),
    "rlvr/beta-0": ("rlvr", 0, 0.0, "prompt"),
    "permix/rollout": ("permix", 0, BETA, "rollout"),
    "permix/long": ("permix", 0, 0.0, "prompt"),
    "rlvr/long": ("rlvr", 0, 0.0, "prompt"),
}
LONG = 4  # times the steps, without any pull to the model before


def trained(name: str, out: Path, steps: int) -> tuple[str, dict[str, Any]]:
    """The model of a run, trained where it is not there yet, and what its training says."""
    arm, seed, beta, mixing = RUNS[name]
    if arm == "base":
        return "mini", {}
    from holdfast.training.permix.training import train

    made = train(
        "mini",
        out / name.replace("/", "-"),
        arm=arm,
        steps=steps * (LONG if name.endswith("long") else 1),
        seed=seed,
        per=mixing,
        beta=beta if arm != "sft" else None,
    )
    return str(made.checkpoint), made.summary


def measured(model: str, folder: Path) -> dict[str, Any]:
    """Robustness, fidelity and drift of a model, on held-out personas and tasks."""
    backend = models.load(model)
    robust = robustness(
        backend, tasks="mini", personas="mini", split="held-out", out=folder / "robustness"
    )
    faithful = fidelity(backend, suite="mini", samples=2, out=folder / "fidelity")
    protocol = Protocol(
        rounds=8, filler=False, history_floor=False, user_persona=False, measure=False
    )
    # The users are spoken for by mini as it ships, whoever the agent is.
    other = models.load("mini")
    slipped = drift(backend, user_model=other, suite="mini", pairs=48, protocol=protocol)
    s, f, d = robust.summary, faithful.summary, slipped.summary
    return {
        "robustness": {
            k: s[k] for k in ("mean", "worst", "best", "ratio", "std", "all_correct", "intervals")
        },
        "none": s["none"],
        "categories": s["categories"],
        "extraction_failures": s["extraction_failures"],
        "fidelity": {k: f[k] for k in ("score", "interval", "by_task")},
        "drift": {"curve": d["stability"], "interval": d["interval"]},
        "matrix": matrix_of(folder / "robustness"),
        "personas": {row["persona"]: row["score"] for row in f["rows"]},
    }


def matrix_of(folder: Path) -> dict[str, Any]:
    """What was right, (1 + personas, items) of 0 and 1, and who and what; first nobody."""
    records = [json.loads(line) for line in (folder / "records.jsonl").open(encoding="utf-8")]
    tasks, people = load("mini"), pool.load("mini", split="held-out")
    kinds = {task.id: verifier.verifier(task, "auto") for task in tasks}
    with MathCheck() as math:
        found = Answers.of(records, tasks, people, kinds, math)
    return {
        "personas": ["", *(one.id for one in found.people)],
        "items": [task.id for task in found.tasks],
        "right": found.read["lenient"].astype(int).tolist(),
    }


def make(name: str, out: Path, steps: int) -> None:
    """Train and measure one run, and keep its line."""
    began = time.monotonic()
    model, summary = trained(name, out, steps)
    arm, seed, beta, mixing = RUNS[name]
    row = {
        "name": name, "arm": arm, "seed": seed, "beta": beta, "mixing": mixing, "steps": steps,
        "training": {k: summary.get(k) for k in ("reward_first", "reward_last", "tokens", "kl_last",
                                                 "seconds")},
        **measured(model, out / f"{name.replace('/', '-')}-measured"),
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    with (out / "rows.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(
        name, row["robustness"]["mean"], row["fidelity"]["score"], row["seconds"], file=sys.stderr
    )


def column(row: dict[str, Any]) -> list[str]:
    """One model's numbers as cells of a table."""
    r, d = row["robustness"], row["drift"]["curve"]
    cells = [r["mean"], r["worst"], r["ratio"], row["none"]["accuracy"], row["fidelity"]["score"]]
    cells += [float(np.mean(d[1:7])), float(np.mean(d[7:9]))]
    return [f"{cell:.3f}" for cell in cells]


def paired(rows: dict[str, dict[str, Any]], one: str, other: str) -> list[str]:
    """`one` less `other`: held-out accuracy over items, and fidelity over personas."""
    sides = [[row for row in rows.values() if row["arm"] == arm and main_run(row)]
             for arm in (one, other)]  # fmt: skip
    items = [mean(np.array([np.mean(r["matrix"]["right"][1:], axis=0) for r in side]))
             for side in sides]  # fmt: skip
    names = list(sides[0][0]["personas"])
    faithful = [mean(np.array([[r["personas"][n] for n in names] for r in side])) for side in sides]
    return [apart(*items), apart(*faithful)]


def main_run(row: dict[str, Any]) -> bool:
    """Whether a row belongs to the main comparison: one of the seeds, or the base model."""
    return row["name"] == "base" or row["name"].split("/")[1].isdigit()


def apart(one: Array, other: Array) -> str:
    """The mean difference of paired values, with its interval."""
    delta = one - other
    low, high = Resampler.of(range(len(delta))).statistic(lambda v: v, delta)
    return f"{delta.mean():+.3f} [{float(low):+.3f}, {float(high):+.3f}]"


def tables(rows: dict[str, dict[str, Any]]) -> str:
    """Every model, and the paired differences of the main comparison, as Markdown."""
    head = ["model", "held-out mean", "worst", "worst/best", "no persona", "fidelity",
            "rounds 1–6", "rounds 7–8"]  # fmt: skip
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * 7])]
    lines += [" | ".join([name, *column(row)]) for name, row in rows.items()]
    arms = [arm for arm in ("sft", "rlvr", "permix") if f"{arm}/0" in rows]
    pairs = [(arm, "base") for arm in arms]
    pairs += [("permix", other) for other in ("rlvr", "sft") if other in arms]
    lines += ["", "difference | held-out accuracy | fidelity", "--- | ---: | ---:"]
    lines += [" | ".join([f"{a} − {b}", *paired(rows, a, b)]) for a, b in pairs]
    return "\n".join(f"| {line} |" if line else "" for line in lines)


def figure(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Held-out accuracy against fidelity, and against late stability, a point for every model."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "permix"  # the same file from the same rows
    from matplotlib import pyplot as plt

    marks = {"base": ("o", "#77736b"), "sft": ("s", "#4a5a86"), "rlvr": ("^", "#a8481c"),
             "permix": ("*", "#0a5f59")}  # fmt: skip
    drawing, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    measures = (
        ("fidelity on an empty history", lambda row: row["fidelity"]["score"]),
        ("stability, rounds 7 and 8", lambda row: np.mean(row["drift"]["curve"][7:9])),
    )
    for axis, (name, of) in zip(axes, measures, strict=True):
        for arm, (mark, colour) in marks.items():
            mine = [row for row in rows.values() if row["arm"] == arm and main_run(row)]
            axis.scatter(
                [row["robustness"]["mean"] for row in mine],
                [of(row) for row in mine],
                marker=mark,
                color=colour,
                s=90 if mark == "*" else 45,
                label=arm,
            )
        axis.set(xlabel="accuracy under held-out personas", ylabel=name, xlim=(0.6, 0.9))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dcd8ce", linewidth=0.6)
    axes[0].legend(frameon=False, loc="lower left")
    drawing.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings and rows")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", default=",".join(RUNS), help="runs, with commas between")
    parser.add_argument("--table", action="store_true", help="print the tables of what is there")
    parser.add_argument("--figure", type=Path, help="draw the trade-off of what is there: FILE.svg")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.table or args.figure:
        if args.table:
            print(tables(rows_of(args.out)))
        if args.figure:
            figure(rows_of(args.out), args.figure)
        return
    for name in args.only.split(","):
        if name not in rows_of(args.out):
            make(name, args.out, args.steps)


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    """The rows that are there, by name."""
    path = out / "rows.jsonl"
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


if __name__ == "__main__":
    main()
