"""Coverage on the plans of conversations that the commands draw: a part of `coverage.py`.

Scores are simulated on plans of `plan()`. With agent a, user u and category c of conversation i,

    logit p_i(t) = b(t) + κ_c + α_a + β_u + ε_i + the same three anew for each point t

and a score is 0 or 1 with probability p ("binary"), a mean of runs of these, a Beta draw with
mean p in every second category ("mixed"), or a Beta draw everywhere ("fractional", or "skewed"
with most scores near 0 or 1). Standard
deviations are near what 200 conversations of `mini` show (personas .2 of the variance late in a
conversation, users' personas nearly nothing); b(t) puts the population's mean where the row
says. The population: new personas, users and conversations, in the plan's share of categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from coverage_rows import Row
from scipy.optimize import brentq
from scipy.special import expit

from holdfast.core.intervals import GROUPS, Sample
from holdfast.core.stats import Array
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.persona.suite import load_suite

AGENT, USER, CONVERSATION, CATEGORY = 1.0, 0.3, 0.5, 1.0  # standard deviations of the logit
OWN = 0.5  # of a point, relative to those
STRONG = 1.5  # of personas, in a file of one's own
OWN_FILES = ((1, 24), (1, 48), (3, 10), (8, 5), (8, 10), (12, 1), (12, 2), (12, 5), (12, 10),
             (20, 2), (20, 5), (20, 10), (40, 5))  # fmt: skip
QUICK = (("binary", 1), ("binary", 3), ("fractional", 1), ("skewed", 1))
KINDS = (*QUICK, ("binary", 2), ("mixed", 1))
POINTS = ((0.94, 0.72), (0.99, 0.94), (0.5, 0.5), (0.04, 0.04))
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


class World:
    """Scores of a plan's conversations, drawn many times from one population."""

    def __init__(
        self, conversations: Sequence[Conversation], rng: np.random.Generator, agent: float = AGENT
    ) -> None:
        self.rng, self.agent = rng, agent
        self.agents, self.users, self.categories = (
            np.unique(names, return_inverse=True)[1]
            for names in (
                [c.agent.id for c in conversations],
                [c.user.id for c in conversations],
                [c.agent.category for c in conversations],
            )
        )
        strata = self.categories
        if np.bincount(self.agents).size < GROUPS:  # taken as given
            self.agent, strata = 0.0, self.agents
        levels = np.linspace(-1.5, 1.5, strata.max() + 1) * CATEGORY * (strata.max() > 0)
        self.offset = levels[strata]
        self.deviation = np.sqrt(self.agent**2 + USER**2 + CONVERSATION**2)
        uses = np.bincount(self.agents) / len(self.agents)
        self.effective = len(strata) if self.agent == 0 else 1 / (uses**2).sum()

    @cached_property
    def sample(self) -> Sample:
        """What the estimators are told of the plan."""
        return Sample(
            len(self.agents), [self.agents.tolist(), self.users.tolist()], self.categories.tolist()
        )

    def effects(self, replications: int, scale: float = 1.0) -> Array:
        """Random effects of conversations: (conversations, replications)."""

        def draw(groups: int, deviation: float) -> Array:
            return self.rng.normal(0, scale * deviation, (groups, replications))

        total = draw(self.agents.max() + 1, self.agent)[self.agents]
        total += draw(self.users.max() + 1, USER)[self.users]
        return np.asarray(total + draw(len(self.agents), CONVERSATION))

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


def cells(
    label: str,
    conversations: Sequence[Conversation],
    kind: str,
    runs: int,
    replications: int,
    seed: int,
) -> list[Row]:
    """Levels, changes, and normalised scores, of one plan and one kind of score."""
    world = World(conversations, np.random.default_rng(seed), STRONG if "own" in label else AGENT)
    scores = Scores(world, label, kind, runs, replications)
    rows = [row for first, last in POINTS for row in scores.point(first, last)]
    return [row for row in [*rows, scores.category()] if row is not None]


@dataclass(frozen=True)
class Scores:
    """Scores of one kind in one world, drawn many times, and how often their intervals hold."""

    world: World
    label: str
    kind: str
    runs: int
    replications: int

    def point(self, first: float, last: float) -> Iterator[Row | None]:
        """The level at a mean of `first`, and the change and the normalised score from there."""
        world, sample = self.world, self.world.sample
        effects = world.effects(self.replications)
        ceiling, score = (world.scores(m, effects, self.runs, self.kind) for m in (first, last))
        sparse = world.effective * min(first, 1 - first) < 6
        n = sample.n
        yield self._row("level", sample.score_interval(ceiling), first, n, first, sparse)
        change = sample.difference_interval(score, ceiling)
        yield self._row(f"paired change to {last}", change, last - first, n, first, sparse)
        if first > 0.9:
            floor = world.scores(0.04, world.effects(self.replications), 1, "binary")
            share = sample.ratio_interval(score, floor, ceiling)
            truth = (last - 0.04) / (first - 0.04)
            yield self._row(f"normalised {last}", share, truth, n, first, sparse)

    def category(self) -> Row | None:
        """The mean of one category, whose conversations are few."""
        world = self.world
        rows = world.categories == 0
        if np.unique(world.agents[rows]).size < min(GROUPS, rows.sum()):
            return None  # taken as given: the interval is about these personas alone
        part, whole = world.sample.part(rows), world.offset
        world.offset = whole - whole[rows].mean()
        scores = world.scores(0.5, world.effects(self.replications), self.runs, self.kind)[rows]
        world.offset = whole
        truth = 0.5 if not np.ptp(whole) else _category_mean(world, rows)
        n = int(rows.sum())
        sparse = n * min(truth, 1 - truth) < 6
        return self._row("category", part.score_interval(scores), truth, n, truth, sparse)

    def _row(
        self, interval: str, limits: Array, truth: float, n: int, mean: float, sparse: bool
    ) -> Row | None:
        scores = self.kind + (f", {self.runs} runs" if self.runs > 1 else "")
        return Row.of(interval, limits, truth, n, mean, sparse, self.label, scores)


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
        for pairs in (4, 12, 24, 100) if quick else (4, 12, 24, 48, 64, 100, 150, 200):
            yield name, plan(everybody, everybody, suite, pairs=pairs)
    suite = load_suite("mini")
    for k, times in ((12, 2), (12, 10)) if quick else OWN_FILES:
        some = suite.personas[:: len(suite.personas) // k][:k]
        yield f"{k} own personas", plan(some, suite.personas, suite, pairs=k * times)
    for k in (10,) if quick else (10, 20):
        some = suite.personas[:: len(suite.personas) // k][:k]
        yield f"{k} own personas on both sides", plan(some, some, suite, pairs=5 * k)
