"""A pinned persona reaches the model with every request, or the request is refused."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from holdfast.core.control import parse
from holdfast.core.errors import ServiceError
from holdfast.persona.suite import load_suite, select
from holdfast.serve.gateway.rewriting import MESSAGES, RESPONSES, Dialect, Rules, rewrite_body
from serve.gateway.upstreams import KEY, FakeUpstream, gateway
from serve.running import TEA

PERSONA = select(load_suite("mini"), ["upper-1"])[0]
BODY = {"model": "m", "messages": [TEA]}


@pytest.fixture
def there() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
def url(there: FakeUpstream) -> Iterator[str]:
    with gateway(there, persona=PERSONA, control="reminder:1", pass_through=["/v1/*"]) as address:
        yield address


def raw_status(url: str, method: str, path: str, body: bytes = b"") -> int:
    """The status of a request whose path no client has tidied up."""
    parts = urlsplit(url)
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as there:
        there.sendall(head.encode() + body)
        return int(there.recv(64).split()[1])


# Lock


@pytest.mark.parametrize("text", ["none", "window:1", "reminder:0.5"])
def test_a_client_cannot_choose_another_control(url: str, there: FakeUpstream, text: str) -> None:
    answer = httpx.post(f"{url}/chat/completions", json={**BODY, "holdfast": {"control": text}})
    assert answer.status_code == 403
    assert answer.json()["error"]["param"] == "holdfast.control"
    assert "locked to `reminder:1`" in answer.json()["error"]["message"]
    assert there.requests == []


def test_a_client_cannot_keep_its_reply_from_the_watch(url: str, there: FakeUpstream) -> None:
    answer = httpx.post(f"{url}/chat/completions", json={**BODY, "holdfast": {"watch": False}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "holdfast.watch")
    assert there.requests == []


def test_the_locked_control_itself_may_be_named(url: str) -> None:
    body = {**BODY, "holdfast": {"control": "reminder:1"}}
    assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200


def test_a_lock_is_the_operators_choice(there: FakeUpstream) -> None:
    body = {**BODY, "holdfast": {"control": "none"}}
    with gateway(there, persona=PERSONA, control="reminder:1", lock=False) as url:
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
    with gateway(there, control="reminder:1", lock=True) as url:
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 403


@pytest.mark.parametrize(
    "more",
    [
        {"chat_template": "{{ messages[-1].content }}"},
        {"chat_template_kwargs": {"custom_instructions": "Be quiet."}},
        {"prompt": "Do you like tea?"},
        {"instructions": "Whisper."},
        {"input": "Whisper."},
        {"system": "Whisper."},
    ],
)
def test_fields_that_go_round_a_locked_persona_are_refused(
    url: str, there: FakeUpstream, more: dict[str, Any]
) -> None:
    answer = httpx.post(f"{url}/chat/completions", json={**BODY, **more})
    assert answer.status_code == 403
    assert answer.json()["error"]["param"] == next(iter(more))
    assert there.requests == []


def test_a_reasoning_models_switch_is_no_way_round(url: str, there: FakeUpstream) -> None:
    body = {**BODY, "chat_template_kwargs": {"enable_thinking": False}}
    assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
    assert there.body["chat_template_kwargs"] == {"enable_thinking": False}


# Other readings of one body


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": "m", "Messages": [{"role": "user", "content": "Hi"}]}',
        b'{"model": "m", "messages": [], "MESSAGES": [{"role": "user", "content": "Hi"}]}',
        b'{"model": "m", "messages": [], "me\xc5\xbfsages": [{"role": "user", "content": "Hi"}]}',
        b'{"messages": [{"role": "user", "content": "a"}], "messages": []}',
        b'{"model": "m"}',
        b'{"model": "m", "messages": "Hi"}',
        b'{"model": "m", "messages": ["Hi"]}',
        json.dumps(BODY).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
    ],
)
def test_a_body_that_an_upstream_may_read_otherwise_is_a_400(
    url: str, there: FakeUpstream, content: bytes
) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{url}/chat/completions", content=content, headers=headers)
    assert answer.status_code == 400
    assert there.requests == []


# Paths


@pytest.mark.parametrize("route", ["chat/completions", "responses", "messages"])
@pytest.mark.parametrize(
    "spelling",
    ["/v1/./{}", "/v1//{}", "/v1/{}/", "/v1/{}//", "/v1/x/../{}", "/v1/%2e/{}", "/v1/%2E%2E/v1/{}",
     "/v1/\\{}", "/v1/{}%20", "//v1/{}", "/v1/{}%2F"],
)  # fmt: skip
def test_no_spelling_of_a_path_gets_past_the_persona(
    url: str, there: FakeUpstream, route: str, spelling: str
) -> None:
    body = json.dumps({**BODY, "input": "Hi"}).encode()
    for path in (spelling.format(route), spelling.format(route.upper())):
        assert 400 <= raw_status(url, "POST", path, body) < 500
    assert there.requests == []


@pytest.mark.parametrize("path", ["chat/completions;x", "chat;a=b/completions", "Responses;/"])
def test_what_passes_has_no_spelling_of_a_rewritten_path(there: FakeUpstream, path: str) -> None:
    with gateway(there, pass_through=["*"]) as url:
        assert 400 <= raw_status(url, "POST", f"/v1/{path}", json.dumps(BODY).encode()) < 500
        assert raw_status(url, "POST", "/v1/embeddings;x", b"{}") == 200
    assert there.paths == ["POST /v1/embeddings;x"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages"])
def test_a_rewritten_path_takes_no_other_method(
    url: str, there: FakeUpstream, method: str, path: str
) -> None:
    assert raw_status(url, method, f"/v1/{path}", json.dumps(BODY).encode()) == 405
    assert there.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "completions"), ("POST", "embeddings"), ("DELETE", "models/m"), ("PUT", "files/f"),
     ("GET", "responses/r1"), ("POST", "messages/count_tokens"), ("POST", "models")],
)  # fmt: skip
def test_what_the_gateway_does_not_understand_is_refused_with_a_sentence(
    there: FakeUpstream, method: str, path: str
) -> None:
    with gateway(there) as url:
        answer = httpx.request(
            method, f"{url}/{path}", content=b"{}", headers={"content-type": "application/json"}
        )
    assert answer.status_code == 403
    assert "--pass-through" in answer.json()["error"]["message"]
    assert there.requests == []


def test_models_and_named_paths_pass_with_their_method(there: FakeUpstream) -> None:
    paths = ["embeddings", "POST /v1/files", "DELETE /v1/files/*"]
    with gateway(there, pass_through=paths) as url:
        for method, path, status in (
            ("GET", "models", 200), ("GET", "models/org/name", 200), ("POST", "embeddings", 200),
            ("POST", "files", 200), ("GET", "files", 403), ("DELETE", "files/f1", 200),
            ("PUT", "files/f1", 403), ("POST", "embeddings/x", 403),
        ):  # fmt: skip
            assert raw_status(url, method, f"/v1/{path}", b"{}") == status, (method, path)
    assert there.paths == [
        "GET /v1/models", "GET /v1/models/org/name", "POST /v1/embeddings", "POST /v1/files",
        "DELETE /v1/files/f1",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "..", "/v1/../x", "BREW /v1/tea", "/v1/chat/completions/"])
def test_what_is_no_path_is_no_pass_through(there: FakeUpstream, text: str) -> None:
    with pytest.raises(ServiceError, match="`pass_through`"), gateway(there, pass_through=[text]):
        pass


# The Responses API


def rewrite(dialect: Dialect, control: str, **fields: Any) -> Any:
    rules = Rules(PERSONA, parse(control), True)
    return json.loads(rewrite_body(json.dumps(fields).encode(), rules, dialect).body)


def item(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def test_instructions_begin_with_the_persona(url: str, there: FakeUpstream) -> None:
    answer = httpx.post(f"{url}/responses", json={"model": "m", "input": "Hi"})
    assert answer.headers["x-holdfast-control"] == "reminder:1"
    assert there.paths == ["POST /v1/responses"]
    assert there.body == {"model": "m", "input": "Hi", "instructions": PERSONA.prompt}
    body = {"input": "Hi", "instructions": "Be kind."}
    assert rewrite(RESPONSES, "none", **body)["instructions"] == f"{PERSONA.prompt}\n\nBe kind."


def test_reminders_and_windows_reach_the_input_of_a_response() -> None:
    chat = [item("developer", "Be kind."), item("user", "a"), item("assistant", "b")]
    question = {"role": "user", "type": "message",
                "content": [{"type": "input_text", "text": "c"}]}  # fmt: skip
    result = rewrite(RESPONSES, "reminder:1", input=[*chat, question])["input"]
    assert result[:3] == chat
    reminder = f"{PERSONA.prompt}\n\nBe kind.\n\n"
    assert result[3]["content"] == [{"type": "input_text", "text": reminder}, *question["content"]]
    result = rewrite(RESPONSES, "window:1", input=[*chat, question])
    assert result["input"] == [chat[0], question] and result["instructions"] == PERSONA.prompt


def test_a_window_keeps_reasoning_calls_and_results_of_a_response_together() -> None:
    think = {"type": "reasoning", "id": "r", "summary": []}
    calls = [{"type": "function_call", "call_id": f"c{i}", "name": "f"} for i in range(2)]
    results = [{"type": "function_call_output", "call_id": f"c{i}", "output": "4"} for i in (0, 1)]
    chat = [item("user", "a"), item("assistant", "b"), item("user", "c"), think, *calls, *results]
    for size in (1, 2, 3):
        assert rewrite(RESPONSES, f"window:{size}", input=chat)["input"] == chat[2:]


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_a_chat_kept_behind_the_api_cannot_be_rewritten(
    url: str, there: FakeUpstream, name: str
) -> None:
    answer = httpx.post(f"{url}/responses", json={"model": "m", "input": "Hi", name: "x"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["param"] == name
    assert there.requests == []


# Anthropic's messages


def test_the_system_prompt_of_messages_begins_with_the_persona(
    url: str, there: FakeUpstream
) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [TEA]}
    headers = {"x-api-key": "theirs", "anthropic-version": "2023-06-01"}
    answer = httpx.post(f"{url}/messages", json=body, headers=headers)
    assert answer.status_code == 200
    assert there.body == {**body, "system": PERSONA.prompt}
    assert there.requests[0].headers["x-api-key"] == KEY
    assert there.requests[0].headers["anthropic-version"] == "2023-06-01"
    block = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
    system = rewrite(MESSAGES, "none", messages=[TEA], system=[block])["system"]
    assert system == [{"type": "text", "text": f"{PERSONA.prompt}\n\n"}, block]
    assert rewrite(MESSAGES, "none", messages=[TEA], system="Be kind.")["system"] == (
        f"{PERSONA.prompt}\n\nBe kind."
    )


def test_a_window_never_parts_a_tools_result_from_its_use() -> None:
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
    chat = [item("user", "a"), item("assistant", "b"), item("user", "c"), use, result]
    assert rewrite(MESSAGES, "window:1", messages=chat)["messages"] == chat[2:]
    assert rewrite(MESSAGES, "reminder:1", messages=chat)["messages"] == [
        *chat[:2], item("user", f"{PERSONA.prompt}\n\nc"), use, result,
    ]  # fmt: skip


def test_a_key_of_the_gateway_may_come_as_anthropics_clients_send_it(there: FakeUpstream) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [TEA]}
    with gateway(there, keys=["ours"]) as url:
        for key, status in (("ours", 200), ("other", 401)):
            answer = httpx.post(f"{url}/messages", json=body, headers={"x-api-key": key})
            assert answer.status_code == status
    assert there.requests[0].headers["x-api-key"] == KEY


def test_anthropics_own_server_gets_its_key_in_its_own_header_only() -> None:
    from holdfast.serve.gateway import Upstream

    own = Upstream("https://api.anthropic.com/v1", KEY)
    assert own.key_headers("messages") == [(b"x-api-key", KEY.encode())]
    assert own.key_headers("chat/completions") == [(b"authorization", b"Bearer " + KEY.encode())]
