"""Ollama's requests as chat completions.

`options` have the names of the completions' own fields where there are such; the others are named
as ignored. What would change the reply and is not supported is refused.

This module knows Ollama's and OpenAI's requests. It knows no HTTP.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from holdfast.core.control import NONE
from holdfast.serve.http_errors import RequestError
from holdfast.serve.protocol import ChatRequest, invalid_request
from holdfast.serve.requests import CompletionContext, CompletionPlan

# Ollama's option to the name of ours.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "num_predict": "max_tokens",
}
_WHOLE = ("top_k", "seed", "num_predict")
_LEAST = {"seed": 0, "max_tokens": 1}  # less, as -1, is as if the option were not there
# Ollama's own defaults, where they are not OpenAI's.
_DEFAULTS: Mapping[str, Any] = {"temperature": 0.8, "top_p": 0.9, "top_k": 40}
_FIELDS = frozenset(
    {"model", "name", "messages", "prompt", "system", "raw", "stream", "options", "tools", "think"}
    | {"format", "metadata", "keep_alive"}  # the model stays in memory
)
_OF_CHATS = ("system", "tools", "think")  # which a raw prompt has no place for
_UNSUPPORTED = ("images", "suffix", "template", "context")


def read_chat(fields: dict[str, Any], context: CompletionContext) -> CompletionPlan | None:
    """A chat's plan; None for one without messages, which only loads the model."""
    messages = fields.get("messages")
    if not messages:
        return None
    plan = context.read(_request(fields, context, _plain_messages(messages)))
    return replace(plan, ignored=[*plan.ignored, *_find_ignored(fields)])


def read_prompt(fields: dict[str, Any], context: CompletionContext) -> CompletionPlan | None:
    """A prompt's plan; None for an empty one."""
    prompt, system = fields.get("prompt", ""), fields.get("system") or ""
    if not isinstance(prompt, str) or not isinstance(system, str):
        raise RequestError(400, "prompt and system are texts.")
    if not prompt:
        return None
    for name in _UNSUPPORTED:
        if fields.get(name):
            raise RequestError(400, f"{name} is not supported: leave it out.")
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    body = _request(fields, context, messages)
    raw = fields.get("raw") is True and context.persona is None and not context.lock
    plan = _plan_raw(body, prompt, context) if raw else context.read(body)
    unused = [name for name in _OF_CHATS if raw and fields.get(name)]
    return replace(plan, ignored=[*plan.ignored, *unused, *_find_ignored(fields)])


def with_ollamas_name(error: RequestError) -> RequestError:
    """The error of a completion's field under the name that Ollama's clients send."""
    names = {own: name for name, own in _OPTIONS.items()} | {"response_format": "format"}
    own = error.param or ""
    message = error.message.replace(own, names[own]) if own in names else error.message
    return RequestError(error.status, message, param=names.get(own, own), headers=error.headers)


def _find_ignored(fields: Mapping[str, Any]) -> list[str]:
    """Fields and options that are set and change nothing."""
    options = fields.get("options") or {}
    names = [name for name in options if name not in _OPTIONS]
    names += [name for name, value in fields.items() if value and name not in _FIELDS]
    # A level of thinking, as in "high", is none of this server's.
    return names + (["think"] if isinstance(fields.get("think"), str) else [])


def _plan_raw(body: ChatRequest, text: str, context: CompletionContext) -> CompletionPlan:
    """A plan that continues a text as it is, special tokens in it read as such."""
    from holdfast.models.engine.request import Request

    body.check()
    seed = secrets.randbits(62) if body.seed is None else body.seed
    request = Request(tuple(context.backend.tokenizer(text).input_ids), seed)
    return CompletionPlan(body, NONE, context.add_options(request, body), body.unknown, 1)


def _request(fields: dict[str, Any], context: CompletionContext, messages: Any) -> ChatRequest:
    """Ollama's request as a chat completion's."""
    options = fields.get("options") or {}
    if not isinstance(options, dict):
        raise RequestError(400, "options must be an object.")
    body: dict[str, Any] = {**_DEFAULTS, "model": context.backend.name, "messages": messages}
    for name, value in options.items():
        if name in _OPTIONS and value is not None:
            whole = name in _WHOLE and isinstance(value, float) and value.is_integer()
            body[_OPTIONS[name]] = int(value) if whole else value
    for name, least in _LEAST.items():
        if isinstance(body.get(name), int) and body[name] < least:
            del body[name]
    if fields.get("tools"):
        body["tools"] = fields["tools"]
    if isinstance(fields.get("think"), bool):
        body["chat_template_kwargs"] = {"enable_thinking": fields["think"]}
    if (form := fields.get("format")) not in (None, ""):
        body["response_format"] = _form(form)
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        raise invalid_request(error.errors()) from None


def _form(form: object) -> dict[str, Any]:
    """The form of the reply: "json", or a JSON schema."""
    if form == "json":
        return {"type": "json_object"}
    if isinstance(form, dict):
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": form}}
    raise RequestError(400, 'format is "json" or a JSON schema.')


def _plain_messages(messages: Any) -> Any:
    """Messages without Ollama's own fields, which no chat template knows."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise RequestError(400, "messages is a list of objects with role and content.")
    if any(one.get("images") for one in messages):
        raise RequestError(400, "images are not supported: leave them out.")
    own = ("images", "thinking", "tool_name")
    return [{k: v for k, v in one.items() if k not in own} for one in messages]
