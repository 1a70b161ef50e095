"""The gateway's list of models has the aliases that a key may use."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.serve.gateway.upstream import ERROR_BYTES
from holdfast.serve.tenants.live import LiveTenants
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer
from serve.running import client


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


TEXT = f"""
[alias.loud]
persona = "mini:upper-1"
[alias."team/quiet"]
persona = "mini:lower-1"
control = "reminder:1"
[alias.gpt-there]
[key.everything]
sha256 = "{digest("all")}"
[key.bot-team]
sha256 = "{digest("bot")}"
only = ["loud"]
"""
ALL, BOT = ({"authorization": f"Bearer {key}"} for key in ("all", "bot"))
BYTES = b'{ "object": "list", "data": [{"id": "gpt-there", "object": "model"}, {"id": "o9"}]}'


@pytest.fixture
def tenants(tmp_path: Path) -> LiveTenants:
    path = tmp_path / "tenants.toml"
    path.write_text(TEXT, encoding="utf-8")
    return LiveTenants(path)


def listing(content: bytes = BYTES, **more: Any) -> FakeUpstream:
    return FakeUpstream(lambda request: make_answer(content, **more))


def test_aliases_follow_the_apis_models_and_come_in_place_of_one_with_their_name(
    tenants: LiveTenants,
) -> None:
    there = listing(headers={"etag": '"old"', "content-length": str(len(BYTES))})
    with gateway(there, tenants=tenants, control="window:3") as url:
        with client(url, "all") as ai:
            models = {one.id: one for one in ai.models.list()}
        answer = httpx.get(f"{url}/models", headers=ALL)
    assert list(models) == ["o9", "loud", "team/quiet", "gpt-there"]
    abouts = {name: getattr(models[name], "holdfast", None) for name in models}
    assert abouts == {
        "o9": None,
        "loud": {"control": "window:3", "persona": "upper-1"},
        "team/quiet": {"control": "reminder:1", "persona": "lower-1"},
        "gpt-there": {"control": "window:3", "persona": None},
    }
    assert "etag" not in answer.headers  # it is that of another list


def test_a_key_of_certain_aliases_sees_these_alone_and_the_api_is_not_asked(
    tenants: LiveTenants,
) -> None:
    there = listing()
    with gateway(there, tenants=tenants) as url:
        own = httpx.get(f"{url}/models", headers=BOT).json()
        assert [one["id"] for one in own["data"]] == ["loud"]
        assert httpx.get(f"{url}/models/loud", headers=BOT).json() == own["data"][0]
        for name in ("o9", "team%2Fquiet", "gpt-there", "loud/more"):
            answer = httpx.get(f"{url}/models/{name}", headers=BOT)
            assert answer.status_code == 404, name
            assert answer.json()["error"]["code"] == "model_not_found"
    assert there.paths == []


def test_an_alias_has_a_card_and_other_models_have_the_apis(tenants: LiveTenants) -> None:
    there = listing(b'{"id":  "o9"}')
    with gateway(there, tenants=tenants) as url:
        for name in ("team/quiet", "team%2Fquiet"):
            card = httpx.get(f"{url}/models/{name}", headers=ALL).json()
            assert (card["id"], card["object"]) == ("team/quiet", "model")
        assert httpx.get(f"{url}/models/o9", headers=ALL).content == b'{"id":  "o9"}'
    assert there.paths == ["GET /v1/models/o9"]


def test_without_aliases_the_list_passes_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text(f'[key.one]\nsha256 = "{digest("all")}"\n', encoding="utf-8")
    for more in ({}, {"tenants": LiveTenants(path)}):
        with gateway(listing(headers={"etag": '"x"'}), **more) as url:
            answer = httpx.get(f"{url}/models?limit=1", headers=ALL)
        assert (answer.content, answer.headers["etag"]) == (BYTES, '"x"')


def test_a_model_of_the_apis_with_an_odd_id_is_listed_as_it_is(tenants: LiveTenants) -> None:
    with gateway(listing(b'{"data": [{"id": ["x"]}, {}]}'), tenants=tenants) as url:
        answer = httpx.get(f"{url}/models", headers=BOT | ALL).json()
    assert answer["data"][:2] == [{"id": ["x"]}, {}] and len(answer["data"]) == 5


def test_a_list_in_pages_has_the_aliases_on_its_last_one(tenants: LiveTenants) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        more = "after_id" not in request.url.params
        items = [{"id": "a" if more else "b"}]
        return make_answer(json.dumps({"data": items, "has_more": more}).encode())

    with gateway(FakeUpstream(page), tenants=tenants) as url:
        first = httpx.get(f"{url}/models", headers=ALL).json()
        last = httpx.get(f"{url}/models?after_id=a", headers=ALL).json()
    assert [one["id"] for one in first["data"]] == ["a"]
    assert [one["id"] for one in last["data"]] == ["b", "loud", "team/quiet", "gpt-there"]


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"data": {}}', b'{"data": ["x"]}', b'{"data": 1}']
)
def test_a_list_that_cannot_be_read_is_a_502_that_is_counted(
    tenants: LiveTenants, content: bytes
) -> None:
    with gateway(listing(content), tenants=tenants) as url:
        answer = httpx.get(f"{url}/models", headers=ALL)
        figures = httpx.get(url.replace("/v1", "/metrics"), headers=ALL).text
    assert answer.status_code == 502
    assert "sent no list of models" in answer.json()["error"]["message"]
    assert 'holdfast_upstream_errors_total{kind="broken"} 1.0' in figures


def test_errors_of_the_api_come_as_they_are_and_its_absence_is_a_502(tenants: LiveTenants) -> None:
    there = listing(b'{"error": "no"}', status=401)
    with gateway(there, tenants=tenants) as url:
        answer = httpx.get(f"{url}/models", headers=ALL)
        assert (answer.status_code, answer.content) == (401, b'{"error": "no"}')
        there.answer = lambda request: make_answer(b"x" * (ERROR_BYTES + 1), status=500)
        assert "upstream_error_too_large" in httpx.get(f"{url}/models", headers=ALL).text

        def away(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("no route")

        there.answer = away
        assert httpx.get(f"{url}/models", headers=ALL).status_code == 502
