"""Rows of the coverage study, their bounds and their tables: a part of `coverage.py`."""

from __future__ import annotations

import re
import statistics
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np

from holdfast.core.stats import Array

FEW = 24
"""Observations; below them only a lower bound holds, and a lower one."""
LEAST, LEAST_OF_FEW, MOST = 0.92, 0.9, 0.98
RISK = 0.05
"""Of a study in which some row fails, though none is worse than its bound."""
SAME_PERSONAS, STILL = "own personas", 1.1
"""Plans of the same personas at any number of conversations, and what counts as no wider there."""


@dataclass(frozen=True)
class Row:
    """How often one interval held the truth."""

    interval: str
    n: int
    """Observations: conversations, tasks, personas, or graded answers."""
    mean: float
    """Of the scores; one half where it decides nothing."""
    coverage: float
    width: float
    """Mean over the replications."""
    replications: int
    """Those for which there was an interval."""
    sparse: bool
    """Whether the upper bound does not hold: few scores differ from the end of the scale."""
    plan: str = ""
    scores: str = ""
    """Kind of score, as "binary, 3 runs"."""

    @classmethod
    def of(
        cls,
        interval: str,
        limits: Array,
        truth: float,
        n: int,
        mean: float,
        sparse: bool,
        plan: str = "",
        scores: str = "",
    ) -> Self | None:
        """The share of the intervals (replications, 2) that hold the truth; None without any."""
        limits = limits[~np.isnan(limits[:, 0])]
        if not len(limits):
            return None
        low, high = limits.T
        inside = float(((low - 1e-9 <= truth) & (truth <= high + 1e-9)).mean())
        width = float((high - low).mean())
        return cls(interval, n, float(mean), inside, width, len(limits), bool(sparse), plan, scores)

    @property
    def label(self) -> str:
        """The interval with its plan and its kind of score."""
        return ", ".join(part for part in (self.interval, self.plan, self.scores) if part)

    def is_within(self, errors: float) -> bool:
        """Whether the coverage is within its bounds, give or take so many standard errors there."""
        low = LEAST_OF_FEW if self.n < FEW else LEAST
        high = 1.0 if self.n < FEW or self.sparse else MOST

        def slack(bound: float) -> float:
            return float(errors * np.sqrt(bound * (1 - bound) / self.replications))

        return low - slack(low) <= self.coverage <= high + slack(high)


def outside(rows: Sequence[Row]) -> list[Row]:
    """The rows outside their bounds by more than chance.

    Of rows that lie exactly at their bounds the simulation puts some outside, more of two thousand
    than of ten. So the slack grows with their number (Bonferroni): some row fails by chance in
    `RISK` of such studies at most.
    """
    errors = NormalDist().inv_cdf(1 - RISK / max(1, len(rows)))
    return [row for row in rows if not row.is_within(errors)]


def widening(rows: Sequence[Row]) -> Iterator[tuple[str, int, int]]:
    """Intervals that are wider from more observations of the same kind.

    Those that are given for fewer than half of the replications are of the odd ones only. More
    conversations of the same few personas (`SAME_PERSONAS`) leave their number as it is, and may
    leave the width so.
    """
    last: dict[tuple[str, float], Row] = {}
    whole = {
        label: max(r.replications for r in rows if r.label == label)
        for label in {r.label for r in rows}
    }
    for row in rows:
        if 2 * row.replications < whole[row.label]:
            continue
        before = last.get((row.label, row.mean))
        slack = STILL if SAME_PERSONAS in row.plan else 1.0
        if before is not None and row.n > before.n and row.width > slack * before.width:
            yield row.label, before.n, row.n
        last[row.label, row.mean] = row


def table(rows: Sequence[Row]) -> str:
    """All rows as Markdown: of plans with a column for each kind of score, then the others.

    The width is that of the first kind.
    """
    failures = set(outside(rows))
    kinds = list(dict.fromkeys(row.scores for row in rows if row.scores))
    of_plans: dict[tuple[str, str, int, float], dict[str, Row]] = {}
    for row in rows:
        if row.scores:
            of_plans.setdefault((row.interval, row.plan, row.n, row.mean), {})[row.scores] = row
    lines: list[str] = []
    if of_plans:
        lines += _head("interval", "plan", "conversations", "mean", *kinds, "width")
    for (interval, plan, n, mean), by in of_plans.items():
        cells = [_format_mean(by[kind], failures) if kind in by else "–" for kind in kinds]
        width = f"{by[kinds[0]].width:.3f}" if kinds[0] in by else "–"
        lines.append(
            " | ".join(["| " + interval, plan, str(n), f"{mean:.2f}", *cells, width]) + " |"
        )
    others = [row for row in rows if not row.scores]
    if others:
        lines += ["", *_head("interval", "observations", "mean", "coverage", "width")]
    lines += [
        _line(
            row.interval,
            str(row.n),
            f"{row.mean:.2f}",
            _format_mean(row, failures),
            f"{row.width:.3f}",
        )
        for row in others
    ]
    return "\n".join(lines).strip()


def summary(rows: Sequence[Row]) -> str:
    """Least, middle and greatest coverage of each interval, by how much there was to see."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(re.split(r",| to | [.\d]+$", row.interval)[0], []).append(row)
    lines = _head("interval", "rows", f"{FEW} and more", "near an end", f"fewer than {FEW}")
    for family, some in families.items():
        many = [row for row in some if row.n >= FEW]
        parts = (
            [row for row in many if not row.sparse],
            [row for row in many if row.sparse],
            [row for row in some if row.n < FEW],
        )
        lines.append(_line(family, str(len(some)), *map(_range, parts)))
    return "\n".join(lines)


def _range(rows: Sequence[Row]) -> str:
    if not rows:
        return "–"
    shares = [row.coverage for row in rows]
    return f"{min(shares):.3f} · {statistics.median(shares):.3f} · {max(shares):.3f}"


def _head(*names: str) -> list[str]:
    names_first = sum(name in ("interval", "plan") for name in names)
    rule = ["---"] * names_first + ["---:"] * (len(names) - names_first)
    return [_line(*names), _line(*rule)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _format_mean(row: Row, failures: Container[Row]) -> str:
    return f"{row.coverage:.3f}{' !' if row in failures else ''}"
