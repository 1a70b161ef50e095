"""Keys, bounds and leaving: what a server lets in, and what it does when clients misbehave."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from holdfast.models.local.backend import LocalBackend
from holdfast.serve.access import Keys
from holdfast.serve.app import create_app
from holdfast.serve.limits import Limits
from serve.running import (
    JSON,
    SHOUT,
    TEA,
    client,
    closed_gate,
    connect,
    control,
    serve_app,
    small,
    status,
    until,
)

# More than is decoded while a test lasts: such a reply ends because its client has left.
LONG = {"model": "small", "messages": [TEA], "max_tokens": 100_000, "seed": 1}


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return small()


def figure(url: str, name: str) -> float:
    text = httpx.get(url.replace("/v1", "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def post(url: str, **more: Any) -> httpx.Response:
    body = {"model": "small", "messages": [TEA], "max_tokens": 3, **more}
    return httpx.post(f"{url}/chat/completions", json=body, timeout=60)


@pytest.fixture(scope="module")
def url(backend: LocalBackend) -> Iterator[str]:
    with serve_app(create_app(backend, limits=Limits(body=20_000))) as address:
        yield address


def raw(url: str, head: str, body: bytes = b"") -> socket.socket:
    """A connection with a request on it, written by hand."""
    return connect(url, head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)


# Keys


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nearly", "Basic sesame", "sesame"])
def test_a_wrong_key_is_not_let_in(header: str) -> None:
    keys = Keys(["sesame", "other"])
    assert keys.owner(header) is None
    assert keys.owner("Bearer sesame") == keys.owner("bearer other") == ""


def test_without_keys_anyone_is_let_in() -> None:
    assert Keys([]).owner("") == ""


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.serve import access

    digests: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        digests.append(b)
        return a == b

    monkeypatch.setattr(access.hmac, "compare_digest", compare)
    assert Keys(["one", "two", "three"]).owner("Bearer one") == ""
    assert len(digests) == 3  # none is left out once one has matched


def test_a_server_with_a_key_raises_the_clients_authentication_error(
    backend: LocalBackend,
) -> None:
    with serve_app(create_app(backend, keys=["sesame"])) as url:
        with client(url, "wrong") as ai, pytest.raises(openai.AuthenticationError) as caught:
            ai.models.list()
        assert caught.value.code == "invalid_api_key"
        assert httpx.get(url.replace("/v1", "/metrics")).status_code == 401
        assert httpx.get(url.replace("/v1", "/health")).status_code == 200
        with client(url, "sesame") as ai:
            assert [model.id for model in ai.models.list()] == ["small"]


def test_a_page_of_another_site_cannot_call_a_server_by_its_own_name(
    backend: LocalBackend,
) -> None:
    with serve_app(create_app(backend, limits=Limits(hosts=("127.0.0.1",)))) as url:
        assert httpx.get(f"{url}/models").status_code == 200
        answer = httpx.get(f"{url}/models", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "evil.example" in answer.json()["error"]["message"]


# Bodies


def test_a_huge_body_is_refused_and_the_server_stays_up(url: str) -> None:
    answer = post(url, messages=[{"role": "user", "content": "x" * 30_000}])
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert post(url).status_code == 200


def test_a_huge_body_without_a_length_is_refused_too(url: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 1000

    answer = httpx.post(f"{url}/chat/completions", content=pieces(), headers=JSON)
    assert answer.status_code == 413


def test_a_body_that_does_not_come_is_given_up(backend: LocalBackend) -> None:
    head = "POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Type: application/json"
    head += "\nContent-Length: 100"
    with serve_app(create_app(backend, limits=Limits(read_timeout=0.3))) as url:
        with raw(url, head, b'{"model":') as connection:
            assert status(connection) == 408
        assert httpx.get(f"{url}/models").status_code == 200


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe{}",
    b'{"model": "small", "messages": [{"role": "user", "content": "\xff"}]}',
    b'{"model": "small", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"model": "small", "messages": "hello"}',
    b'{"model": 3, "messages": [{"role": "user", "content": "x"}]}',
    b'{"model": "small", "messages": [{"role": "user", "content": 3}]}',
    b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "seed": 1e400}',
    b'{"model": "small", "messages": [{"role": "user"}], "seed": ' + b"9" * 6000 + b"}",
    b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "n": true}',
    b"[" * 9000,
    b'{"a":' * 3000,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:30]))
def test_a_body_that_is_no_request_is_a_400_in_openais_shape(url: str, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{url}/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_is_no_http_does_no_harm(url: str) -> None:
    for junk in (b"\x00\xff\x16\x03\x01" * 20, b"GET\r\n\r\n", b"POST / HTTP/9\r\n\r\n"):
        with connect(url) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)
    assert post(url).status_code == 200


# Load


def test_a_flood_beyond_the_queue_is_told_to_come_back(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = closed_gate(monkeypatch)
    app = create_app(backend, limits=Limits(concurrency=2, queue=3))
    with serve_app(app) as url, ThreadPoolExecutor(24) as pool:
        futures = [pool.submit(post, url, seed=i) for i in range(24)]
        until(lambda: sum(one.done() for one in futures) == 19)
        gate.set()
        answers = [one.result() for one in futures]
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 19
        refusal = next(answer for answer in answers if answer.status_code == 429)
        assert int(refusal.headers["retry-after"]) >= 1
        assert refusal.json()["error"]["code"] == "rate_limit_exceeded"
        assert post(url).status_code == 200


def test_the_clients_own_retries_get_through_a_flood(backend: LocalBackend) -> None:
    app = create_app(backend, limits=Limits(concurrency=1, queue=1))
    with serve_app(app) as url, ThreadPoolExecutor(4) as pool:
        ai = client(url).with_options(max_retries=20)
        options = {"model": "small", "messages": [TEA], "max_tokens": 2}
        replies = pool.map(lambda i: ai.chat.completions.create(**options, seed=i), range(4))
        assert all(reply.usage.completion_tokens == 2 for reply in replies)


def test_no_more_rows_are_decoded_at_once_than_allowed(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = closed_gate(monkeypatch)
    with serve_app(create_app(backend, limits=Limits(concurrency=2))) as url:
        counts: list[float] = []
        with ThreadPoolExecutor(6) as pool:
            futures = [pool.submit(post, url, seed=i, max_tokens=80) for i in range(6)]
            until(lambda: figure(url, "holdfast_rows_running") > 0)
            gate.set()
            while not all(one.done() for one in futures):
                counts.append(figure(url, "holdfast_rows_running"))
        assert {one.result().status_code for one in futures} == {200}
    assert max(counts, default=0) <= 2


def test_a_client_that_leaves_frees_its_row(backend: LocalBackend) -> None:
    with serve_app(create_app(backend, limits=Limits(concurrency=1))) as url:
        with httpx.stream("POST", f"{url}/chat/completions", json=LONG | {"stream": True}) as one:
            lines = one.iter_lines()  # httpx leaves where this is let go of
            next(lines)
            until(lambda: figure(url, "holdfast_rows_running") == 1)
        until(lambda: figure(url, "holdfast_rows_running") == 0)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/chat/completions", json=LONG, timeout=httpx.Timeout(60, read=0.2))
        until(lambda: figure(url, "holdfast_rows_running") == 0)
        assert figure(url, "holdfast_tokens_total") == 0  # neither was finished
        assert post(url).status_code == 200


def test_a_client_that_closes_its_half_has_left(backend: LocalBackend) -> None:
    with serve_app(create_app(backend, limits=Limits(concurrency=1))) as url:
        body = httpx.Request("POST", url, json=LONG).content
        head = "POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Type: application/json"
        with raw(url, f"{head}\nContent-Length: {len(body)}", body) as connection:
            connection.shutdown(socket.SHUT_WR)
            until(lambda: figure(url, 'holdfast_requests_total{status="499"}') == 1)
        assert post(url).status_code == 200


def test_a_client_that_reads_nothing_does_not_hold_the_others_up(backend: LocalBackend) -> None:
    app = create_app(backend, limits=Limits(write_timeout=0.2))
    with serve_app(app) as url:
        fields = LONG | {"stream": True, "n": 8, "logprobs": True, "top_logprobs": 20}
        body = httpx.Request("POST", url, json=fields).content
        head = "POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Type: application/json"
        with raw(url, f"{head}\nContent-Length: {len(body)}", body):
            assert post(url).status_code == 200
            assert post(url, stream=True).status_code == 200
            until(lambda: figure(url, "holdfast_rows_running") == 0)


# One bad request


def test_a_bad_request_does_not_change_the_others_tokens(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [
        {"model": "small", "messages": [SHOUT, TEA], "max_tokens": 120, "seed": i, **control(name)}
        for i, name in enumerate(["none", "anchor", "boost:4", "guidance:2"])
    ]

    def texts(url: str, extra: int) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(post, url, **one) for one in bodies]
            # Refused before the engine, refused by the engine, and broken inside of it.
            bad = [{"messages": [{"role": "wizard"}]}, {"messages": [TEA] * 90}, {"seed": 666}]
            worse = [pool.submit(post, url, **one) for one in bad * extra]
            statuses = [one.result().status_code for one in worse]
        assert statuses == [400, 400, 500] * extra
        return [one.result().json()["choices"][0]["message"]["content"] for one in futures]

    row = backend.engine.row

    def sabotage(request: Any, *args: Any) -> Any:
        job_row = row(request, *args)
        if request.seed == 666:
            job_row.uniforms[:] = 0.5
            # Nothing that can be put anywhere, and more than any other row could give.
            job_row.cached_tokens, job_row.pages = len(job_row.ids) - 1, (None,)
        return job_row

    monkeypatch.setattr(backend.engine, "row", sabotage)
    with serve_app(create_app(backend)) as url:
        alone = texts(url, 0)
        assert texts(url, 3) == alone


def test_a_step_that_fails_is_a_500_and_the_next_request_is_served(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.models.engine.batch import Batch

    with serve_app(create_app(backend)) as url:
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "advance", lambda self: 1 / 0)
            with client(url) as ai, pytest.raises(openai.InternalServerError):
                ai.chat.completions.create(model="small", messages=[TEA], max_tokens=9)
            lines = post(url, stream=True).text.splitlines()
            assert any('"error"' in line for line in lines)
            assert lines[-2] == "data: [DONE]"
        assert post(url).status_code == 200


# Logs and stopping


def test_prompts_are_logged_only_where_asked(
    backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    secret = {"role": "user", "content": "xyzzy"}
    with caplog.at_level(logging.DEBUG), serve_app(create_app(backend)) as url:
        assert post(url, messages=[secret]).status_code == 200
        assert post(url, messages=[secret], temperature="xyzzy").status_code == 400
    assert "POST /v1/chat/completions 200" in caplog.text
    assert "xyzzy" not in caplog.text
    with caplog.at_level(logging.INFO), serve_app(create_app(backend, log_prompts=True)) as url:
        post(url, messages=[secret])
    assert "xyzzy" in caplog.text


def test_a_client_that_leaves_before_its_body_has_come_is_a_499_in_the_log(
    backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with caplog.at_level(logging.INFO), serve_app(create_app(backend)) as url:
        connect(url, head + b"content-length: 9\r\n\r\n{").close()
        until(lambda: "POST /v1/chat/completions 499" in caplog.text)


def test_replies_under_way_are_finished_when_the_server_stops(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, shutdown = closed_gate(monkeypatch), uvicorn.Server.shutdown

    async def opening_shutdown(server: uvicorn.Server, sockets: Any = None) -> None:
        gate.set()
        await shutdown(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "shutdown", opening_shutdown)
    with ThreadPoolExecutor() as pool:
        with serve_app(create_app(backend)) as url:
            asking = pool.submit(post, url, max_tokens=20)
            until(lambda: figure(url, "holdfast_rows_running") == 1)
        answer = asking.result()
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 20


def test_the_engines_thread_ends_with_the_application(backend: LocalBackend) -> None:
    def threads() -> int:
        return sum(thread.name == "holdfast-engine" for thread in threading.enumerate())

    before = threads()
    with serve_app(create_app(backend)):
        assert threads() == before + 1
    assert threads() == before
