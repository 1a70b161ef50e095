"""Intervals cover known means, narrow as observations grow, and never pretend to know more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from holdfast.core.intervals import FEWEST, LEAST, PRIOR, Sample
from holdfast.core.stats import Array, false_discovery, wilson

DRAWS = 1000


def coverage(limits: Array, truth: float) -> float:
    return float(((limits[..., 0] <= truth) & (truth <= limits[..., 1])).mean())


def cross(n: int, each: int) -> tuple[list[int], list[int]]:
    """Agents and users of n conversations, each persona in `each` of them on either side."""
    groups = n // each
    agents = [i % groups for i in range(n)]
    return agents, [(a + i // groups) % groups for i, a in enumerate(agents)]


def test_zeros_and_ones_of_one_each_have_nearly_wilsons_interval() -> None:
    values = np.array([1.0] * 300 + [0.0] * 100)
    assert Sample(400).score_interval(values) == pytest.approx(wilson(0.75, 400), abs=2e-3)


def test_scores_that_are_all_alike_have_a_width() -> None:
    low, high = Sample(24).score_interval(np.ones(24))
    assert high == 1.0 and 0.8 < low < 0.9


def test_one_score_near_the_end_hardly_changes_the_interval() -> None:
    values = np.ones(12)
    whole = Sample(12).score_interval(values)
    values[0] = 0.999
    assert Sample(12).score_interval(values) == pytest.approx(whole, abs=0.02)


def test_scores_that_repeat_within_personas_get_a_wider_interval() -> None:
    values = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0], 5)
    alone = np.ptp(Sample(50).score_interval(values))
    group_width = np.ptp(Sample(50, [np.repeat(range(10), 5).tolist()]).score_interval(values))
    assert group_width > 1.5 * alone


def test_two_labellings_give_a_wider_interval_than_either() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(range(8), 8).tolist(), np.tile(range(8), 8).tolist()
    values = (rng.random(8)[rows] + rng.random(8)[columns]) / 2
    both = np.ptp(Sample(64, [rows, columns]).score_interval(values))
    assert both > np.ptp(Sample(64, [rows]).score_interval(values))
    assert both > np.ptp(Sample(64, [columns]).score_interval(values))


def test_a_difference_that_is_the_same_everywhere_is_the_surer_the_more_there_are() -> None:
    before = 0.2 + 0.8 * np.random.default_rng(2).random(50)
    limits = Sample(50).difference_interval(before - 0.1, before)
    assert limits == pytest.approx([-0.104, -0.096], abs=1e-4)
    low, high = Sample(3).difference_interval(before[:3] - 0.1, before[:3])
    assert low < -0.1 and high > 0
    texts = np.repeat(range(3), 10).tolist()  # three texts, ten times each
    assert Sample(30, clusters=texts).difference_interval(before[:30] - 0.1, before[:30])[1] > 0


@pytest.mark.parametrize("n", [3, 4, 5, 6, 8, 12])
def test_a_few_differences_of_one_sign_are_certain_no_more_often_than_by_chance(n: int) -> None:
    before, after = np.random.default_rng(n).random((2, n, 2 * DRAWS))
    assert coverage(Sample(n).difference_interval(after, before), 0) >= 0.93
    assert coverage(Sample(n).share_difference_interval(after, before), 0) >= 0.93
    p = Sample(n).difference_p(after, before)
    assert (p < 0.005).mean() <= 0.009 and (p < 0.001).mean() <= 0.004


def test_three_texts_asked_again_and_again_are_certain_no_more_often_than_by_chance() -> None:
    rng, texts = np.random.default_rng(7), np.repeat(range(3), 7)
    sides = rng.beta(1, 1, (2, 3, 2 * DRAWS))[:, texts]
    before, after = (rng.random((3, *sides.shape)) < sides).mean(axis=0)
    sample = Sample(len(texts), clusters=texts.tolist())
    assert coverage(sample.difference_interval(after, before), 0) >= 0.93
    assert (sample.difference_p(after, before) < 0.001).mean() <= 0.003


def test_personas_that_recur_with_a_rare_failure_are_covered() -> None:
    rng = np.random.default_rng(8)
    persona, conversation = rng.normal(0, 1.5, (20, DRAWS)), rng.normal(0, 0.5, (200, DRAWS))
    agents = np.repeat(range(20), 10)
    chance = 1 / (1 + np.exp(-4 - persona[agents] - conversation))
    many = 1 / (1 + np.exp(-4 - rng.normal(0, np.hypot(1.5, 0.5), 10**6)))
    limits = Sample(200, [agents.tolist()]).score_interval(rng.beta(10 * chance, 10 - 10 * chance))
    assert coverage(limits, float(many.mean())) >= 0.93


@pytest.mark.parametrize("each", [1, 2, 5])
@pytest.mark.parametrize("persona", [0.0, 0.1])
def test_a_mean_is_covered_whether_or_not_personas_recur(each: int, persona: float) -> None:
    rng, n = np.random.default_rng(each), 60
    agents, users = cross(n, each)
    effect = rng.normal(0, persona, (n, DRAWS))[agents] + rng.normal(0, 0.05, (n, DRAWS))[users]
    values = (0.5 + effect + rng.normal(0, 0.1, (n, DRAWS))).clip(0, 1)
    share = coverage(Sample(n, [agents, users]).score_interval(values), 0.5)
    assert 0.93 <= share <= 0.98


def test_the_width_falls_with_the_conversations_where_a_persona_begins_to_recur() -> None:
    rng, widths = np.random.default_rng(0), []
    for n, personas in ((24, 24), (48, 47), (96, 68), (200, 73)):
        agents, users = [i % personas for i in range(n)], [(7 * i) % personas for i in range(n)]
        values = (rng.random((n, 200)) < 0.7).astype(float)
        limits = Sample(n, [agents, users]).score_interval(values)
        widths.append(float((limits[:, 1] - limits[:, 0]).mean()))
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.45 * widths[0]


def test_differences_between_categories_do_not_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    category = np.arange(40) % 2
    values = 0.2 + 0.6 * category + rng.normal(0, 0.05, 40)
    plain = np.ptp(Sample(40).score_interval(values))
    assert np.ptp(Sample(40, strata=category.tolist()).score_interval(values)) < 0.3 * plain


@pytest.mark.parametrize(("gain", "n"), [(0.0, 24), (0.05, 20), (-0.2, 12), (-0.2, 64)])
def test_a_paired_difference_near_the_ceiling_is_covered(gain: float, n: int) -> None:
    rng = np.random.default_rng(n)
    easy = rng.beta(18, 2, (n, DRAWS))
    before = (rng.random((n, DRAWS)) < easy).astype(float)
    after = (rng.random((n, DRAWS)) < easy + gain * (1 - easy if gain > 0 else easy)).astype(float)
    truth = gain * (0.1 if gain > 0 else 0.9)
    assert coverage(Sample(n).difference_interval(after, before), truth) >= 0.93


def test_scores_that_hardly_differ_have_a_narrower_difference_than_scores_apart() -> None:
    rng = np.random.default_rng(2)
    before = rng.random(50)
    after = before - 0.1 + rng.normal(0, 0.01, 50)
    near = Sample(50).difference_interval(after, before)
    apart = Sample(50).difference_interval(rng.permutation(before) - 0.1, before)
    assert np.ptp(near) < 0.5 * np.ptp(apart) and near[0] < -0.1 < near[1]


@pytest.mark.parametrize(("n", "agents"), [(12, 9), (24, 18), (48, 26)])
def test_a_share_of_attention_is_covered_by_an_interval_that_is_no_wider_than_it_has_to_be(
    n: int, agents: int
) -> None:
    rng, times = np.random.default_rng(n), 400
    sample = Sample(n, [(np.arange(n) % agents).tolist()])
    level, change, width = 0, 0, 0.0
    for _ in range(times):
        persona = rng.normal(0, 0.5, agents)[np.arange(n) % agents]
        share = 0.04 * np.exp(persona + rng.normal(0, 0.3, n) - 0.17)  # mean .04, skewed
        more = share * (1 + 0.5 * np.exp(rng.normal(0, 0.3, n) - 0.045))  # mean .06
        low, high = sample.share_interval(share)
        level += low <= 0.04 <= high
        low, high = sample.share_difference_interval(more, share)
        change += low <= 0.02 <= high
        width += (high - low) / times
    assert 0.89 <= level / times <= 0.98
    assert 0.89 <= change / times <= 0.98
    assert width < 0.03  # where a failure not yet seen counts, it is .06 to .28


def test_a_normalised_score_is_covered_and_absent_without_room() -> None:
    rng, n = np.random.default_rng(3), 24
    persona = rng.normal(0, 0.05, (n, DRAWS))
    floor, score, ceiling = (
        (m + persona + rng.normal(0, 0.1, (n, DRAWS))).clip(0, 1) for m in (0.3, 0.5, 0.7)
    )
    sample = Sample(n)
    assert 0.93 <= coverage(sample.ratio_interval(score, floor, ceiling), 0.5) <= 0.98
    assert np.isnan(sample.ratio_interval(score, floor, floor)).mean() > 0.9


def test_too_few_observations_have_no_interval() -> None:
    n = FEWEST - 1
    sample, values = Sample(n), np.full((n, 2), 0.5)
    assert np.isnan(sample.score_interval(values)).all()
    assert np.isnan(sample.difference_interval(values, values)).all()


def test_missing_observations_are_left_out() -> None:
    rng = np.random.default_rng(4)
    values = rng.random((20, 3))
    values[15:, 1] = np.nan
    limits = Sample(20).score_interval(values)
    assert limits[1] == pytest.approx(Sample(15).score_interval(values[:15, 1]))
    assert np.isnan(Sample(20).score_interval(np.full(20, np.nan))).all()


@pytest.mark.parametrize(("personas", "given"), [(3, True), (4, True), (5, False)])
def test_fewer_than_five_personas_that_recur_are_taken_as_given(personas: int, given: bool) -> None:
    persona = np.repeat(range(personas), 10)
    values = np.array([0.1, 0.5, 0.9, 0.5, 0.5])[persona] + np.tile([-0.05, 0.05], 5 * personas)
    width = np.ptp(Sample(len(persona), [persona.tolist()]).score_interval(values))
    plain = np.ptp(Sample(len(persona)).score_interval(values))
    assert width < 0.3 * plain if given else width > 2 * plain


@given(st.lists(st.floats(0, 1), min_size=FEWEST, max_size=40))
def test_an_interval_stays_on_the_scale_and_holds_the_mean(scores: list[float]) -> None:
    low, high = Sample(len(scores)).score_interval(np.array(scores))
    middle = float(np.mean(scores))
    assert 0 <= low <= middle + 1e-9 and middle - 1e-9 <= high <= 1


def test_no_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Sample(0)


def test_a_p_value_is_the_level_at_which_the_interval_ends_at_zero() -> None:
    rng = np.random.default_rng(5)
    before = rng.random((30, 4))
    after = (before + rng.normal(0.05, 0.1, (30, 4))).clip(0, 1)
    p = Sample(30).difference_p(after, before)
    for column in range(4):
        pair = after[:, column], before[:, column]
        limits = Sample(30).difference_interval(*pair, level=1 - float(p[column]))
        assert min(abs(limits)) < 1e-6


def test_p_values_without_an_effect_are_hardly_ever_small() -> None:
    rng = np.random.default_rng(6)
    before, after = (rng.random((2, 24, DRAWS)) < 0.7).astype(float)
    assert (Sample(24).difference_p(after, before) < 0.05).mean() <= 0.06


def test_adjusted_p_values_are_benjamini_and_hochbergs() -> None:
    adjusted = [0.05, 0.25, None, 0.2 / 3, 0.2 / 3, 0.9]
    result = false_discovery([0.01, 0.2, None, 0.03, 0.04, 0.9])
    assert result == [None if q is None else pytest.approx(q) for q in adjusted]
    assert false_discovery([None]) == [None]


def test_an_interval_over_near_duplicates_is_as_wide_as_over_the_different_texts() -> None:
    rng = np.random.default_rng(7)
    texts = np.repeat(np.arange(30), 4)  # each text four times, all four right or all wrong
    scores = (rng.random((30, DRAWS)) < 0.7).astype(float)[texts]
    once = Sample(30).score_interval(scores[::4])
    clusters = Sample(120, clusters=texts.tolist()).score_interval(scores)
    alone = Sample(120).score_interval(scores)
    widths = [np.ptp(limits, axis=-1).mean() for limits in (once, clusters, alone)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] < 0.6 * widths[0]
    shares = [((low <= 0.7) & (high >= 0.7)).mean() for low, high in (clusters.T, alone.T)]
    assert shares[0] >= 0.92 and shares[1] < 0.8
    before = (rng.random((30, DRAWS)) < 0.7).astype(float)[texts]
    null = [Sample(120, clusters=c).difference_p(scores, before) for c in (texts.tolist(), None)]
    assert (null[0] < 0.05).mean() <= 0.06 and (null[1] < 0.05).mean() > 0.15


def test_answers_to_near_duplicates_that_are_independent_widen_nothing_much() -> None:
    rng = np.random.default_rng(8)
    texts = [i // 2 for i in range(60)]
    scores = (rng.random((60, DRAWS)) < 0.7).astype(float)
    width = np.ptp(Sample(60, clusters=texts).score_interval(scores), axis=-1).mean()
    assert width < 1.12 * np.ptp(Sample(60).score_interval(scores), axis=-1).mean()


def test_fewer_than_three_different_texts_have_no_interval() -> None:
    sample = Sample(6, clusters=[0, 0, 0, 1, 1, 1])
    scores = np.array([1.0, 0, 1, 0, 1, 1])
    assert np.isnan(sample.score_interval(scores)).all()
    assert np.isnan(sample.difference_interval(scores, 1 - scores)).all()
    assert np.isnan(sample.difference_p(scores, 1 - scores))
    assert not np.isnan(Sample(6, clusters=[0, 0, 1, 1, 2, 2]).score_interval(scores)).any()


def test_a_category_of_one_persona_is_joined_with_another_and_the_rest_stay_apart() -> None:
    sizes = [4, 4, 3, 1]  # personas of each category, each used twice
    categories = np.repeat(np.arange(4), sizes).repeat(2).tolist()
    personas = np.arange(12).repeat(2).tolist()
    rng = np.random.default_rng(9)
    rates = np.array([0.1, 0.9, 0.5, 0.5])[categories]
    scores = (rng.random((24, DRAWS)) < rates[:, None]).astype(float)
    apart, together = (Sample(24, [personas], c) for c in (categories, None))
    width, plain = (np.ptp(s.score_interval(scores), axis=-1).mean() for s in (apart, together))
    assert width < 0.85 * plain
    low, high = apart.score_interval(scores).T
    assert ((low <= rates.mean()) & (rates.mean() <= high)).mean() >= 0.93


def test_scores_with_gaps_have_the_intervals_of_the_scores_that_are_there() -> None:
    rng = np.random.default_rng(10)
    scores = rng.random((12, 3))
    scores[3, 1] = np.nan
    rest = np.delete(scores, 3, axis=0)
    assert Sample(12).score_interval(scores)[1] == pytest.approx(Sample(11).score_interval(rest)[1])
    whole = Sample(12).score_interval(scores[:, [0, 2]])
    assert Sample(12).score_interval(scores)[[0, 2]] == pytest.approx(whole)


def test_an_interval_does_not_depend_on_the_order_of_the_rows() -> None:
    categories = ["z", "z", "y", "x", "x", "w", "w", "w"]  # y is joined with x or z
    scores = np.array([1.0, 0.9, 0.2, 0.1, 0.3, 0.8, 0.4, 0.5])
    rows = np.arange(8)
    bands = []
    for order in (rows, rows[::-1], np.roll(rows, 3)):
        sample = Sample(8, (), [categories[i] for i in order])
        bands.append(np.array(sample.score_interval(scores[order])))
    assert not np.isnan(bands[0]).any()
    np.testing.assert_allclose(bands[1], bands[0], atol=1e-9)
    np.testing.assert_allclose(bands[2], bands[0], atol=1e-9)


def test_intervals_of_any_values_are_students() -> None:
    values = np.random.default_rng(12).normal(3, 2, (9, 2))
    t = stats.ttest_1samp(values, 0).confidence_interval()
    assert Sample(9).mean_interval(values) == pytest.approx(np.stack(t, axis=-1))


@pytest.mark.parametrize("scores", ["binary", "graded"])
def test_with_many_pairs_the_intervals_of_differences_and_ratios_are_those_of_the_delta_method(
    scores: str,
) -> None:
    rng, n = np.random.default_rng(13), 4000
    a, b, c = rng.random((3, n)) * 0.5 + rng.random(n) * 0.5 - [[0.0], [0.1], [-0.1]]
    if scores == "binary":
        a, b, c = (x > 0.5 for x in (a, b, c))
    a, b, c = (np.asarray(x, float).clip(0, 1) for x in (a, b, c))
    sample = Sample(n)
    top, room = (a - b).mean(), (c - b).mean()
    ratio, quotient = top / room, a.mean() / c.mean()
    for limits, value, influence in (
        (sample.difference_interval(a, b), top, a - b),
        (sample.ratio_interval(a, b, c), ratio, (a - b - ratio * (c - b)) / room),
        (sample.quotient_interval(a, c), quotient, (a - quotient * c) / c.mean()),
    ):
        half = 1.96 * influence.std() / n**0.5
        assert limits == pytest.approx([value - half, value + half], abs=0.02 * half)


def test_an_interval_reads_the_same_from_either_end_of_the_scale() -> None:
    rng = np.random.default_rng(14)
    personas = (np.arange(24) % 8).tolist()
    a, b = (rng.random((2, 24, 300)) < 0.8) * rng.choice([1.0, 0.9, 0.8], (2, 24, 300))
    a[3, :50], b[5, 50:99] = np.nan, np.nan
    sample = Sample(24, [personas])
    for interval in (sample.score_interval, sample.share_interval):
        assert interval(1 - a) == pytest.approx(1 - interval(a)[:, ::-1])
    for difference in (sample.difference_interval, sample.share_difference_interval):
        limits = difference(a, b)
        assert difference(b, a) == pytest.approx(-limits[:, ::-1])
        assert difference(1 - b, 1 - a) == pytest.approx(limits)
    assert sample.difference_p(b, a) == pytest.approx(sample.difference_p(a, b))


def test_the_limits_of_a_mean_are_those_of_the_equations() -> None:
    sample = Sample(20, [(np.arange(20) % 10).tolist()])
    scores = np.random.default_rng(16).choice([0.0, 0.5, 1.0], (20, 50), p=[0.7, 0.2, 0.1])
    m = sample.moments(scores)
    p, t, w = m.mean, stats.t.ppf(0.975, m.df), 0.1
    prior, lam = (LEAST + PRIOR * m.ends) / 20, LEAST * (1 - 2 * p) ** 2
    size = (p * (1 - p) + prior + lam * w) / (m.variance + prior / 20 + lam * w**2)
    share_size = p * (1 - p) / m.variance
    for interval, n in ((sample.score_interval, size), (sample.share_interval, share_size)):
        low, high = interval(scores).T
        assert (high - p) ** 2 == pytest.approx(t**2 * high * (1 - high) / n)  # Wilson's
        middle = (p * n + t**2 / 2) / (n + t**2)  # the nearer end is Agresti and Coull's
        half = t * np.sqrt(middle * (1 - middle) / (n + t**2))
        assert low == pytest.approx((middle - half).clip(min=0))


def test_an_interval_of_graded_differences_depends_on_the_differences_alone() -> None:
    a, b = 0.1 + 0.4 * np.random.default_rng(17).random((2, 12, 50))
    limits = Sample(12).difference_interval(a, b)
    assert Sample(12).difference_interval(a + 0.4, b + 0.4) == pytest.approx(limits)


def test_a_pair_with_a_gap_on_either_side_is_left_out_of_differences() -> None:
    a, b = np.random.default_rng(15).random((2, 12)).round()
    rest = Sample(10).difference_interval(a[2:], b[2:])
    a[0] = b[1] = np.nan
    assert Sample(12).difference_interval(a, b) == pytest.approx(rest)
