"""Coverage of the intervals of effect, fidelity and robustness: a part of `coverage.py`.

Each cell is a name, the observations, the mean (of scores in [0, 1], one half where it decides
nothing), the limits of every replication, and the truth.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array
from holdfast.evals.fidelity.calibration import STATISTICS, agreement
from holdfast.evals.fidelity.questionnaire import GRADES
from holdfast.evals.robustness.persona_lottery import Lottery
from holdfast.results.calibration import Label

Row = tuple[str, int, float, Array, float]
FEW = 300  # replications of what cannot be computed for many at once


def cells(rng: np.random.Generator, replications: int) -> Iterator[Row]:
    """All rows."""
    yield from _effect(rng, replications)
    yield from _personas(rng, replications)
    yield from _kappa(rng, min(replications, 3 * FEW))
    yield from _extremes(rng, min(replications // 3, FEW))


def _effect(rng: np.random.Generator, replications: int) -> Iterator[Row]:
    """Scores of tasks with and without a persona near the ceiling: easy tasks, paired."""
    for n in (12, 24, 48, 100):
        for gain in (0.0, 0.05, -0.1):
            easy = rng.beta(18, 2, (n, replications))
            moved = easy + gain * (1 - easy if gain > 0 else easy)
            before, after = ((rng.random(p.shape) < p).astype(float) for p in (easy, moved))
            truth = gain * (0.1 if gain > 0 else 0.9)
            limits = Sample(n).difference_interval(after, before)
            yield f"effect, paired, {gain:+.2f} of the room", n, 0.9, limits, truth


def _personas(rng: np.random.Generator, replications: int) -> Iterator[Row]:
    """PersonaScore: the mean over personas of grades from 1 to 5, here as shares of that scale."""
    for n in (5, 12, 24, 50):
        for mean, size in ((0.85, 6.0), (0.95, 3.0)):
            persona = rng.beta(mean * size, (1 - mean) * size, (n, replications))
            grades = rng.binomial(GRADES - 1, persona, (10, *persona.shape)).mean(axis=0)
            limits = Sample(n).score_interval(grades / (GRADES - 1))
            yield f"PersonaScore, spread {1 / size:.2f}", n, mean, limits, mean


def _kappa(rng: np.random.Generator, replications: int) -> Iterator[Row]:
    """Cohen's kappa where nearly all grades are alike, and where they are spread."""
    for n in (24, 50, 100, 200):
        for name, shares in (("alike", (0.01, 0.01, 0.02, 0.06, 0.9)), ("spread", (0.2,) * 5)):
            chance = np.array(shares)
            table = 0.6 * np.diag(chance) + 0.4 * np.outer(chance, chance)
            truth = float(STATISTICS["kappa"](table))
            limits = np.full((replications, 2), np.nan)
            for i in range(replications):
                drawn = rng.choice(GRADES**2, n, p=table.ravel())
                people, judge = drawn // GRADES + 1, drawn % GRADES + 1
                found = agreement([Label(int(p)) for p in people], judge.tolist())
                if found.kappa_interval[0] is not None:
                    limits[i] = found.kappa_interval
            yield f"kappa, grades {name}", n, 0.95 if name == "alike" else 0.5, limits, truth


def _extremes(rng: np.random.Generator, replications: int) -> Iterator[Row]:
    """Robustness: worst, best, their ratio and the deviation of equal and unequal personas."""
    personas = 20
    for n in (50, 200):
        for spread in (0.0, 1.0):
            effect = spread * np.linspace(-1, 1, personas)
            means = np.mean(1 / (1 + np.exp(-(effect[:, None] + rng.normal(1, 1, 10**5)))), axis=1)
            found: dict[str, list[Array]] = {}
            for _ in range(replications):
                chance = 1 / (1 + np.exp(-(effect[:, None] + rng.normal(1, 1, n))))
                right = (rng.random(chance.shape) < chance).astype(float)
                for name, one in Lottery(right).estimates().items():
                    found.setdefault(name, []).append(one.interval)
            truths = {"worst": means.min(), "best": means.max(), "std": means.std()}
            truths["worst/best"] = truths["worst"] / truths["best"]
            kind = "unequal" if spread else "equal"
            for name, truth in truths.items():
                limits = np.array(found[name])
                yield f"robustness, {name}, {kind} personas", n, 0.5, limits, float(truth)
