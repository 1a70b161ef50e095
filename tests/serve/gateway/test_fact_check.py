"""`--verify neutral` beside odd upstreams: what is checked, and what is sent when that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from serve.gateway.upstreams import PLAIN, FakeUpstream, gateway, make_answer
from serve.running import TEA

SYSTEM = {"role": "system", "content": "You are Ann, a parrot."}
REPLY = {"role": "assistant", "content": "I like tea."}
RIGHT = {"choices": [{"message": {"role": "assistant", "content": '{"wrong": []}'}}]}


def is_check(body: Any) -> bool:
    return "Check the draft" in str(body["messages"][-1]["content"])


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeUpstream, str]]:
    there = FakeUpstream()
    with gateway(there, verify="neutral", control="reminder:1", retries=0) as url:
        yield there, url


def answers(check: Callable[[Any], httpx.Response], draft: Any = PLAIN) -> Any:
    """An upstream that writes a draft, and answers checks as a function says."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        return check(body) if is_check(body) else make_answer(json.dumps(draft).encode())

    return answer


def right(body: Any) -> httpx.Response:
    return make_answer(json.dumps(RIGHT).encode())


def ask(url: str, *messages: Any, **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": list(messages), **more}
    return httpx.post(f"{url}/chat/completions", json=body)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_no_prompt_gets_into_the_check_not_even_by_a_reminder(
    url: str, there: FakeUpstream, role: str
) -> None:
    there.answer = answers(right)
    answer = ask(url, {**SYSTEM, "role": role}, TEA, REPLY, TEA)
    assert answer.headers["x-holdfast-verify"] == "right"
    draft, check = (json.loads(request.content) for request in there.requests)
    assert draft["messages"][-1]["content"].startswith(SYSTEM["content"])
    assert "parrot" not in json.dumps(check)
    assert REPLY["content"] in json.dumps(check)


@pytest.mark.parametrize("odd", [{"content": "no role"}, {"role": "assistant"}])
def test_a_chat_is_sent_unchecked_where_a_message_that_a_window_drops_is_no_plain_text(
    url: str, there: FakeUpstream, odd: Any
) -> None:
    there.answer = answers(right)
    window = {"holdfast": {"control": "window:1"}}
    assert ask(url, SYSTEM, TEA, REPLY, TEA, **window).headers["x-holdfast-verify"] == "right"
    answer = ask(url, SYSTEM, TEA, odd, TEA, **window)
    assert answer.status_code == 200 and "x-holdfast-verify" not in answer.headers


def test_a_check_that_fails_keeps_the_draft(url: str, there: FakeUpstream) -> None:
    def broken(body: Any) -> httpx.Response:
        raise httpx.ReadError("reset")

    for check in (
        broken,
        lambda body: make_answer(b"{}", status=500),
        lambda body: make_answer(b"?"),
    ):
        there.answer = answers(check)
        answer = ask(url, SYSTEM, TEA)
        assert answer.status_code == 200
        assert answer.json()["choices"] == PLAIN["choices"]
        assert answer.headers["x-holdfast-verify"] == "unclear"


def test_a_model_that_reasons_is_asked_with_the_fields_it_takes(
    url: str, there: FakeUpstream
) -> None:
    def reasoning(body: Any) -> httpx.Response:
        if "max_tokens" in body or "temperature" in body:
            return make_answer(b'{"error": {"message": "use max_completion_tokens"}}', status=400)
        return right(body)

    there.answer = answers(reasoning)
    assert ask(url, SYSTEM, TEA).headers["x-holdfast-verify"] == "right"
    assert len(there.requests) == 3
    there.requests.clear()
    answer = ask(url, SYSTEM, TEA, max_completion_tokens=50)
    assert answer.headers["x-holdfast-verify"] == "right"
    assert len(there.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "draft",
    [{"id": "x"}, {"choices": []}, {"choices": None}, {"choices": [None]}, {"choices": [{}]},
     {"error": {"message": "overloaded"}}],
)  # fmt: skip
def test_a_draft_without_choices_is_sent_as_it_is(
    url: str, there: FakeUpstream, draft: Any, stream: bool
) -> None:
    there.answer = answers(right, draft)
    answer = ask(url, SYSTEM, TEA, stream=stream)
    assert answer.status_code == 200
    if not stream:
        assert answer.json() == draft
        return
    *events, last = [line for line in answer.text.splitlines() if line]
    assert last == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in events]
    assert all(isinstance(chunk["choices"], list) for chunk in chunks)
    assert chunks[0].get("error") == draft.get("error")
