"""Curves compare the same conversations and the same probes, and say where too few are left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from actors import suite
from holdfast.core.intervals import Sample
from holdfast.core.stats import numbers
from holdfast.evals.conversation.curves import curves
from holdfast.evals.conversation.plan import plan
from holdfast.results.conversation import JudgedAnswer, JudgedConversation, JudgedRound, Participant

SMALL = suite()
PLAN = plan(SMALL.personas, SMALL.personas, SMALL, pairs=4, seed=0)
NOBODY = Participant("p", "c", "")
Scores = dict[str, list[float | None]]


def talk(id_: int, *rounds: Scores) -> JudgedConversation:
    """A conversation by the scores of each arm's runs after each round."""

    def answers(arms: Scores) -> tuple[JudgedAnswer, ...]:
        return tuple(
            JudgedAnswer(arm, run, "?", "stop" if score is not None else "overflow", "", score, "")
            for arm, scores in arms.items()
            for run, score in enumerate(scores)
        )

    at = tuple(JudgedRound(r, None, None, answers(arms), None) for r, arms in enumerate(rounds))
    return JudgedConversation(id_, NOBODY, NOBODY, "", at)


def test_filler_is_compared_on_the_probe_that_it_was_asked() -> None:
    start = {"own": [1.0, 1.0], "floor": [0.0, 0.0]}
    talks = [talk(c.id, start, {"own": [0.5, 0.0], "filler": [0.5]}) for c in PLAN]
    result = curves(talks, PLAN, 1)
    assert result.stability[-1] == 0.25 and result.filler == [1.0, 0.5]
    assert result.filler_delta and result.filler_delta.value == 0
    alone = curves([talk(c.id, start, {"own": [1.0, 1.0]}) for c in PLAN], PLAN, 1)
    assert alone.filler_delta is None


def test_the_normalised_score_has_one_set_of_conversations() -> None:
    whole = {"own": [1.0], "floor": [0.0]}
    talks = [talk(c.id, whole, {"own": [0.5]}) for c in PLAN[:3]]
    talks.append(talk(PLAN[3].id, {"own": [1.0], "floor": [None]}, {"own": [1.0]}))
    result = curves(talks, PLAN, 1)
    assert (result.stability[-1], result.normalised[-1]) == (0.625, 0.5)


def test_the_change_is_of_the_conversations_that_reached_the_last_round() -> None:
    talks = [talk(c.id, {"own": [1.0]}, {"own": [0.5]}) for c in PLAN[:3]]
    talks.append(talk(PLAN[3].id, {"own": [0.0]}))
    result = curves(talks, PLAN, 1)
    assert (result.stability, result.change.value) == ([0.75, 0.5], -0.5)


def test_a_category_without_an_interval_in_some_round_says_why() -> None:
    category = PLAN[0].agent.category
    alike = tuple(c for c in plan(SMALL.personas, SMALL.personas, SMALL, pairs="all")
                  if c.agent.category == category)[:3]  # fmt: skip
    long, short = ({"own": [1.0]}, {"own": [1.0]}), ({"own": [1.0]},)
    talks = [talk(c.id, *(short if i == 0 else long)) for i, c in enumerate(alike)]
    (of_category,) = curves(talks, alike, 1).by_category.values()
    assert of_category.interval[1] == [None, None] and of_category.n == 3
    assert of_category.interval_note == "No interval: fewer than 3 conversations."


def test_every_curve_starts_where_it_has_a_start_and_ends_with_the_last_round() -> None:
    start = {"own": [0.9, 0.7], "floor": [0.2, 0.4], "user_floor": [0.3]}
    later = {"own": [0.6, 0.8], "history_floor": [0.1], "filler": [0.9], "user": [0.7]}
    last = {"own": [0.5, 0.5], "history_floor": [0.0], "filler": [1.0], "user": [0.8]}
    result = curves([talk(c.id, start, later, last) for c in PLAN], PLAN, 2)
    assert (result.n, result.stability, result.change.value) == ([4, 4, 4], [0.8, 0.7, 0.5], -0.3)
    assert (result.ceiling, result.floor, result.user_persona_floor) == (0.8, 0.3, 0.3)
    assert result.normalised == [1.0, 0.8, 0.4]
    # One run of these arms: at the start, the first run of the same question stands for it.
    assert (result.history_floor, result.filler) == ([0.2, 0.1, 0.0], [0.9, 0.9, 1.0])
    assert result.user_persona == [None, 0.7, 0.8] and result.replies is None
    low, high = result.change.interval
    assert low < -0.3 < high and result.ceiling_interval == result.interval[0]
    for values, intervals in (
        (result.stability, result.interval),
        (result.user_persona, result.user_persona_interval),
        (result.history_floor, result.history_floor_interval),
        (result.filler, result.filler_interval),
    ):
        assert values and intervals
        for value, (low, high) in zip(values, intervals, strict=True):
            assert value is low is high is None or low <= value <= high
    assert result.replies_interval is None
    assert all(one.interval_note for one in result.by_category.values())  # two conversations each
    whole = plan(SMALL.personas, SMALL.personas, SMALL, pairs="all")
    whole_curves = curves([talk(c.id, start, later, last) for c in whole], whole, 2)
    assert not any(one.interval_note for one in whole_curves.by_category.values())


def test_conversations_of_one_persona_widen_the_interval_unless_they_are_recorded() -> None:
    whole = plan(SMALL.personas, SMALL.personas, SMALL, pairs="all")
    own = [0.2 + 0.1 * SMALL.personas.index(c.agent) for c in whole]
    talks = [talk(c.id, {"own": [score]}) for c, score in zip(whole, own, strict=True)]
    personas = [[c.agent.id for c in whole], [c.user.id for c in whole]]
    shared = Sample(len(whole), personas, [c.agent.category for c in whole])
    recorded = [replace(c, script=("Hello.", "Hello.")) for c in whole]
    for conversations, sample in ((whole, shared), (recorded, Sample(len(whole)))):
        (interval,) = curves(talks, conversations, 0).interval
        assert interval == numbers(sample.score_interval(np.array(own)))
