"""Dataclasses to JSON objects and back: the one place where records are written and read.

The keys of an object are the fields of its dataclass, in order. Two kinds of field differ:

    omitted()   left out while it is None: a record says nothing of what was not asked for
    inlined()   holds a dataclass whose keys stand in the object itself, so that a summary
                can be made of parts and still be one flat object

A `RecordFile` has one record on each line. Each append is flushed, and a last line that a kill tore
off is dropped.

This module knows no command's records; those are in `results`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from holdfast.core.errors import HoldfastError, RunError, suggestion

if TYPE_CHECKING:
    from pydantic import ValidationError

Record = dict[str, Any]
"""A JSON object."""
T = TypeVar("T")
_ADAPTERS: dict[type, Any] = {}  # built once for each kind: building takes a millisecond


def omitted() -> Any:
    """A field that is None by default and is written only when it is something else."""
    return field(default=None, metadata={"omitted": True})


def inlined() -> Any:
    """A field whose dataclass is written as keys of the object that holds it."""
    return field(metadata={"inlined": True})


def keyed(key: str) -> Any:
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
    """Whether lists and objects of JSON are nested in more than so many levels."""
    level = [value]
    for _ in range(levels + 1):
        nested = [one for one in level if isinstance(one, dict | list)]
        level = [x for one in nested for x in (one.values() if isinstance(one, dict) else one)]
        if not nested:
            return False
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
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
        RunError: names the first field that does not fit.
    """
    from pydantic import ValidationError

    try:
        checked: T = _adapter(kind).validate_python(_folded(kind, record))
        return checked
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
        HoldfastError: names the first key that is unknown or missing, or whose value does not fit.
    """
    from pydantic import ValidationError

    text = json.dumps(_finite(as_record(table)), default=str)
    try:
        # Of JSON a strict reader takes a list for a tuple, which it would not of Python.
        checked: T = _adapter(kind).validate_json(text, strict=True, extra="forbid")
        return checked
    except ValidationError as error:
        raise HoldfastError(f"{where}: {_fault(kind, error)}") from None


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


def _folded(kind: Any, record: Mapping[str, Any]) -> Record:
    """The object with the keys of inlined fields put into objects of their own again."""
    folded = dict(record)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        for one in fields(kind):
            if (key := one.metadata.get("key")) in folded:
                folded[one.name] = folded.pop(key)
            if one.metadata.get("inlined"):
                folded[one.name] = _folded(hints[one.name], record)
    return folded


class RecordFile(Generic[T]):
    """The rows of one of a run's files, which are in memory too; there alone without a folder."""

    def __init__(self, folder: Path | None, name: str, kind: type[T]) -> None:
        """Begin without rows.

        Args:
            folder: where the file is.
            name: the file's name.
            kind: the dataclass of a row; `dict` for JSON objects.
        """
        self.path = folder / name if folder else None
        self.kind = kind
        self.rows: list[T] = []
        self.has_grown = False
        """Whether rows were added since it was opened."""

    def read(self, mend: bool) -> None:
        """Take over the rows of the file; a torn last line is cut off with `mend`."""
        if self.path is not None:
            self.rows = _read_lines(self.path, self.kind, mend)

    def append(self, rows: Iterable[T]) -> None:
        """Add rows, as a later process would read them; they are in the file when this returns."""
        lines = [dumps(row) for row in rows]
        self.has_grown |= bool(lines)
        if self.path is not None and lines:
            with file_errors(self.path), self.path.open("ab") as file:
                file.write("".join(line + "\n" for line in lines).encode())
                file.flush()
        where = f"a line of {self.path.name if self.path else 'the run'}"
        self.rows += [read_record(self.kind, json.loads(line), where) for line in lines]

    def keep(self, rows: Iterable[T]) -> None:
        """Drop all other rows: those of an unfinished batch."""
        self.rows = list(rows)
        if self.path is not None:
            with file_errors(self.path):
                write_whole(self.path, "".join(dumps(row) + "\n" for row in self.rows))


def _read_lines(path: Path, kind: type[T], mend: bool) -> list[T]:
    """The lines of a file; a last line without an end is left out, and cut off with `mend`.

    A kill tore it off; where another process writes to the file, it is on its way.
    """
    if not path.exists():
        return []
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    if torn and mend:
        print(f"{path}: dropped a torn last line ({len(torn)} bytes)", file=sys.stderr)
        with file_errors(path), path.open("r+b") as file:
            file.truncate(len(whole) + 1 if whole else 0)
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise RunError(
            f"{path} holds a line that is not JSON ({error}); choose another --out"
        ) from error
    return [read_record(kind, row, f"{path}, line {n}") for n, row in enumerate(rows, 1)]


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: a process that is killed leaves the file as it was before."""
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Say in one sentence what the file system refuses."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RunError(
                f"the disk is full: {path} could not be written; free some space and run the "
                "same command again, which goes on from the last finished unit"
            ) from error
        raise RunError(
            f"{path} could not be written ({error.strerror}); choose another --out"
        ) from error
