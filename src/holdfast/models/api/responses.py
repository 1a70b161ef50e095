"""Responses of an OpenAI-compatible server, read without trust: completions and errors.

Servers agree on the shape of a good completion and on little else. A completion may lack its
usage, its text or its choices. An error may be OpenAI's object, FastAPI's `detail`, a bare string
or a page of HTML, and each server has its own status and words for the same error. Here bytes
become an `ApiCompletion` or a `ServerError`, and a server error becomes an exception of one
sentence.

This module is pure: it opens no connection and knows no asks, only bytes and statuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from holdfast.core.backend import Stop
from holdfast.core.chat import replace_surrogates
from holdfast.core.errors import HoldfastError, ModelError, ServiceError, shorten
from holdfast.models.thinking import split_thought

Kind = Literal[
    "overflow", "filter", "key", "permission", "quota", "rate", "system", "order", "model",
    "path", "request", "server",
]  # fmt: skip

LONGEST_LINE = 300  # characters of a server's own words that an error repeats


class Tokens(NamedTuple):
    """Tokens as the server counted them; `cached` of `prompt` were not computed again."""

    prompt: int
    cached: int
    completion: int


class ApiCompletion(NamedTuple):
    """A completion: text, why it ended, the reason if that was an error, tokens, and thought."""

    text: str
    stop: Stop = "stop"
    error: str | None = None
    tokens: Tokens | None = None
    thought: str | None = None


class ServerError(NamedTuple):
    """An error as the server worded it; `codes` are its code and its type."""

    status: int
    message: str
    codes: frozenset[str] = frozenset()
    param: str = ""


class Endpoint(NamedTuple):
    """A model's name and its server's URL without secrets, for sentences."""

    model: str
    url: str


def is_page(content: bytes) -> bool:
    """Say whether this is HTML or XML, which no model server sends."""
    return content.lstrip()[:1] == b"<"


# Completions


def _parse_json(content: bytes) -> Any:
    return json.loads(content.decode("utf-8", "replace"))


def _as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_completion(content: bytes) -> ApiCompletion:
    """Read the body of a successful response; whatever is wrong with it becomes `error`.

    Reasoning (`reasoning_content`, `reasoning`, or between tags in the text) is the thought and not
    part of the reply. Text in OpenAI's `refusal` field is.
    """
    try:
        body = _as_mapping(_parse_json(content))
    except (ValueError, RecursionError):
        return ApiCompletion("", "error", "the server's answer is not JSON")
    tokens = _read_tokens(body.get("usage"))
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        error = read_error(200, content) if body.get("error") else ServerError(200, "")
        stop: Stop = "overflow" if classify(error) == "overflow" else "error"
        return ApiCompletion(
            "", stop, error.message or "the server's answer has no choices", tokens
        )
    choice = _as_mapping(choices[0])
    message = _as_mapping(choice.get("message"))
    text = _read_text(message.get("content"))
    if text is None:
        text = _read_text(message.get("refusal"))
    apart = _read_text(message.get("reasoning_content")) or _read_text(message.get("reasoning"))
    within = split_thought(text or "")
    thought = "\n".join(filter(None, (apart, within.thought))).strip() or None
    stop, reason = _read_stop(choice)
    if text is None and thought is None and stop == "stop":
        stop, reason = "error", "the server's answer has no text"
    return ApiCompletion(within.reply, stop, reason, tokens, thought)


def _read_text(content: object) -> str | None:
    """Return the text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return replace_surrogates(content)
    if not isinstance(content, list):
        return None
    parts = [_as_mapping(part) for part in content]
    texts = [
        part.get("text") for part in parts if part.get("type", "text") in ("text", "output_text")
    ]
    return replace_surrogates("".join(text for text in texts if isinstance(text, str)))


def _read_stop(choice: Mapping[str, Any]) -> tuple[Stop, str | None]:
    reason = choice.get("finish_reason")
    if reason in ("length", "max_tokens"):
        return "length", None
    if reason == "content_filter":
        return "error", "the server's content filter stopped the reply"
    if reason == "error" or choice.get("error"):
        words = _as_mapping(choice.get("error")).get("message")
        return "error", _shorten(words) or "the server stopped the reply with an error"
    return "stop", None


def _read_tokens(usage: object) -> Tokens | None:
    """Return the server's token counts; None if they are missing or impossible."""
    counts = _as_mapping(usage)
    prompt = _read_count(counts.get("prompt_tokens"))
    completion = _read_count(counts.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    cached = _read_count(_as_mapping(counts.get("prompt_tokens_details")).get("cached_tokens"))
    return Tokens(prompt, min(cached or 0, prompt), completion)


def _read_count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and value == value // 1 else None


# Errors


def read_error(status: int, content: bytes) -> ServerError:
    """Read an error response of any shape."""
    try:
        body = _parse_json(content)
    except (ValueError, RecursionError):
        text = "" if is_page(content) else content.decode("utf-8", "replace")
        return ServerError(status, _shorten(text))
    if isinstance(body, list) and body:  # Gemini's endpoint wraps its object in a list
        body = body[0]
    error = _as_mapping(body).get("error") or body
    fields = _as_mapping(error)
    if not fields:
        return ServerError(status, _shorten(error if isinstance(error, str) else json.dumps(error)))
    words = fields.get("message") or fields.get("detail") or dict(fields)
    # OpenRouter passes on the words of the provider behind it.
    raw = _as_mapping(fields.get("metadata")).get("raw")
    message = " ".join(_shorten(part) for part in (words, raw) if part)
    codes = {str(fields[key]) for key in ("code", "type") if fields.get(key) is not None}
    return ServerError(status, _shorten(message), frozenset(codes), str(fields.get("param") or ""))


def _shorten(value: object) -> str:
    """Return anything a server sent as one short line."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(replace_surrogates(text), LONGEST_LINE)


_OVERFLOW_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_OVERFLOW = re.compile(
    r"context (length|size|window)"  # OpenAI, vLLM, SGLang, llama.cpp, LM Studio
    r"|longer than the maximum model length"  # vLLM
    r"|prompt is too long|input is too long|too many (input )?tokens"  # Anthropic, others
    r"|input token count .* exceeds"  # Gemini
    r"|tokens\W+\+ \W?max_new_tokens\W+must be",  # TGI
    re.IGNORECASE,
)
_FILTER_CODES = {"content_filter", "content_policy_violation"}
_FILTER = re.compile(r"content management policy|\bflagged\b", re.IGNORECASE)
_QUOTA = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|exceeded your current quota", re.IGNORECASE
)
_SYSTEM = re.compile(
    r"system (role|message|prompt|instruction)s?\b.{0,40}\b(not|un)\s?(supported|allowed|enabled)"
    r"|(unsupported|unknown|invalid) (message )?role.{0,4}system"
    r"|developer instruction is not enabled"
    r"|only user(,| and) assistant",
    re.IGNORECASE,
)
_ORDER = re.compile(r"roles? must alternate", re.IGNORECASE)
_MODEL = re.compile(
    r"\bmodels?\b.*\b(not found|not exist|unknown|not a valid|not available|not loaded)"
    r"|not a valid model|invalid model|unknown model|no models? loaded|no such model"
    r"|server is pinned to",
    re.IGNORECASE,
)
_BY_WORDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("system", _SYSTEM),
    ("order", _ORDER),
    ("model", _MODEL),
)
_BY_STATUS: dict[int, Kind] = {
    401: "key", 402: "quota", 403: "permission", 404: "path", 413: "overflow", 429: "rate",
}  # fmt: skip


def classify(error: ServerError) -> Kind:
    """Find what an error is about, by its code, then its words, then its status."""
    status, message, codes, _ = error
    about_limits = status not in (401, 402, 403, 404, 429)
    if codes & _OVERFLOW_CODES or (about_limits and _OVERFLOW.search(message)):
        return "overflow"
    if codes & _FILTER_CODES or _FILTER.search(message):
        return "filter"
    if "insufficient_quota" in codes or (status in (402, 403, 429) and _QUOTA.search(message)):
        return "quota"
    if "model_not_found" in codes:
        return "model"
    if status in (400, 404, 422, 500):
        for kind, pattern in _BY_WORDS:
            if pattern.search(message):
                return kind
    return _BY_STATUS.get(status, "server" if status >= 500 else "request")


def is_final(error: ServerError) -> bool:
    """Say whether a retry is no use, even if the status alone allows one."""
    return classify(error) in ("quota", "overflow", "filter", "system", "order", "model")


# If a server refuses a combination, we stop sending the one that comes first here.
_OPTIONAL = (
    "top_k", "seed", "top_p", "stop", "max_tokens", "max_completion_tokens", "temperature",
    "chat_template_kwargs",
)  # fmt: skip
_VALUE = re.compile(
    r"too (large|small|high|low)|at (most|least)|must be|between|range|(greater|less|more) than",
    re.IGNORECASE,
)


def find_refused_parameter(error: ServerError, names: Collection[str]) -> str | None:
    """Find which of the sent sampling parameters a server does not take; None for other errors.

    A parameter that the server takes but whose value is wrong is for the user to change.
    """
    if error.status not in (400, 422) or _VALUE.search(error.message):
        return None
    if error.param in _OPTIONAL and error.param in names:
        return error.param
    for name in _OPTIONAL:
        mention = re.search(rf"['\"`‘“]{name}['\"`’”]|: {name}\b", error.message)
        if name in names and mention:
            return name
    return None


_SENTENCES: dict[Kind, tuple[type[HoldfastError], str]] = {
    "key": (
        ServiceError,
        "{url} refused the API key{words}; set HOLDFAST_API_KEY or OPENAI_API_KEY to a key of "
        "that service",
    ),
    "permission": (
        ServiceError,
        "{url} does not let this API key use {model}{words}; ask for access or "
        "choose another model",
    ),
    "quota": (
        ServiceError,
        "the account at {url} has no quota or credit left{words}; top it up and run the same "
        "command again",
    ),
    "rate": (
        ServiceError,
        "{url} still limited the rate after the last retry{words}; wait, or lower the concurrency",
    ),
    "system": (
        ModelError,
        "{model} at {url} takes no system prompt{words}; serve it with a chat template that has a "
        "system role, or run it on this machine, where the prompt is folded into the first message",
    ),
    "order": (
        ModelError,
        "{model} at {url} wants user and assistant to alternate, the user first{words}; leave "
        "user_first at True and check the chat's order",
    ),
    "model": (
        ModelError,
        "{url} has no model {model}{words}; name one that its /models lists",
    ),
    "path": (
        ServiceError,
        "{url} has no /chat/completions{words}; a base URL usually ends in /v1",
    ),
    "request": (
        ServiceError,
        "{url} refused the request for {model}{words}; change what it names, or check the server",
    ),
    "server": (
        ServiceError,
        "{url} failed on the request for {model} and on its retries{words}; see the server's log, "
        "then run the same command again",
    ),
}


def exception_for(error: ServerError, endpoint: Endpoint) -> HoldfastError:
    """Return the exception to raise for an error that ends the run."""
    kind = classify(error)
    exception, form = _SENTENCES.get(kind, _SENTENCES["request"])
    words = f"HTTP {error.status}" + (f": {error.message.rstrip('.')}" if error.message else "")
    return exception(form.format(url=endpoint.url, model=endpoint.model, words=f" ({words})"))
