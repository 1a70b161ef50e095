"""Nothing grows without a bound: heads, connections, bodies of every method, depth, and caches."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import Response

from holdfast.core.chat import message
from holdfast.models import load as models
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.prompt_cache import PromptCache
from holdfast.serve.app import create_app
from holdfast.serve.http_errors import RequestError
from holdfast.serve.json_body import DEPTH, read_unique
from holdfast.serve.limits import Limits
from holdfast.serve.requests import LONGEST_LIMIT
from holdfast.serve.server import configuration
from serve.running import JSON, TEA, connect, control, serve_app, small, status, until

HEADERS, CONNECTIONS, BODY = 8_000, 12, 20_000
LONG = 100_000  # tokens: more than are decoded while a test lasts


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return small()


@pytest.fixture(scope="module")
def url(backend: LocalBackend) -> Iterator[str]:
    limits = Limits(body=BODY, headers=HEADERS, connections=CONNECTIONS)
    with serve_app(create_app(backend, limits=limits)) as address:
        yield address.removesuffix("/v1")


@pytest.fixture(scope="module")
def hasty_url(backend: LocalBackend) -> Iterator[str]:
    """A server that soon gives up what does not come: not for requests that have to arrive."""
    limits = Limits(body=BODY, head_timeout=1.0, read_timeout=1.0)
    with serve_app(create_app(backend, limits=limits)) as address:
        yield address.removesuffix("/v1")


def count_received(connection: socket.socket) -> int:
    """Bytes until the server closes."""
    count = 0
    try:
        while piece := connection.recv(1 << 20):
            count += len(piece)
    except ConnectionError:
        pass
    return count


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server closes; False if it does not within the socket's time-out."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def chat(url: str, **more: Any) -> httpx.Response:
    body = {"model": "small", "messages": [TEA], "max_tokens": 3, **more}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def test_a_reply_has_a_bound_where_the_model_states_no_context(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend.engine, "context", None)
    with serve_app(create_app(backend)) as address:
        answer = chat(address.removesuffix("/v1"), messages=[TEA], max_tokens=LONGEST_LIMIT + 1)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "max_tokens"
        assert f"{LONGEST_LIMIT} tokens at most" in answer.json()["error"]["message"]
        assert chat(address.removesuffix("/v1"), messages=[TEA], max_tokens=2).status_code == 200


def test_more_messages_than_tokens_are_refused_before_they_are_rendered(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_: object, **__: object) -> None:
        raise AssertionError("rendered")

    with serve_app(create_app(backend, limits=Limits(context=50))) as address:
        monkeypatch.setattr(LocalBackend, "request", render)
        answer = chat(address.removesuffix("/v1"), messages=[TEA] * 51)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"


# Heads and connections


def test_an_endless_header_is_refused_after_its_bound(url: str) -> None:
    with connect(url, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ") as connection:
        size = 0
        try:
            while size < 100 * HEADERS:
                size += connection.send(b"x" * 1000)
                time.sleep(0.001)
        except OSError:
            pass
        assert size < 100 * HEADERS
    with connect(url, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ") as connection:
        connection.sendall(b"x" * (HEADERS + 1))
        assert status(connection) == 431


def test_headers_behind_a_request_and_behind_a_body_are_bounded_too(
    url: str, hasty_url: str
) -> None:
    whole = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(url, whole) as connection:
        assert status(connection) == 200
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        time.sleep(0.1)
        connection.sendall(b"x" * (HEADERS + 1))
        assert status(connection) == 431
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with connect(hasty_url, head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n") as connection:
        try:
            for _ in range(300):
                connection.sendall(b"x:y\r\n" * 100)
        except OSError:
            pass
        assert is_closed(connection)


@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_is_given_up(hasty_url: str, start: bytes) -> None:
    began = time.monotonic()
    with connect(hasty_url, start) as connection:
        assert is_closed(connection)
    assert time.monotonic() - began > 0.5


def test_a_refused_request_that_goes_on_and_on_is_closed(hasty_url: str) -> None:
    head = b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
    with connect(hasty_url, head + b"Content-Length: 1000000\r\n\r\n") as connection:
        assert status(connection) == 415
        assert is_closed(connection)


def test_half_sent_requests_keep_nobody_out(url: str) -> None:
    some = [connect(url, b"GET / HTTP/1.1\r\nHost: x\r\nX-") for _ in range(5 * CONNECTIONS)]
    try:
        assert chat(url).status_code == 200
        assert httpx.get(f"{url}/health", timeout=10).status_code == 200
    finally:
        for one in some:
            one.close()


# Bodies


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_a_body_is_bounded_under_every_method(url: str, hasty_url: str, method: str) -> None:
    large = b'"' + b"x" * BODY + b'"'
    answer = httpx.request(
        method, f"{url}/v1/chat/completions", content=large, headers=JSON, timeout=30
    )
    assert answer.status_code == 413
    head = f"{method} /v1/models HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with connect(hasty_url, head.encode() + b"Content-Length: 100\r\n\r\n{") as connection:
        assert status(connection) == 408


def pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]


def test_a_large_body_in_pieces_is_read_beside_the_event_loop(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    apply_control = backend.apply_control

    def note_call(*args: Any) -> Any:
        threads.append(threading.current_thread().name)
        return apply_control(*args)

    monkeypatch.setattr(backend, "apply_control", note_call)
    body = {"model": "small", "messages": [{"role": "user", "content": "x " * 50_000}]}
    with serve_app(create_app(backend)) as own:
        content = pieces(json.dumps(body).encode())
        answer = httpx.post(f"{own}/chat/completions", content=content, headers=JSON, timeout=60)
    assert answer.status_code == 400
    assert threads and not any("(run)" in name for name in threads)


@pytest.mark.parametrize("depth", [DEPTH, 500, 990])
@pytest.mark.parametrize("log_prompts", [False, True])
def test_deeply_nested_json_is_a_400(backend: LocalBackend, depth: int, log_prompts: bool) -> None:
    nest = '{"a":' * depth + '"x"' + "}" * depth
    body = '{"model": "small", "max_tokens": 1, "messages": [%s, %s, %s]%s}'
    tea, caller = json.dumps(TEA), '{"role": "assistant", "tool_calls": [{"function": %s}]}'
    bodies = [
        body % (tea, tea, tea, f', "user": {nest}'),
        body % (tea, caller % f'{{"arguments": {nest}}}', tea, ""),
        body % (tea, caller % f'{{"arguments": {json.dumps(nest)}}}', tea, ""),
    ]
    with serve_app(create_app(backend, log_prompts=log_prompts)) as own:
        answers = [
            httpx.post(f"{own}/chat/completions", content=one, headers=JSON, timeout=30)
            for one in bodies
        ]
    assert [answer.status_code for answer in answers[:2]] == [400, 400]
    assert answers[2].status_code in (200, 400)  # the template may or may not show the text


def test_a_lone_surrogate_in_the_log_breaks_nothing(backend: LocalBackend) -> None:
    content = b'{"model": "small", "max_tokens": 1, "messages": '
    content += b'[{"role": "user", "content": "x", "name": "\\ud800"}]}'
    with serve_app(create_app(backend, log_prompts=True)) as own:
        answer = httpx.post(f"{own}/chat/completions", content=content, headers=JSON, timeout=30)
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        (control("guidance:" + "9" * 180), "holdfast.control"),
        ({"temperature": 1e-310}, "temperature"),
    ],
)
def test_numbers_without_sense_are_a_400(url: str, more: dict[str, Any], param: str) -> None:
    answer = chat(url, **more)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


# Memory


def test_a_chat_that_is_too_long_for_certain_is_not_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mini = models.load("mini")
    with serve_app(create_app(mini)) as own:
        monkeypatch.setattr(mini.template, "render", lambda chat: 1 / 0)
        messages = [{"role": "system", "content": "Write well. " * 150_000}, TEA]
        answer = chat(own.removesuffix("/v1"), model="mini", messages=messages)
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_what_is_kept_about_prompts_is_bounded_in_bytes() -> None:
    cache = PromptCache[int](limit=10_000)
    for i in range(1000):
        cache.put(f"prompt {i}", i, 100)
        assert cache.size <= 10_000
    assert cache.get("prompt 999") == 999 and cache.get("prompt 0") is None
    cache.put("x" * 1000, 1, 0)
    assert cache.get("x" * 1000) is None


def test_what_a_template_keeps_about_prompts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    template = small().template
    for cache in (template._bounds, template._heads):
        monkeypatch.setattr(cache, "limit", 50_000)
    for i in range(30):
        template.render((message("system", f"{i} " + "word " * (100 * i)), message("user", "x")))
        assert template._bounds.size <= 50_000 and template._heads.size <= 50_000
    assert len(template._bounds) > 0 < len(template._heads)


# Clients that do not read


def test_a_client_that_never_reads_is_cut_off_and_one_that_reads_slowly_is_not(
    backend: LocalBackend,
) -> None:
    app, size = create_app(backend, limits=Limits(write_timeout=2.0)), 40 << 20
    app.add_api_route("/v1/large", lambda: Response(bytes(size)))
    with serve_app(app) as address:
        request = b"GET /v1/large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        never, slow = connect(address, request), connect(address, request)
        total, pause, end = 0, threading.Event(), time.monotonic() + 3.0
        while time.monotonic() < end:
            total += len(slow.recv(100_000))
            pause.wait(0.04)
        assert count_received(never) < size
        assert total + count_received(slow) > size
        never.close()
        slow.close()


def test_a_client_that_leaves_with_requests_behind_the_first_frees_its_row(
    backend: LocalBackend,
) -> None:
    app = create_app(backend)
    content = json.dumps({"model": "small", "messages": [TEA], "stream": True, "max_tokens": LONG})
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    request = f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n{content}".encode()
    with serve_app(app) as address:
        connection = connect(address, request * 2)
        connection.recv(100)
        connection.close()
        page = address.replace("/v1", "/metrics")
        until(lambda: "holdfast_rows_running 0.0" in httpx.get(page).text)
        (steps,) = re.findall(r"^holdfast_decoding_steps (\d+)", httpx.get(page).text, re.M)
        assert int(steps) < LONG


def test_what_a_stopping_server_waits_for_no_longer_ends_without_a_traceback(
    backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configuration(create_app(backend), graceful=0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    body = {"model": "small", "messages": [TEA], "max_tokens": LONG}
    statuses: list[int] = []

    def whole() -> None:
        statuses.append(
            httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).status_code
        )

    asking = threading.Thread(target=whole)
    asking.start()
    stream_body = {**body, "stream": True}
    with (
        pytest.raises(httpx.RemoteProtocolError),
        httpx.stream(
            "POST", f"{address}/v1/chat/completions", json=stream_body, timeout=60
        ) as answer,
    ):
        pieces = answer.iter_raw()
        next(pieces)
        until(lambda: "holdfast_rows_running 2.0" in httpx.get(f"{address}/metrics").text)
        server.should_exit = True
        list(pieces)
    thread.join(30)
    asking.join(30)
    assert statuses == [503]
    assert not [record for record in caplog.records if record.exc_info]


def test_a_server_that_is_told_twice_to_stop_clears_up_without_a_traceback(
    backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    server = uvicorn.Server(configuration(create_app(backend)))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    server.force_exit = server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
    assert "Traceback" not in caplog.text


def test_what_is_no_http_has_openais_error_object(url: str) -> None:
    connection = connect(url, b"GARBAGE\r\n\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 400
    assert json.loads(answer.read())["error"]["type"] == "invalid_request_error"
    connection.close()


@pytest.mark.parametrize("pieces", [b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n"])
def test_a_body_in_pieces_that_are_none_is_a_400(url: str, pieces: bytes) -> None:
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    )
    connection = connect(url, head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces)
    assert status(connection) == 400
    connection.close()


def test_an_offer_of_http_2_costs_no_client_its_body(url: str) -> None:
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMA"}
    body = {"model": "small", "messages": [TEA], "max_tokens": 1}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=offer)
    assert answer.status_code == 200


def test_a_name_that_stands_twice_among_very_many_is_found_at_once() -> None:
    names = [f'"k{i}": 1' for i in range(100_000)]
    body = "{" + ", ".join([*names, names[-1]]) + "}"
    began = time.process_time()
    with pytest.raises(RequestError, match="k99999"):
        read_unique(body.encode())
    assert time.process_time() - began < 10  # counting anew for each name takes minutes
