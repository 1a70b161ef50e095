"""The gateway before an API that is not ours: what it changes, and what it never touches."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response, StreamingResponse

from holdfast.core.backend import Ask
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, HoldfastError, ServiceError
from holdfast.models.api.client import ApiBackend
from holdfast.persona.suite import load_suite, select
from holdfast.serve.gateway import Upstream, create_gateway
from holdfast.serve.gateway.rewriting import Rules, rewrite_body
from holdfast.serve.limits import Limits
from holdfast.training.prism.router_training import train_router
from serve.running import JSON, SHOUT, TEA, client, control, serve_app

KEY = "sk-upstream-secret"
REPLY = {"role": "assistant", "content": "I LIKE TEA."}
COMPLETION = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "m", "odd": {"kept": [1.50]},
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
    ],
}  # fmt: skip


class Elsewhere:
    """An upstream that remembers what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.finished = 0
        self.app = FastAPI()
        self.app.add_api_route("/v1/{path:path}", self.answer, methods=["GET", "POST", "DELETE"])

    async def answer(self, path: str, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(f"{request.method} {request.url.path}?{request.url.query}")
        fields = json.loads(body) if body else {}
        if fields.get("model") == "limited":
            content = {"error": {"message": f"slow down, {KEY}", "type": "rate", "code": "slow"}}
            return JSONResponse(content, 429, {"retry-after": "7", "x-request-id": "r1"})
        if fields.get("stream"):
            return StreamingResponse(self.pieces(), media_type="text/event-stream")
        return JSONResponse(COMPLETION, headers={"x-request-id": "r2"})

    async def pieces(self) -> AsyncIterator[bytes]:
        chunk = {**COMPLETION, "object": "chat.completion.chunk"}
        for text in ("Hel", "lo"):
            chunk["choices"] = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
            yield f"data: {json.dumps(chunk)}\n\n".encode()
        yield b": a comment of theirs\n\ndata: [DONE]\n\n"
        self.finished += 1

    @property
    def messages(self) -> Any:
        """Those of the last request."""
        return json.loads(self.bodies[-1])["messages"]


@pytest.fixture
def there() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def url(there: Elsewhere) -> Iterator[str]:
    with serve_app(there.app) as upstream:
        paths = ["/v1/embeddings", "DELETE /v1/files/*"]
        app = create_gateway(Upstream(upstream, KEY), control="none", pass_through=paths)
        with serve_app(app) as address:
            yield address


def body(*messages: Any, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages), **more}).encode()


def messages_under(text: str, *messages: Any) -> Any:
    rules = Rules(control=parse(text))
    return rewrite_body(body(*messages), rules).fields["messages"]


# What is passed on


def test_a_body_without_anything_to_rewrite_goes_on_byte_for_byte(
    url: str, there: Elsewhere
) -> None:
    odd = (
        b'{ "model":"m",\n "messages":[{"role":"wizard","content":"\\u00e9"}], "seed": 1.0, '
        b'"new_field": {"a": [1, 2]},  "tools":[{"type":"function"}]}'
    )
    answer = httpx.post(f"{url}/chat/completions?beta=1", content=odd, headers=JSON)
    assert there.bodies == [odd]
    assert there.paths == ["POST /v1/chat/completions?beta=1"]
    assert answer.content == JSONResponse(COMPLETION).body
    assert answer.headers["x-request-id"] == "r2"
    assert answer.headers["x-holdfast-control"] == "none"


def test_a_rewritten_request_keeps_every_field_but_messages(url: str, there: Elsewhere) -> None:
    tools = [{"type": "function", "function": {"name": "look", "strict": True}}]
    with client(url) as ai:
        reply = ai.chat.completions.create(
            model="m",
            messages=[SHOUT, TEA, REPLY, TEA],
            tools=tools,
            temperature=0.5,
            extra_body={"new_field": {"deep": 1}, **control("reminder:1")},
        )
    body = json.loads(there.bodies[-1])
    assert body.pop("messages") == [
        SHOUT,
        TEA,
        REPLY,
        {"role": "user", "content": f"{SHOUT['content']}\n\n{TEA['content']}"},
    ]
    assert body == {"model": "m", "tools": tools, "temperature": 0.5, "new_field": {"deep": 1}}
    assert reply.choices[0].message.content == "Hi"


def test_a_stream_comes_as_it_is(url: str) -> None:
    body = {"model": "m", "messages": [TEA], "stream": True}
    answer = httpx.post(f"{url}/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b": a comment of theirs\n\n" in answer.content
    with client(url) as ai:
        chunks = ai.chat.completions.create(model="m", messages=[TEA], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


def test_the_first_piece_of_a_stream_does_not_wait_for_the_last(there: Elsewhere) -> None:
    import asyncio

    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.wait_for(go.wait(), 30)
        yield b"data: 2\n\n"

    @there.app.post("/go")
    async def release() -> None:
        go.set()

    there.pieces = slow  # type: ignore[method-assign]
    with serve_app(there.app) as upstream, serve_app(create_gateway(Upstream(upstream))) as url:
        body = {"model": "m", "messages": [TEA], "stream": True}
        with httpx.stream("POST", f"{url}/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "data: 1"
            httpx.post(upstream.replace("/v1", "/go"))
            assert "data: 2" in list(lines)


def test_other_paths_are_passed_on_where_they_are_named(url: str, there: Elsewhere) -> None:
    httpx.get(f"{url}/models?limit=2")
    httpx.post(f"{url}/embeddings", content=b'{"input": "x"}', headers=JSON)
    httpx.delete(f"{url}/files/f1")
    assert there.paths == ["GET /v1/models?limit=2", "POST /v1/embeddings?", "DELETE /v1/files/f1?"]
    assert there.bodies[1] == b'{"input": "x"}'


def test_an_error_comes_as_it_is_without_the_upstreams_key(url: str) -> None:
    with client(url) as ai, pytest.raises(openai.RateLimitError) as caught:
        ai.chat.completions.create(model="limited", messages=[TEA])
    assert caught.value.code == "slow"
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["x-request-id"] == "r1"
    assert KEY not in caught.value.response.text
    assert "slow down, [key]" in caught.value.response.text


def test_an_upstream_that_is_not_there_is_a_502_in_openais_shape() -> None:
    with serve_app(create_gateway(Upstream("http://user:pw@127.0.0.1:9/v1", KEY))) as url:
        answer = httpx.post(f"{url}/chat/completions", content=body(TEA), headers=JSON)
        health = httpx.get(url.replace("/v1", "/health"))
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "server_error"
    assert "pw" not in answer.text + health.text
    assert "127.0.0.1" not in health.text  # which needs no key


# Keys


def test_the_upstream_sees_its_own_key_and_never_the_clients(there: Elsewhere) -> None:
    with serve_app(there.app) as upstream:
        app = create_gateway(Upstream(upstream, KEY), keys=["ours"])
        with serve_app(app) as url, client(url, "ours") as ai:
            ai.models.list()
            assert httpx.get(f"{url}/models").status_code == 401
    assert [headers["authorization"] for headers in there.headers] == [f"Bearer {KEY}"]


def test_without_a_key_of_its_own_the_gateway_hands_on_the_clients(there: Elsewhere) -> None:
    with serve_app(there.app) as upstream, serve_app(create_gateway(Upstream(upstream))) as url:
        httpx.get(f"{url}/models", headers={"authorization": "Bearer theirs"})
    assert there.headers[0]["authorization"] == "Bearer theirs"


def test_a_key_for_the_gateway_itself_stays_with_it(there: Elsewhere) -> None:
    with serve_app(there.app) as upstream:
        app = create_gateway(Upstream(upstream), keys=["ours"])
        with serve_app(app) as url:
            httpx.get(f"{url}/models", headers={"authorization": "Bearer ours"})
    assert "authorization" not in there.headers[0]


# What is rewritten


SHORT_TEXTS = st.text("ab 🙂", max_size=8)


@given(
    st.lists(SHORT_TEXTS, min_size=1, max_size=9),
    st.sampled_from(
        ["window:2", "reminder:0.5", "window:3+reminder:1", "note:0", "note:1", "note:2+reminder:1"]
    ),
)
def test_a_rewritten_chat_is_the_api_backends(texts: list[str], text: str) -> None:
    roles = ("user", "assistant")
    chat = [SHOUT, *({"role": roles[i % 2], "content": one} for i, one in enumerate(texts))]
    ask = Ask(tuple(chat), 0, parse(text))  # type: ignore[arg-type]
    expected = ApiBackend("m", base_url="http://127.0.0.1:9/v1")._apply_control(ask).chat
    assert messages_under(text, *chat) == list(expected)


def test_a_reminder_goes_before_a_message_in_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    question = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    messages = messages_under("reminder:1", SHOUT, TEA, REPLY, question)
    assert messages[3]["content"] == [
        {"type": "text", "text": f"{SHOUT['content']}\n\n"},
        *question["content"],
    ]


def test_a_window_never_parts_a_tools_answer_from_its_call() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}
    answer = {"role": "tool", "tool_call_id": "c", "content": "4"}
    chat = [SHOUT, TEA, REPLY, TEA, call, answer]
    assert messages_under("window:1", *chat) == [SHOUT, TEA, call, answer]
    assert messages_under("window:2", *chat) == [SHOUT, TEA, call, answer]
    assert messages_under("window:3", *chat) == [SHOUT, TEA, call, answer]


def test_a_route_leaves_the_persona_out_where_it_says_no(tmp_path: Path) -> None:
    queries = ["What is 3 + 4?", "What is 5 + 9?", "Sing of tea", "Sing of rain"] * 4
    train_router(queries, [query.startswith("Sing") for query in queries]).save(tmp_path)
    text = f"route:{tmp_path}"
    sums, song = ({"role": "user", "content": q} for q in ("What is 8 + 2?", "Sing of snow"))
    assert messages_under(text, SHOUT, sums) == [sums]
    assert messages_under(text, SHOUT, song) == [SHOUT, song]


def test_a_pinned_persona_goes_in_front(there: Elsewhere) -> None:
    persona = select(load_suite("mini"), ["upper-1"])[0]
    with serve_app(there.app) as upstream:
        app = create_gateway(Upstream(upstream), persona=persona, control="reminder:1")
        with serve_app(app) as url:
            httpx.post(f"{url}/chat/completions", content=body(TEA), headers=JSON)
            assert there.messages == [{"role": "system", "content": persona.prompt}, TEA]
            httpx.post(f"{url}/chat/completions", content=body(SHOUT, TEA), headers=JSON)
    assert there.messages[0]["content"] == f"{persona.prompt}\n\n{SHOUT['content']}"


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (body(TEA, holdfast={"control": "anchor"}), "holdfast.control"),
        (body(TEA, holdfast={"control": "magic"}), "holdfast.control"),
        (body(TEA, holdfast={"control": "route:/etc/passwd"}), "holdfast.control"),
        (body(TEA, holdfast={"contrl": "none"}), "holdfast.contrl"),
        (body(TEA, holdfast=[]), "holdfast"),
    ],
)
def test_what_cannot_be_rewritten_is_a_400(
    url: str, there: Elsewhere, content: bytes, param: str | None
) -> None:
    answer = httpx.post(f"{url}/chat/completions", content=content, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not there.bodies


def test_a_gateway_without_the_router_of_its_control_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no router"):
        create_gateway(Upstream("http://127.0.0.1:9/v1"), control=f"route:{tmp_path}")


def test_a_gateway_refuses_controls_that_need_the_weights() -> None:
    with pytest.raises(ControlError, match="needs its weights"):
        create_gateway(Upstream("http://127.0.0.1:9/v1"), control="anchor")
    for url in ("127.0.0.1:9", "http://127.0.0.1:9/v1?version=1", "http://127.0.0.1:9/v1#x"):
        with pytest.raises(ServiceError, match="base URL"):
            Upstream(url)


def test_limits_hold_for_the_gateway_too(there: Elsewhere) -> None:
    with serve_app(there.app) as upstream:
        app = create_gateway(Upstream(upstream), limits=Limits(body=50))
        with serve_app(app) as url:
            answer = httpx.post(f"{url}/chat/completions", content=body(TEA), headers=JSON)
    assert answer.status_code == 413
    assert not there.bodies


def test_a_client_that_leaves_ends_the_upstreams_answer_too(there: Elsewhere) -> None:
    import asyncio

    from serve.running import until

    ends: list[str] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: 1\n\n"
                await asyncio.sleep(0.001)
        finally:
            ends.append("ended")

    there.pieces = endless  # type: ignore[method-assign]
    with serve_app(there.app) as upstream, serve_app(create_gateway(Upstream(upstream))) as url:
        body = {"model": "m", "messages": [TEA], "stream": True}
        with httpx.stream("POST", f"{url}/chat/completions", json=body) as answer:
            next(answer.iter_lines())
        until(lambda: ends)


class Factual(Elsewhere):
    """An upstream that says 5 until it is told better, and knows it where it has no persona."""

    async def answer(self, path: str, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        fields = json.loads(body)
        text = fields["messages"][-1]["content"]
        if "draft" in text:
            wrong = ["2 + 2 is 4"] if "It is 5." in text else []
            reply = json.dumps({"wrong": wrong}) if "muddle" not in text else "Looks fine."
        else:
            reply = "It is 4." if "are wrong" in text else "It is 5." if "2 + 2" in text else "Hi."
        message = {"role": "assistant", "content": reply}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        return JSONResponse({**COMPLETION, "choices": choices, "usage": usage})


@pytest.fixture(scope="module")
def checking() -> Iterator[tuple[Factual, openai.OpenAI]]:
    """A client of a gateway that checks, and what stands behind it."""
    there = Factual()
    with (
        serve_app(there.app) as upstream,
        serve_app(create_gateway(Upstream(upstream), verify="neutral")) as url,
        client(url) as ai,
    ):
        yield there, ai


def ask_raw(ai: openai.OpenAI, text: str, **more: Any) -> Any:
    chat = [SHOUT, {"role": "user", "content": text}]
    return ai.chat.completions.with_raw_response.create(model="m", messages=chat, **more)


def test_a_reply_is_checked_without_the_persona_and_put_right_under_it(
    checking: tuple[Factual, openai.OpenAI],
) -> None:
    there, ai = checking
    there.bodies.clear()
    raw = ask_raw(ai, "What is 2 + 2?")
    assert raw.headers["x-holdfast-verify"] == "rewritten"
    reply = raw.parse()
    assert reply.choices[0].message.content == "It is 4."
    assert reply.usage.total_tokens == 36
    draft, check, again = (json.loads(body)["messages"] for body in there.bodies)
    assert draft[0] == again[0] == SHOUT
    assert all(m["role"] != "system" for m in check)
    assert SHOUT["content"] not in json.dumps(check)


def test_what_is_right_or_unclear_stays_and_says_so(
    checking: tuple[Factual, openai.OpenAI],
) -> None:
    _, ai = checking
    right = ask_raw(ai, "Hello.")
    assert right.headers["x-holdfast-verify"] == "right"
    unclear = ask_raw(ai, "muddle: what is 2 + 2?")
    assert unclear.headers["x-holdfast-verify"] == "unclear"
    assert unclear.parse().choices[0].message.content == "It is 5."


def test_a_checked_reply_is_streamed_in_one_piece(checking: tuple[Factual, openai.OpenAI]) -> None:
    _, ai = checking
    chat = [SHOUT, {"role": "user", "content": "What is 2 + 2?"}]
    chunks = list(
        ai.chat.completions.create(
            model="m", messages=chat, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    assert text == "It is 4." and chunks[-1].usage.total_tokens == 36


def test_without_a_persona_or_with_tools_a_reply_is_passed_on_unchecked(
    checking: tuple[Factual, openai.OpenAI],
) -> None:
    there, ai = checking
    there.bodies.clear()
    ai.chat.completions.create(model="m", messages=[TEA])
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    raw = ask_raw(ai, "What is 2 + 2?", tools=[tool])
    assert "x-holdfast-verify" not in raw.headers
    assert len(there.bodies) == 2
    with pytest.raises(HoldfastError, match="`verify` is neutral"):
        create_gateway(Upstream("http://localhost:1/v1"), verify="twice")


def test_every_schema_that_the_docs_refer_to_is_there() -> None:
    document = create_gateway(Upstream("http://localhost:1/v1")).openapi()
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references and set(references) <= schemas
