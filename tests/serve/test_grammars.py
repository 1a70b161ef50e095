"""Replies in JSON, by an expression or from a list; penalties; and what of it is refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel, Field

from holdfast.models import load as models
from holdfast.serve.app import create_app
from serve.running import TEA, client, serve_app

Age = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 99, "minimum": 0}},
       "required": ["age"], "additionalProperties": False}  # fmt: skip


class Cat(BaseModel):
    """What a client's `parse` asks for."""

    name: str = Field(pattern="^[A-Z][a-z]{2,5}$")
    lives: int = Field(ge=1, le=9)


@pytest.fixture(scope="module")
def ai() -> Iterator[openai.OpenAI]:
    with serve_app(create_app(models.load("mini"))) as url:
        yield client(url)


def ask(ai: openai.OpenAI, **more: Any) -> Any:
    return ai.chat.completions.create(
        **{"model": "mini", "messages": [TEA], "temperature": 0, "max_tokens": 120, **more}
    )


def schema(value: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}


def test_the_clients_own_parse_gets_its_object(ai: openai.OpenAI) -> None:
    reply = ai.chat.completions.parse(
        model="mini", messages=[TEA], response_format=Cat, temperature=0, max_tokens=120
    )
    cat = reply.choices[0].message.parsed
    assert isinstance(cat, Cat) and 1 <= cat.lives <= 9
    assert "ignored" not in reply.holdfast


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"guided_json": Age}, r'\{"age":\d{1,2}\}'),
        ({"guided_json": json.dumps(Age)}, r'\{"age":\d{1,2}\}'),
        ({"guided_regex": r"(yes|no), \d"}, r"(yes|no), \d"),
        ({"guided_choice": ["tea", "coffee"]}, "tea|coffee"),
        ({"structured_outputs": {"choice": ["tea", "coffee"]}}, "tea|coffee"),
        ({"structured_outputs": {"json": Age, "regex": None}}, r'\{"age":\d{1,2}\}'),
    ],
)
def test_vllms_fields_constrain_the_reply(
    ai: openai.OpenAI, fields: dict[str, Any], form: str
) -> None:
    reply = ask(ai, extra_body=fields)
    assert re.fullmatch(form, reply.choices[0].message.content)
    assert reply.choices[0].finish_reason == "stop"


def test_a_stream_follows_the_schema_and_others_beside_it_are_free(ai: openai.OpenAI) -> None:
    free = ask(ai).choices[0].message.content
    chunks = list(ask(ai, response_format=schema(Age), stream=True))
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert json.loads(text).keys() == {"age"}
    assert ask(ai).choices[0].message.content == free


def test_guidance_follows_a_schema_too(ai: openai.OpenAI) -> None:
    messages = [{"role": "system", "content": "You always write in capital letters."}, TEA]
    options = {"holdfast": {"control": "guidance:1.5"}}
    reply = ask(ai, messages=messages, response_format=schema(Age), extra_body=options)
    assert json.loads(reply.choices[0].message.content).keys() == {"age"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": schema({"type": "nonsense"})}, "response_format"),
        ({"guided_regex": "("}, "guided_regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"structured_outputs": {"grammar": "x"}}, "structured_outputs.grammar"),
        ({"structured_outputs": {"json": {}, "regex": "x"}}, "structured_outputs.regex"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
        ({"guided_regex": "a", "tools": [{"type": "function", "function": {}}]}, "tools"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_by_name(
    ai: openai.OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(ai, extra_body=fields)
    assert caught.value.param == param or param == "tools"


@pytest.mark.parametrize("stream", [False, True])
def test_a_grammar_that_takes_too_much_work_is_the_clients_error(
    ai: openai.OpenAI, stream: bool
) -> None:
    with pytest.raises(openai.APIError, match="too much work") as caught:
        list(ask(ai, extra_body={"guided_regex": "(a?){2000}a{2000}"}, stream=stream))
    assert stream or isinstance(caught.value, openai.BadRequestError)


def test_without_the_library_a_schema_is_a_400_that_says_what_to_install(
    ai: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(openai.BadRequestError, match="pip install"):
        ask(ai, response_format={"type": "json_object"})


def test_penalties_and_min_p_change_the_reply_and_are_no_news(ai: openai.OpenAI) -> None:
    plain = ask(ai, seed=1, temperature=1.5)
    sure = ask(ai, seed=1, temperature=1.5, extra_body={"min_p": 1})
    assert sure.choices[0].message.content == ask(ai).choices[0].message.content
    assert sure.choices[0].message.content != plain.choices[0].message.content
    other = ask(ai, extra_body={"repetition_penalty": 5})
    assert other.choices[0].message.content != ask(ai).choices[0].message.content
    assert ask(ai, presence_penalty=2, frequency_penalty=2).choices[0].message.content
    assert "ignored" not in sure.holdfast and "ignored" not in other.holdfast
