"""The server under litellm, which is what many gateways and agents speak through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.models.local.load import load
from holdfast.serve.app import create_app
from serve.running import SHOUT, TEA, serve_app


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_app(create_app(load("mini", device="cpu"), keys=["sesame"])) as address:
        yield address


@pytest.fixture(scope="module")
def litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no lookup on the network
    return pytest.importorskip("litellm")


def ask(litellm: Any, url: str, **more: Any) -> Any:
    defaults = {"messages": [SHOUT, TEA], "temperature": 0, "api_key": "sesame", "num_retries": 0}
    return litellm.completion(model="openai/mini", api_base=url, **{**defaults, **more})


def test_it_completes_and_hands_the_control_on(litellm: Any, url: str) -> None:
    reply = ask(litellm, url, extra_body={"holdfast": {"control": "anchor"}})
    assert reply.choices[0].message.content.isupper()
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.holdfast["control"] == "anchor"


def test_it_streams(litellm: Any, url: str) -> None:
    whole = ask(litellm, url).choices[0].message.content
    chunks = ask(litellm, url, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_it_raises_its_own_exceptions(litellm: Any, url: str) -> None:
    with pytest.raises(litellm.AuthenticationError):
        ask(litellm, url, api_key="wrong")
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(litellm, url, messages=[{"role": "user", "content": "tea " * 3000}])
    with pytest.raises(litellm.BadRequestError):
        ask(litellm, url, temperature=5)
