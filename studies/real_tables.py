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
    sample: Sample
    """What the conversations share."""
    refused: dict[str, str]
    """Controls that the model refused, with the reason."""


def finished(folder: Path) -> Finished | None:
    """Read the blocks that have finished; None where none has."""
    files = [rows_file(folder, seed) for seed in PLAN["seeds"]]
    blocks = [_read(f) for f in files if f.exists()]
    if not blocks:
        return None
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
        Sample(len(plain), groups, categories),
        {c: why for block in blocks for c, why in block["refused"].items()},
    )


def tables(folder: Path) -> str:
    """The tables of what has finished of a model, in Markdown."""
    parts: list[str] = []
    if (folder / "personas.json").exists():
        kept = _read(folder / "personas.json")
        parts.append(f"{kept['kept']} of {kept['of']} personas kept.")
    if (folder / "share.json").exists():
        found = _read(folder / "share.json")
        parts += [_none_table(found), _categories_table(found)]
    done = finished(folder)
    if done is None:
        parts.append("No block of conversations under the controls has finished.")
    else:
        parts.append(_controls_table(done))
        parts += [f"Refused: `{control}`: {why}" for control, why in done.refused.items()]
    return "\n\n".join(parts)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


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
                "less none's": "" if same else _difference(done.sample, own, none),
                "p (Holm)": "" if same else f"{holm[control]:.3f}".lstrip("0"),
                "late": _number(mean(late)),
                "recall": _number(mean(done.recall[control])),
                "recall less none's": ""
                if same
                else _difference(done.sample, done.recall[control], done.recall["none"]),
                "time": _time(done.times[control]),
            }
        )
    n = len(done.scores["none"])
    return f"{n} conversations.\n\n{_table(rows)}"


def _none_table(found: Row) -> str:
    """Score and prompt share under none by round, how they change and whether they go together."""
    rows = found["rows"]
    scores, shares = (_padded(rows, key) for key in ("scores", "share"))
    groups = [[row["agent"] for row in rows], [row["user"] for row in rows]]
    sample = Sample(len(rows), groups, [row["category"] for row in rows])
    score_intervals, share_intervals = sample.score_interval(scores), sample.score_interval(shares)
    lines = [
        {
            "round": str(r),
            "score": _with_interval(mean(scores)[r], score_intervals[r]),
            "prompt share": f"{_three(mean(shares)[r])} "
            f"[{_three(share_intervals[r][0])}, {_three(share_intervals[r][1])}]",
        }
        for r in range(scores.shape[1])
    ]
    changes = [
        f"{_difference(sample, scores[:, r], scores[:, 0])} to round {r}"
        for r in (1, PLAN["rounds"])
    ]
    within = pooled(shares[:, 1:], scores[:, 1:], sample)
    rho = _with_interval(within.rho, within.interval)
    return (
        f"`none`, {len(rows)} conversations, floor {_number(found['floor'])}:\n\n"
        f"{_table(lines)}\n\nThe score changes by {' and '.join(changes)}."
        f" Share and score within a round: ρ = {rho}."
    )


def _categories_table(found: Row) -> str:
    scores = _padded(found["rows"], "scores")
    categories = np.array([row["category"] for row in found["rows"]])
    rows = [
        {
            "category": str(category),
            "n": int(where.sum()),
            "round 0": _number(mean(scores[where])[0]),
            "round 1": _number(mean(scores[where])[1]),
            "last two rounds": _number(mean(mean(scores[where][:, -2:], axis=1))),
        }
        for category in sorted(set(categories.tolist()))
        for where in (categories == category,)
    ]
    return f"The same by category:\n\n{_table(rows)}"


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


def _difference(sample: Sample, own: Array, none: Array) -> str:
    low, high = sample.difference_interval(own, none)
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
