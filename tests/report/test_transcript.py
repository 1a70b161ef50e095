"""Conversations reach the page whole: nothing hidden, nothing dropped, nothing broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.report import transcript

from .drift.sample import read_talks, run


def talk(scores: list[float | None], number: int = 0, **more: Any) -> dict[str, Any]:
    """A conversation whose own probe scored so, round by round."""
    rounds = [
        {
            "round": r, "user": None, "agent": None, "share": None,
            "probes": [] if score is None else [
                {"arm": "own", "run": 0, "probe": "?", "answer": "a", "score": score, "why": "",
                 "stop": "stop"}
            ],
        }
        for r, score in enumerate(scores)
    ]  # fmt: skip
    person = {"id": "one", "category": "pattern", "prompt": "p"}
    return {"id": number, "agent": person, "user": person, "starter": "s", "rounds": rounds} | more


def entries(talks: list[Any], **budget: int) -> list[transcript.Entry]:
    return transcript.entries(read_talks(talks), **budget)


@given(st.text(st.characters(), max_size=6000))
def test_a_folded_text_is_the_whole_text(text: str) -> None:
    parts = transcript.fold_text(text)
    assert parts.head + parts.rest == transcript.visible(text)
    assert len(parts.head) <= transcript.FOLD * 1.25


@given(st.text(st.characters(), max_size=200))
def test_a_visible_text_can_be_written_and_hides_no_control_character(text: str) -> None:
    output = transcript.visible(text)
    output.encode("utf-8")
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in output)


def test_control_characters_become_pictures() -> None:
    assert transcript.visible("a\x00b\x1b[0m\r\nc\x7f\ud800") == "a␀b␛[0m\nc␡\ufffd"


def test_a_long_text_is_folded_at_a_space() -> None:
    parts = transcript.fold_text("word " * 2000)
    assert parts.head.endswith("word") and parts.rest.startswith(" word")


def test_scores_are_means_over_the_probe_runs_of_the_own_arm() -> None:
    one = talk([1.0, 0.0])
    one["rounds"][1]["probes"] *= 2
    one["rounds"][1]["probes"][1] = one["rounds"][1]["probes"][0] | {"score": 0.5}
    one["rounds"][1]["probes"].append(one["rounds"][1]["probes"][0] | {"arm": "filler", "score": 1})
    entry = entries([one])[0]
    assert entry.scores == (1.0, 0.25)
    assert entry.fall == 0.75
    assert [a.score for a in entry.exchanges[1].own] == [0.0, 0.5]
    assert [a.arm for a in entry.exchanges[1].others] == ["neutral filler in the user’s place"]


def test_traits_tell_slipped_from_held() -> None:
    slipped, held, dipped = entries([talk([1.0, 0.5]), talk([1.0, 0.9]), talk([1.0, 0.2, 1.0])])
    assert slipped.traits == "slipped"
    assert held.traits == "held"
    assert dipped.traits == "held low"


def test_an_agent_that_ends_in_the_users_persona_is_marked() -> None:
    one = talk([1.0, 0.0])
    one["rounds"][1]["probes"].append(one["rounds"][1]["probes"][0] | {"arm": "user", "score": 1})
    assert "taken" in entries([one])[0].traits.split()


def test_past_the_budget_a_conversation_keeps_its_scores() -> None:
    listing = entries([talk([1.0, 0.5], i) for i in range(4)], budget=1000)
    assert [e.whole for e in listing] == [True, True, False, False]
    assert [e.scores for e in listing] == [(1.0, 0.5)] * 4
    assert listing[3].exchanges == () and listing[3].answers == 2


def test_the_first_conversation_is_always_whole() -> None:
    assert entries([talk([1.0])], budget=0)[0].whole


def test_an_unfinished_reply_says_why() -> None:
    one = talk([0.0, 0.0])
    one["rounds"][0]["probes"][0]["stop"] = "length"
    (conversation,) = read_talks([one])
    odd = replace(conversation.rounds[1].probes[0], stop="a <new> reason")  # type: ignore[arg-type]
    rounds = (conversation.rounds[0], replace(conversation.rounds[1], probes=(odd,)))
    first, second = transcript.entries([replace(conversation, rounds=rounds)])[0].exchanges
    assert first.own[0].stop == "cut at the token limit"
    assert second.own[0].stop == "a <new> reason"


def test_specimens_are_picked_by_their_stated_rules() -> None:
    courses: list[list[float | None]] = [[1.0, 0.9], [1.0, 0.1], [1.0, 0.5], [None, None]]
    listing = entries([talk(c, i) for i, c in enumerate(courses)])
    specimens = transcript.specimens(listing)
    assert [(s.rule, s.entry.id) for s in specimens] == [
        ("The largest fall", 1),
        ("The median conversation, by fall", 2),
    ]


def test_a_fall_that_print_does_not_show_is_none() -> None:
    listing = entries([talk(c, i) for i, c in enumerate([[1.0, 1.0], [1.0, 0.9999]])])
    assert transcript.specimens(listing)[0].rule == "The least steady conversation"


def test_a_run_of_one_conversation_shows_it() -> None:
    specimens = transcript.specimens(entries([talk([1.0, 1.0])]))
    assert [s.rule for s in specimens] == ["The only conversation"]
    assert transcript.specimens(entries([talk([None, None])])) == []


def test_portraits_average_a_personas_conversations_and_order_by_fall() -> None:
    firm = {"id": "firm", "category": "choice", "prompt": "p"}
    listing = entries([talk([1.0, 1.0], agent=firm), talk([1.0, 0.5]), talk([1.0, 0.0])])
    first, second = transcript.portraits(listing)
    assert (first.id, first.scores, first.n) == ("one", (1.0, 0.25), 2)
    assert (second.id, second.fall) == ("firm", 0.0)


def test_a_portrait_goes_from_each_conversations_start_to_its_own_end() -> None:
    (one,) = transcript.portraits(entries([talk([0.0, 0.0]), talk([1.0, 1.0, 1.0, 1.0])]))
    assert one.scores == (0.5, 0.5, 1.0, 1.0)
    assert (one.first, one.last, one.fall, one.n) == (0.5, 0.5, 0.0, 2)


def record_chat(scores: list[float], own: bool) -> dict[str, Any]:
    """A recorded chat: its replies judged, and perhaps probed."""
    one = talk([0.5] * (len(scores) + 1) if own else [None] * (len(scores) + 1))
    for r, score in enumerate(scores, 1):
        conversation = {"arm": "reply", "run": 0, "probe": "hi", "answer": "a", "score": score,
                  "why": "so", "stop": "stop"}  # fmt: skip
        one["rounds"][r]["probes"].append(conversation)
    return one


def test_recorded_replies_give_the_scores_where_nothing_was_probed() -> None:
    entry = entries([record_chat([1.0, 0.25], own=False)])[0]
    assert entry.scores == (None, 1.0, 0.25)
    assert entry.user is None
    assert (entry.first, entry.last, entry.fall) == (1.0, 0.25, 0.75)
    assert transcript.portraits([entry])[0].fall == 0.75
    conversation = entry.exchanges[2].reply
    assert conversation is not None and (conversation.score, conversation.why) == (0.25, "so")
    assert transcript.specimens([entry]) == []


def test_recorded_replies_stand_beside_the_probes_where_there_are_any() -> None:
    entry = entries([record_chat([1.0, 0.25], own=True)])[0]
    assert entry.scores == (0.5, 0.5, 0.5)
    assert entry.exchanges[1].reply is not None and entry.exchanges[1].others == ()


def test_a_conversation_that_never_began_is_listed() -> None:
    listing = entries([talk([])])
    assert listing[0].scores == () and listing[0].fall is None
    assert transcript.portraits(listing)[0].fall is None


def test_every_answer_of_the_sample_is_on_the_page() -> None:
    _, talks = run(4, 3)
    listing = entries(talks)
    for entry, record in zip(listing, talks, strict=True):
        shown = [a for x in entry.exchanges for a in (*x.own, *x.others)]
        assert len(shown) == sum(len(r["probes"]) for r in record["rounds"]) == entry.answers
