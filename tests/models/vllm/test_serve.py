"""`vllm serve` with the plugin, over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.models.vllm.conftest import vllm_or_skip, weights

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.control import parse
from holdfast.models.load import load

vllm_or_skip()
pytestmark = pytest.mark.vllm

CHAT = (
    message("system", "You always answer in capital letters."),
    message("user", "What is your name?"),
    message("assistant", "ANN."),
    message("user", "Where do you live?"),
)
START = 400  # seconds that a server may take to start
Client = openai.OpenAI


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a server that holds by `boost:4` what does not say otherwise."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("vllm")), "serve", weights("mini"),
        "--served-model-name", "mini", "--dtype", "float32", "--enforce-eager",
        "--max-model-len", "512", "--max-num-seqs", "16", "--block-size", "32",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    environment = {**os.environ, "HOLDFAST_CONTROL": "boost:4"}
    server = subprocess.Popen(command, env=environment)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    try:
        for _ in range(START):
            assert server.poll() is None, "vllm serve ended"
            try:
                client.models.list()
                break
            except openai.APIConnectionError:
                time.sleep(1)
        yield client
    finally:
        server.terminate()
        server.wait(60)


def say(client: Client, control: str | None, chat: Chat = CHAT) -> str:
    extra = {} if control is None else {"vllm_xargs": {"holdfast": control}}
    answer = client.chat.completions.create(
        model="mini",
        messages=[dict(m) for m in chat],  # type: ignore[misc]
        temperature=0,
        max_tokens=24,
        extra_body=extra,
    )
    return str(answer.choices[0].message.content)


def ours(controls: list[str]) -> list[str]:
    asks = [Ask(CHAT, 0, parse(text)) for text in controls]
    replies = load(weights("mini"), dtype="float32").reply(
        asks, Sampling(max_new_tokens=24, temperature=0.0)
    )
    return [reply.text for reply in replies]


def test_each_request_has_its_control_and_a_bad_one_hurts_nobody(client: Client) -> None:
    controls = ["none", "anchor", "split-softmax:0.7", "anchor+boost:2", "restore:0.8", "boost:4"]
    texts: list[str | None] = [*controls[:5], None, "bad:1", *controls[:5], None]

    def one(control: str | None) -> str:
        try:
            return say(client, control)
        except openai.BadRequestError as error:
            return f"400 {error}"

    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(one, texts))
    want = ours(controls)
    assert answers[:6] == want and answers[7:] == want
    assert answers[6].startswith("400") and "there is no control 'bad'" in answers[6]
    assert say(client, "anchor") == want[1]


def test_several_choices_and_streams_are_held_too(client: Client) -> None:
    (want,) = ours(["anchor"])
    extra = {"vllm_xargs": {"holdfast": "anchor"}}
    messages: list[Any] = [dict(m) for m in CHAT]
    likeliest = {"top_k": 1, **extra}  # vLLM wants a temperature for several choices
    answer = client.chat.completions.create(
        model="mini", messages=messages, max_tokens=24, n=3, extra_body=likeliest
    )
    assert [choice.message.content for choice in answer.choices] == [want] * 3
    stream = client.chat.completions.create(
        model="mini", messages=messages, max_tokens=24, temperature=0, stream=True, extra_body=extra
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == want


def test_the_gateway_changes_a_chat_that_vllm_holds(client: Client) -> None:
    pytest.importorskip("fastapi_offline", reason="the gateway needs the extra `gateway`.")
    from holdfast.serve.gateway import Upstream, create_gateway
    from serve.running import serve_app

    body = {"model": "mini", "messages": [dict(m) for m in CHAT], "temperature": 0}
    with serve_app(create_gateway(Upstream(str(client.base_url).rstrip("/"), "none"))) as url:

        def post(control: str, plugin_control: str) -> httpx.Response:
            both = {"holdfast": {"control": control}, "vllm_xargs": {"holdfast": plugin_control}}
            url_of_chats = f"{url}/chat/completions"
            return httpx.post(url_of_chats, json=body | both | {"max_tokens": 24}, timeout=60)

        answer = post("window:1", "anchor")
        assert answer.json()["choices"][0]["message"]["content"] == ours(["window:1+anchor"])[0]
        assert answer.headers["x-holdfast-control"] == "window:1"
        for control, plugin_control in (("windw:1", "anchor"), ("window:1", "anker")):
            refusal = post(control, plugin_control)
            assert refusal.status_code == 400 and "there is no control" in refusal.text
