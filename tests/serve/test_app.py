"""The server under the `openai` client, with the embedded model behind it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from transformers import AutoModelForCausalLM, GPT2Config

from holdfast import judge
from holdfast.core.backend import Ask, Sampling
from holdfast.core.control import parse
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.load import load
from holdfast.persona.suite import Persona, load_suite, select
from holdfast.serve.app import create_app
from holdfast.serve.detokenize import token_bytes
from serve.running import JSON, SHOUT, TEA, client, control, serve_app
from tiny_models import VOCABULARY, tokenizer

GREEDY = Sampling(max_new_tokens=2000, temperature=0.0)


@pytest.fixture(scope="module")
def mini() -> LocalBackend:
    return load("mini", device="cpu", cache_bytes=32 << 20)


@pytest.fixture(scope="module")
def url(mini: LocalBackend) -> Iterator[str]:
    with serve_app(create_app(mini)) as address:
        yield address


@pytest.fixture
def ai(url: str) -> Iterator[openai.OpenAI]:
    with client(url) as connection:
        yield connection


def ask(ai: openai.OpenAI, *messages: Any, **more: Any) -> Any:
    chat = messages or (SHOUT, TEA)
    return ai.chat.completions.create(model="mini", messages=list(chat), **more)


def test_a_greedy_reply_is_the_local_backends(ai: openai.OpenAI, mini: LocalBackend) -> None:
    reply = ask(ai, temperature=0)
    (own,) = mini.reply([Ask((SHOUT, TEA), 0)], GREEDY)
    assert reply.choices[0].message.content == own.text
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == own.prompt_tokens
    assert reply.usage.completion_tokens == own.completion_tokens
    assert reply.usage.total_tokens == own.prompt_tokens + own.completion_tokens


def test_a_seeded_reply_is_the_local_backends(ai: openai.OpenAI, mini: LocalBackend) -> None:
    reply = ask(ai, seed=11, temperature=0.8, top_p=0.95)
    (own,) = mini.reply([Ask((SHOUT, TEA), 11)], Sampling(2000, 0.8, 0.95))
    assert reply.choices[0].message.content == own.text


def test_what_controls_need_of_a_model_is_known_before_requests_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)
    backend = LocalBackend(AutoModelForCausalLM.from_config(config), tokenizer(), "unturned")
    create_app(backend)
    # A pass waits for the replies under way, and with it the server's loop.
    monkeypatch.setattr(backend.engine.model, "forward", lambda *_, **__: 1 / 0)
    assert "rotary positions" in str(backend.refusal(parse("anchor")))
    assert backend.refusal(parse("boost:2")) is None


def test_a_stream_joined_is_the_reply_in_one_piece(ai: openai.OpenAI) -> None:
    whole = ask(ai, seed=3, stop=["tea"])
    chunks = list(
        ask(ai, seed=3, stop=["tea"], stream=True, stream_options={"include_usage": True})
    )
    texts = [c.delta.content or "" for chunk in chunks for c in chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert len([text for text in texts if text]) > 2
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].choices == []
    assert all("usage" in c.model_fields_set and c.usage is None for c in chunks[:-1])
    assert chunks[-1].holdfast == whole.holdfast
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == [
        "stop"
    ]


@pytest.mark.parametrize("own", ["chat-7.a:b", "", "two words", "ü", "x" * 200])
def test_a_request_has_an_id_its_own_where_that_is_plain(
    url: str, own: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdfast.serve")
    answer = httpx.get(f"{url}/models", headers={"x-request-id": own.encode()})
    name = answer.headers["x-request-id"]
    assert name == own if own == "chat-7.a:b" else re.fullmatch("req_[0-9a-f]{24}", name)
    assert httpx.get(f"{url}/nowhere").headers["x-request-id"].startswith("req_")
    assert name in caplog.text


def test_tokens_of_half_characters_have_their_own_bytes(mini: LocalBackend) -> None:
    ids = mini.tokenizer("日", add_special_tokens=False)["input_ids"]
    tokens = mini.tokenizer.convert_ids_to_tokens(ids)
    assert len(ids) > 1
    pieces = [token_bytes(token, mini.decode([i])) for i, token in zip(ids, tokens, strict=True)]
    assert b"".join(pieces).decode().strip() == "日"


def test_a_stream_without_usage_ends_with_what_was_held(ai: openai.OpenAI) -> None:
    *_, last = ask(ai, seed=3, stream=True)
    assert last.usage is None
    assert last.choices[0].finish_reason == "stop"
    assert last.holdfast["control"] == "none"


def test_a_request_chooses_its_control_and_is_told_the_prompt_share(ai: openai.OpenAI) -> None:
    plain = ask(ai, temperature=0)
    boost = ask(ai, temperature=0, extra_body=control("boost:10"))
    assert plain.holdfast["control"] == "none"
    assert boost.holdfast["control"] == "boost:10"
    assert 0 < plain.holdfast["prompt_share"] < boost.holdfast["prompt_share"] < 1


def test_the_prompt_share_is_the_local_backends(ai: openai.OpenAI, mini: LocalBackend) -> None:
    reply = ask(ai, temperature=0, extra_body=control("anchor"))
    (own,) = mini.reply([Ask((SHOUT, TEA), 0, parse("anchor"), measure=True)], GREEDY)
    assert own.share is not None
    mean = sum(own.share.tokens) / len(own.share.tokens)
    assert reply.holdfast["prompt_share"] == pytest.approx(mean, abs=1e-4)


def test_a_chat_without_a_system_prompt_has_no_share(ai: openai.OpenAI) -> None:
    assert ask(ai, TEA).holdfast == {"control": "none", "prompt_share": None}


def test_measuring_can_be_left_out(ai: openai.OpenAI) -> None:
    assert ask(ai, extra_body=control("none", measure=False)).holdfast["prompt_share"] is None


def test_controls_side_by_side_answer_as_each_alone(
    url: str, ai: openai.OpenAI, mini: LocalBackend
) -> None:
    names = ["none", "anchor", "boost:4", "guidance:1.5", "split-softmax:0.7", "window:1"] * 3
    history = [SHOUT, TEA, {"role": "assistant", "content": "I LIKE TEA."}, TEA]

    def one(i: int) -> str:
        reply = ask(ai, *history, seed=i, extra_body=control(names[i]), max_tokens=40)
        return str(reply.choices[0].message.content)

    with ThreadPoolExecutor(len(names)) as pool:
        together = list(pool.map(one, range(len(names))))
    alone = [
        mini.reply([Ask(tuple(history), i, parse(name))], Sampling(40, 1.0, 1.0))[0].text
        for i, name in enumerate(names)
    ]
    assert together == alone


def test_several_choices_have_seeds_of_their_own(ai: openai.OpenAI) -> None:
    reply = ask(ai, seed=5, n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in reply.choices]
    assert texts == [ask(ai, seed=5 + i).choices[0].message.content for i in range(3)]
    shares = [choice.holdfast["prompt_share"] for choice in reply.choices]
    assert reply.holdfast["prompt_share"] == pytest.approx(sum(shares) / 3, abs=1e-4)


def test_a_limit_ends_a_reply_under_either_name(ai: openai.OpenAI) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        reply = ask(ai, **{name: 2})
        assert reply.choices[0].finish_reason == "length"
        assert reply.usage.completion_tokens == 2


def test_logprobs_are_of_the_tokens_and_the_likeliest_beside_them(ai: openai.OpenAI) -> None:
    reply = ask(ai, temperature=0, logprobs=True, top_logprobs=3)
    content = reply.choices[0].logprobs.content
    assert "".join(one.token for one in content) == reply.choices[0].message.content
    for one in content:
        assert one.logprob <= 0
        assert one.top_logprobs[0].token == one.token  # greedy
        values = [top.logprob for top in one.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert len(values) == 3
    stream = ask(ai, temperature=0, logprobs=True, stream=True)
    pieces = [c.logprobs.content for chunk in stream for c in chunk.choices if c.logprobs]
    assert [one.token for piece in pieces for one in piece] == [one.token for one in content]


def test_fields_that_change_nothing_are_named(ai: openai.OpenAI) -> None:
    reply = ask(ai, user="me", extra_body={"tempratur": 1})
    assert reply.holdfast["ignored"] == ["tempratur", "user"]


def test_tools_that_could_never_be_called_are_refused(ai: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError, match="tool_choice to none") as caught:
        ask(ai, tools=[tool])
    assert caught.value.param == "tools"
    assert "ignored" not in ask(ai, tools=[tool], tool_choice="none").holdfast


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logit_bias", {"1": 9}), ("guided_grammar", "root ::= a"), ("echo", True),
        ("functions", [{"name": "f"}]), ("reasoning_effort", "low"),
        ("modalities", ["audio"]), ("ignore_eos", True),
        ("min_tokens", 4), ("chat_template", "x"), ("continue_final_message", True),
        ("stop_token_ids", [1]), ("verbosity", "low"), ("prediction", {"type": "content"}),
    ],
)  # fmt: skip
def test_fields_that_would_change_the_reply_are_refused_by_name(
    ai: openai.OpenAI, name: str, value: Any
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(ai, extra_body={name: value})
    assert caught.value.param == name


def test_fields_at_the_value_that_changes_nothing_are_no_news(ai: openai.OpenAI) -> None:
    fields = {"min_p": 0, "repetition_penalty": 1.0, "modalities": ["text"], "functions": None}
    assert "ignored" not in ask(ai, extra_body=fields).holdfast


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [SHOUT, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [TEA, {"role": "assistant", "content": None}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [TEA], "model": None}, "model"),
        ({"messages": [TEA], "stop": [1]}, "stop[0]"),
        ({"messages": [TEA], "stop": ["a", "b" * 1001]}, "stop"),
        ({"messages": [TEA], "stop": ["a"] * 17}, "stop"),
        ({"messages": [TEA], "guided_json": True}, "guided_json"),
        ({"messages": [TEA], "repetition_penalty": 1e-40}, "repetition_penalty"),
        ({"messages": [TEA], "chat_template_kwargs": {"split_special_tokens": False}},
         "chat_template_kwargs.split_special_tokens"),
        ({"messages": [TEA], "stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": [TEA], "chat_template_kwargs": {"tokenize": True}},
         "chat_template_kwargs.tokenize"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_as_a_client_wrote_it(
    url: str, fields: dict[str, Any], param: str
) -> None:
    answer = httpx.post(f"{url}/chat/completions", json={"model": "mini", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_half_a_character_is_named_where_it_stands(url: str) -> None:
    content = '{"model": "mini", "messages": [{"role": "user", "content": "Tea \\ud83d"}]}'
    answer = httpx.post(f"{url}/chat/completions", content=content, headers=JSON)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"] == "messages[0].content"
    assert "half a character (U+D83D)" in error["message"]


def test_options_of_the_template_that_it_does_not_know_are_named(ai: openai.OpenAI) -> None:
    reply = ask(ai, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    assert reply.holdfast["ignored"] == ["chat_template_kwargs"]


def test_a_field_with_half_a_character_in_its_name_is_a_400(url: str) -> None:
    body = b'{"model": "mini", "messages": [{"role": "user", "content": "Hi"}], "\\ud800": 1}'
    answer = httpx.post(
        f"{url}/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400


def test_a_locked_server_takes_no_other_control(mini: LocalBackend) -> None:
    app = create_app(mini, persona=load_pinned(), control="boost:4", keys=["sesame"])
    with serve_app(app) as url, client(url, "sesame") as ai:
        assert ask(ai, TEA).holdfast["control"] == "boost:4"
        unwatched = {"holdfast": {"watch": False}}
        for extra in (control("none"), unwatched, {"chat_template_kwargs": {"custom": "x"}}):
            with pytest.raises(openai.PermissionDeniedError, match="locked"):
                ask(ai, TEA, extra_body=extra)


REFUSED: list[tuple[str, dict[str, Any], type[openai.APIStatusError]]] = [
    (
        "messages[0].role",
        {"messages": [{"role": "wizard", "content": "x"}]},
        openai.BadRequestError,
    ),
    ("messages", {"messages": []}, openai.BadRequestError),
    ("temperature", {"temperature": 3}, openai.BadRequestError),
    ("temperature", {"extra_body": {"temperature": "hot"}}, openai.BadRequestError),
    ("n", {"n": 100}, openai.BadRequestError),
    ("frequency_penalty", {"frequency_penalty": 3}, openai.BadRequestError),
    ("response_format.type", {"response_format": {"type": "audio"}}, openai.BadRequestError),
    ("tool_choice", {"tool_choice": "required"}, openai.BadRequestError),
    ("top_logprobs", {"top_logprobs": 2}, openai.BadRequestError),
    ("model", {"model": "gpt-9"}, openai.NotFoundError),
    ("holdfast.control", {"extra_body": control("magic")}, openai.BadRequestError),
    ("holdfast.control", {"extra_body": control("anchor@layers=0-99")}, openai.BadRequestError),
    ("holdfast.control", {"extra_body": control("boost:4@heads=99")}, openai.BadRequestError),
    ("holdfast.control", {"extra_body": control("route:/etc/passwd")}, openai.BadRequestError),
    ("holdfast.contrl", {"extra_body": {"holdfast": {"contrl": "x"}}}, openai.BadRequestError),
]


@pytest.mark.parametrize(("param", "fields", "error"), REFUSED)
def test_what_cannot_be_done_raises_the_clients_own_exception(
    ai: openai.OpenAI, param: str, fields: dict[str, Any], error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error) as caught:
        ai.chat.completions.create(**{"model": "mini", "messages": [TEA], **fields})
    assert caught.value.param == param
    assert isinstance(caught.value.body, dict)
    assert {"message", "type", "param", "code"} == set(caught.value.body)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (rb'"messages": []', "messages: list should have at least 1 item, not 0."),
        (rb'"messages": ["hi"]', "messages[0]: input should be an object."),
        (rb'"stream_options": "x"', "stream_options: input should be an object."),
        (rb'"holdfast": {"contrl": "x"}', "holdfast.contrl: there is no such field."),
        (rb'"\ud83d": 1', "a field's name: input has half a character, as of an emoji cut in two: "
         "send whole ones."),
        (rb'"reasoning_effort": "\ud83d"', "reasoning_effort: input has half a character, as of an "
         "emoji cut in two: send whole ones."),
        (rb'"model": ""', "there is no model '' here: this server has mini."),
        (rb'"model": "a\nb"', r"there is no model 'a\nb' here: this server has mini."),
        (rb'"model": "%s"' % (b"m" * 900), f"there is no model '{'m' * 200}' here: this server has "
         "mini."),
        ('"stop": "é"'.encode("latin-1"), "the body is not valid JSON in UTF-8."),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_in_a_sentence(url: str, fields: bytes, message: str) -> None:
    body = b'{"model": "mini", "messages": [{"role": "user", "content": "Hi"}], %s}' % fields
    answer = httpx.post(f"{url}/chat/completions", content=body, headers=JSON)
    assert answer.json()["error"]["message"] == message


def test_a_body_in_another_encoding_is_refused(url: str) -> None:
    body = json.dumps({"model": "mini", "messages": [TEA]})
    for encoding, status in (("utf-8", 200), ("utf-8-sig", 200), ("utf-16", 400)):
        content = body.encode(encoding)
        answer = httpx.post(f"{url}/chat/completions", content=content, headers=JSON)
        assert answer.status_code == status


def test_a_chat_that_is_too_long_has_openais_code(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(ai, {"role": "user", "content": "tea " * 3000})
    assert caught.value.code == "context_length_exceeded"


def test_an_image_is_refused_by_its_place(ai: openai.OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(openai.BadRequestError, match=r"messages\[0\]\.content"):
        ask(ai, {"role": "user", "content": [image]})


def test_text_in_parts_is_the_text(ai: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "Do you like"}, {"type": "text", "text": " tea?"}]
    in_parts = ask(ai, SHOUT, {"role": "user", "content": parts}, seed=1)
    assert in_parts.choices[0].message.content == ask(ai, seed=1).choices[0].message.content


def test_the_model_is_listed_and_found_by_name(ai: openai.OpenAI) -> None:
    assert [model.id for model in ai.models.list()] == ["mini"]
    assert ai.models.retrieve("mini").owned_by == "holdfast"
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("other")


def test_health_metrics_and_documentation_are_there(url: str, ai: openai.OpenAI) -> None:
    ask(ai, extra_body=control("anchor"))
    root = url.removesuffix("/v1")
    assert httpx.get(f"{root}/health").json() == {"status": "ok", "model": "mini"}
    figures = httpx.get(f"{root}/metrics").text
    assert 'holdfast_replies_total{control="anchor",finish="stop"}' in figures
    assert "holdfast_prompt_share_bucket" in figures
    page = httpx.get(f"{root}/docs")
    assert page.status_code == 200 and "http" not in page.text.replace("http-equiv", "")
    for file in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert httpx.get(f"{root}{file}").status_code == 200
    paths = httpx.get(f"{root}/openapi.json").json()["paths"]
    assert "/v1/chat/completions" in paths


def test_what_is_not_there_has_openais_shape_too(url: str) -> None:
    for method, path, status in (("POST", "/embeddings", 404), ("GET", "/chat/completions", 405)):
        answer = httpx.request(method, url + path)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_the_base_url_in_a_browser_names_the_page(url: str) -> None:
    answer = httpx.get(url)
    assert answer.status_code == 404
    assert "the page for a browser is at /." in answer.json()["error"]["message"]


# A pinned persona


def load_pinned(name: str = "upper-1") -> Persona:
    return select(load_suite("mini"), [name])[0]


def test_a_pinned_persona_goes_before_every_chat_and_is_judged(mini: LocalBackend) -> None:
    persona = load_pinned()
    with serve_app(create_app(mini, persona=persona, control="anchor")) as url, client(url) as ai:
        reply = ask(ai, TEA, temperature=0)
        other = ask(ai, TEA, temperature=0, extra_body=control("none"))
        *_, last = ask(ai, TEA, temperature=0, stream=True)
    chat = ({"role": "system", "content": persona.prompt}, TEA)
    (own,) = mini.reply([Ask(chat, 0, parse("anchor"))], GREEDY)  # type: ignore[arg-type]
    assert reply.choices[0].message.content == own.text
    assert reply.holdfast["control"] == "anchor"
    assert other.holdfast["control"] == "none"
    assert reply.holdfast["score"] == judge.build(persona.judge)(own.text).value == 1.0
    assert last.holdfast == reply.holdfast


def test_a_clients_own_system_prompt_follows_the_pinned_one(mini: LocalBackend) -> None:
    persona = load_pinned()
    with serve_app(create_app(mini, persona=persona)) as url, client(url) as ai:
        reply = ask(ai, {"role": "developer", "content": "Be kind."}, TEA, temperature=0)
    prompt = {"role": "system", "content": f"{persona.prompt}\n\nBe kind."}
    (own,) = mini.reply([Ask((prompt, TEA), 0)], GREEDY)  # type: ignore[arg-type]
    assert reply.choices[0].message.content == own.text
    assert reply.usage.prompt_tokens == own.prompt_tokens
