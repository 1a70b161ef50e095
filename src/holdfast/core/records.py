"""Dataclasses to JSON and back: the one place where records are written, read and compared.

The keys of an object are the fields of its dataclass, in order. Two kinds of field differ:

    optional_field()   left out while it is None: a record says nothing of what was not asked for
    inline_field()     holds a dataclass whose keys stand in the object itself, so that a summary
                       can be made of parts and still be one flat object

This module knows no command's records; those are in `results`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from holdfast.core.errors import HoldfastError, RunError, suggestion

if TYPE_CHECKING:
    from pydantic import ValidationError

Record = dict[str, Any]
"""A JSON object."""
T = TypeVar("T")
_ADAPTERS: dict[type, Any] = {}  # built once for each kind: building takes a millisecond
MOST_CHARACTERS = 60
"""Characters of a value that a refusal shows."""
NUMBER = "the number of "
"""Begins the place of a list whose length differs."""


def optional_field() -> Any:
    """A field that is None by default and is written only when it is something else."""
    return field(default=None, metadata={"omitted": True})


def inline_field() -> Any:
    """A field whose dataclass is written as keys of the object that holds it."""
    return field(metadata={"inlined": True})


def field_under(key: str) -> Any:
    """A field that is written under another key than its name, such as a keyword of Python."""
    return field(metadata={"key": key})


def as_record(value: Any) -> Any:
    """A dataclass as a JSON object, with what it holds; other JSON values as they are."""
    if is_dataclass(value) and not isinstance(value, type):
        record: Record = {}
        for one in fields(value):
            part = getattr(value, one.name)
            if one.metadata.get("inlined"):
                record |= as_record(part)
            elif part is not None or not one.metadata.get("omitted"):
                record[one.metadata.get("key", one.name)] = as_record(part)
        return record
    if isinstance(value, Mapping):
        return {str(key): as_record(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_record(part) for part in value]
    return value


def dumps(value: object, indent: int | None = None) -> str:
    """JSON with keys in their order, on one line unless indented.

    NaN and infinity, which JSON lacks, become null. Lone surrogates, which UTF-8 lacks, are
    escaped.
    """
    text = json.dumps(_finite(as_record(value)), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode()


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects of JSON nest more than `levels` deep."""
    level = [value]
    for _ in range(levels + 1):
        containers = [one for one in level if isinstance(one, dict | list)]
        level = [x for one in containers for x in (one.values() if isinstance(one, dict) else one)]
        if not containers:
            return False
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value


def read_record(kind: type[T], record: Mapping[str, Any], where: str = "the record") -> T:
    """A JSON object as the dataclass `kind`; keys that it does not know are passed over.

    Args:
        kind: the dataclass, or `dict` for an object that no type describes.
        record: the object, with the keys that `as_record` writes.
        where: names the object in errors.

    Raises:
        RunError: names the first field that does not fit, or says that it is no object.
    """
    from pydantic import ValidationError

    if not isinstance(record, Mapping):
        raise RunError(f"{where} does not fit: it is no JSON object")
    try:
        result: T = _adapter(kind).validate_python(_nest_inline_fields(kind, record))
        return result
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise RunError(f"{where} does not fit: {at}: {first['msg']}") from error


def read_table(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A table that a person wrote as the dataclass `kind`: no other key, no value of another type.

    Args:
        kind: the dataclass.
        table: the table, as TOML has it.
        where: names the table in errors.

    Raises:
        HoldfastError: names the first key that is unknown or missing, or whose value does not fit;
            NaN and infinity fit nowhere.
    """
    from pydantic import ValidationError

    record = as_record(table)
    if not_finite := next(_not_finite(record), None):
        at, value = not_finite
        raise HoldfastError(f"{where}: {at} should be a finite number, not {value:g}.")
    text = json.dumps(record, default=str)
    try:
        # A strict reader takes a list of JSON for a tuple, but not a list of Python.
        result: T = _adapter(kind).validate_json(text, strict=True, extra="forbid")
        return result
    except ValidationError as error:
        raise HoldfastError(f"{where}: {_fault(kind, error)}") from None


def _not_finite(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Where NaN and infinity are in a value of JSON or TOML."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_finite(part, f"{path}.{key}" if path else str(key))


def _fault(kind: Any, error: ValidationError) -> str:
    """The first of pydantic's errors as a sentence of ours."""
    first = error.errors()[0]
    at = ".".join(map(str, first["loc"])) or "this"
    if first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"there is no {at}."
    if first["type"] == "unexpected_keyword_argument":
        names = [one.name for one in fields(kind)]
        hint = f": {suggestion(at, names)}" if len(first["loc"]) == 1 else "."
        return f"there is no {at}{hint}"
    rule = str(first["msg"]).removeprefix("Input ").replace("an object", "a table")
    return f"{at} {rule}, not {json.dumps(first['input'], ensure_ascii=False)[:60]}."


def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _nest_inline_fields(kind: Any, record: Mapping[str, Any]) -> Record:
    """The object, with the keys of inline fields put back into objects of their own."""
    result = dict(record)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        for one in fields(kind):
            if (key := one.metadata.get("key")) in result:
                result[one.name] = result.pop(key)
            if one.metadata.get("inlined"):
                result[one.name] = _nest_inline_fields(hints[one.name], record)
    return result


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two values of JSON differ, and the text of each there; of a list the first place.

    The hash of its weights says which model it is, wherever its folder is now.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        weights = old.get("weights")
        label = "name" if weights is not None and weights == new.get("weights") else None
        for key in [key for key in {**old, **new} if key != label]:
            place = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key), new.get(key), place)
    elif isinstance(old, list) and isinstance(new, list) and len(old) != len(new):
        yield f"{NUMBER}{path}", str(len(old)), str(len(new))
    elif isinstance(old, list) and isinstance(new, list):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                yield from islice(differences(one, other, f"{path}.{i}"), 1)
                return
    elif old != new:
        yield path, *_where_they_differ(dumps(old), dumps(new))


def _where_they_differ(old: str, new: str) -> tuple[str, str]:
    """Two texts, and of long ones the part that differs, with a few characters before it."""
    start = 0
    if max(len(old), len(new)) > MOST_CHARACTERS:
        pairs = enumerate(zip(old, new, strict=False))
        first = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))
        start = max(0, first - MOST_CHARACTERS // 3)
    before = "…" if start else ""
    return before + _shorten(old[start:]), before + _shorten(new[start:])


def _shorten(text: str) -> str:
    # Unlike `errors.shorten`, this keeps every blank.
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
