"""The gateway under `auto:`: it reminds where the client's own history shows a slip."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.core.control import parse
from holdfast.core.errors import ControlError
from holdfast.judge import pattern
from holdfast.persona.suite import Persona
from holdfast.serve.gateway import Upstream, create_gateway
from holdfast.serve.gateway.rewriting import MESSAGES, RESPONSES, Rules, rewrite_body
from holdfast.serve.http_errors import RequestError

JUDGE = {"name": "case", "to": "upper"}
SHOUT = Persona("shout", "pattern", "Shout.", ("Tea?",), JUDGE)
AUTO = parse("auto:reminder")
ENDLESS = {"name": "regex", "pattern": "(a|aa)+$"}
ENDLESS_TEXT = "a" * 40 + "!"


def body(*replies: str) -> bytes:
    messages: list[dict[str, Any]] = []
    for i, reply in enumerate(replies):
        messages.append({"role": "user", "content": [{"type": "text", "text": f"user {i}"}]})
        messages.append({"role": "assistant", "content": reply})
    return json.dumps({"messages": [*messages, {"role": "user", "content": "last"}]}).encode()


def test_a_slip_in_the_history_brings_the_reminder_into_the_last_message() -> None:
    chat = rewrite_body(body("YES", "YES", "no"), Rules(SHOUT, AUTO)).fields["messages"]
    assert chat[-1]["content"] == "Shout.\n\nlast"
    assert chat[1]["content"] == [{"type": "text", "text": "user 0"}]


def test_thoughts_in_the_history_are_no_slips() -> None:
    held, slipped = "<think>I shout.</think>YES", "<think>I SHOUT.</think>no"
    for reply, content in ((held, "last"), (slipped, "Shout.\n\nlast")):
        chat = rewrite_body(body("YES", "YES", reply), Rules(SHOUT, AUTO)).fields["messages"]
        assert chat[-1]["content"] == content
        assert chat[-2]["content"] == reply  # which stays as it came
    think = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "I shout."}]}
    replies = [{"role": "assistant", "content": "YES"}, think]
    text = json.dumps({"input": [*replies[::-1] * 3, {"role": "user", "content": "last"}]})
    items = rewrite_body(text.encode(), Rules(SHOUT, AUTO), RESPONSES).fields["input"]
    assert items[-1]["content"] == "last"


def test_a_history_that_holds_has_the_prompt_once_also_in_anthropics_protocol() -> None:
    fields = rewrite_body(body("YES", "YES"), Rules(SHOUT, AUTO), MESSAGES).fields
    assert fields["system"] == "Shout."
    assert fields["messages"][-1]["content"] == "last"


def test_a_judge_that_gives_up_on_a_reply_is_the_error_of_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pattern, "SECONDS", 0.01)
    slow = Persona("slow", "pattern", "Be slow.", ("Tea?",), ENDLESS)
    with pytest.raises(RequestError, match="did not finish") as refusal:
        rewrite_body(body(ENDLESS_TEXT), Rules(slow, AUTO))
    assert refusal.value.status == 400


def test_without_a_persona_it_is_refused_at_the_start_and_in_a_request() -> None:
    with pytest.raises(ControlError, match="needs a persona"):
        create_gateway(Upstream("http://upstream.test/v1"), control=AUTO)
    body = json.dumps({"messages": [], "holdfast": {"control": "auto:reminder"}}).encode()
    with pytest.raises(RequestError) as refusal:
        rewrite_body(body, Rules())
    assert refusal.value.status == 400
