"""The measurements of the model card as Markdown: `python studies/mini_card.py`.

Drift on 200 conversations of 8 rounds, and the exam, with intervals. Then one line for each bound
that the shipped weights must satisfy, which says whether they do.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import holdfast
from holdfast.core.backend import Backend
from holdfast.core.progress import Progress
from holdfast.core.records import as_record
from holdfast.core.stats import wilson
from holdfast.models.mini.exam import KINDS, accuracy, items

Band = Sequence[float | None]


def drift_table(summary: Mapping[str, Any]) -> list[str]:
    """Write ceiling, floor and stability by category, with intervals."""
    last = summary["rounds"]
    rows = [("all", summary["conversations"], summary)]
    rows += [(name, part["n"], part) for name, part in summary["by_category"].items()]
    lines = [
        f"| category | n | round 0 (ceiling) | round {last // 2} | round {last} | floor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, n, part in rows:
        points = [_with(part["stability"][r], part["interval"][r]) for r in (0, last // 2, last)]
        lines.append(f"| {name} | {n} | {' | '.join(points)} | {part['floor']:.2f} |")
    return lines


def exam_table(model: Backend, n: int) -> list[str]:
    """Ask the exam and write the accuracy of each kind of task, on both splits."""
    lines = ["| task | easy | hard |", "| --- | --- | --- |"]
    for kind in KINDS:
        shares = [accuracy(model, items(kind, n, hard=hard)) for hard in (False, True)]
        cells = " | ".join(_with(share, wilson(share, n)) for share in shares)
        lines.append(f"| {kind} | {cells} |")
    return lines


def _with(value: float, band: Band) -> str:
    low, high = band
    # A mean of too few conversations has no interval.
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def bounds(summary: Mapping[str, Any]) -> list[str]:
    """Write what the shipped weights must satisfy, and whether they do."""
    categories = summary["by_category"]
    lowest = min(categories, key=lambda name: categories[name]["ceiling"])
    highest = max(categories, key=lambda name: categories[name]["floor"])
    change = summary["change"]
    checks = [
        (
            categories[lowest]["ceiling"] >= 0.9,
            f"round 0 is at least .9 in each category: the lowest, {lowest}, has "
            f"{categories[lowest]['ceiling']:.2f}",
        ),
        (
            categories[highest]["floor"] <= 0.2,
            f"the floor is at most .2: the highest, {highest}, has "
            f"{categories[highest]['floor']:.2f}",
        ),
        (
            change["value"] <= -0.2 and change["interval"][1] < 0,
            f"stability falls by at least .2 by round {summary['rounds']}: the change is "
            f"{_with(change['value'], change['interval'])}",
        ),
    ]
    return [f"- {'kept' if holds else 'NOT kept'}: {text}" for holds, text in checks]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-n", type=int, default=300, help="exam items of each kind and split")
    options = parser.parse_args()
    model = holdfast.load(options.model)
    run = holdfast.drift(
        model,
        suite="mini",
        pairs=options.pairs,
        rounds=8,
        seed=options.seed,
        progress=Progress(),
    )
    summary = as_record(run.summary)
    lines = [*drift_table(summary), "", *exam_table(model, options.n), ""]
    print("\n".join([*lines, *bounds(summary)]))


if __name__ == "__main__":
    main()
