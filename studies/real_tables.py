"""Tables of `real_models.py`, of the controls that have finished.

This module reads the rows that they leave, and knows no models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pages import number, table
from real_plan import Plan

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array, mean
from holdfast.evals.compare.intervals import late_rounds
from holdfast.evals.explain.rank_correlation import pooled_correlation
from holdfast.judge.content.embedding import embed

Row = dict[str, Any]


def rows_file(folder: Path, control: str) -> Path:
    """Where a control leaves its rows."""
    return folder / f"{control.replace(':', '-')}.json"


@dataclass(frozen=True)
class FinishedControls:
    """What the finished controls of a model say; conversations are in the same order."""

    plan: Plan
    scores: dict[str, Array]
    """(conversations, rounds + 1) of each control."""
    recall: dict[str, Array]
    """Share of the recall questions answered right, (conversations,)."""
    share: Array
    """Prompt share of the probe answers under none, (conversations, rounds + 1)."""
    categories: Array
    """Category of each conversation's persona."""
    sample: Sample
    """What the conversations share."""
    refusals: dict[str, str]
    """Controls that the model refused, with the reason."""


def read_finished(
    folder: Path, plan: Plan, which: Callable[[str], bool] = lambda agent: True
) -> FinishedControls | None:
    """Read the controls that have finished; None until none has.

    Args:
        folder: of a model.
        plan: of the study.
        which: whether the conversations of an agent count, by its id.
    """
    files = {c: rows_file(folder, c) for c in plan.all_controls}
    contents = {c: _read(file) for c, file in files.items() if file.exists()}
    rows = {
        c: [row for row in one["rows"] if which(row["agent"])]
        for c, one in contents.items()
        if "rows" in one
    }
    if not rows.get("none"):
        return None
    plain = rows["none"]
    return FinishedControls(
        plan,
        {c: _pad_rows(of, "scores", plan.rounds) for c, of in rows.items()},
        {c: np.array([np.mean(row["recall"]) for row in of]) for c, of in rows.items()},
        _pad_rows(plain, "share", plan.rounds),
        np.array([row["category"] for row in plain]),
        sample_of(plain),
        {c: one["refused"] for c, one in contents.items() if "refused" in one},
    )


def sample_of(rows: Sequence[Row]) -> Sample:
    """What the conversations share: agents, users and categories."""
    groups = [[row[of] for row in rows] for of in ("agent", "user")]
    return Sample(len(rows), groups, [row["category"] for row in rows])


def tables(folder: Path, plan: Plan) -> str:
    """The tables of what has finished of a model, in Markdown."""
    parts: list[str] = []
    if (folder / "personas.json").exists():
        parts += [
            f"{counts['kept']} of {counts['of']} personas of {suite} kept."
            for suite, counts in _read(folder / "personas.json").items()
        ]
    controls = read_finished(folder, plan)
    if controls is None:
        parts.append("No control has finished.")
    else:
        parts += [_none_table(controls), _categories_table(controls), _controls_table(controls)]
        parts += _met_tables(folder, plan)
        parts += [f"Refused: `{control}`: {why}" for control, why in controls.refusals.items()]
        parts.append(_turns_table(folder, list(controls.scores)))
    return "\n\n".join(parts)


def _met_tables(folder: Path, plan: Plan) -> list[str]:
    """The controls by whether the agents talked in an earlier study."""
    former = set(plan.met.get(folder.name, ()))
    if not former:
        return []
    new, old = (
        read_finished(folder, plan, of) for of in (lambda a: a not in former, former.__contains__)
    )
    parts = {"did not talk in the earlier study": new, "talked there": old}
    return [f"Agents that {what}: {_controls_table(of)}" for what, of in parts.items() if of]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _controls_table(controls: FinishedControls) -> str:
    plan = controls.plan
    rounds = slice(plan.first, plan.rounds + 1)
    none = mean(controls.scores["none"][:, rounds], axis=1)
    start = mean(controls.scores["none"][:, 0])
    others = [c for c in controls.scores if c != "none"]
    p = {c: _p(controls, mean(controls.scores[c][:, rounds], axis=1), none) for c in others}
    later = {c: value for c, value in p.items() if c in plan.later}
    first = {c: value for c, value in p.items() if c not in later}
    p_values = holm(first, len(plan.controls) - 1) | holm(later, len(plan.later))
    rows: list[Row] = []
    for control, scores in controls.scores.items():
        own = mean(scores[:, rounds], axis=1)
        late = mean(scores[:, late_rounds(plan.rounds)], axis=1)
        same = control == "none"
        rows.append(
            {
                "control": f"`{control}`",
                f"rounds 0 to {plan.rounds}": " ".join(_number(v) for v in mean(scores)),
                f"stability {plan.first}–{plan.rounds}": with_interval(
                    mean(own), controls.sample.score_interval(own)
                ),
                "of round 0 under none": _number(mean(own) / start),
                "less none's": "" if same else difference(controls.sample, own, none),
                "p (Holm)": "" if same else p_value(p_values[control]),
                "late": _number(mean(late)),
                "recall": _number(mean(controls.recall[control])),
                "recall less none's": ""
                if same
                else difference(controls.sample, controls.recall[control], controls.recall["none"]),
            }
        )
    n = len(controls.scores["none"])
    return f"{n} conversations.\n\n{in_table(rows)}"


def _none_table(controls: FinishedControls) -> str:
    """Score and prompt share under none by round, how they change and whether they go together."""
    scores, shares, sample = controls.scores["none"], controls.share, controls.sample
    score_intervals, share_intervals = sample.score_interval(scores), sample.share_interval(shares)
    lines = [
        {
            "round": str(r),
            "score": with_interval(mean(scores)[r], score_intervals[r]),
            "prompt share": f"{three(mean(shares)[r])} "
            f"[{three(share_intervals[r][0])}, {three(share_intervals[r][1])}]",
        }
        for r in range(scores.shape[1])
    ]
    changes = [
        f"{difference(sample, scores[:, r], scores[:, 0])} to round {r}"
        for r in (1, controls.plan.rounds)
    ]
    within = pooled_correlation(shares[:, 1:], scores[:, 1:], sample)
    rho = with_interval(within.rho, within.interval)
    return (
        f"`none`, {len(scores)} conversations:\n\n"
        f"{in_table(lines)}\n\nThe score changes by {' and '.join(changes)}."
        f" Share and score within a round: ρ = {rho}."
    )


def _categories_table(controls: FinishedControls) -> str:
    scores, categories = controls.scores["none"], controls.categories
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
    return f"The same by category:\n\n{in_table(rows)}"


def _turns_table(folder: Path, controls: Sequence[str]) -> str:
    """The agents' turns themselves, thought of after the runs: do they answer the user?"""
    rows = []
    for control in controls:
        records = rows_file(folder, control).with_suffix("") / "records.jsonl"
        lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
        turns = {
            (line["conversation"], line["round"]): (line["user"]["text"], line["agent"]["text"])
            for line in lines
            if line.get("user") and line.get("agent")
        }
        first = [both for (_, r), both in turns.items() if r == 1]
        users, agents = (np.array(embed(texts)) for texts in zip(*first, strict=True))
        repeats = [turns[c, r][1] == turns[c, r - 1][1] for c, r in turns if (c, r - 1) in turns]
        rows.append(
            {
                "control": f"`{control}`",
                "cosine of question and answer, round 1": number(
                    float((users * agents).sum(1).mean())
                ),
                "turns equal to the one before": number(float(np.mean(repeats))),
            }
        )
    return f"The agents' turns:\n\n{in_table(rows)}"


def _pad_rows(rows: Sequence[Row], key: str, rounds: int) -> Array:
    matrix = np.full((len(rows), rounds + 1), np.nan)
    for i, row in enumerate(rows):
        matrix[i, : len(row[key])] = np.array(row[key], float)
    return matrix


def _p(controls: FinishedControls, own: Array, none: Array) -> float:
    return float(controls.sample.difference_p(own, none))


def holm(p: dict[str, float], tests: int) -> dict[str, float]:
    """Holm's (1979) adjusted p-values of `tests` tests, of which some may not have been made."""
    p_values, largest = {}, 0.0
    for k, (control, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (tests - k) * value))
        p_values[control] = largest
    return p_values


def difference(sample: Sample, own: Array, none: Array) -> str:
    low, high = sample.difference_interval(own, none)
    return f"{_format_signed(mean(own - none))} [{_format_signed(low)}, {_format_signed(high)}]"


def with_interval(value: Any, interval: Any) -> str:
    return f"{_number(value)} [{_number(interval[0])}, {_number(interval[1])}]"


def p_value(p: float) -> str:
    """To three places, "<.001" below them."""
    return "<.001" if p < 0.0005 else three(p)


def three(value: Any) -> str:
    return f"{float(value):.3f}".removeprefix("0")


def _number(value: Any) -> str:
    return "–" if value is None or np.isnan(value) else number(float(value))


def _format_signed(value: Any) -> str:
    return number(float(value), signed=True)


def in_table(rows: Sequence[Row]) -> str:
    return table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])
