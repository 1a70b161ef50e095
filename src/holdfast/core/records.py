"""Dataclasses to JSON objects and back: the one place where records are written and read.

The keys of an object are the fields of its dataclass, in order. A field made by `omitted()` is
left out while it is None, which is how a record says that something was not asked for.

This module knows no command's records; those are in `results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from typing import Any, TypeVar

from holdfast.core.errors import RunError

Record = dict[str, Any]
"""A JSON object."""
T = TypeVar("T")
_ADAPTERS: dict[type, Any] = {}  # built once for each kind: building takes a millisecond


def omitted() -> Any:
    """A field that is None by default and is written only when it is something else."""
    return field(default=None, metadata={"omitted": True})


def as_record(value: Any) -> Any:
    """A dataclass as a JSON object, with what it holds; other JSON values as they are."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            one.name: as_record(held)
            for one in fields(value)
            if (held := getattr(value, one.name)) is not None or not one.metadata.get("omitted")
        }
    if isinstance(value, Mapping):
        return {key: as_record(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [as_record(held) for held in value]
    return value


def read_record(kind: type[T], record: Mapping[str, Any], where: str = "the record") -> T:
    """A JSON object as the dataclass `kind`.

    `where` names the object in errors. Raises `RunError` with the first field that does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    try:
        checked: T = _ADAPTERS[kind].validate_python(dict(record))
        return checked
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise RunError(f"{where} does not fit: {at}: {first['msg']}") from error
