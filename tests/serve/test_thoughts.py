"""A thinking model's thought is `reasoning_content`, in one piece and in a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import openai
import pytest

from holdfast.serve.app import create_app
from holdfast.serve.detokenize import ReplyText
from serve.running import TEA, client, serve_app, small

OPENED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if not plain %}<think>\n{% endif %}"
)
WRITTEN = "They ask for tea. STOP no.\n</think>\n\nYes, please. STOP and more"


@pytest.fixture
def ai(monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    """A server whose model writes `WRITTEN`, a character for each token."""

    def feed(self: ReplyText, ids: Sequence[int]) -> bool:
        self._add(WRITTEN[self._read_end : len(ids)])
        self._read_end = len(ids)
        return self._stopped

    monkeypatch.setattr(ReplyText, "feed", feed)
    monkeypatch.setattr(ReplyText, "end", lambda self, ids: feed(self, ids))
    with serve_app(create_app(small(source=OPENED))) as url:
        yield client(url)


def ask(ai: openai.OpenAI, **more: Any) -> Any:
    more = {"model": "small", "messages": [TEA], "max_tokens": len(WRITTEN)} | more
    return ai.chat.completions.create(**more)


def test_the_thought_is_apart_and_stop_strings_end_the_reply_alone(ai: openai.OpenAI) -> None:
    message = ask(ai, stop="STOP").choices[0].message
    assert message.reasoning_content == "They ask for tea. STOP no."
    assert message.content == "Yes, please. "


def test_a_stream_brings_the_thought_first_and_joined_is_the_same(ai: openai.OpenAI) -> None:
    deltas = [one.choices[0].delta for one in ask(ai, stop="STOP", stream=True)]
    thought = "".join(getattr(one, "reasoning_content", None) or "" for one in deltas)
    assert thought.strip() == "They ask for tea. STOP no."
    assert "".join(one.content or "" for one in deltas) == "Yes, please. "
    first = next(i for i, one in enumerate(deltas) if one.content)
    assert not any(hasattr(one, "reasoning_content") for one in deltas[first:])


def test_a_thought_that_is_cut_is_no_reply(ai: openai.OpenAI) -> None:
    (choice,) = ask(ai, max_tokens=10).choices
    assert choice.message.content == "" and choice.finish_reason == "length"
    assert choice.message.reasoning_content == "They ask f"


def test_a_grammar_is_refused_where_the_template_opens_a_thought(ai: openai.OpenAI) -> None:
    form: Any = {"type": "json_object"}
    with pytest.raises(openai.BadRequestError, match="switch thinking off"):
        ask(ai, response_format=form)
    options = {"chat_template_kwargs": {"plain": True}}
    assert ask(ai, response_format=form, extra_body=options).choices[0].finish_reason


@pytest.mark.parametrize(
    ("path", "fields", "reply"),
    [
        ("chat", {"messages": [TEA]}, lambda line: line["message"]),
        ("generate", {"prompt": "Tea?"}, lambda line: line),
    ],
)
def test_ollamas_api_has_the_thought_apart_too(
    ai: openai.OpenAI, path: str, fields: dict[str, Any], reply: Callable[[Any], Any]
) -> None:
    url = str(ai.base_url).removesuffix("v1/") + f"api/{path}"
    body = {"model": "small", "think": True, "options": {"num_predict": len(WRITTEN)}} | fields
    name = "content" if path == "chat" else "response"
    whole = reply(httpx.post(url, json=body | {"stream": False}).json())
    assert whole["thinking"] == "They ask for tea. STOP no."
    assert whole[name] == "Yes, please. STOP and more"
    stream = httpx.post(url, json=body).text.splitlines()
    lines = [reply(json.loads(line)) for line in stream]
    assert "".join(one.get("thinking", "") for one in lines).strip() == whole["thinking"]
    assert "".join(one[name] for one in lines) == whole[name]
    first = next(i for i, one in enumerate(lines) if one[name])
    assert first > 0 and not any("thinking" in one for one in lines[first:])


def test_ollamas_clients_are_told_that_the_model_thinks(ai: openai.OpenAI) -> None:
    url = str(ai.base_url).removesuffix("v1/") + "api/show"
    assert httpx.post(url, json={"model": "small"}).json()["capabilities"] == [
        "completion",
        "thinking",
    ]
