"""What a reply must be, from the fields that OpenAI's and vLLM's clients send.

    response_format      {"type": "text"}, {"type": "json_object"}, or
                         {"type": "json_schema", "json_schema": {"schema": …}}
    guided_json, guided_regex, guided_choice                           vLLM's
    structured_outputs   {"json": …}, {"regex": …} or {"choice": …}    vLLM's since 0.11

This module knows requests. It knows no models.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from holdfast.serve.http_errors import unsupported_value
from holdfast.serve.protocol import ChatRequest

if TYPE_CHECKING:  # the gateway runs without transformers
    from holdfast.models.engine.grammar import Kind

_ANY_OBJECT = {"type": "object"}
_KINDS = ("json", "regex", "choice")


def grammar_of(body: ChatRequest) -> str:
    """The grammar of a request's replies; empty where they may be anything.

    Raises:
        RequestError: with the field's name, if it asks for what cannot be done.
    """
    grammars = list(_find_constraints(body))
    if not grammars:
        return ""
    name, kind, value = grammars[0]
    if len(grammars) > 1:
        second = grammars[1][0]
        raise unsupported_value(second, f"a reply cannot follow {name} and {second}: send one.")
    if body.tools and body.tool_choice != "none":
        raise unsupported_value(
            name, f"{name} would keep the model from calling tools: send one of the two."
        )
    from holdfast.models.engine.grammar import GrammarError, compile_grammar

    try:
        return compile_grammar(cast("Kind", kind), value)
    except GrammarError as error:
        raise unsupported_value(name, f"{name}: {error}.") from error


def _find_constraints(body: ChatRequest) -> Iterator[tuple[str, str, Any]]:
    """The fields that constrain the reply: name, kind and value."""
    form = body.response_format
    if form is not None and form.get("type") != "text":
        yield "response_format", "json", _schema(form)
    for kind in _KINDS:
        if (value := getattr(body, f"guided_{kind}")) is not None:
            yield f"guided_{kind}", kind, value
    outputs = {name: x for name, x in (body.structured_outputs or {}).items() if x is not None}
    for name, value in outputs.items():
        if name not in _KINDS:
            name = f"structured_outputs.{name[:100]}"
            raise unsupported_value(name, f"{name} is not supported: use json, regex or choice.")
        yield f"structured_outputs.{name}", name, value


def _schema(form: dict[str, Any]) -> Any:
    kind = form.get("type")
    if kind == "json_object":
        return _ANY_OBJECT
    outer = form.get("json_schema")
    if kind != "json_schema":
        name = "response_format.type"
        raise unsupported_value(name, f"{name} is text, json_object or json_schema.")
    if not isinstance(outer, dict) or not isinstance(outer.get("schema"), dict):
        name = "response_format.json_schema.schema"
        raise unsupported_value(name, f"{name} must be a JSON schema, as an object.")
    return outer["schema"]
