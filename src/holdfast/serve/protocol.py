"""OpenAI's chat completion requests, checked: what is understood, and what is told of the rest.

A field that is wrong is refused with its name. A known field at a value that would change
the reply, and that is not done here (`frequency_penalty`, `response_format`, …), is
refused as well. A field that is not known changes nothing, since clients send many: it is
named in the reply's `holdfast.ignored`. Inside of `holdfast`, which is ours, any unknown
field is refused.

This module knows requests. It knows no models, and neither threads nor HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from holdfast.serve.http_errors import Refusal

Finite = Annotated[float, Field(allow_inf_nan=False)]
# No control that does anything is longer, and this text is parsed.
ControlText = Annotated[str, Field(max_length=200, examples=["anchor", "reminder:0.5"])]


class TextPart(BaseModel):
    """A piece of a message that is text."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["text"]
    text: str


class Said(BaseModel):
    """One message. What else it holds (`name`, …) is handed to the chat template."""

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


class Holding(BaseModel):
    """What Holdfast is asked for this request: `extra_body={"holdfast": {…}}`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    control: ControlText | None = Field(None, description="In place of the server's default.")
    measure: bool = Field(True, description="Whether the prompt share is measured.")


class ChatRequest(BaseModel):
    """A chat completion, as OpenAI's API takes it. `top_k` and `holdfast` are additions."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    messages: list[Said] = Field(min_length=1)
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
    frequency_penalty: Finite | None = Field(None, ge=-2, le=2)
    presence_penalty: Finite | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Finite] | None = None
    response_format: dict[str, Any] | None = None
    holdfast: Holding | None = None

    @property
    def limit(self) -> int | None:
        """Tokens of a reply at most, under whichever name."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings; empty ones stop nothing."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in given if stop)

    @property
    def unknown(self) -> list[str]:
        """Top-level fields that are not understood."""
        return sorted(self.model_extra or {})

    def check(self) -> None:
        """Raise `Refusal` for a value that would change the reply and is not done here."""
        forms = (self.response_format or {"type": "text"}).get("type")
        refused = {
            "frequency_penalty": bool(self.frequency_penalty),
            "presence_penalty": bool(self.presence_penalty),
            "logit_bias": bool(self.logit_bias),
            "response_format": forms != "text",
            "tool_choice": self.tool_choice not in (None, "none", "auto"),
        }
        for name in (name for name, found in refused.items() if found):
            raise Refusal(
                400,
                f"{name} is not supported at this value, which would change the reply: leave it "
                "out.",
                code="unsupported_value",
                param=name,
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise Refusal(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")


class Problem(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str | int | None


class Problems(BaseModel):
    """The body of every answer that is no completion."""

    error: Problem


def refusal(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """The refusal that the first of pydantic's errors amounts to."""
    error = errors[0]
    place = [part for part in error["loc"] if part != "body"]
    kind = str(error["type"])
    if kind == "json_invalid":
        return Refusal(400, "the body is not valid JSON.", code="invalid_json")
    if not place:
        return Refusal(400, "the body must be a JSON object.", code="invalid_type")
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    param = param.lstrip(".")
    code = "missing_required_parameter" if kind == "missing" else "invalid_value"
    return Refusal(400, f"{param}: {_said(error)}.", code=code, param=param)


def _said(error: Mapping[str, Any]) -> str:
    message = str(error["msg"])
    return message[:1].lower() + message[1:].rstrip(".")
