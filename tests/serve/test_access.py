"""Who may call what: mounts, keys, paths that climb, and pages of other sites."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast.core.errors import ServiceError
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.suite import load_suite, select
from holdfast.serve.access import Keys
from holdfast.serve.app import create_app
from holdfast.serve.gateway import Upstream, create_gateway
from holdfast.serve.limits import Limits
from serve.gateway.upstreams import make_answer
from serve.running import TEA, serve_app, small

KEY = "sesame"
BEARER = {"authorization": f"Bearer {KEY}"}
EVIL = {"origin": "https://evil.example"}
CHAT = {"model": "small", "messages": [TEA], "max_tokens": 2}


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return small()


def local(backend: LocalBackend, **more: Any) -> FastAPI:
    return create_app(backend, **more)


def gateway(seen: list[httpx.Request], **more: Any) -> FastAPI:
    """A gateway whose upstream notes what reaches it."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return make_answer(json.dumps({"path": request.url.path}).encode())

    transport = httpx.MockTransport(answer)
    return create_gateway(Upstream("http://up/team-a/v1", "upkey"), transport=transport, **more)


# Keys


def test_a_mounted_application_answers_within_its_lifespan_and_says_so_without(
    backend: LocalBackend,
) -> None:
    app = create_app(backend)

    @asynccontextmanager
    async def lifespan(outer: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    for own, status in ((None, 503), (lifespan, 200)):
        with TestClient(Starlette(routes=[Mount("/bot", app)], lifespan=own)) as http:
            answer = http.post("/bot/v1/chat/completions", json=CHAT)
        assert answer.status_code == status
        assert ("lifespan" in answer.text) == (status == 503)


def test_a_mounted_application_asks_for_its_keys(backend: LocalBackend) -> None:
    app = local(backend, keys=[KEY])
    with TestClient(Starlette(routes=[Mount("/bot", app)])) as http:
        for path in ("/v1/models", "/metrics", "/holdfast", "/docs", "/openapi.json", "/nothing"):
            assert http.get(f"/bot{path}").status_code == 401, path
            assert http.get(f"/bot{path}", headers=BEARER).status_code != 401, path
        assert http.post("/bot/v1/chat/completions", json=CHAT).status_code == 401
        for path in ("/", "/page/page.js", "/page/page.css", "/health"):
            assert http.get(f"/bot{path}").status_code in (200, 503), path


def test_a_servers_root_path_opens_nothing(backend: LocalBackend) -> None:
    http = TestClient(local(backend, keys=[KEY]), root_path="/bot")
    assert http.get("/bot/metrics").status_code == http.get("/bot/holdfast").status_code == 401


def test_prompt_and_probes_are_for_those_with_a_key(backend: LocalBackend) -> None:
    persona = select(load_suite("mini"), ["upper-1"])[0]
    http = TestClient(local(backend, keys=[KEY], persona=persona))
    assert persona.prompt not in http.get("/holdfast").text
    assert http.get("/holdfast", headers=BEARER).json()["persona"]["prompt"] == persona.prompt


@pytest.mark.parametrize("key", ["", " ", " sesame"])
def test_a_key_that_nobody_could_send_is_refused(backend: LocalBackend, key: str) -> None:
    with pytest.raises(ServiceError, match="API key is empty"):
        local(backend, keys=[key])


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_a_key_with_umlauts_matches(coding: str) -> None:
    keys = Keys(["schlüssel"])
    assert keys.owner("Bearer schlüssel".encode(coding).decode("latin-1")) == ""
    assert keys.owner("Bearer schlussel") is None


# Paths

CROOKED = [
    "/v1/%2e%2e/%2e%2e/team-b/v1/models",
    "/v1/..%2f..%2fteam-b/v1/models",
    "/v1/./chat/completions",
    "/v1//chat/completions",
    "//v1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat%2Fcompletions",
    "/v1/chat/completions%3fx=1",
    "/v1/chat/completions%23x",
    "/v1/chat/completions%00",
    "/v1/%252e%252e/models",
    "/v1/models/..%5c..%5cteam-b",
    "/v1/models/..%2f..%2fteam-b",
]


@pytest.fixture(scope="module")
def seen() -> list[httpx.Request]:
    return []


@pytest.fixture(scope="module")
def urls(backend: LocalBackend, seen: list[httpx.Request]) -> Iterator[tuple[str, str]]:
    """A local server and a gateway without keys."""
    with serve_app(local(backend)) as one, serve_app(gateway(seen)) as other:
        yield one.removesuffix("/v1"), other.removesuffix("/v1")


def raw(method: str, url: str, path: str, **more: Any) -> httpx.Response:
    """A request whose path goes out as it stands."""
    with httpx.Client(timeout=30) as http:
        request = http.build_request(method, url, **more)
        request.url = httpx.URL(url).copy_with(raw_path=path.encode())
        request.extensions["target"] = path.encode()
        return http.send(request)


@pytest.mark.parametrize("path", CROOKED)
def test_a_path_that_is_not_plain_reaches_neither_route_nor_upstream(
    urls: tuple[str, str], seen: list[httpx.Request], path: str
) -> None:
    seen.clear()
    for url in urls:
        for method in ("GET", "HEAD", "POST"):
            body = {"json": CHAT} if method == "POST" else {}
            answer = raw(method, url, path, **body)
            assert answer.status_code == 400, answer.text
            if method != "HEAD":
                assert answer.json()["error"]["code"] == "invalid_path"
    assert seen == []


def test_the_encoded_name_of_a_model_is_a_plain_path(urls: tuple[str, str]) -> None:
    answer = raw("GET", urls[0], "/v1/models/team%2Fsmall")
    assert answer.json()["error"]["code"] == "model_not_found"


# HEAD

PATHS = (
    "/", "/live", "/page/page.js", "/health", "/ready", "/v1/models", "/metrics", "/docs",
    "/docs-files/swagger-ui.css", "/openapi.json", "/holdfast", "/holdfast/traffic",
    "/holdfast/score", "/v1/chat/completions", "/v1/models/no", "/v1/embeddings", "/v1/files",
    "/nothing",
)  # fmt: skip


def test_a_head_is_the_get_without_its_body_whoever_asks(backend: LocalBackend) -> None:
    seen: list[httpx.Request] = []
    proxy = gateway(seen, keys=[KEY], pass_through=["GET /v1/files"])
    askers = ({}, BEARER, {**BEARER, "sec-fetch-site": "cross-site"}, {"host": "evil.example"})
    for app in (local(backend, keys=[KEY]), proxy, local(backend, limits=Limits(hosts=("here",)))):
        with TestClient(app, base_url="http://here") as http:
            for path in PATHS:
                for headers in askers:
                    get = http.get(path, headers=headers)
                    head = http.head(path, headers=headers)
                    assert (head.status_code, head.content) == (get.status_code, b""), path
                    if path != "/metrics":  # which counts what is asked
                        names = ("content-type", "content-length", "www-authenticate")
                        for name in names:
                            assert head.headers.get(name) == get.headers.get(name), path
    assert {(one.method, one.url.path.removeprefix("/team-a")) for one in seen} == {
        ("GET", "/v1/models"), ("GET", "/v1/models/no"), ("GET", "/v1/files"),
    }  # fmt: skip


def test_a_head_leaves_its_connection_in_order(urls: tuple[str, str]) -> None:
    for url in urls:
        with httpx.Client() as http:
            for _ in range(2):
                assert http.head(f"{url}/health").status_code == 200
                assert http.get(f"{url}/health").json()["status"] == "ok"


# Pages of other sites

FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("POST", {"json": CHAT, "headers": EVIL}),
    ("POST", {"json": CHAT, "headers": {"origin": "null"}}),
    ("POST", {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ("POST", {"content": b"{}"}),
    ("POST", {"files": {"file": b"x"}}),
    ("POST", {"files": {"file": b"x"}, "headers": {**EVIL, **BEARER}}),
    ("POST", {"json": CHAT, "headers": {"sec-fetch-site": "cross-site"}}),
    ("DELETE", {"headers": EVIL}),
    ("GET", {"headers": {"sec-fetch-site": "cross-site"}}),
    ("HEAD", {"headers": {"sec-fetch-site": "cross-site"}}),
    ("POST", {"json": CHAT, "headers": {"origin": "http://["}}),
    ("POST", {"json": CHAT, "headers": {"origin": "http://127.0.0.1:1, http://evil.example"}}),
]


@pytest.mark.parametrize(("method", "more"), FOREIGN, ids=range(len(FOREIGN)))
def test_a_page_of_another_site_spends_nothing(
    urls: tuple[str, str], seen: list[httpx.Request], method: str, more: dict[str, Any]
) -> None:
    seen.clear()
    for url in urls:
        for path in ("/v1/chat/completions", "/v1/files"):
            answer = httpx.request(method, f"{url}{path}", timeout=30, **more)
            assert answer.status_code in (403, 415), answer.text
    assert seen == []


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "application/json; charset=utf-7")],
        [("content-type", 'application/json; x=y; Charset = "UTF-16"')],
        [("content-type", "application/json; charset*=utf-8''utf-7")],
        [("content-type", "application/json; charset=utf-8; charset=utf-7")],
        [("content-type", "application/json; charset=utf-7"), ("content-type", "application/json")],
        [("content-type", "application/json"), ("content-encoding", "deflate")],
    ],
)
def test_a_body_that_another_server_may_read_otherwise_is_refused(
    urls: tuple[str, str], seen: list[httpx.Request], headers: list[tuple[str, str]]
) -> None:
    seen.clear()
    for url in urls:
        content = json.dumps(CHAT).encode()
        answer = httpx.post(f"{url}/v1/chat/completions", content=content, headers=headers)
        assert answer.status_code == 415, answer.text
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            content=content,
            headers={"content-type": 'application/json; charset="UTF-8"'},
        )
        assert answer.status_code == 200
    assert len(seen) == 1


def test_of_two_keys_neither_counts(backend: LocalBackend) -> None:
    with TestClient(local(backend, keys=[KEY])) as http:
        both = [("authorization", "Bearer wrong"), ("authorization", f"Bearer {KEY}")]
        for headers in (both, both[::-1]):
            assert http.get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "origin", ["bot.example", "https://bot.example/", "https://Bot.example", "*", "https://", ""]
)
def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    with pytest.raises(ServiceError, match="is no origin"):
        Limits(origins=(origin,))
    Limits(origins=("http://localhost:3000", "chrome-extension://abc", "http://[::1]:3000"))


def test_own_pages_and_allowed_sites_may_call(backend: LocalBackend) -> None:
    app = local(backend, limits=Limits(origins=("https://bot.example",)))
    with TestClient(app, base_url="http://here:8000") as http:

        def status(**headers: str) -> int:
            dashed = {name.replace("_", "-"): value for name, value in headers.items()}
            return http.post("/v1/chat/completions", json=CHAT, headers=dashed).status_code

        assert status() == status(origin="http://here:8000") == 200
        assert status(origin="https://proxied.example", sec_fetch_site="same-origin") == 200
        assert status(origin="http://here:3000") == 403
        assert status(origin="https://bot.example", sec_fetch_site="cross-site") == 200
        preflight = {
            "origin": "https://bot.example",
            "access-control-request-method": "POST",
            # As OpenAI's JavaScript client and our own guide have them.
            "access-control-request-headers": "authorization,x-stainless-lang,x-conversation-id",
        }
        answer = http.options("/v1/chat/completions", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://bot.example"
