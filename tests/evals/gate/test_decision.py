"""The three verdicts are wrong as rarely as they say, and see what they say they see."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array, numbers
from holdfast.evals.gate.decision import decide, outcome
from holdfast.results.gate import Decision

DRAWS, ROUNDS = 400, slice(0, 4)


def chances(rng: np.random.Generator, mean: float, difficulty: Array) -> Array:
    """Chances of a pass in conversations, their mean over the population given."""
    some = rng.normal(0, np.hypot(1, 0.5), 20_000)
    base = brentq(lambda b: float(expit(b + some).mean()) - mean, -20, 20)
    return np.asarray(expit(base + difficulty + rng.normal(0, 0.5, difficulty.shape)))


@cache
def worlds(n: int, mean: float, fall: float) -> tuple[Array, Array]:
    """Four rounds of two probes in n conversations, which differ in how hard they are."""
    rng = np.random.default_rng(n)
    difficulty = rng.normal(0, 1, (n, DRAWS))
    before, after = (
        np.stack([rng.binomial(2, chance) / 2 for _ in range(4)], axis=1)
        for chance in (chances(rng, mean, difficulty), chances(rng, mean - fall, difficulty))
    )
    return after, before


def share(verdict: str, n: int, mean: float, fall: float) -> float:
    """How often the verdict is given; all draws at once, as `decide` does with each."""
    after, before = worlds(n, mean, fall)
    limits = Sample(n).difference_interval(after.mean(axis=1), before.mean(axis=1))
    verdicts = [outcome(low, high, 0.1) for low, high in numbers(limits)]
    assert verdicts[:3] == [one.verdict for one in decisions(n, mean, fall, 3)]
    return verdicts.count(verdict) / DRAWS


def decisions(n: int, mean: float, fall: float, draws: int) -> list[Decision]:
    after, before = worlds(n, mean, fall)
    sample = Sample(n)
    return [decide(after[..., k], before[..., k], ROUNDS, sample, 0.1) for k in range(draws)]


@pytest.mark.parametrize("n", [8, 24, 64])
@pytest.mark.parametrize("mean", [0.95, 0.8])
def test_a_candidate_as_good_slips_in_one_of_forty_at_most(n: int, mean: float) -> None:
    assert share("slips", n, mean, 0.0) <= 0.045


@pytest.mark.parametrize("n", [8, 24, 64])
@pytest.mark.parametrize("mean", [0.95, 0.8])
def test_a_candidate_that_falls_by_the_margin_holds_in_one_of_forty_at_most(
    n: int, mean: float
) -> None:
    assert share("holds", n, mean, 0.1) <= 0.045


def test_a_fall_of_the_margin_is_seen_four_times_in_five_with_as_many_as_are_needed() -> None:
    count = int(np.median([one.power.needed for one in decisions(24, 0.8, 0.1, 40)]))
    assert 35 <= count <= 65
    assert 0.75 <= share("slips", count, 0.8, 0.1) <= 0.92


def test_the_fall_that_is_detectable_is_seen_four_times_in_five() -> None:
    fall = float(np.median([one.power.detectable for one in decisions(24, 0.8, 0.1, 40)]))
    assert 0.75 <= share("slips", 24, 0.8, round(fall, 2)) <= 0.92


def test_few_conversations_cannot_tell() -> None:
    assert share("cannot tell", 8, 0.95, 0.0) > 0.8


def test_more_conversations_come_to_hold_what_falls_less_than_the_margin() -> None:
    shares = [share("holds", n, 0.9, 0.03) for n in (24, 64, 200)]
    assert shares == sorted(shares) and shares[-1] > 0.9


def test_the_power_is_that_of_its_equation() -> None:
    (one,) = decisions(24, 0.8, 0.1, 1)
    after, before = (world[..., 0].mean(axis=1) for world in worlds(24, 0.8, 0.1))
    error = float(np.sqrt(Sample(24).moments(after - before).variance))
    half = np.abs(Sample(24).difference_interval(after, before) - (after - before).mean()).max()
    detectable = half + stats.norm.ppf(0.8) * error
    assert one.power.detectable == pytest.approx(detectable, abs=1e-4)
    assert one.power.needed == np.ceil(24 * (detectable / 0.1) ** 2)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.05, 0.08, "holds"),
        (-0.09, -0.01, "holds"),
        (-0.2, -0.01, "slips"),
        (-0.4, -0.2, "slips"),
        (-0.2, 0.0, "cannot tell"),
        (-0.1, 0.1, "cannot tell"),
        (None, None, "cannot tell"),
    ],
)
def test_every_interval_has_one_verdict(
    low: float | None, high: float | None, verdict: str
) -> None:
    assert outcome(low, high, 0.1) == verdict


def test_two_conversations_have_no_power() -> None:
    decision = decide(np.ones((2, 1)), np.ones((2, 1)), slice(0, 1), Sample(2), 0.1)
    assert (decision.verdict, decision.n, decision.power.needed) == ("cannot tell", 2, None)


def test_scores_of_one_run_alone_count_for_nothing() -> None:
    before, after = np.ones((12, 4)), np.ones((12, 4))
    before[:6, 2:], after[3:6] = 0.0, np.nan
    after[:3, 2:] = np.nan
    decision = decide(after, before, ROUNDS, Sample(12), 0.1)
    assert (decision.n, decision.change) == (9, 0.0)
