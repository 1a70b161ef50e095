"""What is recommended on measurements whose numbers are known, and what the sentence admits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from actors import suite
from holdfast.core.control import parse
from holdfast.evals.compare.by_control import Measurements
from holdfast.evals.compare.recommendation import FEWEST, Recommendation, recommend
from holdfast.evals.compare.tradeoff import control_rows
from holdfast.evals.conversation.plan import Conversation, plan

SMALL = suite()
ROUNDS = 4


def lane(
    control: str,
    stability: float,
    capability: float | None = 0.9,
    *,
    pairs: int = 24,
    tokens: float = 100.0,
    seconds: float = 1.0,
    spread: float = 0.02,
) -> Measurements:
    """Scores about `stability`, alike for every control but for a little noise."""
    noise = np.random.default_rng(len(control)).uniform(-spread, spread, (pairs, ROUNDS + 1))
    own = np.clip(stability + noise, 0, 1)
    right = {} if capability is None else {"sum": np.full(own.shape, capability)}
    timing = np.stack([np.full((1, ROUNDS + 1), seconds), np.full((1, ROUNDS + 1), 5.0)], axis=-1)
    return Measurements(parse(control), own, right, np.full(own.shape, tokens), timing, {})


def advice(*measurements: Measurements) -> Recommendation:
    pairs = len(measurements[0].scores)
    conversations = plan(SMALL.personas, SMALL.personas, SMALL, pairs=pairs, seed=0)
    return recommended(measurements, conversations)


def recommended(
    measurements: Sequence[Measurements], conversations: Sequence[Conversation]
) -> Recommendation:
    rows = control_rows(measurements, conversations, ROUNDS)
    return recommend(measurements, conversations, ROUNDS, None, rows)


def test_the_control_that_holds_best_is_chosen_on_one_half_and_reported_on_the_other() -> None:
    recommendation = advice(lane("none", 0.5), lane("anchor", 0.9), lane("boost:2", 0.6))
    assert recommendation.control == "anchor"
    assert sorted(recommendation.chosen_on + recommendation.reported_on) == list(range(24))
    assert len(recommendation.chosen_on) == len(recommendation.reported_on) == 12
    assert recommendation.sentence.startswith(
        "Use anchor: chosen on 12 conversations and measured on 12 others, it has a late "
        "stability of 0.9"
    )
    assert (
        "for none (+0." in recommendation.sentence
        and "capability changes by +0.00" in recommendation.sentence
    )


def test_the_figures_are_those_of_the_half_it_was_not_chosen_on() -> None:
    none, anchor = lane("none", 0.5, spread=0), lane("anchor", 0.9, spread=0)
    first = advice(none, anchor)
    anchor.scores[first.reported_on] = 0.4
    again = advice(none, anchor)
    assert again.control == "none" and again.chosen_on == first.chosen_on
    assert again.sentence.startswith("Nothing here is shown to hold better than no control: anchor")
    assert "0.40 against 0.50 for none (-0.10" in again.sentence
    assert "which is not clearly better" in again.sentence
    assert "how many would show a gain" in again.sentence


def test_both_halves_have_every_category_even_where_their_number_is_even() -> None:
    four = suite(8)
    conversations = plan(four.personas[:2], four.personas, four, pairs=8, seed=0)
    assert len({c.agent.category for c in conversations}) == 2
    lanes = [lane("none", 0.5, pairs=8), lane("anchor", 0.9, pairs=8)]
    recommendation = recommended(lanes, conversations)
    for half in (recommendation.chosen_on, recommendation.reported_on):
        assert len({conversations[i].agent.category for i in half}) == 2


def test_a_control_that_loses_capability_is_not_chosen() -> None:
    recommendation = advice(
        lane("none", 0.5, 0.9), lane("window:1", 1.0, 0.7), lane("anchor", 0.8, 0.89)
    )
    assert (
        recommendation.control == "anchor"
        and "capability changes by -0.01" in recommendation.sentence
    )


def test_a_control_that_also_scores_where_none_ran_out_of_context_is_chosen() -> None:
    none = lane("none", 0.5)
    none.scores[3, 1:] = np.nan
    assert advice(none, lane("window:1", 0.9)).control == "window:1"


def test_a_control_whose_loss_shows_on_the_other_half_is_not_chosen() -> None:
    none, window, anchor = lane("none", 0.5), lane("window:1", 1.0), lane("anchor", 0.8)
    window.correct["sum"][advice(none, window).reported_on] = 0.6
    assert advice(none, window, anchor).control == "anchor"


def test_a_control_whose_loss_shows_over_all_conversations_alone_is_not_chosen() -> None:
    none, window, anchor = lane("none", 0.5), lane("window:1", 1.0), lane("anchor", 0.8)
    window.correct["sum"] -= np.random.default_rng(1).uniform(0.02, 0.1, 24)[:, None]
    assert advice(none, window, anchor).control == "anchor"


def test_of_those_that_hold_alike_the_cheaper_is_chosen() -> None:
    none = lane("none", 0.5)
    dear = lane("reminder:1", 0.901, tokens=160)
    assert advice(none, dear, lane("anchor", 0.9)).control == "anchor"
    slow = lane("guidance:2", 0.901, seconds=2.0)
    assert advice(none, slow, lane("anchor", 0.9, seconds=1.04)).control == "anchor"


def test_tokens_that_were_not_counted_are_not_the_fewest() -> None:
    unknown = lane("reminder:1", 0.901, tokens=np.nan)
    assert advice(lane("none", 0.5), unknown, lane("anchor", 0.9)).control == "anchor"
    assert advice(lane("none", 0.5), unknown).control == "reminder:1"


def test_a_little_more_time_does_not_decide_against_what_holds_better() -> None:
    slower, faster = lane("boost:2", 0.90, seconds=1.06), lane("anchor", 0.89, seconds=1.0)
    assert advice(lane("none", 0.5), slower, faster).control == "boost:2"
    much = lane("boost:2", 0.90, seconds=1.2)
    assert advice(lane("none", 0.5), much, faster).control == "anchor"


def test_a_difference_in_time_that_is_noise_does_not_decide_either() -> None:
    none, faster = lane("none", 0.5), lane("anchor", 0.89)
    busy, slow = (lane("boost:2", 0.90, seconds=2.0) for _ in range(2))
    busy.timing[0, :, 0] *= [1.0, 0.4, 1.9, 0.4, 1.9]  # another program ran beside it
    assert advice(none, busy, faster).control == "boost:2"
    slow.timing[0, :, 0] *= [1.0, 0.9, 1.1, 0.9, 1.1]
    assert advice(none, slow, faster).control == "anchor"
    untimed = lane("boost:2", 0.90, seconds=np.nan)
    assert advice(none, untimed, faster).control == "anchor"


def uneven(control: str, seconds: float = 1.0) -> Measurements:
    """Late .92 over all 24, and .90 on the half to choose on, which does not tell it from .86."""
    one = lane(control, 1.0, seconds=seconds, spread=0)
    one.scores[[0, 8, 12, 3, 9]] = 0.6
    return one


HIGHER = " Over all conversations restore:1 ends higher, 0.92 against 0.86, at 1.00 times the "


def test_a_higher_control_is_named_with_the_cost_that_it_was_passed_over_for() -> None:
    none, anchor = lane("none", 0.5), lane("anchor", 0.86, spread=0)
    dear, loses = uneven("restore:1", seconds=1.2), lane("window:7", 0.99, 0.7)
    for rivals in ([anchor, dear], [loses, anchor, dear]):
        recommendation = advice(none, *rivals)
        assert recommendation.control == "anchor"
        assert recommendation.sentence.endswith(
            f"{HIGHER}tokens a reply and 1.20 times the time a token (1.20 to 1.20): of "
            "controls that the 12 to choose on do not tell from the best, compare takes the "
            "cheapest."
        )


def test_a_higher_control_is_named_that_was_lower_where_the_choice_was_made() -> None:
    none, anchor = lane("none", 0.5), lane("anchor", 0.86, spread=0)
    alike = uneven("restore:1")
    alike.scores[[1, 2]] = 0.6  # .83 there, and more on the other half
    alike.scores[[3, 9]] = 1.0
    recommendation = advice(none, anchor, alike)
    assert recommendation.control == "anchor"
    assert recommendation.sentence.endswith(
        f"{HIGHER}tokens a reply and 1.00 times the time a token (1.00 to 1.00): on the "
        "12 to choose on both are as good as the best and cost alike, and anchor is at least as "
        "high."
    )
    alike.scores[recommendation.chosen_on] = 0.83
    alike.scores[recommendation.reported_on] = 1.0
    assert advice(none, anchor, alike).sentence.endswith(
        f"{HIGHER}tokens a reply and 1.00 times the time a token (1.00 to 1.00): the 12 "
        "to choose on show it below the best."
    )


def test_a_higher_control_is_named_that_loses_capability_on_one_half_alone() -> None:
    none, anchor, window = lane("none", 0.5), lane("anchor", 0.86, spread=0), uneven("window:3")
    first = advice(none, anchor)
    window.correct["sum"][first.reported_on] = 0.85
    window.correct["sum"][first.chosen_on] = 0.95
    assert advice(none, anchor, window).sentence.endswith(
        ": on some of them it clearly loses more than 0.02 of capability."
    )


def test_no_higher_control_is_named_where_there_is_none_or_it_loses_capability() -> None:
    none, anchor = lane("none", 0.5), lane("anchor", 0.86, spread=0)
    for rival in (lane("boost:2", 0.8), lane("window:7", 0.99, 0.7)):
        assert "ends higher" not in advice(none, anchor, rival).sentence


@pytest.mark.parametrize("tokens", [50.0, 100.0])
def test_none_is_chosen_where_nothing_beats_it(tokens: float) -> None:
    recommendation = advice(lane("none", 0.9), lane("window:7", 0.9, tokens=tokens))
    assert recommendation.control == "none"
    assert recommendation.sentence.startswith("No control is shown to hold better: ")
    assert (
        "window:7, has 0.9" in recommendation.sentence
        and "show no clear gain" in recommendation.sentence
    )


def test_a_difference_that_is_not_zero_never_reads_as_zero() -> None:
    none, other = lane("none", 0.9, spread=0), lane("anchor", 0.899, spread=0)
    assert "has 0.90 (-0.001 [" in advice(none, other).sentence


def test_the_sentence_counts_the_conversations_that_have_both_scores() -> None:
    none, anchor = lane("none", 0.4), lane("anchor", 0.9)
    anchor.scores[advice(none, anchor).reported_on[:4], 2:] = np.nan  # they ran out of context
    assert "and measured on 8 others, it has a late" in advice(none, anchor).sentence


def test_one_chosen_of_several_on_the_same_conversations_is_doubted_for_that() -> None:
    none = lane("none", 0.3, pairs=4)
    others = [lane(f"boost:{k}", 0.9, pairs=4) for k in (2, 3, 4, 5, 6, 7, 8, 9)]
    sentence = advice(none, *others).sentence
    assert sentence.startswith("Nothing here is shown to hold better than no control")
    assert "which is not clearly better for one chosen of 8 on the same conversations" in sentence


def test_none_is_chosen_where_every_other_control_loses_capability() -> None:
    recommendation = advice(lane("none", 0.5, 0.9), lane("window:1", 1.0, 0.7))
    assert recommendation.control == "none"
    assert "and every control clearly lost more than 0.02 of capability" in recommendation.sentence


def test_what_cost_nothing_to_measure_is_not_spoken_of() -> None:
    none, other = lane("none", 0.4, None, tokens=np.nan), lane("window:1", 0.9, None, tokens=np.nan)
    sentence = advice(none, other).sentence
    assert "capability was not measured" in sentence and "tokens a reply" not in sentence


def test_too_few_conversations_are_said_to_be_too_few() -> None:
    few = FEWEST - 1
    recommendation = advice(lane("none", 0.4, pairs=few), lane("anchor", 0.9, pairs=few))
    assert recommendation.chosen_on == recommendation.reported_on == list(range(few))
    assert f": {few} conversations are too few to choose on some" in recommendation.sentence


def test_without_questions_the_best_control_is_not_said_to_keep_capability() -> None:
    rows = [lane(name, level, None) for name, level in (("none", 0.9), ("window:7", 0.9))]
    sentence = advice(*rows).sentence
    assert ". The best, window:7, has" in sentence and "capability" not in sentence


def test_none_alone_is_no_choice() -> None:
    assert advice(lane("none", 0.4)).sentence.startswith("Nothing to choose between: only none")


def test_conversations_that_end_early_recommend_nothing() -> None:
    none, anchor = lane("none", 0.4), lane("anchor", 0.9)
    none.scores[:, ROUNDS:] = anchor.scores[:, ROUNDS:] = np.nan
    recommendation = advice(none, anchor)
    assert recommendation.control == "none" and recommendation.sentence.startswith(
        "Nothing to recommend: "
    )


def test_twenty_controls_that_do_nothing_are_hardly_ever_recommended() -> None:
    rng, runs = np.random.default_rng(0), 40
    recommendations = sentences = 0
    for _ in range(runs):
        easy = rng.beta(3, 1, (24, 1))
        measurements = []
        for name in ["none", *(f"window:{k + 1}" for k in range(20))]:
            one = lane(name, 0.5)
            one.scores[:] = rng.random(one.scores.shape) < easy
            measurements.append(one)
        recommendation = advice(*measurements)
        recommendations += recommendation.control != "none"
        sentences += "conversations are needed" in recommendation.sentence
    assert recommendations <= 0.05 * runs + 1
    assert sentences >= 0.9 * runs


def test_a_control_that_holds_better_is_found_among_twenty() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(5):
        measurements = []
        for name in ["none", "anchor", *(f"window:{k + 1}" for k in range(18))]:
            one = lane(name, 0.5, pairs=30)
            one.scores[:] = rng.random(one.scores.shape) < (0.98 if name == "anchor" else 0.1)
            measurements.append(one)
        hits += advice(*measurements).control == "anchor"
    assert hits >= 4


def test_a_control_that_was_made_for_some_of_the_personas_is_not_recommended() -> None:
    adapter = lane("prism:made", 1.0)
    adapter.scores[::2] = np.nan
    recommendation = advice(lane("none", 0.5), adapter)
    assert recommendation.control == "none"
    assert "no other control was scored on all of these conversations" in recommendation.sentence
