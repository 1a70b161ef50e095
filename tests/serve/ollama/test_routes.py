"""Ollama's API: the requests of SillyTavern and Open WebUI, as their source codes send them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.core.backend import Ask, Sampling
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.persona.suite import Persona
from holdfast.serve.app import create_app
from holdfast.serve.limits import Limits
from holdfast.serve.tenants.live import LiveTenants
from serve.running import JSON, SHOUT, TEA, serve_app

GREEDY = {"temperature": 0, "num_predict": 12}


@pytest.fixture(scope="module")
def mini() -> LocalBackend:
    return load("mini", device="cpu", cache_bytes=32 << 20)


@pytest.fixture(scope="module")
def http(mini: LocalBackend) -> Iterator[httpx.Client]:
    with (
        serve_app(create_app(mini)) as url,
        httpx.Client(base_url=url.removesuffix("/v1")) as connection,
    ):
        yield connection


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_open_webui_finds_the_server_and_its_model(http: httpx.Client) -> None:
    assert "version" in http.get("/api/version").json()
    (model,) = http.get("/api/tags").json()["models"]
    assert model["name"] == model["model"] == "mini:latest"
    assert len(model["digest"]) == 64 and model["size"] > 1e6
    assert model["details"]["family"] == "llama"
    assert http.get("/api/ps").json()["models"][0]["name"] == "mini:latest"
    details = http.post("/api/show", json={"model": "mini:latest"}).json()
    assert details["capabilities"] == ["completion"]
    assert details["model_info"]["llama.context_length"] > 100
    assert http.post("/api/show", json={"name": "mini"}).status_code == 200


def test_a_chat_of_open_webui_is_streamed_line_by_line(
    http: httpx.Client, mini: LocalBackend
) -> None:
    # routers/ollama.py adds :latest, and utils/payload.py makes options of OpenAI's fields.
    payload = {
        "model": "mini:latest",
        "messages": [SHOUT, TEA],
        "stream": True,
        "options": {**GREEDY, "num_ctx": 4096},
        "keep_alive": "5m",
    }
    answer = lines(http.post("/api/chat", content=json.dumps(payload), headers=JSON))
    *pieces, last = answer
    assert all(not one["done"] and one["message"]["role"] == "assistant" for one in pieces)
    (own,) = mini.reply([Ask((SHOUT, TEA), 0)], Sampling(max_new_tokens=12, temperature=0))
    assert "".join(one["message"]["content"] for one in answer) == own.text
    assert last["done"] and last["done_reason"] in ("stop", "length")
    assert last["prompt_eval_count"] == own.prompt_tokens
    assert last["eval_count"] == own.completion_tokens
    assert last["holdfast"]["ignored"] == ["num_ctx"]
    assert all(last[key] >= 0 for key in ("total_duration", "eval_duration", "load_duration"))


def test_a_chat_without_a_stream_is_one_object(http: httpx.Client) -> None:
    payload = {"model": "mini", "messages": [SHOUT, TEA], "stream": False, "options": GREEDY}
    answer = http.post("/api/chat", json=payload).json()
    assert answer["message"]["content"].isupper() and answer["done"]


def test_curl_as_ollamas_manual_writes_it_is_answered_but_no_browser(http: httpx.Client) -> None:
    body = json.dumps({"model": "mini", "messages": [TEA], "stream": False, "options": GREEDY})
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.post("/api/chat", content=body, headers=form)
    assert answer.status_code == 200 and answer.json()["message"]["content"]
    own = str(http.base_url).rstrip("/")
    for more in ({"origin": own}, {"sec-fetch-site": "none"}):
        assert http.post("/api/chat", content=body, headers=form | more).status_code == 415
    assert http.post("/v1/chat/completions", content=body, headers=form).status_code == 415


def test_sillytavern_finds_the_model_and_continues_a_raw_prompt(
    http: httpx.Client, mini: LocalBackend
) -> None:
    # src/endpoints/backends/text-completions.js: /api/tags, then /api/generate with raw: true.
    ids = [one["name"] for one in http.get("/api/tags", headers=JSON).json()["models"]]
    text = mini.tokenizer.apply_chat_template(
        [SHOUT, TEA], tokenize=False, add_generation_prompt=True
    )
    payload = {
        "model": ids[0],
        "prompt": str(text),
        "stream": True,
        "keep_alive": -1,
        "raw": True,
        "system": "You sing.",
        "options": {
            **GREEDY,
            "num_ctx": 2048,
            "stop": ["\nUser:"],
            "top_k": 40.0,
            "top_p": 1,
            "min_p": 0,
            "repeat_penalty": 1,
            "seed": -1,
            "tfs_z": 1,
            "typical_p": 1,
        },
    }
    answer = lines(http.post("/api/generate", json=payload))
    (own,) = mini.reply([Ask((SHOUT, TEA), 0)], Sampling(max_new_tokens=12, temperature=0))
    assert "".join(one["response"] for one in answer) == own.text
    assert answer[-1]["prompt_eval_count"] == own.prompt_tokens
    assert "system" in answer[-1]["holdfast"]["ignored"]
    whole = http.post("/api/generate", json={**payload, "stream": False}).json()
    assert whole["response"] == own.text


def test_a_prompt_has_the_chat_template_and_a_system_prompt(http: httpx.Client) -> None:
    payload = {"model": "mini", "prompt": TEA["content"], "system": SHOUT["content"]}
    options = {**GREEDY, "num_predict": -1}  # as long as it gets
    answer = http.post(
        "/api/generate", json={**payload, "stream": False, "options": options}
    ).json()
    assert answer["response"].isupper() and answer["holdfast"].get("ignored") is None


def test_a_raw_prompt_does_not_go_round_a_pinned_persona(mini: LocalBackend) -> None:
    persona = Persona(
        "loud", "pattern", SHOUT["content"], ("Hi?",), {"name": "case", "to": "upper"}
    )
    payload = {"model": "mini", "prompt": TEA["content"], "raw": True, "stream": False}
    with serve_app(create_app(mini, persona=persona)) as url:
        base = url.removesuffix("/v1")
        answer = httpx.post(f"{base}/api/generate", json={**payload, "options": GREEDY}).json()
    assert answer["response"].isupper() and answer["holdfast"]["score"] > 0.9


def test_a_raw_prompt_does_not_go_round_a_locked_control(mini: LocalBackend) -> None:
    payload = {"model": "mini", "prompt": TEA["content"], "raw": True, "stream": False}
    with serve_app(create_app(mini, control="window:3", lock=True)) as url:
        base = url.removesuffix("/v1")
        answer = httpx.post(f"{base}/api/generate", json={**payload, "options": GREEDY}).json()
    assert answer["holdfast"]["control"] == "window:3"


def test_a_conversation_is_recognised_by_its_header_here_too(mini: LocalBackend) -> None:
    persona = Persona(
        "loud", "pattern", SHOUT["content"], ("Hi?",), {"name": "case", "to": "upper"}
    )
    with serve_app(create_app(mini, persona=persona)) as url:
        base, own = url.removesuffix("/v1"), {"x-conversation-id": "one"}
        for text in ("Hi.", "Do you like tea?"):
            payload = {"model": "mini", "messages": [{"role": "user", "content": text}]}
            payload |= {"options": {**GREEDY, "num_predict": 2}, "stream": False}
            httpx.post(f"{base}/api/chat", json=payload, headers=own)
        state = httpx.get(f"{base}/holdfast/traffic").json()
    assert state["conversations"] == 1 and state["replies"] == 2


def test_numbers_out_of_bounds_and_half_characters_are_no_error_of_ours(http: httpx.Client) -> None:
    chat = f'"messages": {json.dumps([TEA])}, "stream": false'
    for fields, status in (
        (f'{{"model": "mini", {chat}, "options": {{"num_predict": 1e400, "stop": "a"}}}}', 400),
        (f'{{"model": "\\ud800", {chat}}}', 404),
    ):
        assert http.post("/api/chat", content=fields, headers=JSON).status_code == status
    raw = '{"model": "mini", "prompt": "\\ud800", "raw": true}'
    assert http.post("/api/generate", content=raw, headers=JSON).status_code == 400


def test_whatever_an_unknown_option_is_called_it_changes_nothing_and_is_named(
    http: httpx.Client,
) -> None:
    options = {**GREEDY, "max_tokens": 2, "messages": [], "stream": False, "logit_bias": {"1": 5}}
    payload = {"name": "mini", "messages": [TEA], "stream": False, "think": "high", "shift": True}
    answer = http.post("/api/chat", json={**payload, "options": options}).json()
    assert answer["model"] == "mini" and answer["message"]["content"]
    names = ["logit_bias", "max_tokens", "messages", "shift", "stream", "think"]
    assert answer["holdfast"]["ignored"] == names


def test_a_request_without_a_prompt_loads_the_model(http: httpx.Client) -> None:
    for path, fields in (("chat", {"messages": []}), ("generate", {"keep_alive": 0})):
        answer = http.post(f"/api/{path}", json={"model": "mini", **fields}).json()
        assert answer["done"] and answer["done_reason"] == "load"


@pytest.mark.parametrize(
    ("path", "fields", "status", "sentence"),
    [
        ("chat", {"model": "llama3", "messages": [TEA]}, 404, "model 'llama3' not found"),
        ("chat", {"messages": "x"}, 400, "list of objects"),
        ("chat", {"messages": [{**TEA, "images": ["aGk="]}]}, 400, "images"),
        ("chat", {"messages": [TEA], "options": 3}, 400, "object"),
        ("chat", {"messages": [TEA], "options": {"temperature": "hot"}}, 400, "temperature"),
        ("chat", {"messages": [TEA], "options": {"num_predict": "12"}}, 400, "num_predict: "),
        ("chat", {"messages": [TEA], "options": {"repeat_penalty": 0}}, 400, "repeat_penalty: "),
        ("chat", {"messages": [TEA], "format": {"type": "zebra"}}, 400, "format: Invalid type"),
        ("chat", {"messages": [TEA], "format": 3}, 400, "format"),
        ("generate", {"prompt": 3}, 400, "texts"),
        ("generate", {"prompt": "x", "suffix": "y"}, 400, "suffix"),
        ("generate", {"prompt": "x" * 90_000, "raw": True}, 400, "context length"),
    ],
)
def test_errors_have_ollamas_shape(
    http: httpx.Client, path: str, fields: dict[str, Any], status: int, sentence: str
) -> None:
    answer = http.post(f"/api/{path}", json={"model": "mini", **fields})
    assert answer.status_code == status
    assert sentence in answer.json()["error"] and "response_format" not in answer.text


def test_refusals_from_before_the_routes_have_ollamas_shape_too(mini: LocalBackend) -> None:
    limits = Limits(body=100)
    with serve_app(create_app(mini, keys=["sesame"], limits=limits)) as url:
        base, key = url.removesuffix("/v1"), {"authorization": "Bearer sesame"}
        long = {"model": "mini", "prompt": "x" * 200}
        for answer, status in (
            (httpx.post(f"{base}/api/chat", json={}), 401),
            (httpx.post(f"{base}/api/chat", json=long, headers=key), 413),
            (httpx.post(f"{base}/api/chat", content=b"{}", headers=key), 415),
            (httpx.post(f"{base}/api/pull", json={}, headers=key), 404),
            (httpx.get(f"{base}/api/chat", headers=key), 405),
        ):
            assert answer.status_code == status
            assert isinstance(answer.json()["error"], str), answer.text


TENANTS = f"""
[alias.loud]
persona = "mini:upper-1"
[key.bot-team]
sha256 = "{hashlib.sha256(b"bot").hexdigest()}"
alias = "loud"
tokens_per_day = 5
"""


def test_a_keys_own_persona_and_quota_hold_here_too(mini: LocalBackend, tmp_path: Path) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS, encoding="utf-8")
    payload = {"model": "mini", "prompt": TEA["content"], "raw": True, "options": GREEDY}
    with serve_app(create_app(mini, tenants=LiveTenants(path))) as url:
        base, key = url.removesuffix("/v1"), {"authorization": "Bearer bot"}
        names = [m["name"] for m in httpx.get(f"{base}/api/tags", headers=key).json()["models"]]
        assert names == ["mini:latest", "loud:latest"]
        assert httpx.post(f"{base}/api/generate", json=payload).status_code == 401
        answer = lines(httpx.post(f"{base}/api/generate", json=payload, headers=key))
        assert "".join(one["response"] for one in answer).isupper()
        again = httpx.post(f"{base}/api/generate", json=payload, headers=key)
        assert again.status_code == 429
