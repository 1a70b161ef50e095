"""Do the 95% intervals cover what they say, on the plans that the commands draw?

Scores are simulated on plans of `plan()`. With agent a, user u and category c of conversation i,

    logit p_i(t) = b(t) + κ_c + α_a + β_u + ε_i + the same three anew for each point t

and a score is 0 or 1 with probability p ("binary"), a mean of runs of these, a Beta draw with
mean p in every second category ("mixed"), or a Beta draw everywhere ("fractional", or "skewed"
with most scores near 0 or 1). Standard
deviations are near what 200 conversations of `mini` show (personas .2 of the variance late in a
conversation, users' personas nearly nothing); b(t) puts the population's mean where the cell
says. The population: new personas, users and conversations, in the plan's share of categories.

A cell fails where its coverage, give or take two standard errors of the simulation, is outside
[.92, .98], or below .90 from 12 conversations. The upper bound does not hold where fewer than
six scores (or personas, where each recurs) are expected to differ from the nearer end of the
scale, since coverage there jumps from one count to the next, and where personas are all alike.
An interval that is not given counts for nothing. It also fails where the same interval from more
conversations is wider.

`--quick` takes fewer replications and plans, and writes no page.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage_statistics
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from holdfast.core.intervals import GROUPS, Sample
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.persona.suite import load_suite

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "intervals.md"
MARKS = "<!-- coverage -->", "<!-- end of coverage -->"
AGENT, USER, CONVERSATION, CATEGORY = 1.0, 0.3, 0.5, 1.0  # standard deviations of the logit
OWN = 0.5  # of a point, relative to those
STRONG = 1.5  # of personas, in a file of one's own
OWN_FILES = ((1, 24), (1, 48), (3, 10), (8, 5), (8, 10), (12, 1), (12, 2), (12, 5), (12, 10),
             (20, 2), (20, 5), (20, 10), (40, 5))  # fmt: skip
QUICK = (("binary", 1), ("binary", 3), ("fractional", 1), ("skewed", 1))
KINDS = (*QUICK, ("binary", 2), ("mixed", 1))
POINTS = ((0.94, 0.72), (0.99, 0.94), (0.5, 0.5), (0.04, 0.04))
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    name: str
    n: int
    mean: float
    coverage: float
    width: float
    replications: int
    sparse: bool

    @property
    def passes(self) -> bool:
        """Whether the coverage is within its bounds, give or take two standard errors."""
        low, high = (0.9, 1.0) if self.n < 24 else (0.92, 1.0 if self.sparse else 0.98)
        slack = 2 * np.sqrt(0.95 * 0.05 / self.replications)
        return bool(low - slack <= self.coverage <= high + slack)


class World:
    """Scores of a plan's conversations, drawn many times from one population."""

    def __init__(
        self, planned: Sequence[Conversation], rng: np.random.Generator, agent: float = AGENT
    ) -> None:
        self.rng, self.agent = rng, agent
        self.agents, self.users, self.categories = (
            np.unique(names, return_inverse=True)[1]
            for names in (
                [c.agent.id for c in planned],
                [c.user.id for c in planned],
                [c.agent.category for c in planned],
            )
        )
        fixed = self.categories
        if np.bincount(self.agents).size < GROUPS:  # taken as given
            self.agent, fixed = 0.0, self.agents
        levels = np.linspace(-1.5, 1.5, fixed.max() + 1) * CATEGORY * (fixed.max() > 0)
        self.offset = levels[fixed]
        self.deviation = np.sqrt(self.agent**2 + USER**2 + CONVERSATION**2)
        uses = np.bincount(self.agents) / len(self.agents)
        self.effective = len(fixed) if self.agent == 0 else 1 / (uses**2).sum()

    def sample(self) -> Sample:
        """What the estimators are told of the plan."""
        return Sample(
            len(self.agents), [self.agents.tolist(), self.users.tolist()], self.categories.tolist()
        )

    def effects(self, replications: int, scale: float = 1.0) -> Array:
        """Random effects of conversations: (conversations, replications)."""

        def drawn(groups: int, deviation: float) -> Array:
            return self.rng.normal(0, scale * deviation, (groups, replications))

        total = drawn(self.agents.max() + 1, self.agent)[self.agents]
        total += drawn(self.users.max() + 1, USER)[self.users]
        return np.asarray(total + drawn(len(self.agents), CONVERSATION))

    def scores(self, target: float, effects: Array, runs: int, kind: str) -> Array:
        """Scores with a population mean of `target`, given the effects of conversations."""
        spread = self.deviation * np.sqrt(1 + OWN**2)

        def surplus(base: float) -> float:
            p = expit(base + self.offset[:, None] + spread * _NODES)
            return float((p @ _WEIGHTS).mean() / _WEIGHTS.sum() - target)

        base = brentq(surplus, -25, 25)
        own = self.effects(effects.shape[1], OWN)
        p = expit(base + self.offset[:, None] + effects + own)
        values = np.mean([self.rng.random(p.shape) < p for _ in range(runs)], axis=0)
        if kind != "binary":
            some = self.categories % 2 == 1 if kind == "mixed" else np.ones(len(p), bool)
            q = p[some].clip(1e-6, 1 - 1e-6)
            # Judges report shares of a reply: two places.
            size = 3 if kind == "skewed" else 10
            values[some] = self.rng.beta(size * q, size * (1 - q)).round(2)
        return values


def coverage(
    name: str, limits: Array, truth: float, n: int, mean: float, sparse: bool
) -> Cell | None:
    """The share of the intervals that are given which hold the truth."""
    given = ~np.isnan(limits[:, 0])
    if not given.any():
        return None
    low, high = limits[given].T
    inside = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
    width = float((high - low).mean())
    return Cell(name, n, mean, float(inside.mean()), width, int(given.sum()), sparse)


def cells(
    label: str, planned: Sequence[Conversation], replications: int, runs: int, kind: str, seed: int
) -> Iterator[Cell | None]:
    """Levels, changes, and normalised scores, of one plan and one kind of score."""
    strong = "own" in label
    world = World(planned, np.random.default_rng(seed), STRONG if strong else AGENT)
    n, sample = len(planned), world.sample()
    detail = f"{label}, {kind}" + (f", {runs} runs" if runs > 1 else "")
    for first, last in POINTS:
        effects = world.effects(replications)
        ceiling, score = (world.scores(m, effects, runs, kind) for m in (first, last))
        sparse = world.effective * min(first, 1 - first) < 6
        yield coverage(f"level, {detail}", sample.score_interval(ceiling), first, n, first, sparse)
        change = sample.difference_interval(score, ceiling)
        yield coverage(f"paired change to {last}, {detail}", change, last - first, n, first, sparse)
        if first > 0.9:
            floor = world.scores(0.04, world.effects(replications), 1, "binary")
            share = sample.ratio_interval(score, floor, ceiling)
            truth = (last - 0.04) / (first - 0.04)
            yield coverage(f"normalised {last}, {detail}", share, truth, n, first, sparse)
    yield from _categories(world, replications, runs, kind, detail)


def _categories(
    world: World, replications: int, runs: int, kind: str, detail: str
) -> Iterator[Cell | None]:
    """The mean of one category, whose conversations are few."""
    rows = world.categories == 0
    if np.unique(world.agents[rows]).size < min(GROUPS, rows.sum()):
        return  # taken as given: the interval is about these personas alone
    part, keep = world.sample().part(rows), world.offset
    world.offset = keep - keep[rows].mean()
    scores = world.scores(0.5, world.effects(replications), runs, kind)[rows]
    world.offset = keep
    limits, n = part.score_interval(scores), int(rows.sum())
    truth = 0.5 if not np.ptp(world.offset) else _category_mean(world, rows)
    yield coverage(f"category, {detail}", limits, truth, n, truth, n * min(truth, 1 - truth) < 6)


def _category_mean(world: World, rows: Array) -> float:
    """The population mean of the category at `rows` where the whole plan's is one half."""
    spread = world.deviation * np.sqrt(1 + OWN**2)
    offset = world.offset - world.offset[rows].mean()

    def mean(base: float, part: Array) -> float:
        p = expit(base + part[:, None] + spread * _NODES)
        return float((p @ _WEIGHTS).mean() / _WEIGHTS.sum())

    base = brentq(lambda b: mean(b, offset) - 0.5, -25, 25)
    return mean(base, offset[rows])


def plans(quick: bool) -> Iterator[tuple[str, tuple[Conversation, ...]]]:
    """Plans of the whole suites, and of so few personas that each recurs five or ten times."""
    for name in ("mini", "core"):
        suite = load_suite(name)
        everybody = suite.personas
        for pairs in (12, 24, 100) if quick else (12, 24, 48, 64, 100, 150, 200):
            yield name, plan(everybody, everybody, suite, pairs=pairs)
    suite = load_suite("mini")
    for k, times in ((12, 2), (12, 10)) if quick else OWN_FILES:
        some = suite.personas[:: len(suite.personas) // k][:k]
        yield f"{k} own personas", plan(some, suite.personas, suite, pairs=k * times)
    for k in (10,) if quick else (10, 20):
        some = suite.personas[:: len(suite.personas) // k][:k]
        yield f"{k} own personas on both sides", plan(some, some, suite, pairs=5 * k)


def statistics(replications: int, seed: int) -> Iterator[Cell]:
    """Intervals of effect, fidelity and robustness."""
    rng = np.random.default_rng(seed)
    for name, n, mean, limits, truth in coverage_statistics.cells(rng, replications):
        # Personas that are all alike are at the end of what they can be, as scores at 0 or 1.
        sparse = n * min(mean, 1 - mean) < 6 or name.endswith(", equal personas")
        if (cell := coverage(name, limits, truth, n, mean, sparse)) is not None:
            yield cell


def widening(rows: Sequence[Cell]) -> Iterator[tuple[str, int, int]]:
    """Intervals that are wider from more conversations of the same suite.

    Those that are given for fewer than half of the replications are of the odd ones only.
    """
    last: dict[tuple[str, float], Cell] = {}
    whole = {
        name: max(r.replications for r in rows if r.name == name) for name in {r.name for r in rows}
    }
    for row in rows:
        if 2 * row.replications < whole[row.name]:
            continue
        before = last.get((row.name, row.mean))
        if before is not None and row.n > before.n and row.width > before.width:
            yield row.name, before.n, row.n
        last[row.name, row.mean] = row


def table(rows: Sequence[Cell]) -> str:
    """The cells as a Markdown table."""
    lines = [
        "| interval | conversations | mean | coverage | width |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join(
        lines
        + [
            f"| {c.name} | {c.n} | {c.mean:.2f} | {c.coverage:.3f}{'' if c.passes else ' !'} "
            f"| {c.width:.3f} |"
            for c in rows
        ]
    )


def write(rows: Sequence[Cell], replications: int) -> None:
    """Put the table between the marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    note = f"{replications} replications a row; written by `python studies/coverage.py`."
    page = f"{before}{MARKS[0]}\n\n{note}\n\n{table(rows)}\n\n{MARKS[1]}{after}"
    PAGE.write_text(page, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print, and return 1 where a cell fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="Under three minutes; no page.")
    parser.add_argument("--replications", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    replications = given.replications or (800 if given.quick else 1500)
    began, rows = time.monotonic(), []
    for label, planned in plans(given.quick):
        for kind, runs in QUICK if given.quick else KINDS:
            found = cells(label, planned, replications, runs, kind, given.seed)
            rows += [cell for cell in found if cell is not None]
        print(f"{label} {len(planned)}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    rows += statistics(replications, given.seed)
    if given.quick:
        print(table(rows))
    else:
        write(rows, replications)
    failed = [cell for cell in rows if not cell.passes]
    for cell in failed:
        print(f"outside: {cell.name}, n = {cell.n}, mean {cell.mean:.2f}: {cell.coverage:.3f}")
    wider = list(widening(rows))
    for name, few, many in wider:
        print(f"wider: {name}, from {few} to {many}")
    return 1 if failed or wider else 0


if __name__ == "__main__":
    raise SystemExit(main())
