"""Tools, and messages with more than a role and a text, reach the chat template."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.backend import Ask
from holdfast.core.control import parse
from holdfast.models.local.backend import LocalBackend
from holdfast.serve.app import create_app
from serve.running import TEA, client, served, small

TEMPLATE = """
{%- if tools -%}
{{ '<|im_start|>system\n' }}
{%- if messages[0].role == 'system' %}{{ messages[0].content + '\n' }}{% endif -%}
{%- for tool in tools %}{{ tool.function.name + '\n' }}{% endfor -%}
{{ '<|im_end|>\n' }}
{%- endif -%}
{%- for m in messages -%}
{%- if not (tools and loop.first and m.role == 'system') -%}
{{ '<|im_start|>' + m.role + '\n' + m.content }}
{%- for call in m.tool_calls or [] -%}
{{ call.function.name + ' ' + call.function.arguments.city }}
{%- endfor -%}
{{ '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}
"""
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Ulm"}'},
}
TALK: list[Any] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "dry"},
]


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    made = small()
    made.tokenizer.chat_template = TEMPLATE
    return LocalBackend(made.engine.model, made.tokenizer, "small", cache_bytes=8 << 20)


def test_tools_and_calls_are_rendered_and_the_persona_is_still_found(backend: LocalBackend) -> None:
    with served(create_app(backend)) as url, client(url) as ai:
        reply = ai.chat.completions.create(
            model="small", messages=TALK, tools=[TOOL], max_tokens=3,
            extra_body={"holdfast": {"control": "boost:4"}},
        )  # fmt: skip
        plain = ai.chat.completions.create(model="small", messages=TALK, max_tokens=3)
    text = (
        "<|im_start|>system\nBe kind.\nweather\n<|im_end|>\n<|im_start|>user\nRain?<|im_end|>\n"
        "<|im_start|>assistant\nweather Ulm<|im_end|>\n<|im_start|>tool\ndry<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert reply.usage is not None and plain.usage is not None
    assert reply.usage.prompt_tokens == backend.count(text)
    assert plain.usage.prompt_tokens == backend.count(text.replace("\nweather\n", ""))
    held: Any = reply.model_extra
    assert 0 < held["holdfast"]["prompt_share"] < 1
    assert "ignored" not in held["holdfast"]


def test_the_personas_tokens_are_its_own_with_tools_beside_them(backend: LocalBackend) -> None:
    ask = Ask(tuple(TALK[:2]), 0, parse("boost:4"))
    request = backend.request(ask, {"tools": [TOOL]})
    assert request.spans is not None
    start, end = request.spans.content
    assert backend.decode(request.ids[start:end]) == "Be kind."


def test_a_chat_that_breaks_the_template_is_a_400(backend: LocalBackend) -> None:
    import openai

    broken = {**CALL, "function": {"name": "weather", "arguments": "no JSON"}}
    talk = [*TALK[:2], {"role": "assistant", "tool_calls": [broken]}, TEA]
    with served(create_app(backend)) as url, client(url) as ai:
        with pytest.raises(openai.BadRequestError) as caught:
            ai.chat.completions.create(model="small", messages=talk)
        assert caught.value.param == "messages"
