"""Which control holds a real model? Screened personas, ten controls, eight rounds.

    python studies/real_models.py --model smollm2 --out DIR
    python studies/real_models.py --model smollm2 --out DIR --tables     # of what has finished

`real_models.toml` has the question, the primary measure, its test and every setting. A model's
personas are screened first. Then comes a run under none that measures the prompt share, and then
blocks of conversations, each under every control. Every part is a run of its own folder in
DIR/MODEL, so that the same command goes on where it was stopped. A block that has finished leaves
its rows in `rows-SEED.json`, and the tables are made of these.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from edge import open_model
from real_tables import PLAN, SHARE, rows_file, tables

from holdfast.core.backend import Backend, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import dumps
from holdfast.evals.compare.compare import Comparison, compare
from holdfast.evals.conversation.screening import screen
from holdfast.evals.conversation.settings import ConversationSettings
from holdfast.evals.drift import drift

SAMPLING = Sampling(PLAN["max_new_tokens"], PLAN["temperature"])
Row = dict[str, Any]


def main() -> None:
    """Run what is missing of one model, or print its tables."""
    parser = argparse.ArgumentParser(description="Which control holds a real model?")
    parser.add_argument("--model", required=True, help="of models.toml, or as `holdfast` takes it")
    parser.add_argument("--out", type=Path, required=True, help="folder of all models' runs")
    parser.add_argument("--tables", action="store_true", help="print tables of what has finished")
    options = parser.parse_args()
    folder = options.out / Path(options.model).stem
    try:
        if not options.tables:
            run(open_model(options.model), folder, Progress(enabled=True))
        print(tables(folder))
    except HoldfastError as error:
        sys.exit(f"error: {error}")


def run(model: Backend, folder: Path, progress: Progress) -> None:
    """Do what is missing of a model's parts."""
    personas = screened(model, folder, progress)
    if not (folder / "share.json").exists():
        share(model, personas, folder, progress)
    for seed in PLAN["seeds"]:
        if not rows_file(folder, seed).exists():
            block(model, personas, seed, folder, progress)


def screened(model: Backend, folder: Path, progress: Progress) -> tuple[str, ...]:
    """The ids of the personas that the model holds at round 0."""
    settings = ConversationSettings(
        suite=PLAN["suite"],
        seed=PLAN["screen_seed"],
        sampling=SAMPLING,
        screen=True,
        screen_at=PLAN["screen_at"],
    )
    found = screen(settings, model, out=folder / "screening", progress=progress)
    assert found is not None
    _write(folder / "personas.json", found.summary)
    return found.summary.personas


def block(
    model: Backend, personas: tuple[str, ...], seed: int, folder: Path, progress: Progress
) -> None:
    """Hold the conversations of one seed under every control, and write their rows."""
    comparison = compare(
        model,
        controls=PLAN["controls"],
        suite=PLAN["suite"],
        agents=personas,
        pairs=PLAN["pairs"],
        rounds=PLAN["rounds"],
        runs=PLAN["runs"],
        each=PLAN["recall_questions"],
        seed=seed,
        sampling=SAMPLING,
        out=folder / f"seed-{seed}",
        progress=progress,
    )
    times = {row.control: row.relative_ms_per_token for row in comparison.rows}
    refused = comparison.summary.refused
    rows = {"rows": list(_rows(comparison, seed)), "time": times, "refused": refused}
    _write(rows_file(folder, seed), rows)


def _rows(comparison: Comparison, seed: int) -> Iterator[Row]:
    """A row for each conversation and control: its scores by round, and its right answers."""
    for c in comparison.conversations:
        for control, under in c.controls.items():
            own = [[p.score for p in at.probes if p.arm == "own"] for at in under.rounds]
            scores = [float(np.mean(of)) if of else None for of in own]
            yield {
                "conversation": f"{seed}-{c.id}",
                "agent": c.agent.id,
                "category": c.agent.category,
                "user": c.user.id,
                "control": control,
                "scores": scores + [None] * (PLAN["rounds"] + 1 - len(scores)),
                "recall": [q.right for q in under.questions if q.kind == "recall"],
            }


def share(model: Backend, personas: tuple[str, ...], folder: Path, progress: Progress) -> None:
    """Measure the prompt share beside the score, under none."""
    found = drift(
        model,
        suite=PLAN["suite"],
        agents=personas,
        pairs=SHARE["pairs"],
        rounds=PLAN["rounds"],
        runs=PLAN["runs"],
        seed=SHARE["seed"],
        sampling=SAMPLING,
        filler=False,
        history_floor=False,
        user_persona=False,
        out=folder / "share",
        progress=progress,
    )
    rows = [
        {
            "conversation": c.id,
            "agent": c.agent.id,
            "category": c.agent.category,
            "user": c.user.id,
            "scores": [_own_score(at.probes) for at in c.rounds],
            "share": [at.share for at in c.rounds],
        }
        for c in found.conversations
    ]
    _write(folder / "share.json", {"rows": rows, "floor": found.summary.curves.floor})


def _own_score(probes: Sequence[Any]) -> float | None:
    own = [p.score for p in probes if p.arm == "own"]
    return float(np.mean(own)) if own else None


def _write(path: Path, value: object) -> None:
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(dumps(value, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    main()
