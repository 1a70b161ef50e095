"""What comes back from an upstream: without its key, within bounds, and failures with a cause."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import resource
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import ServiceError
from holdfast.serve.gateway import Upstream
from holdfast.serve.gateway.bodies import mask, unpack
from holdfast.serve.gateway.upstream import ERROR_BYTES
from serve.gateway.upstreams import KEY, PLAIN, FakeUpstream, gateway, make_answer
from serve.running import JSON, TEA

BODY = {"model": "m", "messages": [TEA]}
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeUpstream, str]]:
    there = FakeUpstream()
    with gateway(there, retries=0, timeout=60.0) as url:
        yield there, url


def ask(url: str, **more: object) -> httpx.Response:
    return httpx.post(f"{url}/chat/completions", json={**BODY, **more})


def figure(url: str, name: str) -> float:
    lines = httpx.get(url.replace("/v1", "/metrics")).text.splitlines()
    return sum(float(line.rsplit(" ")[-1]) for line in lines if line.startswith(name))


# The key


@pytest.mark.parametrize("status", [200, 201, 302, 400, 500])
def test_the_key_comes_back_in_no_body_and_no_header(
    url: str, there: FakeUpstream, status: int
) -> None:
    echo = {"echo": KEY, "x-request": f"Bearer {KEY}"}
    body = json.dumps({**PLAIN, "debug": KEY}).encode()
    there.answer = lambda request: make_answer(body, status=status, headers=echo)
    answer = ask(url)
    assert answer.status_code == status
    assert KEY not in answer.text + str(answer.headers)
    assert answer.json()["debug"] == "[key]"
    assert answer.headers["x-request"] == "Bearer [key]"


def test_the_upstream_does_not_say_which_pages_may_read_its_answers(
    url: str, there: FakeUpstream
) -> None:
    cors = {"access-control-allow-origin": "*", "Access-Control-Allow-Credentials": "true"}
    there.answer = lambda request: make_answer(json.dumps(PLAIN).encode(), headers=cors)
    assert not [name for name in ask(url).headers if name.startswith("access-control")]


def test_what_an_upstream_says_of_its_own_site_is_not_said_of_the_gateway(
    url: str, there: FakeUpstream
) -> None:
    own = {"strict-transport-security": "max-age=9", "alt-svc": 'h3=":443"', "Clear-Site-Data": "*",
           "content-security-policy": "default-src *", "x-left": "1"}  # fmt: skip
    there.answer = lambda request: make_answer(b"<script>", status=404, headers=own)
    for answer in (ask(url), httpx.get(f"{url}/models/x")):
        headers = answer.headers
        assert not {"strict-transport-security", "alt-svc", "clear-site-data"} & set(headers)
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert (headers["x-content-type-options"], headers["x-left"]) == ("nosniff", "1")


OVERRIDES = ("x-http-method-override", "X-HTTP-Method", "x-method-override", "x-original-url",
             "x-rewrite-url", "x_http_method_override", "content_type")  # fmt: skip


def test_no_header_makes_another_request_of_one(url: str, there: FakeUpstream) -> None:
    headers = dict.fromkeys(OVERRIDES, "DELETE") | {"x-left": "1"}
    assert httpx.get(f"{url}/models/m", headers=headers).status_code == 200
    outgoing = there.requests[-1].headers
    assert outgoing["x-left"] == "1"
    assert not {name.lower() for name in OVERRIDES} & set(outgoing)


@pytest.mark.parametrize("query", ["_method=DELETE", "a=1&%5FMethod=put", "$httpMethod=DELETE"])
def test_no_query_makes_another_request_of_one(url: str, there: FakeUpstream, query: str) -> None:
    assert httpx.get(f"{url}/models/m?{query}").status_code == 400
    assert httpx.get(f"{url}/models/m?method=x").status_code == 200
    assert [one.url.query for one in there.requests] == [b"method=x"]


def test_a_chat_is_sent_nowhere_else_without_its_persona(url: str, there: FakeUpstream) -> None:
    elsewhere = {"location": "https://elsewhere.example/v1/chat/completions"}
    there.answer = lambda request: make_answer(status=307, headers=elsewhere)
    answer = ask(url)
    assert answer.status_code == 502 and "--upstream" in answer.json()["error"]["message"]
    assert "location" not in answer.headers
    assert httpx.get(f"{url}/models").headers["location"] == elsewhere["location"]


def test_the_key_comes_back_in_no_stream_however_it_is_cut(url: str, there: FakeUpstream) -> None:
    text = f"data: {KEY}\n\ndata: sk-up{KEY}{KEY}\n\n".encode()
    for size in (1, 2, 7, len(KEY) - 1, len(KEY)):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        there.answer = lambda request, pieces=pieces: make_answer(*pieces)  # type: ignore[misc]
        answer = ask(url, stream=True)
        assert answer.content == b"data: [key]\n\ndata: sk-up[key][key]\n\n"


def test_the_key_is_masked_inside_of_a_packed_answer(url: str, there: FakeUpstream) -> None:
    body = gzip.compress(json.dumps({**PLAIN, "debug": KEY}).encode())
    headers = {"content-encoding": "gzip"}
    there.answer = lambda request: make_answer(body[:20], body[20:], headers=headers)
    assert ask(url).json()["debug"] == "[key]"


async def join_masked(pieces: list[bytes], secrets: list[bytes]) -> tuple[bytes, list[int]]:
    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    parts = [piece async for piece in mask(source(), secrets)]
    return b"".join(parts), [len(piece) for piece in parts]


@given(st.lists(st.text("abc", max_size=9).map(str.encode), max_size=9))
def test_masking_pieces_is_masking_their_whole(pieces: list[bytes]) -> None:
    result, _ = asyncio.run(join_masked(pieces, [b"abcab"]))
    assert result == b"".join(pieces).replace(b"abcab", b"[key]")


def test_text_that_begins_no_key_is_not_kept_back() -> None:
    _, sizes = asyncio.run(join_masked([b"data: 1\n\n", b"data: 2\n\n"], [KEY.encode()]))
    assert sizes == [9, 9]


def test_a_password_in_the_url_is_a_secret_too() -> None:
    upstream = Upstream("https://user:long-password@host/v1", "sk-with/slash")
    assert {b"long-password", b"sk-with/slash", b"sk-with\\/slash"} <= set(upstream.secrets)
    assert "long-password" not in repr(upstream) and "slash" not in repr(upstream)
    with pytest.raises(ServiceError, match="no key has"):
        Upstream("https://host/v1", "schlüssel")


# Bounds and packing


def test_a_long_error_is_cut_with_a_sentence(url: str, there: FakeUpstream) -> None:
    size = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal size
        for _ in range(200):
            size += 1 << 20
            yield b"x" * (1 << 20)

    there.answer = lambda request: httpx.Response(429, content=endless())
    answer = ask(url)
    assert answer.status_code == 429
    assert f"more than {ERROR_BYTES} bytes" in answer.json()["error"]["message"]
    assert size < 8 << 20


def test_a_gzip_bomb_is_cut_before_it_is_unpacked(url: str, there: FakeUpstream) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(300)) + packer.flush()
    there.answer = lambda request: make_answer(
        bomb, status=500, headers={"content-encoding": "gzip"}
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "more than" in ask(url).json()["error"]["message"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


@pytest.mark.parametrize(
    ("name", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_what_an_upstream_packs_nevertheless_arrives_readable(
    url: str, there: FakeUpstream, name: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(json.dumps(PLAIN).encode())
    there.answer = lambda request: make_answer(body, headers={"content-encoding": name})
    answer = ask(url)
    assert answer.json() == PLAIN
    assert "content-encoding" not in answer.headers
    assert there.requests[0].headers["accept-encoding"] == "identity"


def test_a_packing_that_cannot_be_unpacked_is_a_502(url: str, there: FakeUpstream) -> None:
    there.answer = lambda request: make_answer(b"\x0b", headers={"content-encoding": "br"})
    assert ask(url).status_code == 502


@given(st.binary(max_size=300), st.integers(1, 40), st.integers(1, 3))
def test_unpacking_takes_any_cut_and_several_members(text: bytes, size: int, members: int) -> None:
    archive = gzip.compress(text) * members

    async def run() -> bytes:
        async def source() -> AsyncIterator[bytes]:
            for i in range(0, len(archive), size):
                yield archive[i : i + size]

        return b"".join([piece async for piece in unpack(source())])

    assert asyncio.run(run()) == text * members


# Failing well


def raw(url: str, head: bytes, body: bytes = b"") -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as there:
        there.sendall(head + b"connection: close\r\n\r\n" + body)
        return there.recv(65_536)


def test_headers_that_are_not_ascii_go_both_ways(url: str, there: FakeUpstream) -> None:
    body = json.dumps(BODY).encode()
    there.answer = lambda request: make_answer(
        json.dumps(PLAIN).encode(), headers=[(b"x-name", "東京 Café".encode())]
    )
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-title: "
    head += "Café".encode() + b"\r\nx-latin: Caf\xe9\r\ncontent-type: application/json\r\n"
    response = raw(url, head + b"content-length: %d\r\n" % len(body), body)
    assert response.startswith(b"HTTP/1.1 200")
    assert b"x-name: " + "東京 Café".encode() in response
    headers = dict(there.requests[0].headers.raw)
    assert headers[b"x-title"] == "Café".encode() and headers[b"x-latin"] == b"Caf\xe9"


@pytest.mark.parametrize("path", ["%00", "models/%00", "models/a%0d%0ab", "models/caf%C3%A9?x=%00"])
def test_no_path_is_a_500(url: str, path: str) -> None:
    head = f"GET /v1/{path} HTTP/1.1\r\nhost: localhost\r\n".encode()
    assert not raw(url, head).startswith(b"HTTP/1.1 5")


@pytest.mark.parametrize(
    "text", ["window:\u0663", "window:1\r\nx-evil: 1", "reminder:\u0661", "window:1\n", "\ud800"]
)
def test_a_controls_text_is_checked_before_anything_is_paid(
    url: str, there: FakeUpstream, text: str
) -> None:
    body = json.dumps({**BODY, "holdfast": {"control": text}})
    answer = httpx.post(f"{url}/chat/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "holdfast.control"
    assert there.requests == []


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(httpx.ReadError, 502, "broken"), (httpx.ReadTimeout, 504, "timeout")],
)
def test_a_body_that_breaks_off_is_counted_and_logged_with_its_cause(
    url: str,
    there: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
    error: type[httpx.HTTPError],
    status: int,
    kind: str,
) -> None:
    cause, name = error(f"cut by {KEY}"), f'holdfast_upstream_errors_total{{kind="{kind}"}}'
    before = figure(url, name)
    there.answer = lambda request: make_answer(b"data: 1\n\n", error=cause)
    with caplog.at_level(logging.WARNING), pytest.raises(httpx.RemoteProtocolError):
        ask(url, stream=True)
    there.answer = lambda request: make_answer(b"{", status=400, error=cause)
    assert ask(url).status_code == status
    assert figure(url, name) == before + 2
    assert f"{error.__name__}: cut by [key]" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (httpx.ConnectError("name or service not known"), 502, "unreachable"),
        (httpx.ReadTimeout("too slow"), 504, "timeout"),
        (httpx.RemoteProtocolError("no status line"), 502, "unreachable"),
    ],
)
def test_the_cause_of_a_502_is_counted_and_logged(
    url: str,
    there: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    kind: str,
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    there.answer = fail
    name = f'holdfast_upstream_errors_total{{kind="{kind}"}}'
    before = figure(url, name)
    with caplog.at_level(logging.WARNING):
        assert ask(url).status_code == status
    assert figure(url, name) == before + 1
    assert f"{type(error).__name__}: {error}" in caplog.text


@pytest.mark.parametrize("failure", [httpx.ConnectError("away"), httpx.ConnectTimeout("away"), 503])
def test_what_an_upstream_cannot_have_begun_is_tried_again(failure: Exception | int) -> None:
    def flaky(request: httpx.Request) -> httpx.Response:
        if len(there.requests) > 2:
            return make_answer(json.dumps(PLAIN).encode())
        if isinstance(failure, Exception):
            raise failure
        return make_answer(b"{}", status=failure)

    there = FakeUpstream(flaky)
    with gateway(there, retries=2) as url:
        assert ask(url).status_code == 200
        assert len({request.content for request in there.requests}) == 1


def test_a_request_that_may_have_been_billed_is_not_sent_again() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    there = FakeUpstream(fail)
    with gateway(there, retries=3) as url:
        assert ask(url).status_code == 504
    assert len(there.requests) == 1
