"""The grammar of controls, and what window and reminder make of a chat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.control.text import DEFAULT, Control, Part, parse
from holdfast.core.chat import Chat, agent_view
from holdfast.core.errors import ControlError

PROMPT = "You are a lighthouse."


def chat(turns: int, prompt: str | None = PROMPT) -> Chat:
    return agent_view(prompt, [f"turn {i}" for i in range(turns)])


def texts(chat: Chat) -> list[str]:
    return [m["content"] for m in chat]


def test_every_control_of_the_default_set_reads_back_as_given() -> None:
    assert [parse(text).text for text in DEFAULT] == list(DEFAULT)
    assert len({(c.state, c.window, c.reminder, c.guidance) for c in map(parse, DEFAULT)}) == len(
        DEFAULT
    )


def test_parts_join() -> None:
    control = parse("window:3+reminder:0.5+guidance:1.5+boost:4+anchor")
    assert (control.window, control.reminder, control.guidance) == (3, 0.5, 1.5)
    assert control.share == Part("boost", 4.0)
    assert control.anchor == Part("anchor", span="message")
    assert control.needs_weights


def test_attention_controls_take_layers_heads_and_a_span() -> None:
    part = parse("split-softmax:0.7@layers=8-24,heads=2,span=message").share
    assert part == Part("split-softmax", 0.7, (8, 24), (2, 2), "message")


@pytest.mark.parametrize(
    "text",
    ["split-softmax:1", "boost:1", "spotlight:0", "guidance:1", "reminder:0", "none", "boost:1.0"],
)
def test_a_part_at_the_strength_that_is_off_is_none(text: str) -> None:
    assert parse(text) == Control(text)
    assert parse(text).state == ""


def test_the_state_names_what_keys_and_values_depend_on_and_nothing_else() -> None:
    assert parse("window:3+reminder:1+guidance:2").state == ""
    assert parse("boost:2").state == parse("reminder:1+boost:2.0").state
    states = {parse(t).state for t in ("boost:2", "boost:3", "boost:2@layers=1-2", "anchor")}
    assert len(states) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ancor", "no control `ancor`"),
        ("", "no control"),
        ("anchor+", "no control"),
        ("window", "needs a strength"),
        ("window:0", "out of range"),
        ("window:2.5", "needs a strength"),
        ("reminder:1.5", "out of range"),
        ("reminder:-1", "needs a strength"),
        ("guidance:0.5", "out of range"),
        ("split-softmax:nan", "needs a strength"),
        ("boost:2+spotlight:.2", "more than one"),
        ("window:1+window:3", "more than one"),
        ("none+anchor", "leave `none` out"),
        ("anchor:2", "takes no strength"),
        ("anchor@depth=2", "no option"),
        ("boost:2@layers=9-3", "backwards"),
        ("window:3@layers=1-2", "takes no options"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ControlError, match=said):
        parse(text)


@given(st.text(alphabet="abcnohrwindow:+@=-0123456789. ,", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        control = parse(text)
    except ControlError:
        return
    assert control.text == text


def test_none_and_attention_controls_leave_the_chat_alone() -> None:
    assert parse("none").rewrite(chat(5)) == chat(5)
    assert parse("anchor+boost:2").rewrite(chat(5)) == chat(5)


def test_a_window_keeps_the_prompt_and_the_last_messages() -> None:
    assert texts(parse("window:3").rewrite(chat(7))) == [PROMPT, "turn 4", "turn 5", "turn 6"]
    assert parse("window:9").rewrite(chat(7)) == chat(7)
    assert texts(parse("window:1").rewrite(chat(7, None))) == ["turn 6"]


def test_an_even_window_opens_with_a_user_where_the_model_wants_one() -> None:
    assert texts(parse("window:2").rewrite(chat(5))) == [PROMPT, "turn 3", "turn 4"]
    assert texts(parse("window:2").rewrite(chat(5), user_first=True)) == [PROMPT, "turn 4"]


def test_a_sure_reminder_comes_before_every_user_turn_but_the_first() -> None:
    said = parse("reminder:1").rewrite(chat(5), system_anywhere=True)
    roles = [m["role"] for m in said]
    assert roles == ["system", "user", "assistant", "system", "user", "assistant", "system", "user"]
    assert texts(said)[3] == PROMPT


def test_a_reminder_joins_the_user_turn_where_no_system_message_may_stand() -> None:
    said = parse("reminder:1").rewrite(chat(3))
    assert texts(said) == [PROMPT, "turn 0", "turn 1", f"{PROMPT}\n\nturn 2"]


def test_without_a_prompt_there_is_nothing_to_be_reminded_of() -> None:
    assert parse("reminder:1").rewrite(chat(5, None)) == chat(5, None)


@given(st.floats(0.05, 0.95), st.integers(1, 12))
def test_a_reminder_stays_where_it_was_drawn(p: float, rounds: int) -> None:
    control = parse(f"reminder:{p:.2f}")
    shorter = control.rewrite(chat(2 * rounds - 1), system_anywhere=True)
    longer = control.rewrite(chat(2 * rounds + 1), system_anywhere=True)
    assert longer[: len(shorter)] == shorter


def test_a_branch_inherits_the_reminders_of_its_history_and_the_draw_for_its_turn() -> None:
    control = parse("reminder:0.5")
    turns = [f"turn {i}" for i in range(12)]
    told = control.rewrite(agent_view(PROMPT, [*turns, "on we go"]), system_anywhere=True)
    asked = control.rewrite(agent_view(PROMPT, turns, "probe?"), system_anywhere=True)
    assert told[:-1] == asked[:-1]


def test_reminders_come_about_as_often_as_asked() -> None:
    control = parse("reminder:0.25")
    said = control.rewrite(chat(2001), system_anywhere=True)
    assert 200 < sum(m["role"] == "system" for m in said) < 300


def test_a_window_holds_the_reminders_of_the_messages_it_keeps() -> None:
    said = parse("window:5+reminder:1").rewrite(chat(9), system_anywhere=True)
    assert texts(said) == [PROMPT, "turn 4", "turn 5", PROMPT, "turn 6", "turn 7", PROMPT, "turn 8"]
