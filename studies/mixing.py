"""What training with verifiable rewards does to a persona, with personas mixed in and without.

    python studies/mixing.py --out permix-study [--steps 60] [--only permix/0,rlvr/0]
    python studies/mixing.py --out permix-study --table

Base, SFT, RLVR and PerMix from the same `mini`, at equal steps and about equal tokens, several
seeds each; then β and per-rollout mixing on one seed. Every trained model is measured on
what it was not trained on: robustness over held-out personas and tasks, fidelity on mini's
suite, and drift over eight rounds (`--accuracy` stops after robustness). One line of `rows.jsonl`
per model; those that are there are not made again, so several processes may share the work by
`--only`.

Most held-out personas are new names in a wording that training has seen, so three groups are
reported apart: wordings that training has seen, new wordings of families that it has seen, and
families that it has not (unseen_families.toml).

A difference of two arms is D[s, p, i] over seeds, personas and items, and its interval crosses all
three (`core.stats.CrossedMean`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.records import as_record
from holdfast.core.stats import Array, CrossedMean
from holdfast.evals.drift import DriftSettings, drift
from holdfast.evals.fidelity.fidelity import fidelity
from holdfast.evals.robustness.robustness import robustness
from holdfast.evals.robustness.summary import Answers
from holdfast.models import load as models

SEEDS = (0, 1, 2, 3, 4)
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
UNSEEN = Path(__file__).with_name("unseen_families.toml")
# Held-out personas of mini's pool whose wording training has not seen; of the others it has.
NEW_WORDINGS = ("secret-3", "capitals-3", "spanish", "brackets-3", "last-word-3")
LONG = 4  # times the steps, without any pull to the model before


def train_once(name: str, out: Path, steps: int) -> tuple[str, dict[str, Any]]:
    """The model of a run, trained where it is not there yet, and what its training says."""
    arm, seed, beta, mixing = RUNS[name]
    if arm == "base":
        return "mini", {}
    from holdfast.training.permix.settings import DataSettings
    from holdfast.training.permix.train import train

    result = train(
        "mini",
        out=out / name.replace("/", "-"),
        arm=arm,
        steps=steps * (LONG if name.endswith("long") else 1),
        seed=seed,
        data=DataSettings(mixing=mixing),
        beta=beta if arm != "sft" else None,
    )
    return str(result.checkpoint), as_record(result.summary)


def measure_model(model: str, folder: Path, *, accuracy: bool) -> dict[str, Any]:
    """Robustness, fidelity and drift of a model, on held-out personas and tasks.

    `accuracy` stops after robustness.
    """
    backend = models.load(model)
    robust = robustness(
        backend, tasks="mini", personas="mini", split="held-out", out=folder / "robustness"
    )
    unseen = robustness(
        backend, tasks="mini", personas=UNSEEN, split="held-out", out=folder / "unseen"
    )
    s = robust.summary.numbers
    row = {
        "robustness": {
            k: getattr(s, k)
            for k in ("mean", "worst", "best", "ratio", "std", "all_correct", "intervals")
        },
        "none": as_record(s.none),
        "categories": as_record(s.categories),
        "extraction_failures": s.extraction_failures,
        "matrix": matrix_of(robust.answers),
        "unseen": matrix_of(unseen.answers),
    }
    return row if accuracy else {**row, **_in_character(backend, folder)}


def _in_character(backend: Any, folder: Path) -> dict[str, Any]:
    faithful = fidelity(backend, suite="mini", samples=2, out=folder / "fidelity")
    settings = DriftSettings(
        suite="mini",
        pairs=48,
        rounds=8,
        filler=False,
        history_floor=False,
        user_persona=False,
        measure=False,
    )
    # The users are spoken for by mini as it ships, whoever the agent is.
    other = models.load("mini")
    drifting = drift(backend, settings, user_model=other)
    f, d = faithful.summary.scores, drifting.summary
    return {
        "fidelity": {"score": f.score, "interval": f.interval, "by_task": f.by_task},
        "drift": {"curve": d.curves.stability, "interval": d.curves.interval},
        "personas": {row.persona: row.score for row in f.rows},
    }


def matrix_of(answers: Answers) -> dict[str, Any]:
    """What was right, (1 + personas, items) of 0 and 1, and who and what; first nobody."""
    return {
        "personas": ["", *(one.id for one in answers.personas)],
        "items": [task.id for task in answers.tasks],
        "right": answers.shares["lenient"].astype(int).tolist(),
    }


def make(name: str, out: Path, steps: int, *, accuracy: bool) -> None:
    """Train and measure one run, and keep its line."""
    began = time.monotonic()
    model, summary = train_once(name, out, steps)
    arm, seed, beta, mixing = RUNS[name]
    row = {
        "name": name, "arm": arm, "seed": seed, "beta": beta, "mixing": mixing, "steps": steps,
        "training": {k: summary.get(k) for k in ("reward_first", "reward_last", "tokens", "kl_last",
                                                 "seconds")},
        **measure_model(model, out / f"{name.replace('/', '-')}-measured", accuracy=accuracy),
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    with (out / "rows.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(name, row["robustness"]["mean"], row["seconds"], file=sys.stderr)


def column(row: dict[str, Any]) -> list[str]:
    """One model's numbers as cells of a table; what was not measured is empty."""
    r = row["robustness"]
    cells = [r["mean"], *(np.mean(group_of(row, name)) for name in GROUPS[1:])]
    cells += [r["worst"], r["ratio"], row["none"]["accuracy"]]
    if "fidelity" in row:
        d = row["drift"]["curve"]
        cells += [row["fidelity"]["score"], float(np.mean(d[1:7])), float(np.mean(d[7:9]))]
    return [f"{cell:.3f}" for cell in cells] + [""] * (10 - len(cells))


GROUPS = ("all held out", "wording seen", "wording new", "family new")


def group_of(row: dict[str, Any], name: str) -> Array:
    """What a model has right under the held-out personas of a group: (personas, items)."""
    matrix = row["unseen" if name == "family new" else "matrix"]
    right = np.asarray(matrix["right"][1:], float)
    new = np.array([persona in NEW_WORDINGS for persona in matrix["personas"][1:]])
    rows = {"wording new": new, "wording seen": ~new}.get(name, np.ones(len(new), bool))
    return np.asarray(right[rows])


def compare_arms(rows: dict[str, dict[str, Any]], one: str, other: str) -> list[str]:
    """`one` less `other`: accuracy in each group of personas, and fidelity over personas."""
    sides = [[row for row in rows.values() if row["arm"] == arm and main_run(row)]
             for arm in (one, other)]  # fmt: skip
    cells = [
        apart(*(np.array([group_of(row, name) for row in side]) for side in sides))
        for name in GROUPS
    ]
    if not all("personas" in row for side in sides for row in side):
        return [*cells, ""]
    names = list(sides[0][0]["personas"])
    faithful = [np.array([[row["personas"][n] for n in names] for row in side]) for side in sides]
    return [*cells, apart(*faithful)]


def main_run(row: dict[str, Any]) -> bool:
    """Whether a row belongs to the main comparison: one of the seeds, or the base model."""
    return row["name"] == "base" or row["name"].split("/")[1].isdigit()


def apart(one: Array, other: Array) -> str:
    """The mean difference of two arms with its interval, (seeds, …) each.

    Seeds pair trainings over the same tasks in the same order; base, which has none, is paired
    with every seed.
    """
    seeds = max(len(one), len(other)) if 1 in (len(one), len(other)) else min(len(one), len(other))
    difference = CrossedMean.of(one[:seeds] - other[:seeds])
    low, high = difference.interval
    return f"{difference.mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def tables(rows: dict[str, dict[str, Any]]) -> str:
    """Every model, and the paired differences of the main comparison, as Markdown."""
    head = ["model", *GROUPS, "worst", "worst/best", "no persona", "fidelity",
            "rounds 1–6", "rounds 7–8"]  # fmt: skip
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * 10])]
    lines += [" | ".join([name, *column(row)]) for name, row in rows.items()]
    arms = [arm for arm in ("sft", "rlvr", "permix") if f"{arm}/0" in rows]
    pairs = [(arm, "base") for arm in arms]
    pairs += [("permix", other) for other in ("rlvr", "sft") if other in arms]
    lines += [
        "",
        " | ".join(["difference", *GROUPS, "fidelity"]),
        "--- | ---: | ---: | ---: | ---: | ---:",
    ]
    lines += [" | ".join([f"{a} − {b}", *compare_arms(rows, a, b)]) for a, b in pairs]
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
    parser.add_argument("--accuracy", action="store_true", help="measure robustness alone")
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
            make(name, args.out, args.steps, accuracy=args.accuracy)


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    """The rows that are there, by name."""
    path = out / "rows.jsonl"
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


if __name__ == "__main__":
    main()
