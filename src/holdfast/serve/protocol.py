"""OpenAI's chat completion requests, validated.

A wrong field is refused by its name. So is a field of OpenAI's or vLLM's at a value that would
change the reply and that this server does not support (`logit_bias`, `min_tokens`, …). An unknown
field changes nothing, since clients send many: the response names it in `holdfast.ignored`. Inside
`holdfast`, which is ours, any unknown field is refused.

This module knows requests. It knows no models, and neither threads nor HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.control import Control
from holdfast.persona.suite import Persona
from holdfast.serve.http_errors import RequestError, invalid_value, unsupported_value

# Fields of OpenAI's and vLLM's servers that are not supported, and the values that change nothing.
_UNSUPPORTED: Mapping[str, Sequence[Any]] = {
    **dict.fromkeys(
        ("logit_bias", "functions", "function_call", "audio", "prediction",
         "web_search_options", "verbosity", "guided_grammar", "guided_whitespace_pattern",
         "guided_decoding_backend", "chat_template", "documents", "bad_words",
         "stop_token_ids", "allowed_token_ids", "prompt_logprobs", "logits_processors"),
        (None, {}, []),
    ),
    **dict.fromkeys(
        ("ignore_eos", "echo", "use_beam_search", "continue_final_message",
         "include_stop_str_in_output"),
        (None, False),
    ),
    "min_tokens": (None, 0),
    "length_penalty": (None, 1),
    "modalities": (None, ["text"]),
    "add_generation_prompt": (None, True),
    "add_special_tokens": (None, False),
    "skip_special_tokens": (None, True),
    "tool_choice": (None, "none", "auto"),
}  # fmt: skip

# pydantic's words where they are of Python, or not of what a client sent.
_WORDS: Mapping[str, str] = {
    "dict_type": "input should be an object",
    "model_type": "input should be an object",
    "extra_forbidden": "there is no such field",
    "string_unicode": "input has half a character, as of an emoji cut in two: send whole ones",
}
_HALF = re.compile("[\ud800-\udfff]")
Finite = Annotated[float, Field(allow_inf_nan=False)]
COLDEST = 1e-4  # the lowest temperature but 0
LONGEST_STOP = 1000  # a reply's end is compared with all beginnings of a stop string
# Longer than any useful control: the text is parsed.
ControlText = Annotated[str, Field(max_length=200, examples=["anchor", "reminder:0.5"])]


class TextPart(BaseModel):
    """A text part of a message."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message. Further fields (`name`, …) go to the chat template."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What a stream has besides text."""

    model_config = ConfigDict(strict=True, extra="allow")

    include_usage: bool = False


class HoldfastOptions(BaseModel):
    """Holdfast's options of a request: `extra_body={"holdfast": {…}}`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    control: ControlText | None = Field(None, description="In place of the server's default.")
    measure: bool = Field(True, description="Whether the prompt share is measured.")
    watch: bool = Field(True, description="Whether the reply counts as live traffic.")


class ChatRequest(BaseModel):
    """A chat completion, as OpenAI's API takes it. `top_k` and `holdfast` are additions."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=2**31)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31)
    temperature: Finite | None = Field(None, ge=0, le=2)
    top_p: Finite | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=2**31)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=128)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    frequency_penalty: Finite | None = Field(None, ge=-2, le=2)
    presence_penalty: Finite | None = Field(None, ge=-2, le=2)
    min_p: Finite | None = Field(None, ge=0, le=1)
    repetition_penalty: Finite | None = Field(None, ge=0.01, le=100)
    reasoning_effort: Annotated[str, Field(max_length=40)] | None = None
    logit_bias: dict[str, Finite] | None = None
    response_format: dict[str, Any] | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    structured_outputs: dict[str, Any] | None = None
    holdfast: HoldfastOptions | None = None

    @property
    def options(self) -> HoldfastOptions:
        """Holdfast's options, or their defaults."""
        return self.holdfast or HoldfastOptions.model_validate({})

    @property
    def limit(self) -> int | None:
        """Tokens of a reply at most, by either of its names."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings; empty ones stop nothing."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in stops if stop)

    @property
    def unknown(self) -> list[str]:
        """Top-level fields that are not understood."""
        return sorted((self.model_extra or {}).keys() - _UNSUPPORTED.keys())

    def check(self) -> None:
        """Raise `RequestError` for a value that would change the reply and is not supported."""
        if self.temperature and self.temperature < COLDEST:
            raise invalid_value(
                "temperature",
                f"temperature is 0 or at least {COLDEST}: dividing by less gives no numbers.",
            )
        if any(len(stop) > LONGEST_STOP for stop in self.stops):
            raise invalid_value("stop", f"a stop string has {LONGEST_STOP} characters at most.")
        fields = {**(self.model_extra or {}), **dict(self)}
        for name, free in _UNSUPPORTED.items():
            if fields.get(name) not in free:
                raise unsupported_value(
                    name,
                    f"{name} is not supported at this value, which would change the reply: leave "
                    "it out.",
                )
        if self.stream_options is not None and not self.stream:
            raise RequestError(
                400, "stream_options needs stream to be true.", param="stream_options"
            )
        for i, one in enumerate(self.messages):
            if half := _HALF.search(one.text()):
                raise invalid_value(
                    f"messages[{i}].content",
                    f"messages[{i}].content has half a character (U+{ord(half[0]):04X}), as where "
                    "an emoji was cut in two: send whole ones.",
                )
            if one.content is None and not (one.role == "assistant" and one.tool_calls):
                raise invalid_value(
                    f"messages[{i}].content",
                    f"messages[{i}].content is missing: only an assistant's message with "
                    "tool_calls has none.",
                )
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")


class ErrorDetail(BaseModel):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str | int | None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


def invalid_request(errors: Sequence[Mapping[str, Any]]) -> RequestError:
    """The first of pydantic's errors as an error of ours."""
    error = _clearest(errors)
    place = _place(error)
    kind = str(error["type"])
    if kind == "json_invalid":
        return RequestError(400, "the body is not valid JSON.", code="invalid_json")
    if not place and kind in ("dict_type", "model_type"):
        return RequestError(400, "the body must be a JSON object.", code="invalid_type")
    parts = [f"[{part}]" if isinstance(part, int) else f".{part[:100]}" for part in place]
    param = "".join(parts).lstrip(".")
    code = "missing_required_parameter" if kind == "missing" else "invalid_value"
    where = param or "a field's name"
    return RequestError(400, f"{where}: {_sentence(error)}.", code=code, param=param or None)


def _clearest(errors: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first error; of a value that may have several types, the one that fits it best."""
    first = _place(errors[0])
    return max(
        (one for one in errors if _place(one)[: len(first)] == first),
        # What is of the right type and out of bounds says more than a wrong type.
        key=lambda one: (len(_place(one)), not str(one["type"]).endswith("_type")),
    )


def _place(error: Mapping[str, Any]) -> list[str | int]:
    """Where an error is, without the types that pydantic tried (`str`, `list[TextPart]`)."""
    place = [part for part in error["loc"] if part != "body"]
    return [
        part for part in place if part != "str" and not str(part).startswith(("list[", "dict["))
    ]


def _sentence(error: Mapping[str, Any]) -> str:
    message = _WORDS.get(str(error["type"]), str(error["msg"]).replace(" after validation", ""))
    return message[:1].lower() + message[1:].rstrip(".")


def model_card(
    name: str, created: int, control: Control, persona: Persona | None
) -> dict[str, Any]:
    """A model in the list of models.

    Args:
        name: the name that clients send.
        created: when, in seconds since 1970.
        control: of requests that name none.
        persona: goes before its chats.
    """
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "holdfast",
        "holdfast": {"control": control.text, "persona": persona.id if persona else None},
    }
