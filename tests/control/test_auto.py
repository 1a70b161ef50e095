"""`auto:` adds a control only while the scores of a conversation's replies fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.control.auto import falls
from holdfast.control.rewrite import rewrite
from holdfast.core.chat import Chat, agent_view
from holdfast.core.control import AutoControl, parse
from holdfast.core.errors import ControlError

PROMPT = "Shout."
JUDGE = {"name": "case", "to": "upper"}


def chat(*replies: str) -> Chat:
    """A chat whose replies are these, up to a user message that waits for one."""
    turns = [text for i, reply in enumerate(replies) for text in (f"user {i}", reply)]
    return agent_view(PROMPT, [*turns, f"user {len(replies)}"])


def find_reminders(control: str, *replies: str) -> list[int]:
    """The user messages that have the prompt before them."""
    messages = rewrite(chat(*replies), parse(control), judge=JUDGE)
    users = [one["content"] for one in messages if one["role"] == "user"]
    return [i for i, text in enumerate(users) if text.startswith(PROMPT)]


def test_nothing_is_added_while_the_persona_holds() -> None:
    whole = chat("YES", "YES", "YES")
    assert rewrite(whole, parse("auto:reminder"), judge=JUDGE) == whole
    assert rewrite(whole, parse("auto:window:1"), judge=JUDGE) == whole


def test_the_reminder_comes_after_the_reply_that_fell_and_only_then() -> None:
    assert find_reminders("auto:reminder", "YES", "YES", "no", "YES", "YES") == [3]


def test_a_persona_that_never_held_is_reminded_by_a_score_and_not_by_its_fall() -> None:
    assert find_reminders("auto:reminder", "no", "no", "no") == []
    assert find_reminders("auto:reminder@below=0.5", "no", "no", "no") == [1, 2, 3]


def test_several_last_replies_are_judged_by_their_mean() -> None:
    replies = ("YES", "YES", "no", "YES", "no", "no")
    assert find_reminders("auto:reminder@below=0.5,last=2", *replies) == [6]


def test_a_window_comes_while_the_last_reply_is_bad() -> None:
    messages = rewrite(chat("YES", "YES", "no"), parse("auto:window:1"), judge=JUDGE)
    assert [one["content"] for one in messages] == [PROMPT, "user 3"]


def test_a_note_comes_while_the_last_reply_is_bad() -> None:
    messages = rewrite(chat("YES", "YES", "no"), parse("auto:note:0"), judge=JUDGE)
    assert messages[-1]["content"] == f"user 3\n\n{PROMPT}"


@given(st.lists(st.sampled_from(["YES", "no", "Yes no"]), min_size=1, max_size=8))
def test_what_was_sent_before_stays_as_it_was(replies: list[str]) -> None:
    """So that a prefix cache keeps it."""
    control = parse("auto:reminder")
    shorter = rewrite(chat(*replies[:-1]), control, judge=JUDGE)
    longer = rewrite(chat(*replies), control, judge=JUDGE)
    assert longer[: len(shorter)] == shorter


def test_without_a_rule_as_judge_it_is_refused() -> None:
    for judge in (None, {"name": "rubric", "criteria": "kind"}):
        with pytest.raises(ControlError, match="needs a persona whose judge is a rule"):
            rewrite(chat("YES"), parse("auto:reminder"), judge=judge)


def test_a_fall_is_measured_against_the_first_two_replies() -> None:
    auto = AutoControl("reminder", 1.0, drop=0.2, last=2)
    assert not falls(auto, [])
    assert not falls(auto, [0.9, 0.9, 0.8, 0.7])
    assert falls(auto, [0.9, 0.9, 0.8, 0.5])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("auto:anchor", "takes reminder, window:N or note:d"),
        ("auto:", "takes reminder"),
        ("auto", "takes reminder"),
        ("auto:window", "needs a strength"),
        ("auto:reminder@below=2", "is no option"),
        ("auto:reminder@last=0", "is no option"),
        ("auto:reminder@below=.5,drop=.1", "keep one"),
        ("auto:reminder+reminder:1", "has reminder twice"),
    ],
)
def test_what_it_does_not_take_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ControlError, match=problem):
        parse(text)


def test_it_joins_other_controls_and_rewrites() -> None:
    control = parse("auto:reminder+window:7+anchor")
    assert control.auto == AutoControl("reminder", 1.0)
    assert control.window == 7 and control.rewrites and control.needs_weights
