"""JSON of clients, read with a bound on its depth, and JSON for them.

What walks a nested value recursively (a template, pydantic, `json.dumps`) ends in a
`RecursionError` somewhere below Python's limit of 1,000 levels; nobody needs that many.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from starlette.responses import JSONResponse

from holdfast.core.records import is_deeper
from holdfast.serve.http_errors import RequestError

DEPTH = 100  # levels of lists and objects
LARGE_BODY = 65_536  # bytes; a larger one is read beside the event loop, where others would wait


def read_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises `RequestError` if it is none, not valid or nested too deep."""
    value = _read(text, "utf-8-sig")
    if text.count(b"[") + text.count(b"{") > DEPTH and is_deeper(value, DEPTH):
        raise _too_deep()
    return _object(value)


def object_or_none(content: bytes) -> dict[str, Any] | None:
    """The JSON object of a body; None if it is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(value: object, separators: tuple[str, str] | None = None) -> bytes:
    """JSON in UTF-8. Half characters, which clients and models write, stay escaped as they came.

    Args:
        value: what is written.
        separators: as `json.dumps` takes them.
    """
    text = json.dumps(value, ensure_ascii=False, separators=separators)
    return text.encode("utf-8", "backslashreplace")


class Json(JSONResponse):
    """A response of JSON."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return write_json(content, (",", ":"))


def _read(text: bytes, encoding: str, **options: Any) -> Any:
    """Any value. Of bytes Python's reader would take UTF-16, too, which other servers do not."""
    try:
        return json.loads(text.decode(encoding), **options)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise _invalid("the body is not valid JSON in UTF-8.") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(400, "the body must be a JSON object.", code="invalid_type")
    return value


def _invalid(sentence: str) -> RequestError:
    return RequestError(400, sentence, code="invalid_json")


def _too_deep() -> RequestError:
    return _invalid(f"the body is nested more than {DEPTH} levels deep: flatten it.")


class _Twice(Exception):
    """A name that an object has twice."""


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _Twice(next(name for name, count in counts.items() if count > 1))
    return fields


def read_unique(body: bytes) -> dict[str, Any]:
    """A JSON object in which no name stands twice. Raises `RequestError`."""
    try:
        return _object(_read(body, "utf-8", object_pairs_hook=_unique_fields))
    except _Twice as error:
        raise _invalid(f"the body has {str(error)[:100]!r} twice: write it once.") from None
