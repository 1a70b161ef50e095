"""Tool calls in the text of a reply, in the formats that chat templates have published.

    hermes    <tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>
    llama     {"name": "weather", "parameters": {"city": "Ulm"}}; …
    mistral   [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Ulm"}}, …]

`hermes` is that of Hermes 2 and 3, Qwen2.5 and Qwen3, `llama` the JSON of Llama 3.1 to 3.3,
`mistral` that of Mistral's tokenizers up to v7. Text before the first call is the reply's content.
Llama's and Mistral's calls are the whole reply, since the tokens that mark them, `<|python_tag|>`
and `[TOOL_CALLS]`, are no text. A reply that has anything else where calls are is text.

This module knows text. It knows no models.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any, Literal

CallFormat = Literal["hermes", "llama", "mistral"]
_OPENING = "<tool_call>"
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_OTHER = "<function="  # Qwen3-Coder's calls have the same tags around another format
_MISTRAL, _ARGUMENTS = "[TOOL_CALLS]", "[ARGS]"  # from v11 on, a name and its arguments
_LLAMA = '"parameters": dictionary of argument name and its value'  # what the template asks for
_PYTHON = "<|python_tag|>"


def find_call_format(template: str) -> CallFormat | None:
    """The format in which a chat template asks for calls; None for one that is not read."""
    if _OPENING in template:
        return None if _OTHER in template else "hermes"
    if _MISTRAL in template:
        return None if _ARGUMENTS in template else "mistral"
    return "llama" if _LLAMA in template else None


def read_calls(text: str, kind: CallFormat) -> tuple[str | None, list[dict[str, Any]]]:
    """The content and the tool calls of a reply, as OpenAI's messages have them.

    Args:
        text: the reply.
        kind: the format of its template.
    """
    try:
        content, calls = _READERS[kind](text)
        results = [_write_call(fields, kind) for fields in calls]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text, []
    return (content.strip() or None, results) if results else (text, [])


def _read_hermes(text: str) -> tuple[str, list[Any]]:
    content, opening, _ = text.partition(_OPENING)
    return content, [json.loads(match[1]) for match in _CALL.finditer(text)] if opening else []


def _read_mistral(text: str) -> tuple[str, list[Any]]:
    content, mark, rest = text.partition(_MISTRAL)
    calls = json.loads(rest if mark else text)
    if not isinstance(calls, list):
        raise TypeError("calls are a list")
    return content if mark else "", calls


def _read_llama(text: str) -> tuple[str, list[Any]]:
    return "", list(_read_objects(text.strip().removeprefix(_PYTHON).strip()))


def _read_objects(text: str) -> Iterator[Any]:
    """Objects with semicolons between them."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        value, at = decoder.raw_decode(text, at)
        yield value
        rest = text[at:].lstrip()
        if not rest:
            return
        if not rest.startswith(";"):
            raise ValueError("there is text between calls")
        text, at = rest[1:].lstrip(), 0


_READERS = {"hermes": _read_hermes, "llama": _read_llama, "mistral": _read_mistral}


def _write_call(fields: Any, kind: CallFormat) -> dict[str, Any]:
    name = fields["name"]
    arguments = fields["parameters"] if kind == "llama" else fields.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise TypeError("a call has a name and an object of arguments")
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    # Mistral's templates refuse an id that has not nine letters and digits.
    id = secrets.token_hex(5)[:9] if kind == "mistral" else f"call_{secrets.token_hex(12)}"
    return {"id": id, "type": "function", "function": function}
