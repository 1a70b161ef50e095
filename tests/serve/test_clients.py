"""The clients that people have, against a server and through a gateway. (litellm has its own.)"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel, Field

from holdfast.models.local.load import load
from holdfast.persona.suite import load_suite, select
from holdfast.serve.app import create_app
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer
from serve.running import TEA, client, serve_app

KEY = "sesame"
SHOUT = "You always write in capital letters."
QUESTION = str(TEA["content"])
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


class Cat(BaseModel):
    """A cat."""

    name: str = Field(pattern="^[A-Z][a-z]{2,5}$")
    lives: int = Field(ge=1, le=9)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_app(create_app(load("mini", device="cpu"), keys=[KEY])) as address:
        yield address


def package(name: str) -> Any:
    """A client's package. Without it the test is skipped, and fails under CI."""
    if "CI" in os.environ:
        return __import__(name)
    return pytest.importorskip(name, reason=f"this client is not installed: pip install {name}")


# openai through the gateway


def completion(request: httpx.Request) -> httpx.Response:
    """An upstream that calls the first tool, or answers under `responses`."""
    fields = json.loads(request.content)
    if request.url.path.endswith("responses"):
        text = {"type": "output_text", "text": "AYE.", "annotations": []}
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
        whole = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [
            {**item, "content": [text]}], "parallel_tool_calls": True, "tool_choice": "auto",
            "tools": [], "status": "completed"}  # fmt: skip
        if not fields.get("stream"):
            return make_answer(json.dumps(whole).encode())
        start = {**whole, "status": "in_progress", "output": []}
        part = {"output_index": 0, "content_index": 0, "item_id": "m", "sequence_number": 0}
        events = [
            {"type": "response.created", "response": start, "sequence_number": 0},
            {"type": "response.output_item.added", "item": {**item, "content": []}, **part},
            {"type": "response.content_part.added", "part": {**text, "text": ""}, **part},
            {"type": "response.output_text.delta", "delta": "AYE.", "logprobs": [], **part},
            {"type": "response.completed", "response": whole, "sequence_number": 1},
        ]  # fmt: skip
        lines = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
        return make_answer(*lines, headers={"content-type": "text/event-stream"})
    call = {"name": fields["tools"][0]["function"]["name"], "arguments": '{"city": "Ulm"}'}
    calls = [{"id": "c1", "type": "function", "function": call}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    return make_answer(json.dumps({**whole, "choices": [choice]}).encode())


@pytest.fixture(scope="module")
def through() -> Iterator[tuple[FakeUpstream, openai.OpenAI]]:
    there, persona = FakeUpstream(completion), select(load_suite("mini"), ["upper-1"])[0]
    with gateway(there, persona=persona, control="reminder:1") as url:
        yield there, client(url)


def test_openais_tools_go_through_the_gateway_both_ways(
    through: tuple[FakeUpstream, openai.OpenAI],
) -> None:
    there, ai = through
    talk: list[Any] = [{"role": "user", "content": "Rain?"}]
    (choice,) = ai.chat.completions.create(model="m", messages=talk, tools=[TOOL]).choices
    (call,) = choice.message.tool_calls or []
    assert call.type == "function" and call.function.arguments == '{"city": "Ulm"}'
    assert there.body["tools"] == [TOOL]
    talk += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "dry"}]
    ai.chat.completions.create(model="m", messages=talk, tools=[TOOL])
    messages = there.body["messages"]
    assert messages[0] == {"role": "system", "content": "Every reply is in capitals."}
    assert messages[-2]["tool_calls"][0]["id"] == messages[-1]["tool_call_id"] == "c1"


def test_openais_responses_go_through_the_gateway_whole_and_streamed(
    through: tuple[FakeUpstream, openai.OpenAI],
) -> None:
    there, ai = through
    assert ai.responses.create(model="m", input="Ahoy").output_text == "AYE."
    assert there.body["instructions"] == "Every reply is in capitals."
    with ai.responses.stream(model="m", input="Ahoy") as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "response.completed" and "response.output_text.delta" in kinds


# The llm command


def test_the_llm_command_completes_streams_and_goes_on(url: str, tmp_path: Path) -> None:
    package("llm")
    models = f"- model_id: held\n  model_name: mini\n  api_base: {url}\n  api_key_name: x\n"
    (tmp_path / "extra-openai-models.yaml").write_text(models, encoding="utf-8")
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "PYTHONPATH": ""}

    def llm(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments, "--key", KEY, "-o", "temperature", "0"]
        process = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    stream = llm("-m", "held", "-s", SHOUT, QUESTION)
    assert stream and stream.isupper()
    assert llm("-c", "Do you like cats?")  # the conversation before, with its persona


# pydantic-ai


def agent(url: str, **more: Any) -> Any:
    package("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("mini", provider=OpenAIProvider(base_url=url, api_key=KEY))
    settings: Any = {"temperature": 0.0, "max_tokens": 120}
    return Agent(model, system_prompt=SHOUT, model_settings=settings, retries=0, **more)


def test_pydantic_ai_completes_streams_and_gets_its_object(url: str) -> None:
    result = agent(url).run_sync(QUESTION)
    assert result.output.isupper()
    from pydantic_ai import NativeOutput

    cat = agent(url, output_type=NativeOutput(Cat)).run_sync("A cat.").output
    assert isinstance(cat, Cat) and 1 <= cat.lives <= 9


def test_pydantic_ai_hears_that_tools_would_not_be_called(url: str) -> None:
    able = agent(url)
    able.tool_plain(lambda city: "dry", name="weather")
    from pydantic_ai.exceptions import ModelHTTPError

    with pytest.raises(ModelHTTPError, match="tool") as caught:
        able.run_sync("Rain?")
    assert caught.value.status_code == 400


# langchain-openai


def chat(url: str) -> Any:
    package("langchain_openai")
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    return ChatOpenAI(
        model="mini", base_url=url, api_key=SecretStr(KEY), temperature=0, max_retries=0,
        max_completion_tokens=120, extra_body={"holdfast": {"control": "anchor"}},
    )  # fmt: skip


def test_langchain_completes_streams_and_gets_its_object(url: str) -> None:
    talk = [("system", SHOUT), ("human", QUESTION)]
    whole = chat(url).invoke(talk)
    assert whole.content.isupper() and whole.usage_metadata["total_tokens"] > 0
    assert "".join(piece.content for piece in chat(url).stream(talk)) == whole.content
    cat = chat(url).with_structured_output(Cat, method="json_schema").invoke("A cat.")
    assert isinstance(cat, Cat) and 1 <= cat.lives <= 9


def test_langchain_hears_that_tools_would_not_be_called(url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="tool"):
        chat(url).bind_tools([TOOL]).invoke("Rain?")
