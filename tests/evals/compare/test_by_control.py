"""A run's records become arrays of one shape for every control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from actors import suite
from holdfast.core.control import NONE, parse
from holdfast.core.records import read_record
from holdfast.core.run import TurnTime
from holdfast.evals.compare.by_control import measurements
from holdfast.evals.compare.questions import capability_answers
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.plan import plan
from holdfast.evals.tasks.answers import Question
from holdfast.results.conversation import JudgedConversation, RoundRecord

SMALL = suite()
BASE = plan(SMALL.personas, SMALL.personas, SMALL, pairs=2, seed=1)
PLAN = ControlledPlan(BASE, (NONE, parse("anchor")))
SUM = Question("sum", "What is 1 + 1?", "2")
FACT = Question("fact", "Where is Tarn?", "north")
QUESTIONS = {(c.id, 1): [SUM, FACT] for c in BASE}


def reply(text: str = "yes", stop: str = "stop", tokens: tuple[int, int, int] = (9, 4, 3)) -> Any:
    return {"text": text, "stop": stop, "tokens": list(tokens)}


def record(control: int, conversation: int, r: int, **more: Any) -> RoundRecord:
    turns = {"user": reply(), "agent": reply()} if r else {}
    base = {"conversation": PLAN.record_id(control, conversation), "round": r, "answers": []}
    return read_record(RoundRecord, base | turns | more)


def talk(id_: int, *scores: float | None) -> JudgedConversation:
    def probes(score: float | None) -> list[dict[str, Any]]:
        own = {"arm": "own", "run": 0, "stop": "stop", "probe": "?", "answer": "", "why": ""}
        return [] if score is None else [own | {"score": score}]

    no_turns = {"user": None, "agent": None, "share": None}
    rounds = [{"round": r, "probes": probes(s), **no_turns} for r, s in enumerate(scores)]
    who = {"id": "p", "category": "c", "prompt": ""}
    whole = {"id": id_, "agent": who, "user": who, "starter": "", "rounds": rounds}
    return read_record(JudgedConversation, whole)


TALKS = [talk(0, 1, 1), talk(1, 1, 0), talk(2, 1, 1), talk(3, 1, None)]


def measure(records: list[RoundRecord], times: list[TurnTime] | None = None) -> Any:
    return measurements(PLAN, 1, TALKS, records, times or [], QUESTIONS)


def test_scores_are_by_conversation_and_round_and_missing_where_not_asked() -> None:
    plain, anchor = measure([])
    np.testing.assert_array_equal(plain.scores, [[1, 1], [1, 0]])
    np.testing.assert_array_equal(anchor.scores, [[1, 1], [1, np.nan]])


def test_questions_count_by_kind_and_one_that_did_not_fit_is_not_counted() -> None:
    records = [
        record(0, 0, 1, questions=[reply("It is 2."), reply("south")]),
        record(0, 1, 1, questions=[reply("", "overflow"), reply("")]),
    ]
    right = measure(records)[0].correct
    np.testing.assert_array_equal(right["sum"][:, 1], [1, np.nan])
    np.testing.assert_array_equal(right["fact"][:, 1], [0, 0])
    assert np.isnan(right["sum"][:, 0]).all() and np.isnan(measure(records)[1].correct["sum"]).all()
    shown = [one.right for i in (0, 1) for one in capability_answers(records[i], i, QUESTIONS)]
    assert shown == [True, False, None, False]


def test_tokens_are_prompt_and_completion_of_the_agents_turns_that_were_answered() -> None:
    records = [
        record(0, 0, 1),
        record(0, 1, 1, agent=reply("", "overflow", (900, 0, 0))),
        record(1, 0, 1, agent=reply("no usage given", tokens=(0, 0, 0))),
    ]
    plain, anchor = measure(records)
    np.testing.assert_array_equal(plain.tokens, [[np.nan, 12], [np.nan, np.nan]])
    assert np.isnan(anchor.tokens).all()


def test_a_batch_that_was_run_again_has_its_last_times() -> None:
    time = TurnTime(batch=0, round=1, control="none", seconds=9.0, tokens=3)
    times = [time, replace(time, seconds=2.0), replace(time, control="anchor", tokens=0)]
    plain, anchor = measure([], times)
    np.testing.assert_array_equal(plain.timing[0, 1], [2, 3])
    assert plain.timing.shape == anchor.timing.shape and np.isnan(anchor.timing).all()


def test_failures_are_counted_by_round_questions_included() -> None:
    records = [record(0, 0, 1, questions=[reply(""), reply("", "error")]), record(0, 0, 0)]
    failures = measure(records)[0].failures
    assert {name: n.tolist() for name, n in failures.items() if n.any()} == {
        "empty": [0, 1],
        "error": [0, 1],
        "of": [0, 4],
    }


def test_a_part_has_some_conversations_and_all_the_time() -> None:
    time = TurnTime(batch=0, round=1, control="none", seconds=2.0, tokens=3)
    plain = measure([record(0, 0, 1), record(0, 1, 1)], [time])[0]
    part = plain.subset([1])
    assert part.scores.shape == part.tokens.shape == part.correct["sum"].shape == (1, 2)
    assert part.timing is plain.timing and part.control == NONE
