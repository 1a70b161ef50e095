"""Coverage of the intervals of effect, fidelity and robustness: a part of `coverage.py`.

Scores of tasks are 0 or 1. Near-duplicate tasks have one difficulty, and half of the time the
same answer: `LAYOUTS` has how many tasks each text stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from coverage_rows import Row
from scipy.special import expit

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array
from holdfast.evals.fidelity.calibration import agreement, statistics
from holdfast.evals.fidelity.questionnaire import GRADES
from holdfast.evals.robustness.persona_lottery import Lottery
from holdfast.results.calibration import Label

Part = Callable[[np.random.Generator, int, int], Iterator[Row | None]]
"""From a generator, replications and observations to rows."""
PERSONAS = 20
SAME = 0.5
"""Probability that near-duplicates get the same answer."""
ALONE, UNEVEN = "alone", "every sixth text seven times"
LAYOUTS: dict[str, tuple[int, ...]] = {
    ALONE: (1,),
    "four of each": (4,),
    "one to three of each": (1, 2, 3),
    UNEVEN: (1, 1, 1, 1, 1, 7),  # mini's 120 tasks have 97 texts, three of them six or seven times
}
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


def effect(rng: np.random.Generator, replications: int, n: int) -> Iterator[Row | None]:
    """Scores of easy tasks with and without a persona, near the ceiling: paired."""
    for layout in LAYOUTS:
        texts = _texts(layout, n)
        sample = _sample(texts)
        for gain in (0.0, 0.05, -0.1):
            easy = rng.beta(18, 2, (n, replications))
            after_gain = easy + gain * (1 - easy if gain > 0 else easy)
            before, after = (_answers(rng, p, texts) for p in (easy, after_gain))
            truth = gain * (0.1 if gain > 0 else 0.9)
            limits = sample.difference_interval(after, before)
            name = f"effect, {gain:+.2f} of the room, {layout}"
            yield Row.of(name, limits, truth, n, 0.9, n * 0.1 < 6)


def accuracy(rng: np.random.Generator, replications: int, n: int) -> Iterator[Row | None]:
    """Accuracy over tasks of which some nearly repeat each other."""
    for layout in LAYOUTS:
        texts = _texts(layout, n)
        for mean in (0.9, 0.6):
            p = rng.beta(4 * mean, 4 * (1 - mean), (n, replications))
            limits = _sample(texts).score_interval(_answers(rng, p, texts))
            yield Row.of(f"accuracy, {layout}", limits, mean, n, mean, n * (1 - mean) < 6)


def persona_score(rng: np.random.Generator, replications: int, n: int) -> Iterator[Row | None]:
    """PersonaScore: the mean over personas of grades from 1 to 5, here as shares of that scale."""
    for mean, size in ((0.85, 6.0), (0.95, 3.0)):
        persona = rng.beta(mean * size, (1 - mean) * size, (n, replications))
        grades = rng.binomial(GRADES - 1, persona, (10, *persona.shape)).mean(axis=0)
        limits = Sample(n).score_interval(grades / (GRADES - 1))
        name = f"PersonaScore, spread {1 / size:.2f}"
        yield Row.of(name, limits, mean, n, mean, n * (1 - mean) < 6)


def kappa(rng: np.random.Generator, replications: int, n: int) -> Iterator[Row | None]:
    """Cohen's kappa where nearly all grades are alike, and where they are spread."""
    for name, shares in (("alike", (0.01, 0.01, 0.02, 0.06, 0.9)), ("spread", (0.2,) * 5)):
        chance = np.array(shares)
        joint = 0.6 * np.diag(chance) + 0.4 * np.outer(chance, chance)
        truth = float(statistics(joint)["kappa"])
        limits = np.full((replications, 2), np.nan)
        for i in range(replications):
            pairs = rng.choice(GRADES**2, n, p=joint.ravel())
            people, judge = pairs // GRADES + 1, pairs % GRADES + 1
            result = agreement([Label(int(p)) for p in people], judge.tolist())
            if result.kappa_interval[0] is not None:
                limits[i] = result.kappa_interval
        mean = 0.95 if name == "alike" else 0.5
        yield Row.of(f"kappa, grades {name}", limits, truth, n, mean, n * (1 - mean) < 6)


def extremes(
    rng: np.random.Generator, replications: int, n: int, layout: str
) -> Iterator[Row | None]:
    """Robustness: worst, best, their ratio and the deviation of equal and unequal personas."""
    texts = _texts(layout, n)
    for spread in (0.0, 1.0):
        shift = spread * np.linspace(-1, 1, PERSONAS)[:, None]
        means = expit(shift + 1 + _NODES) @ _WEIGHTS / _WEIGHTS.sum()
        limits: dict[str, list[Array]] = {}
        for _ in range(replications):
            chance = expit(shift + rng.normal(1, 1, n)).T
            right = _answers(rng, chance, texts).T
            for name, one in Lottery(right, texts.tolist()).estimates().items():
                limits.setdefault(name, []).append(one.interval)
        truths = {"worst": means.min(), "best": means.max(), "std": means.std()}
        truths["worst/best"] = truths["worst"] / truths["best"]
        for name, truth in truths.items():
            kind = f"robustness, {name}, {'un' if spread else ''}equal personas, {layout}"
            # Personas that are all alike are at the end of what they can be, and the outer limit of
            # an extreme moves out (`halves`).
            wide = spread == 0 or name != "std"
            yield Row.of(kind, np.array(limits[name]), float(truth), n, 0.5, wide)


def parts(quick: bool) -> Iterator[tuple[str, Part, int, float]]:
    """Name, function, observations, and share of the replications.

    Those that are computed one by one have fewer.
    """
    for n in (12, 24, 48, 100):
        yield f"effect {n}", effect, n, 1.0
        yield f"accuracy {n}", accuracy, n, 1.0
    for n in (5, 12, 24, 50):
        yield f"PersonaScore {n}", persona_score, n, 1.0
    for n in (24, 50, 100, 200):
        yield f"kappa {n}", kappa, n, 0.5
    for layout in (ALONE, UNEVEN) if quick else LAYOUTS:
        for n in (50, 200):
            yield f"robustness {n} {layout}", partial(extremes, layout=layout), n, 0.2


def _texts(layout: str, n: int) -> Array:
    """The text of each task where n texts stand for as many tasks as the layout says."""
    sizes = LAYOUTS[layout]
    return np.repeat(np.arange(n), [sizes[i % len(sizes)] for i in range(n)])


def _sample(texts: Array) -> Sample:
    return Sample(len(texts), clusters=texts.tolist())


def _answers(rng: np.random.Generator, chance: Array, texts: Array) -> Array:
    """Right (1) or wrong (0) of tasks (tasks, ...) from the chance of each text (texts, ...)."""
    common = (rng.random(chance.shape) < chance)[texts]
    each = chance[texts]
    own = rng.random(each.shape) < each
    return np.where(rng.random(each.shape) < SAME, common, own).astype(float)
