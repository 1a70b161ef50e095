"""A log of conversations becomes rounds, scores and alarms."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.watch import conversations as module
from holdfast.evals.watch.conversations import Conversations
from holdfast.evals.watch.watch import watch
from holdfast.evals.watch.watcher import CONTROLS, Watcher
from holdfast.persona.suite import Persona
from holdfast.results.watch import ReplyRecord

SHOUT = Persona("shout", "pattern", "Shout.", ("Tea?",), {"name": "case", "to": "upper"})


def conversation(replies: list[str], **more: Any) -> dict[str, Any]:
    messages = []
    for i, reply in enumerate(replies):
        messages += [
            {"role": "user", "content": f"question {i}"},
            {"role": "assistant", "content": reply},
        ]
    return {"messages": messages, **more}


def write_log(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def whole(tmp_path: Path, broken: int | None, n: int = 300) -> Path:
    """Conversations of eight rounds, of whose replies one in twenty slips, broken from a round."""
    rng = random.Random(0)
    lines = [
        conversation(
            [
                "quiet" if (broken and r >= broken) or rng.random() < 0.05 else "LOUD"
                for r in range(1, 9)
            ]
        )
        for _ in range(n)
    ]
    return write_log(tmp_path, lines)


def test_unbroken_conversations_raise_no_alarm(tmp_path: Path) -> None:
    summary = watch(whole(tmp_path, None), SHOUT).summary
    assert not summary.state.drifts
    assert (summary.lines, summary.state.conversations, summary.state.replies) == (300, 300, 2400)


def test_a_break_is_an_alarm_at_its_round_within_twenty_conversations(tmp_path: Path) -> None:
    state = watch(whole(tmp_path, 5), SHOUT).summary.state
    alarm = state.alarms[0]
    assert state.drifts
    assert alarm.rounds == "5" and alarm.round == 5
    assert alarm.conversations <= 20
    assert alarm.drop == pytest.approx(0.95, abs=0.06)


def test_a_tenth_that_breaks_is_an_alarm_after_as_many_conversations_as_stated(
    tmp_path: Path,
) -> None:
    lines = [conversation(["LOUD", "LOUD", "LOUD" if n % 10 else "quiet"]) for n in range(1, 501)]
    alarm = watch(write_log(tmp_path, lines), SHOUT).summary.state.alarms[0]
    assert Watcher(SHOUT).conversations_to_alarm() == alarm.conversations == 300


def test_a_conversation_that_breaks_has_slipped_after_two_more_rounds_at_most(
    tmp_path: Path,
) -> None:
    lines = [conversation(["LOUD"] * 4 + ["quiet"] * 4 * (i > 100) + ["LOUD"]) for i in range(150)]
    summary = watch(write_log(tmp_path, lines), SHOUT).summary
    assert summary.state.slips == len(summary.slipped) == 49
    assert {(slip.since, slip.round) for slip in summary.slipped} == {(5, 6)}


def test_requests_that_grow_are_one_conversation_each(tmp_path: Path) -> None:
    """Two conversations that open alike, taking turns, without an id."""
    lines = []
    chats: list[list[dict[str, str]]] = [[], []]
    for r in range(4):
        for who, chat in enumerate(chats):
            chat.append({"role": "user", "content": "hi" if r == 0 else f"{who} asks {r}"})
            reply = "HELLO" if r == 0 else f"SAID TO {who} IN {r}"
            lines.append({"messages": [{"role": "system", "content": "x"}, *chat], "reply": reply})
            chat.append({"role": "assistant", "content": reply})
    result = watch(write_log(tmp_path, lines), SHOUT)
    assert result.summary.state.conversations == 2
    assert [reply.round for reply in result.replies] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_conversations_that_open_with_the_same_greeting_are_told_apart(tmp_path: Path) -> None:
    lines = []
    for who in range(5):
        chat = [{"role": "assistant", "content": "Hello, how can I help?"}]
        for r in range(3):
            chat.append({"role": "user", "content": f"{who} asks {r}"})
            lines.append({"messages": [*chat], "reply": f"SAID TO {who} IN {r}"})
            chat.append({"role": "assistant", "content": f"SAID TO {who} IN {r}"})
    result = watch(write_log(tmp_path, lines), SHOUT)
    assert result.summary.state.conversations == 5
    assert [reply.round for reply in result.replies] == [1, 2, 3] * 5
    names = [reply.conversation for reply in result.replies]
    assert all(len(set(names[i : i + 3])) == 1 for i in range(0, 15, 3))


def test_a_user_turn_with_a_tool_call_is_one_round_of_its_last_reply(tmp_path: Path) -> None:
    turns = [
        ("user", "weather?"),
        ("assistant", "let me see"),
        ("tool", "rain"),
        ("assistant", "IT RAINS"),
        ("user", "thanks"),
        ("user", "and tomorrow?"),
        ("assistant", "SUN"),
        ("assistant", "  "),
    ]
    messages = [{"role": role, "content": text} for role, text in turns]
    replies = watch(write_log(tmp_path, [{"messages": messages}]), SHOUT).replies
    assert [(reply.round, reply.reply) for reply in replies] == [(1, "IT RAINS"), (2, "SUN")]


def test_a_request_that_ends_with_a_tools_answer_stays_in_its_round() -> None:
    conversations = Conversations()
    turns: list[tuple[str, str]] = [("user", "weather?")]
    rounds = [conversations.locate(turns, "a").round]
    turns += [("assistant", "let me see"), ("tool", "rain")]
    rounds.append(conversations.locate(turns, "a").round)
    rounds.append(conversations.locate([("user", "and tomorrow?")], "a").round)
    assert rounds == [1, 1, 2]


def test_an_id_holds_a_conversation_together_whose_client_sends_its_end_only(
    tmp_path: Path,
) -> None:
    lines = [
        {"messages": [{"role": "user", "content": f"asks {r}"}], "reply": "YES", "id": "a"}
        for r in range(5)
    ]
    replies = watch(write_log(tmp_path, lines), SHOUT).replies
    assert [reply.round for reply in replies] == [1, 2, 3, 4, 5]
    assert len({reply.conversation for reply in replies}) == 1


def test_a_chat_that_is_logged_again_as_it_grows_keeps_its_rounds(tmp_path: Path) -> None:
    lines = [conversation([f"SAID {r}" for r in range(n)], id="a") for n in range(1, 5)]
    result = watch(write_log(tmp_path, lines), SHOUT)
    assert result.summary.state.conversations == 1
    assert {(reply.round, reply.reply) for reply in result.replies} == {
        (r + 1, f"SAID {r}") for r in range(4)
    }


def test_the_work_of_a_whole_chat_grows_with_its_length_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_turns, hashed = module._hash, []
    monkeypatch.setattr(
        module, "_hash", lambda turns: hashed.append(len(turns)) or hash_turns(turns)
    )
    watch(write_log(tmp_path, [conversation(["LOUD"] * 200)]), SHOUT)
    assert sum(hashed) <= 400


def test_a_control_of_null_is_none(tmp_path: Path) -> None:
    (reply,) = watch(write_log(tmp_path, [conversation(["LOUD"], control=None)]), SHOUT).replies
    assert reply.control == "none"


def test_a_servers_lines_keep_their_scores_where_they_have_no_texts(tmp_path: Path) -> None:
    lines = [
        {"conversation": "c", "round": 1, "score": 0.25, "control": "anchor"},
        {"conversation": "c", "round": 2, "score": 0.25, "control": "anchor", "reply": "LOUD"},
    ]
    replies = watch(write_log(tmp_path, lines), SHOUT).replies
    assert [reply.score for reply in replies] == [0.25, 1.0]


def test_replies_outside_the_sample_that_a_model_judges_are_no_faults_of_the_log(
    tmp_path: Path,
) -> None:
    kind = replace(SHOUT, judge={"name": "rubric", "criteria": "The answer is kind."})
    lines = [
        {"conversation": "c", "round": 1, "score": 0.5, "control": "none"},
        {"conversation": "c", "round": 2, "score": None, "control": "none"},
        {"conversation": "c", "round": 3, "score": None, "control": "none", "reply": "Hm."},
    ]
    summary = watch(write_log(tmp_path, lines), kind).summary
    assert (summary.lines, summary.state.replies) == (3, 1)
    assert summary.reading is not None and summary.reading.unfit == 0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "holds no chats"),
        ('{"messages": []}', "one user message and a reply"),
        ('{"messages": [{"role": "robot"}]}', "has a role"),
        ('{"conversation": "c", "round": 1, "control": "none"}', "neither a score nor a text"),
        ('{"conversation": "c", "round": 1, "control": "none", "score": 5}', "from 0 to 1"),
        ('{"conversation": "c", "round": -1, "control": "none", "score": 1}', "a round 1 or more"),
        ('{"round": 1}', "does not fit: conversation"),
        ("", "holds no chats"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, line: str, problem: str
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match=problem) as refusal:
        watch(path, SHOUT)
    assert "log.jsonl" in str(refusal.value)


def test_the_controls_that_clients_choose_are_bounded_in_the_state() -> None:
    watcher = Watcher(SHOUT)
    for i in range(CONTROLS + 50):
        watcher.add(
            ReplyRecord(conversation=f"c{i}", round=1, score=1.0, persona="p", control=f"w:{i}")
        )
    (rounds,) = watcher.state.rounds
    assert rounds.replies == CONTROLS + 50
    assert len(rounds.controls) == CONTROLS + 1 and rounds.controls["other"] == 1.0
