"""Tool calls in the text of a reply, for templates with the format of Hermes and Qwen.

    <tool_call>
    {"name": "weather", "arguments": {"city": "Ulm"}}
    </tool_call>

Several may follow each other; text before the first one is the reply's content. A reply that has
anything else between the tags is text.

This module knows text. It knows no models.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

OPENING = "<tool_call>"
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_OTHER = "<function="  # Qwen3-Coder's calls have the same tags around another format


def is_readable(template: str) -> bool:
    """True if a chat template asks for calls in this format."""
    return OPENING in template and _OTHER not in template


def read_calls(text: str) -> tuple[str | None, list[dict[str, Any]]]:
    """The content and the tool calls of a reply, as OpenAI's messages have them."""
    if OPENING not in text:
        return text, []
    try:
        calls = [_call(match[1]) for match in _CALL.finditer(text)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text, []
    return text[: text.index(OPENING)].strip() or None, calls


def _call(text: str) -> dict[str, Any]:
    fields = json.loads(text)
    name, arguments = fields["name"], fields.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise TypeError("a call has a name and an object of arguments")
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
