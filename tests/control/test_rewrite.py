"""What window, reminder and note make of a chat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.control.rewrite import rewrite
from holdfast.core.chat import Chat, agent_view, message
from holdfast.core.control import parse

PROMPT = "You are a lighthouse."


def chat(turns: int, prompt: str | None = PROMPT) -> Chat:
    return agent_view(prompt, [f"turn {i}" for i in range(turns)])


def texts(chat: Chat) -> list[str]:
    return [m["content"] for m in chat]


def test_none_and_attention_controls_leave_the_chat_alone() -> None:
    assert rewrite(chat(5), parse("none")) == chat(5)
    assert rewrite(chat(5), parse("anchor+boost:2")) == chat(5)


def test_a_window_keeps_the_prompt_and_the_last_messages() -> None:
    assert texts(rewrite(chat(7), parse("window:3"))) == [PROMPT, "turn 4", "turn 5", "turn 6"]
    assert rewrite(chat(7), parse("window:9")) == chat(7)
    assert texts(rewrite(chat(7, None), parse("window:1"))) == ["turn 6"]


def test_an_even_window_opens_with_a_user_where_the_model_wants_one() -> None:
    assert texts(rewrite(chat(5), parse("window:2"))) == [PROMPT, "turn 3", "turn 4"]
    assert texts(rewrite(chat(5), parse("window:2"), user_first=True)) == [PROMPT, "turn 4"]


@pytest.mark.parametrize("control", ["reminder:0.01", "note:9", "window:4", "window:9"])
def test_a_greeting_stays_where_no_window_cuts_it(control: str) -> None:
    """A character's first message opens the chats of many clients."""
    greeting = (*chat(1)[:1], message("assistant", "Ahoy!"), *chat(3)[1:])
    assert rewrite(greeting, parse(control), user_first=True) == greeting
    assert texts(rewrite(greeting, parse("window:2"), user_first=True)) == [PROMPT, "turn 2"]


def test_a_sure_reminder_comes_before_every_user_turn_but_the_first() -> None:
    messages = rewrite(chat(5), parse("reminder:1"), system_anywhere=True)
    roles = [m["role"] for m in messages]
    assert roles == ["system", "user", "assistant", "system", "user", "assistant", "system", "user"]
    assert texts(messages)[3] == PROMPT


def test_a_reminder_joins_the_user_turn_where_no_system_message_may_stand() -> None:
    messages = rewrite(chat(3), parse("reminder:1"))
    assert texts(messages) == [PROMPT, "turn 0", "turn 1", f"{PROMPT}\n\nturn 2"]


def test_without_a_prompt_there_is_nothing_to_be_reminded_of() -> None:
    assert rewrite(chat(5, None), parse("reminder:1")) == chat(5, None)


def test_a_reminder_is_drawn_from_half_a_surrogate_pair_too() -> None:
    messages = rewrite(agent_view(PROMPT, ["Hi \ud83d", "Yes", "And?"]), parse("reminder:0.5"))
    assert len(messages) == 4


@given(st.floats(0.05, 0.95), st.integers(1, 12))
def test_a_reminder_stays_where_it_was_drawn(p: float, rounds: int) -> None:
    control = parse(f"reminder:{p:.2f}")
    shorter = rewrite(chat(2 * rounds - 1), control, system_anywhere=True)
    longer = rewrite(chat(2 * rounds + 1), control, system_anywhere=True)
    assert longer[: len(shorter)] == shorter


def test_a_branch_inherits_the_reminders_of_its_history_and_the_draw_for_its_turn() -> None:
    control = parse("reminder:0.5")
    turns = [f"turn {i}" for i in range(12)]
    longer = rewrite(agent_view(PROMPT, [*turns, "on we go"]), control, system_anywhere=True)
    branch = rewrite(agent_view(PROMPT, turns, "probe?"), control, system_anywhere=True)
    assert longer[:-1] == branch[:-1]


def test_reminders_come_about_as_often_as_asked() -> None:
    control = parse("reminder:0.25")
    messages = rewrite(chat(2001), control, system_anywhere=True)
    assert 200 < sum(m["role"] == "system" for m in messages) < 300


def test_a_window_holds_the_reminders_of_the_messages_it_keeps() -> None:
    view = rewrite(chat(9), parse("window:5+reminder:1"), system_anywhere=True)
    assert texts(view) == [PROMPT, "turn 4", "turn 5", PROMPT, "turn 6", "turn 7", PROMPT, "turn 8"]


@pytest.mark.parametrize("depth", range(5))
def test_as_many_messages_follow_a_note_as_its_depth_says(depth: int) -> None:
    messages = rewrite(chat(5), parse(f"note:{depth}"), system_anywhere=True)
    assert [i for i, m in enumerate(messages) if m["role"] == "system"] == (
        [0, 6 - depth] if depth < 5 else [0]
    )
    assert [m for m in messages if m["role"] != "system"] == list(chat(5)[1:])


@pytest.mark.parametrize(
    ("depth", "place", "text"),
    [
        (0, 3, f"turn 2\n\n{PROMPT}"),
        (1, 3, f"{PROMPT}\n\nturn 2"),
        (2, 1, f"turn 0\n\n{PROMPT}"),
    ],
)
def test_a_note_joins_the_user_message_beside_it(depth: int, place: int, text: str) -> None:
    messages = rewrite(chat(3), parse(f"note:{depth}"))
    assert [m["role"] for m in messages] == [m["role"] for m in chat(3)]
    assert messages[place]["content"] == text


def test_a_chat_no_longer_than_the_depth_has_no_note() -> None:
    assert rewrite(chat(3), parse("note:3")) == chat(3)
    assert rewrite(chat(3), parse("note:9"), system_anywhere=True) == chat(3)
    assert rewrite(chat(5, None), parse("note:1")) == chat(5, None)


def test_a_window_that_begins_after_the_note_leaves_it_out() -> None:
    assert rewrite(chat(7), parse("window:3+note:3")) == rewrite(chat(7), parse("window:3"))
    messages = rewrite(chat(7), parse("window:3+note:1"))
    assert texts(messages) == [PROMPT, "turn 4", "turn 5", f"{PROMPT}\n\nturn 6"]


def test_a_note_never_parts_a_call_from_its_answer() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}
    answer = {"role": "tool", "content": "12", "tool_call_id": "1"}
    messages = (*chat(1), call, answer)
    assert texts(rewrite(messages, parse("note:1"))) == [PROMPT, f"turn 0\n\n{PROMPT}", "", "12"]
    assert texts(rewrite(messages, parse("note:1"), system_anywhere=True)) == [
        PROMPT, "turn 0", PROMPT, "", "12",
    ]  # fmt: skip
