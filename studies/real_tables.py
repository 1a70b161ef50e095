"""Tables of `real_models.py`, of the blocks that have finished.

This module reads the rows that blocks leave, and knows no models.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pages import number, table

from holdfast.core.errors import HoldfastError
from holdfast.core.intervals import Sample
from holdfast.core.stats import Array, mean
from holdfast.evals.compare.intervals import late_rounds
from holdfast.evals.explain.rank_correlation import pooled

STUDY: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("real_models.toml").read_text(encoding="utf-8")
)
PLAN, SHARE = STUDY["conversations"], STUDY["share"]
Row = dict[str, Any]


def rows_file(folder: Path, seed: int) -> Path:
    """Where a block leaves its rows."""
    return folder / f"rows-{seed}.json"


@dataclass(frozen=True)
class Finished:
    """What the finished blocks of a model say, by control."""

    scores: dict[str, Array]
    """(conversations, rounds + 1) of each control, in the same order."""
    recall: dict[str, Array]
    """Share of the recall questions answered right, (conversations,)."""
    times: dict[str, list[float]]
    """Time a token relative to none's, of each block."""
    categories: Array
    """The category of each conversation."""
    sample: Sample
    """What the conversations share."""
    refused: dict[str, str]
    """Controls that the model refused, with the reason."""


def finished(folder: Path) -> Finished:
    """Read the blocks that have finished; raises `HoldfastError` where none has."""
    files = [rows_file(folder, seed) for seed in PLAN["seeds"]]
    blocks = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.exists()]
    if not blocks:
        raise HoldfastError(f"no block has finished in {folder}: run the command without --tables.")
    rows = [row for block in blocks for row in block["rows"]]
    by_control: dict[str, list[Row]] = {}
    for row in rows:
        by_control.setdefault(row["control"], []).append(row)
    plain = by_control["none"]
    groups = [[row["agent"] for row in plain], [row["user"] for row in plain]]
    categories = [row["category"] for row in plain]
    return Finished(
        {c: np.array([row["scores"] for row in of], float) for c, of in by_control.items()},
        {c: np.array([np.mean(row["recall"]) for row in of]) for c, of in by_control.items()},
        {c: [block["time"][c] for block in blocks if block["time"].get(c)] for c in by_control},
        np.array(categories),
        Sample(len(plain), groups, categories),
        {c: why for block in blocks for c, why in block["refused"].items()},
    )


def tables(folder: Path) -> str:
    """The tables of a model, in Markdown."""
    done = finished(folder)
    parts = [_controls_table(done), _categories_table(done)]
    if (folder / "personas.json").exists():
        kept = json.loads((folder / "personas.json").read_text(encoding="utf-8"))
        parts.insert(0, f"{kept['kept']} of {kept['of']} personas kept.")
    if (folder / "share.json").exists():
        parts.append(_share_table(json.loads((folder / "share.json").read_text(encoding="utf-8"))))
    parts += [f"Refused: `{control}`: {why}" for control, why in done.refused.items()]
    return "\n\n".join(parts)


def _controls_table(done: Finished) -> str:
    rounds = slice(1, PLAN["rounds"] + 1)
    none = mean(done.scores["none"][:, rounds], axis=1)
    others = [c for c in done.scores if c != "none"]
    p = {c: _p(done, mean(done.scores[c][:, rounds], axis=1), none) for c in others}
    holm = _holm(p)
    rows: list[Row] = []
    for control, scores in done.scores.items():
        own = mean(scores[:, rounds], axis=1)
        late = mean(scores[:, late_rounds(PLAN["rounds"])], axis=1)
        same = control == "none"
        rows.append(
            {
                "control": f"`{control}`",
                "rounds 0 to 8": " ".join(_number(v) for v in mean(scores)),
                "stability 1–8": _with_interval(mean(own), done.sample.score_interval(own)),
                "less none's": "" if same else _difference(done, own, none),
                "p (Holm)": "" if same else f"{holm[control]:.3f}".lstrip("0"),
                "late": _number(mean(late)),
                "recall": _number(mean(done.recall[control])),
                "recall less none's": ""
                if same
                else _difference(done, done.recall[control], done.recall["none"]),
                "time": _time(done.times[control]),
            }
        )
    n = len(done.categories)
    return f"{n} conversations.\n\n{_table(rows)}"


def _categories_table(done: Finished) -> str:
    scores = done.scores["none"]
    rows = [
        {
            "category": str(category),
            "n": int(where.sum()),
            "round 0": _number(mean(scores[where])[0]),
            "round 1": _number(mean(scores[where])[1]),
            "rounds 7, 8": _number(mean(mean(scores[where][:, 7:], axis=1))),
        }
        for category in sorted(set(done.categories.tolist()))
        for where in (done.categories == category,)
    ]
    return f"none by category:\n\n{_table(rows)}"


def _share_table(found: Row) -> str:
    rows = found["rows"]
    scores, shares = (_padded(rows, key) for key in ("scores", "share"))
    groups = [[row["agent"] for row in rows], [row["user"] for row in rows]]
    sample = Sample(len(rows), groups, [row["category"] for row in rows])
    within = pooled(shares[:, 1:], scores[:, 1:], sample)
    line = {
        "n": len(rows),
        "prompt share, rounds 0 to 8": " ".join(_three(v) for v in mean(shares)),
        "score": " ".join(_number(v) for v in mean(scores)),
        "floor": _number(found["floor"]),
        "ρ of share and score within rounds": _with_interval(within.rho, within.interval),
    }
    return f"Prompt share under none:\n\n{_table([line])}"


def _padded(rows: Sequence[Row], key: str) -> Array:
    padded = np.full((len(rows), PLAN["rounds"] + 1), np.nan)
    for i, row in enumerate(rows):
        padded[i, : len(row[key])] = np.array(row[key], float)
    return padded


def _p(done: Finished, own: Array, none: Array) -> float:
    return float(done.sample.difference_p(own, none))


def _holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's (1979) adjusted p-values."""
    adjusted, largest = {}, 0.0
    for k, (control, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p) - k) * value))
        adjusted[control] = largest
    return adjusted


def _difference(done: Finished, own: Array, none: Array) -> str:
    low, high = done.sample.difference_interval(own, none)
    return f"{_signed(mean(own - none))} [{_signed(low)}, {_signed(high)}]"


def _with_interval(value: Any, interval: Any) -> str:
    return f"{_number(value)} [{_number(interval[0])}, {_number(interval[1])}]"


def _time(times: Sequence[float]) -> str:
    return f"{np.median(times):.2f}" if times else ""


def _three(value: Any) -> str:
    return f"{float(value):.3f}".removeprefix("0")


def _number(value: Any) -> str:
    return "–" if value is None or np.isnan(value) else number(float(value))


def _signed(value: Any) -> str:
    return number(float(value), signed=True)


def _table(rows: Sequence[Row]) -> str:
    return table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])
