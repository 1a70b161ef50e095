"""Recorded chats stand in for self-chat; a bad line is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors import Actor, persona, suite
from holdfast.core.errors import HoldfastError
from holdfast.core.records import as_record
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.recorded import read_history
from holdfast.evals.drift import drift
from holdfast.persona.suite import Suite

AMBER = persona("amber")
OWN = Suite("own", (AMBER,))


def chat(*texts: str, **more: str) -> str:
    roles = ["user", "assistant"]
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return json.dumps({"messages": messages, **more})


def write_log(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def chats_of(path: Path) -> tuple[Conversation, ...]:
    return read_history(path, [AMBER]).conversations


def test_replies_are_judged_round_by_round_without_a_model(tmp_path: Path) -> None:
    path = write_log(
        tmp_path,
        chat("Hi", "amber it is", "And now?", "amber still", "And?", "who knows"),
        chat("Hello", "amber", "Well?", "lost"),
    )
    summary = as_record(drift(None, suite=suite(), persona=OWN, history=path, rounds=3).summary)
    assert summary["stability"] == [None, 1.0, 0.5, 0.0]
    assert summary["replies"] == summary["stability"] and summary["n"] == [0, 2, 2, 1]
    assert summary["conversations"] == 2 and summary["model"] is None
    # Of the one chat of three rounds, from its first reply.
    assert summary["change"]["value"] == -1.0


def test_a_model_is_probed_on_branches_of_the_recorded_history(tmp_path: Path) -> None:
    path = write_log(tmp_path, chat("Hi", "no", "And now?", "never"))
    actor = Actor()
    summary = as_record(drift(actor, suite=suite(), persona=OWN, history=path, rounds=2).summary)
    assert summary["stability"] == [1.0, 1.0, 1.0] and summary["replies"] == [None, 0.0, 0.0]
    contents = [m["content"] for call in actor.calls for a in call for m in a.chat]
    assert "never" in contents and not any("rains" in text for text in contents)


def test_rounds_follow_the_longest_chat_where_none_are_asked_for(tmp_path: Path) -> None:
    path = write_log(tmp_path, chat("a", "amber"), chat(*["a", "amber"] * 5))
    assert drift(None, suite=suite(), persona=OWN, history=path).summary.setting.rounds == 5


def test_line_separators_inside_a_message_do_not_end_its_line(tmp_path: Path) -> None:
    text = "one\u2028two"
    line = json.dumps({"messages": json.loads(chat("a", text))["messages"]}, ensure_ascii=False)
    assert chats_of(write_log(tmp_path, line))[0].script == ("a", text)


def test_a_greeting_before_the_first_user_message_is_left_out(tmp_path: Path) -> None:
    messages = [
        {"role": "assistant", "content": "Welcome!"},
        *json.loads(chat("a", "b"))["messages"],
    ]
    (conversation,) = chats_of(write_log(tmp_path, json.dumps({"messages": messages})))
    assert conversation.script == ("a", "b")


def test_system_messages_are_dropped_and_runs_of_a_role_joined(tmp_path: Path) -> None:
    line = json.dumps(
        {
            "messages": [
                {"role": "system", "content": "old prompt"},
                {"role": "user", "content": "one"},
                {"role": "user", "content": "two"},
                {"role": "assistant", "content": "three"},
                {"role": "user", "content": "unanswered"},
            ]
        }
    )
    (conversation,) = chats_of(write_log(tmp_path, line, ""))
    assert conversation.script == ("one\n\ntwo", "three")


def test_a_line_names_its_persona_where_there_are_several(tmp_path: Path) -> None:
    both = [AMBER, persona("birch")]
    path = write_log(tmp_path, chat("a", "b", persona="memory-birch"))
    assert read_history(path, both).conversations[0].agent.id == "memory-birch"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "holds no chats"),
        ("[1]", "a line is an object"),
        ('{"chat": 1}', "no format has an object with chat"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "role"),
        ('{"messages": [{"role": "user", "content": null}]}', "text as content"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "at least one"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "at least one"),
        (chat("a", "b", persona="nobody"), "'nobody'"),
        ("", "holds no chats"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(HoldfastError, match=message):
        read_history(write_log(tmp_path, line), [AMBER])


def test_a_missing_persona_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="name one in the line"):
        read_history(write_log(tmp_path, chat("a", "b")), [AMBER, persona("birch")])


def test_a_file_that_is_not_there_or_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="could not be read"):
        read_history(tmp_path / "nothing.jsonl", [AMBER])
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9")
    with pytest.raises(HoldfastError, match="not UTF-8"):
        read_history(tmp_path / "latin", [AMBER])
