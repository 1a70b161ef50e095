"""The study of mixed personas: what its tables say of rows that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mixing as study

from holdfast.persona import pool


def row(name: str, right: float, faithful: float) -> dict[str, Any]:
    """A model that is right on a share of eight items, whoever it is asked as."""
    arm, seed, beta, mixing = study.RUNS[name]
    hits = [int(i < 8 * right) for i in range(8)]
    return {
        "name": name, "arm": arm, "seed": seed, "beta": beta, "mixing": mixing,
        "robustness": {"mean": right, "worst": right, "ratio": 1.0},
        "none": {"accuracy": right},
        "fidelity": {"score": faithful},
        "drift": {"curve": [1.0] * 7 + [faithful] * 2},
        "matrix": {"personas": ["", "sailor", "spanish"], "right": [[1] * 8, hits, hits]},
        "unseen": {"personas": ["", "lower-1"], "right": [[1] * 8, hits]},
        "personas": {"ann": faithful, "bob": faithful},
    }  # fmt: skip


ROWS = {
    r["name"]: r
    for r in [
        row("base", 0.5, 1.0),
        *(row(f"rlvr/{s}", 0.75, 0.75) for s in study.SEEDS),
        *(row(f"permix/{s}", 0.75, 1.0) for s in study.SEEDS),
        row("permix/long", 0.0, 0.0),
    ]
}


def test_differences_are_paired_and_leave_the_extra_runs_out() -> None:
    assert study.compare_arms(ROWS, "permix", "rlvr") == [
        *["+0.000 [+0.000, +0.000]"] * 4,
        "+0.250 [+0.250, +0.250]",
    ]
    *accuracy, fidelity = study.compare_arms(ROWS, "rlvr", "base")
    assert all(one.startswith("+0.250 [") for one in accuracy) and fidelity.startswith("-0.250 [")


def test_the_unseen_families_are_in_no_pool_and_held_out() -> None:
    unseen = pool.load(study.UNSEEN)
    members = pool.load("mini")
    assert not pool.overlap(unseen, members) and {one.split for one in unseen} == {"held-out"}
    assert {*study.NEW_WORDINGS} < {one.id for one in members if one.split == "held-out"}


def test_the_tables_hold_every_model_and_every_difference(tmp_path: Path) -> None:
    text = study.tables(ROWS)
    assert all(f"| {name} |" in text for name in ROWS)
    assert "permix − rlvr" in text and "sft" not in text
    study.figure(ROWS, tmp_path / "a.svg")
    study.figure(ROWS, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
