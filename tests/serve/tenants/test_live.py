"""Personas by alias, route and key, in a server and in a gateway; the file is read again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import signal
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError, ServiceError
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.every_reply import load_persona
from holdfast.serve.app import create_app
from holdfast.serve.gateway import upstream
from holdfast.serve.http_errors import RequestError
from holdfast.serve.live.watches import Watches
from holdfast.serve.metrics import Metrics
from holdfast.serve.tenants import live as module
from holdfast.serve.tenants.live import LiveTenants
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer
from serve.running import TEA, client, serve_app, small, until


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


TEXT = f"""
[alias.loud]
persona = "mini:upper-1"
[alias.quiet]
persona = "mini:lower-1"
control = "reminder:1"
lock = false
[route."/team/quiet"]
alias = "quiet"
[key.everything]
sha256 = "{digest("all")}"
[key.bot-team]
sha256 = "{digest("bot")}"
alias = "loud"
only = ["loud"]
requests_per_minute = 4
[key.little]
sha256 = "{digest("little")}"
tokens_per_day = 5
"""


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return small()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tenants.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def url(path: Path, backend: LocalBackend) -> Iterator[str]:
    with serve_app(create_app(backend, tenants=LiveTenants(path))) as address:
        yield address


def ask(url: str, key: str, model: str = "small", **more: Any) -> Any:
    with client(url, key) as ai:
        return ai.chat.completions.create(model=model, messages=[TEA], max_tokens=3, **more)


def tokens(reply: Any) -> int:
    return int(reply.usage.prompt_tokens)


def test_an_alias_a_route_and_a_key_choose_the_persona(url: str) -> None:
    plain, loud = ask(url, "all"), ask(url, "all", "loud")
    assert "score" not in plain.holdfast and "score" in loud.holdfast
    assert tokens(loud) > tokens(plain)
    quiet = ask(url.replace("/v1", "/team/quiet/v1"), "all")
    assert quiet.holdfast["control"] == "reminder:1"
    assert tokens(ask(url, "bot")) == tokens(loud)  # by its key


def test_a_key_may_use_its_own_aliases_only(url: str) -> None:
    for place, model in ((url, "quiet"), (url.replace("/v1", "/team/quiet/v1"), "small")):
        with pytest.raises(openai.PermissionDeniedError, match="bot-team may use"):
            ask(place, "bot", model)


def test_a_key_of_certain_aliases_sees_nothing_of_the_others(url: str) -> None:
    with client(url, "bot") as ai:
        assert [one.id for one in ai.models.list()] == ["loud"]
        with pytest.raises(openai.NotFoundError):
            ai.models.retrieve("quiet")
    root, bot = url.removesuffix("/v1"), {"authorization": "Bearer bot"}
    assert [one["name"] for one in httpx.get(f"{root}/api/tags", headers=bot).json()["models"]] == [
        "loud:latest"
    ]
    for path in ("/metrics", "/holdfast", "/holdfast/traffic", "/docs", "/openapi.json"):
        assert httpx.get(root + path, headers=bot).status_code == 403
        everything = {"authorization": "Bearer all"}
        assert httpx.get(root + path, headers=everything).status_code == 200
    assert httpx.get(f"{root}/health", headers=bot).status_code == 200


def test_a_key_of_certain_aliases_gets_past_the_gateway_nowhere(path: Path) -> None:
    options = {"pass_through": ["/v1/embeddings"], "tenants": LiveTenants(path)}
    there = FakeUpstream(lambda request: make_answer(b'{"data": []}'))
    with gateway(there, **options) as base:
        for key, status in (("bot", 403), ("all", 200)):
            headers = {"authorization": f"Bearer {key}"}
            answer = httpx.post(f"{base}/embeddings", json={"input": "x"}, headers=headers)
            assert answer.status_code == status
            assert httpx.get(f"{base}/models", headers=headers).status_code == 200
    assert there.paths == ["POST /v1/embeddings", "GET /v1/models"]


def test_an_alias_with_a_persona_is_locked_unless_it_says_otherwise(url: str) -> None:
    other = {"extra_body": {"holdfast": {"control": "window:1"}}}
    with pytest.raises(openai.PermissionDeniedError, match="locked"):
        ask(url, "all", "loud", **other)
    assert ask(url, "all", "quiet", **other).holdfast["control"] == "window:1"


def test_aliases_are_listed_and_unknown_models_are_not_found(url: str) -> None:
    with client(url, "all") as ai:
        assert {one.id for one in ai.models.list()} == {"small", "loud", "quiet"}
        assert ai.models.retrieve("loud").id == "loud"
        with pytest.raises(openai.NotFoundError):
            ask(url, "all", "other")


def test_the_keys_of_the_file_are_needed_also_below_a_route(url: str) -> None:
    for place in (url, url.replace("/v1", "/team/quiet/v1")):
        assert httpx.get(f"{place}/models").status_code == 401
        with pytest.raises(openai.AuthenticationError):
            ask(place, "wrong")
    assert httpx.get(url.replace("/v1", "/team/quiet/health")).status_code == 200


def test_quotas_are_a_429_that_says_when_to_come_back(url: str) -> None:
    for _ in range(4):
        ask(url, "bot")
    with pytest.raises(openai.RateLimitError, match="bot-team") as caught:
        ask(url, "bot")
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    ask(url, "little")
    with pytest.raises(openai.RateLimitError, match="5 tokens of today"):
        ask(url, "little")
    ask(url, "all")


def test_a_client_that_leaves_a_stream_pays_for_what_it_got(
    path: Path, backend: LocalBackend
) -> None:
    tenants = LiveTenants(path)
    body = {"model": "small", "messages": [TEA], "max_tokens": 200, "stream": True}
    headers = {"authorization": "Bearer little"}
    with serve_app(create_app(backend, tenants=tenants)) as url:
        prompt = tokens(ask(url, "all"))
        whole = {"json": body, "headers": headers, "timeout": 60}
        with httpx.stream("POST", f"{url}/chat/completions", **whole) as one:
            lines = (line for line in one.iter_lines() if '"content":' in line)
            chunks = [next(lines) for _ in range(21)]  # the first has the role alone
        assert len(chunks) == 21
        until(lambda: tenants.quotas.tokens("little") > 0)
        assert prompt + 20 <= tenants.quotas.tokens("little") <= prompt + 200
        with pytest.raises(openai.RateLimitError, match="5 tokens of today"):
            ask(url, "little")


def test_the_log_names_the_key(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="holdfast.serve"):
        ask(url, "bot")
        until(lambda: "key=bot-team" in caplog.text)
    assert digest("bot") not in caplog.text


def test_a_change_of_the_file_is_taken_and_a_mistake_is_not(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("[alias.loud]\npersonna = 'x'", encoding="utf-8")
    until(lambda: "is not taken" in caplog.text)
    ask(url, "all", "loud")
    path.write_text(TEXT.replace("alias.loud", "alias.shout").replace('"loud"', '"shout"').replace(
        digest("all"), digest("new")), encoding="utf-8")  # fmt: skip

    def has_moved() -> bool:
        try:
            return bool(ask(url, "new", "shout"))
        except openai.APIStatusError:
            return False

    until(has_moved)
    with pytest.raises(openai.AuthenticationError):
        ask(url, "all")
    with pytest.raises(openai.NotFoundError):
        ask(url, "new", "loud")


def test_a_file_that_has_lost_its_keys_does_not_open_the_server(
    url: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(TEXT.partition("[key")[0], encoding="utf-8")
    until(lambda: "is not taken" in caplog.text)
    path.write_text("", encoding="utf-8")
    until(lambda: caplog.text.count("has no key any more") == 2)
    assert httpx.get(f"{url}/models").status_code == 401
    ask(url, "all", "loud")


def test_a_request_under_way_is_refused_once_its_key_has_left_the_file(path: Path) -> None:
    live = LiveTenants(path)
    with pytest.raises(RequestError, match="may use"):
        live.pick("quiet", None, "bot-team")
    path.write_text(TEXT.replace("bot-team", "bot"), encoding="utf-8")
    assert live.reload()
    for use in (live.visible, lambda names, key: live.pick(names[0], None, key)):
        with pytest.raises(RequestError, match="is gone") as refusal:
            use(["quiet"], "bot-team")
        assert refusal.value.status == 401


def test_whatever_is_wrong_with_a_file_its_next_change_is_seen(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tenants = LiveTenants(path)
    tenants.watch()
    try:
        path.write_text("a = " + "[" * 5000, encoding="utf-8")
        until(lambda: "is not taken" in caplog.text)
        path.write_text("[alias.other]\n", encoding="utf-8")
        until(lambda: list(tenants.current.aliases) == ["other"])
    finally:
        tenants.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)


def test_sighup_reads_the_file_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 3600.0)
    before = signal.getsignal(signal.SIGHUP)
    tenants = LiveTenants(path)
    try:
        tenants.watch()
        path.write_text("[alias.other]\n", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: list(tenants.current.aliases) == ["other"])
    finally:
        tenants.stop()
        signal.signal(signal.SIGHUP, before)


def test_a_bug_in_reading_ends_no_server(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK", 3600.0)
    before = signal.getsignal(signal.SIGHUP)
    tenants = LiveTenants(path)
    try:
        tenants.watch()
        monkeypatch.setattr(module, "read_tenants", lambda path: 1 // 0)
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: "could not be read" in caplog.text)
        assert "loud" in tenants.current.aliases
    finally:
        tenants.stop()
        signal.signal(signal.SIGHUP, before)


def test_what_a_server_cannot_do_is_said_at_its_start(path: Path, backend: LocalBackend) -> None:
    path.write_text('[alias.a]\nmodel = "there"\n', encoding="utf-8")
    with pytest.raises(ServiceError, match="alias a: this server has small"):
        create_app(backend, tenants=LiveTenants(path))
    path.write_text('[alias.a]\ncontrol = "route:nowhere"\n', encoding="utf-8")
    with pytest.raises(HoldfastError, match="no router in nowhere"):
        create_app(backend, tenants=LiveTenants(path))
    with (
        pytest.raises(HoldfastError, match="no router in nowhere"),
        gateway(FakeUpstream(), tenants=LiveTenants(path)),
    ):
        pass
    path.write_text('[alias.a]\ncontrol = "anchor"\n', encoding="utf-8")
    with (
        pytest.raises(HoldfastError, match=r"alias a: .*needs its weights"),
        gateway(FakeUpstream(), tenants=LiveTenants(path)),
    ):
        pass


def test_a_gateway_puts_each_alias_under_its_persona_and_asks_for_its_model(path: Path) -> None:
    path.write_text(TEXT.replace("lock = false", 'lock = false\nmodel = "gpt-there"'), "utf-8")
    there = FakeUpstream()
    with gateway(there, tenants=LiveTenants(path)) as url:
        ask(url, "all", "quiet")
        assert there.body["model"] == "gpt-there"
        assert "small letters" in there.body["messages"][0]["content"]
        ask(url, "all", "other")
        assert there.body == {"model": "other", "messages": [TEA], "max_tokens": 3}
        ask(url, "bot", "loud")
        assert there.body["model"] == "loud"
        assert "capitals" in there.body["messages"][0]["content"]
        for model in ("quiet", "other"):
            with pytest.raises(openai.PermissionDeniedError):
                ask(url, "bot", model)
        assert len(there.requests) == 3
        bot, body = {"authorization": "Bearer bot"}, {"messages": [TEA]}
        answer = httpx.post(f"{url}/chat/completions", json=body, headers=bot)
        assert answer.status_code == 200 and "model" not in there.body
        assert "bot" not in str(there.requests[-1].headers.get("authorization"))


def state(url: str) -> dict[str, Any]:
    """Where the watches stand."""
    address = f"{url.removesuffix('/v1')}/holdfast/traffic"
    result: dict[str, Any] = httpx.get(address, headers={"authorization": "Bearer all"}).json()
    return result


def test_a_gateway_watches_every_personas_replies_apart(path: Path) -> None:
    loud = {"choices": [{"index": 0, "message": {"content": "LOUD"}}]}
    there = FakeUpstream(lambda request: make_answer(json.dumps(loud).encode()))
    persona = load_persona("mini:lower-1")
    with gateway(there, tenants=LiveTenants(path), persona=persona) as url:
        for model in ("loud", "quiet", "quiet", "other"):
            ask(url, "all", model)
        own = state(url)
        page = httpx.get(
            f"{url.removesuffix('/v1')}/metrics", headers={"authorization": "Bearer all"}
        ).text
    watches = {one["alias"]: one for one in (own, *own["aliases"])}
    assert {name: one["conversations"] for name, one in watches.items()} == {
        "": 1, "loud": 1, "quiet": 2,
    }  # fmt: skip
    scores = {name: one["rounds"][0]["score"] for name, one in watches.items()}
    assert scores == {"": 0.0, "loud": 1.0, "quiet": 0.0}
    assert watches["quiet"]["control"] == "reminder:1"
    assert 'holdfast_conversations_total{alias="quiet",persona="lower-1"} 2.0' in page


def test_a_server_watches_the_replies_of_its_aliases(url: str) -> None:
    before = state(url)
    ask(url, "all", "quiet")
    after = state(url)
    assert [one["alias"] for one in (after, *after["aliases"])] == ["loud", "quiet"]
    assert after["aliases"][0]["rounds"][0]["replies"] > sum(
        row["replies"] for row in before["aliases"][0]["rounds"]
    )


def test_an_alias_with_another_persona_is_watched_anew(path: Path) -> None:
    tenants = LiveTenants(path)
    watches = Watches(None, parse("none"), Metrics(), None, tenants)
    first = watches.of(tenants.current.aliases["loud"])
    tenants.reload()
    assert watches.of(tenants.current.aliases["loud"]) is first
    path.write_text(TEXT.replace("mini:upper-1", "mini:lower-1"), encoding="utf-8")
    tenants.reload()
    again = watches.of(tenants.current.aliases["loud"])
    assert again is not first and again is not None and again.persona.id == "lower-1"
    assert watches.over(tenants.current.aliases["loud"].persona) is again


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_a_gateway_counts_the_tokens_of_a_key(path: Path, usage: bool, stream: bool) -> None:
    body: dict[str, Any] = {"choices": [{"index": 0, "message": {"content": "Hi."}}]}
    if usage:
        body["usage"] = {"prompt_tokens": 4, "completion_tokens": 1}
    content = json.dumps(body).encode()
    there = FakeUpstream(lambda request: make_answer(b"data: " + content if stream else content))
    with gateway(there, tenants=LiveTenants(path)) as url:
        body = {"model": "m", "messages": [TEA], "stream": stream}
        headers = {"authorization": "Bearer little"}
        codes = [
            httpx.post(f"{url}/chat/completions", json=body, headers=headers).status_code
            for _ in range(2)
        ]
    assert codes == [200, 429]


def test_a_reply_whose_client_leaves_is_counted_as_far_as_it_came() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"one"
        yield b"two"

    ends: list[tuple[bytes, bool]] = []

    async def leave() -> None:
        stream = upstream._collect(pieces(), lambda *what: ends.append(what), lambda: None)
        assert await anext(stream) == b"one"
        await stream.aclose()

    asyncio.run(leave())
    assert ends == [(b"one", False)]
