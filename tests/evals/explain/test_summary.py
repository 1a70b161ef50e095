"""The numbers of an explanation, from records whose share, dimension and score are known."""

from __future__ import annotations

import numpy as np
import pytest

from actors import persona
from holdfast.core.control import NONE, parse
from holdfast.core.records import Record, read_record
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.judging import judge_records
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.explain.summary import (
    NO_PERSONA,
    SHUFFLED,
    RecordsByControl,
    associations,
    control_explanations,
    dimension_summary,
)
from holdfast.evals.explain.value_vectors import VectorSet
from holdfast.results.conversation import RoundRecord

N, ROUNDS, COUNTS = 24, 2, {"few": 5, "many": 9}
RNG = np.random.default_rng(0)
SHARE = RNG.uniform(0.1, 0.5, size=(N, ROUNDS + 1))
BASE = [
    Conversation(i, persona(f"w{i}"), persona(f"u{i}"), "Hello.", i, control=NONE) for i in range(N)
]


def records(k: int, scores: np.ndarray, gain: float) -> list[RoundRecord]:
    """One control's: share `SHARE` before and `gain` more after, the score as given."""
    result = []
    for i in range(N):
        for r in range(ROUNDS + 1):
            before = float(SHARE[i, r])
            share = {
                "heads": [[before + gain]],
                "heads_template": [[before + gain]],
                "tokens": [before + gain],
                "span": 10,
                "length": 40 + 20 * r + i,
                "heads_before": [[before]] if gain else None,
            }
            word = f"w{i}" if scores[i, r] else "lost"
            own: Record = {"arm": "own", "run": 0, "probe": "?", "text": word, "stop": "stop"}
            own |= {"tokens": [0, 0, 0], "share": share}
            record = {"conversation": k * N + i, "round": r, "answers": [own]}
            result.append(read_record(RoundRecord, record))
    return result


def by_control(scores: np.ndarray, better: np.ndarray) -> RecordsByControl:
    rounds = records(0, scores, 0.0) + records(1, better, 0.2)
    conversations = [
        Conversation(k * N + c.id, c.agent, c.user, c.starter, c.seed)
        for k in range(2)
        for c in BASE
    ]
    return RecordsByControl(
        ControlledPlan(BASE, (NONE, parse("boost:2"))),
        ROUNDS,
        rounds,
        judge_records(rounds, conversations, {}),
    )


def sets(grown: float) -> list[VectorSet]:
    """Every set's dimension: 4 at first, 1 more by round in plain and shuffled, `grown` in own."""
    vector_sets = []
    for name, step in (("none", grown), ("boost:2", grown), (NO_PERSONA, 1.0), (SHUFFLED, 1.0)):
        for i in range(N):
            noise = 0.01 * i
            dimensions = [
                {c: [(4 + step * r + noise, 3.0)] for c in ("all", *COUNTS)}
                for r in range(ROUNDS + 1)
            ]
            vector_sets.append(VectorSet(name, i, [9, 20, 30], dimensions))
    return vector_sets


ALWAYS = np.ones((N, ROUNDS + 1))
FOLLOWING = (np.argsort(np.argsort(SHARE, 0), 0) >= N // 2).astype(float)


def test_shares_before_and_after_are_told_apart_and_compared_with_none() -> None:
    none, boost = control_explanations(by_control(ALWAYS, ALWAYS))
    assert none.share.prompt_share == none.before.prompt_share
    assert boost.before.prompt_share == none.share.prompt_share
    assert boost.share_delta.value == pytest.approx(0.2, abs=1e-4)
    low, high = boost.share_delta.interval
    assert 0.15 < low < 0.2 < high < 0.25  # alike in all, and a few conversations nevertheless
    assert none.share.share_detail.dilution == sorted(none.share.share_detail.dilution)[::-1]


def test_a_score_that_follows_the_share_is_found_to_and_one_that_does_not_is_not() -> None:
    flips = np.random.default_rng(5).integers(0, 2, size=FOLLOWING.shape).astype(float)
    rows = associations(by_control(FOLLOWING, flips), [])
    following, other = (row for row in rows if row.measure == "share")
    assert following.control == "none" and following.pooled.interval[0] > 0.5
    assert following.given_dilution.interval[0] > 0.5
    assert len(following.by_round) == ROUNDS and following.pooled.n == N
    assert other.pooled.interval[0] < 0 < other.pooled.interval[1]


def test_scores_that_are_all_alike_go_with_nothing() -> None:
    for row in associations(by_control(ALWAYS, ALWAYS), sets(1.0)):
        assert row.pooled.rho is None and row.pooled.interval == [None, None]


def test_stability_is_compared_with_nones_on_the_same_conversations() -> None:
    worse = ALWAYS.copy()
    worse[: N // 2, 1:] = 0
    boost = control_explanations(by_control(worse, ALWAYS))[1]
    assert boost.stability_delta.value == 0.5 and boost.stability_delta.n == N
    assert boost.stability_delta.interval[0] > 0.2


def test_scores_equal_to_nones_have_an_interval_and_none_beside_itself_has_nothing() -> None:
    none, boost = control_explanations(by_control(ALWAYS, ALWAYS))
    assert (none.stability_delta.value, none.stability_delta.interval) == (0.0, [0.0, 0.0])
    low, high = boost.stability_delta.interval
    assert boost.stability_delta.value == 0.0 and low < 0 < high


@pytest.mark.parametrize(("grown", "sign"), [(1.0, 0), (3.0, 1), (0.0, -1)])
def test_growth_is_set_beside_that_of_other_text(grown: float, sign: int) -> None:
    summary = dimension_summary(by_control(ALWAYS, ALWAYS), sets(grown), COUNTS)
    rows = [one for one in summary.growth if one.measure == "participation"]
    by = {(one.set, one.count): one for one in rows}
    assert by["none", "few"].growth.value == pytest.approx(2 * grown)
    assert by["none", "many"].growth.value == pytest.approx(grown)
    assert by[NO_PERSONA, "few"].beyond == {}
    for other in (NO_PERSONA, SHUFFLED):
        beyond = by["none", "few"].beyond[other]
        assert beyond.value == pytest.approx(2 * (grown - 1))
        assert np.sign(beyond.interval[0]) == np.sign(beyond.interval[1]) == sign


def test_before_the_round_that_has_so_many_vectors_there_is_no_number() -> None:
    summary = dimension_summary(by_control(ALWAYS, ALWAYS), sets(1.0), COUNTS)
    own = summary.sets[0]
    assert own.participation["many"].mean[0] is None
    assert own.participation["few"].mean[0] == pytest.approx(4.115)
    assert own.tokens == [9, 20, 30] and summary.vectors == COUNTS
