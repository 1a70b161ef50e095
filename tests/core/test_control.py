"""The grammar of controls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.control import AttentionControl, Control, parse
from holdfast.core.errors import ControlError


def test_parts_join() -> None:
    control = parse("window:3+reminder:0.5+guidance:1.5+boost:4+anchor")
    assert (control.window, control.reminder, control.guidance) == (3, 0.5, 1.5)
    assert control.share == AttentionControl("boost", 4.0)
    assert control.anchor == AttentionControl("anchor", span="message")
    assert control.needs_weights


def test_a_note_at_depth_0_is_a_control() -> None:
    assert parse("note:0").note == 0
    assert parse("note:0").rewrites
    assert not parse("note:0").needs_weights


def test_attention_controls_take_layers_heads_and_a_span() -> None:
    part = parse("split-softmax:0.7@layers=8-24,heads=2,span=message").share
    assert part == AttentionControl("split-softmax", 0.7, (8, 24), (2, 2), "message")


@pytest.mark.parametrize(
    "text",
    [
        "split-softmax:1",
        "boost:1",
        "spotlight:0",
        "restore:0",
        "guidance:1",
        "reminder:0",
        "none",
        "boost:1.0",
    ],
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
    "text", ["boost:1000000", "boost:1234567.5", "spotlight:0.00001", "split-softmax:0.1234567"]
)
def test_the_state_is_a_text_of_the_same_control(text: str) -> None:
    (part,) = parse(text).attention
    assert parse(parse(text).state).attention == (part,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ancor", "no control 'ancor'"),
        ("", "no control"),
        ("anchor+", "no control"),
        ("window", "needs a strength"),
        ("window:0", "out of range"),
        ("window:2.5", "needs a strength"),
        ("reminder:1.5", "out of range"),
        ("reminder:-1", "needs a strength"),
        ("note", "needs a strength"),
        ("note:1.5", "needs a strength"),
        ("note:2+note:4", "more than one of `note`"),
        ("guidance:0.5", "out of range"),
        ("split-softmax:nan", "needs a strength"),
        ("boost:2+spotlight:.2", "more than one"),
        ("boost:2+restore:1", "more than one"),
        ("restore:1.5", "out of range"),
        ("window:1+window:3", "more than one"),
        ("none+anchor", "leave `none` out"),
        ("anchor:2", "takes no strength"),
        ("anchor@depth=2", "no option"),
        ("boost:2@layers=9-3", "backwards"),
        ("boost:2@layers=1-2, layers=5", "has layers twice"),
        ("auto:reminder@drop=0.1,drop=0.2", "has drop twice"),
        ("window:3@layers=1-2", "takes no options"),
    ],
)
def test_what_is_wrong_is_said(text: str, sentence: str) -> None:
    with pytest.raises(ControlError, match=sentence):
        parse(text)


@pytest.mark.parametrize("value", [None, 3, ["anchor"], b"anchor"])
def test_what_is_no_text_is_no_control(value: Any) -> None:
    with pytest.raises(ControlError, match=r"is no control: give its text, as in 'window:3'"):
        parse(value)


@given(st.text(alphabet="abcnohrwindow:+@=-0123456789. ,", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        control = parse(text)
    except ControlError:
        return
    assert control.text == text


@pytest.mark.parametrize(
    "text",
    ["window:\u0663", "reminder:\u0661", "boost:\u0664", "anchor@heads=\u0663", "window:\u00b2"],
)
def test_digits_are_ascii(text: str) -> None:
    with pytest.raises(ControlError):
        parse(text)


@pytest.mark.parametrize("text", ["window:1\r\n", "window:1\n+anchor", "\x00none", "route:/a\nb"])
def test_a_control_is_one_line_without_control_characters(text: str) -> None:
    with pytest.raises(ControlError, match="line breaks"):
        parse(text)
