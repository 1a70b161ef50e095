"""Tools, and messages with more than a role and a text, reach the chat template."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from holdfast.core.backend import Ask
from holdfast.core.control import parse
from holdfast.models.local.backend import LocalBackend
from holdfast.serve.app import create_app
from holdfast.serve.detokenize import ReplyText
from holdfast.serve.engine import worker
from serve.running import TEA, client, serve_app, small

TEMPLATE = """
{%- if tools -%}
{{ '<|im_start|>system\n' }}
{%- if messages[0].role == 'system' %}{{ messages[0].content + '\n' }}{% endif -%}
{%- for tool in tools %}{{ tool.function.name + '\n' }}{% endfor -%}
{{ '<|im_end|>\n' }}
{%- endif -%}
{%- if note %}{{ note }}{% endif -%}
{%- for m in messages -%}
{%- if not (tools and loop.first and m.role == 'system') -%}
{{ '<|im_start|>' + m.role + '\n' + m.content }}
{%- for call in m.tool_calls or [] -%}
{{ '<tool_call>' + call.function.name + ' ' + call.function.arguments.city + '</tool_call>' }}
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
    return small(source=TEMPLATE)


def test_tools_and_calls_are_rendered_and_the_persona_is_still_found(backend: LocalBackend) -> None:
    with serve_app(create_app(backend)) as url, client(url) as ai:
        reply = ai.chat.completions.create(
            model="small", messages=TALK, tools=[TOOL], max_tokens=3,
            extra_body={"holdfast": {"control": "boost:4"}},
        )  # fmt: skip
        plain = ai.chat.completions.create(model="small", messages=TALK, max_tokens=3)
    text = (
        "<|im_start|>system\nBe kind.\nweather\n<|im_end|>\n<|im_start|>user\nRain?<|im_end|>\n"
        "<|im_start|>assistant\n<tool_call>weather Ulm</tool_call><|im_end|>\n"
        "<|im_start|>tool\ndry<|im_end|>\n<|im_start|>assistant\n"
    )
    assert reply.usage is not None and plain.usage is not None
    assert reply.usage.prompt_tokens == backend.count(text)
    assert plain.usage.prompt_tokens == backend.count(text.replace("\nweather\n", ""))
    extra: Any = reply.model_extra
    assert 0 < extra["holdfast"]["prompt_share"] < 1
    assert "ignored" not in extra["holdfast"]


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
    with serve_app(create_app(backend)) as url, client(url) as ai:
        with pytest.raises(openai.BadRequestError) as caught:
            ai.chat.completions.create(model="small", messages=talk)
        assert caught.value.param == "messages"


WRITTEN = 'Let me look.\n<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>'


class Written(ReplyText):
    """The text of a reply that calls a tool, whatever its tokens are."""

    def take(self) -> str:
        text, self._sent_length = WRITTEN[self._sent_length :], len(WRITTEN)
        return text


def test_a_call_that_the_model_writes_is_a_tool_call(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ReplyText", Written)
    options: dict[str, Any] = {"model": "small", "messages": TALK[:2], "max_tokens": 3}
    with serve_app(create_app(backend)) as url, client(url) as ai:
        (choice,) = ai.chat.completions.create(**options, tools=[TOOL]).choices
        chunks = list(ai.chat.completions.create(**options, tools=[TOOL], stream=True))
        (plain,) = ai.chat.completions.create(**options, tools=[TOOL], tool_choice="none").choices
    assert choice.finish_reason == "tool_calls" and choice.message.content == "Let me look."
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather" and call.function.arguments == '{"city": "Ulm"}'
    deltas = [one.delta for chunk in chunks for one in chunk.choices]
    (part,) = [one for delta in deltas for one in delta.tool_calls or []]
    assert part.index == 0 and part.function is not None
    assert part.function.arguments == '{"city": "Ulm"}'
    assert "".join(delta.content or "" for delta in deltas) == "Let me look."
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert plain.message.content == WRITTEN and plain.message.tool_calls is None


def test_options_reach_the_template(backend: LocalBackend) -> None:
    with serve_app(create_app(backend)) as url, client(url) as ai:
        reply = ai.chat.completions.create(
            model="small", messages=TALK[:2], max_tokens=3,
            extra_body={"chat_template_kwargs": {"note": "Mind the gap."}},
        )  # fmt: skip
        plain = ai.chat.completions.create(model="small", messages=TALK[:2], max_tokens=3)
    assert reply.usage is not None and plain.usage is not None
    assert reply.usage.prompt_tokens > plain.usage.prompt_tokens
    extra: Any = reply.model_extra
    assert "ignored" not in extra["holdfast"]


def test_arguments_of_a_call_that_nest_too_deeply_are_a_400(backend: LocalBackend) -> None:
    for depth in (200, 990, 100_000):
        function = {"name": "weather", "arguments": '{"city":' + "[" * depth + "]" * depth + "}"}
        talk = [*TALK[:2], {"role": "assistant", "tool_calls": [{**CALL, "function": function}]}]
        with serve_app(create_app(backend)) as url:
            answer = httpx.post(
                f"{url}/chat/completions", json={"model": "small", "messages": talk}, timeout=60
            )
        assert answer.status_code == 400
