"""The records of a file: of a JSON document, of lines of JSON, of a table.

This module knows bytes, JSON and CSV. It knows no format.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from holdfast.core.errors import HoldfastError
from holdfast.evals.logs.chat import Record
from holdfast.results.recorded.log import BadLine

LONGEST_LINE = 32 << 20
"""Bytes of a line; what is longer is no chat."""
LARGEST_DOCUMENT = 256 << 20
"""Bytes of a file that is one JSON document, which must fit into memory several times."""
ZIP = b"PK\x03\x04"
"""How a zip begins, such as an `.eval` file."""
_MARKS = {
    b"\x1f\x8b": "compressed: unpack it first",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}
_TOO_LONG = f"a chat has no more than {LONGEST_LINE >> 20} MiB"
_BOM = b"\xef\xbb\xbf"


class LogRow(NamedTuple):
    """A record and where it is."""

    where: str
    """The file and the line."""
    record: Record
    """The JSON object, or the row by the names of its columns."""


def first_character(path: Path) -> str:
    """The first character of a text file, "" of an empty one, and "PK" of a zip.

    Raises:
        HoldfastError: it is no text.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        raise HoldfastError(
            f"{path} is YAML: have it written as JSON (promptfoo: -o results.json)."
        )
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head.startswith(ZIP):
        return "PK"
    for mark, reason in _MARKS.items():
        if head.startswith(mark):
            raise HoldfastError(f"{path} is {reason}.")
    if b"\0" in head:
        raise HoldfastError(f"{path} is a binary file, no log.")
    return head.removeprefix(_BOM).lstrip()[:1].decode("latin-1")


def json_rows(path: Path) -> Iterator[LogRow | BadLine]:
    """The records of a file of JSON: a document's items, or one or more on every line."""
    with path.open("rb") as file:
        first = _line(file)
    try:
        on_lines = first is not None and isinstance(json.loads(first.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        on_lines = False
    if not on_lines and path.stat().st_size <= LARGEST_DOCUMENT:
        try:
            document = json.loads(path.read_bytes().decode("utf-8-sig"))
        except (ValueError, RecursionError):
            pass
        else:
            if path.stat().st_size > LONGEST_LINE and len(unfold(document)) == 1:
                yield BadLine(str(path), _TOO_LONG)
            else:
                yield from _number_records(document, str(path))
            return
    yield from _lines(path)


def _lines(path: Path) -> Iterator[LogRow | BadLine]:
    with path.open("rb") as file:
        number = 0
        while (line := _line(file)) != b"":
            number += 1
            where = f"{path}, line {number}"
            if line is None:
                yield BadLine(where, _TOO_LONG)
                continue
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                yield BadLine(where, f"not UTF-8 (byte {error.start}); convert it first")
            except (ValueError, RecursionError) as error:
                yield BadLine(where, f"not JSON ({error})")
            else:
                yield from _number_records(value, where)


def _line(file: BinaryIO) -> bytes | None:
    """The next line, b"" at the end, None for one that is too long, which is passed over."""
    line = file.readline(LONGEST_LINE + 1)
    if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
        return line
    while line and not line.endswith(b"\n"):
        line = file.readline(1 << 20)
    return None


def _number_records(value: object, where: str) -> Iterator[LogRow | BadLine]:
    """The records in a value, numbered where there are several."""
    records = unfold(value)
    for number, record in enumerate(records, 1):
        place = where if len(records) == 1 else f"{where}, item {number}"
        if isinstance(record, dict):
            yield LogRow(place, record)
        else:
            yield BadLine(place, "a line is an object, with messages or the like")


def unfold(value: object) -> list[Any]:
    """The records in a JSON value: its items, what a tool wraps them in, or itself."""
    if isinstance(value, list):
        messages = all(isinstance(one, dict) and "role" in one for one in value)
        return [{"messages": value}] if value and messages else value
    if not isinstance(value, dict) or "messages" in value:
        return [value]
    results = value.get("results")
    inner = results.get("results") if isinstance(results, dict) else results
    for items in (inner, value.get("data")):
        if isinstance(items, list):
            return items
    if isinstance(value.get("trace"), dict):
        return _of_trace(value["trace"], value.get("observations"))
    if isinstance(value.get("traces"), list):
        return [_in_session(one, value.get("id")) for one in value["traces"]]
    return [value]


def _of_trace(trace: dict[str, Any], observations: object) -> list[Any]:
    """The trace of a download of Langfuse, or its generations where it has no input and output."""
    rows = observations if isinstance(observations, list) else trace.get("observations")
    if (trace.get("input") and trace.get("output")) or not isinstance(rows, list):
        return [trace]
    return [_in_session(one, trace.get("sessionId")) for one in rows]


def _in_session(row: object, session: object) -> object:
    return {"sessionId": session, **row} if isinstance(row, dict) else row


def table_rows(path: Path) -> tuple[Sequence[str], Iterator[LogRow | BadLine]]:
    """The names of a table's columns, and its rows; commas, semicolons or tabs are between them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline(LONGEST_LINE)
    except UnicodeDecodeError as error:
        raise HoldfastError(f"{path} is not UTF-8 (byte {error.start}): convert it first") from None
    mark = max(",;\t", key=head.count)
    try:
        names = next(csv.reader([head], delimiter=mark), [])
    except csv.Error:
        names = []
    return names, _rows(path, mark)


def _rows(path: Path, mark: str) -> Iterator[LogRow | BadLine]:
    csv.field_size_limit(LONGEST_LINE)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter=mark, strict=True)
        try:
            for row in rows:
                yield LogRow(f"{path}, line {rows.line_num}", row)
        except csv.Error as error:
            where = f"{path}, line {rows.line_num}"
            yield BadLine(where, f"no CSV ({error}); nothing after it was read")
        except UnicodeDecodeError as error:
            yield BadLine(str(path), f"not UTF-8 (byte {error.start}); convert it first")
