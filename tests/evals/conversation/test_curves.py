"""Curves compare the same conversations and the same probes, and say where too few are left."""

from __future__ import annotations

from actors import suite
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


def test_a_category_without_an_interval_in_some_round_says_why() -> None:
    category = PLAN[0].agent.category
    alike = tuple(c for c in plan(SMALL.personas, SMALL.personas, SMALL, pairs="all")
                  if c.agent.category == category)[:3]  # fmt: skip
    long, short = ({"own": [1.0]}, {"own": [1.0]}), ({"own": [1.0]},)
    talks = [talk(c.id, *(short if i == 0 else long)) for i, c in enumerate(alike)]
    (of_category,) = curves(talks, alike, 1).by_category.values()
    assert of_category.interval[1] == [None, None] and of_category.n == 3
    assert of_category.interval_note == "No interval: fewer than 3 conversations."
