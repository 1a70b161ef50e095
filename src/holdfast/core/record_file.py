"""A file with one record on each line, as the files of a run are.

Each append is flushed, and a last line that a kill tore off is dropped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from holdfast.core.errors import RunError
from holdfast.core.folder import write_whole, writing
from holdfast.core.records import dumps, read_record

T = TypeVar("T")


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
            with writing(self.path), self.path.open("ab") as file:
                file.write("".join(line + "\n" for line in lines).encode())
                file.flush()
        where = f"a line of {self.path.name if self.path else 'the run'}"
        self.rows += [read_record(self.kind, json.loads(line), where) for line in lines]

    def keep(self, rows: Iterable[T]) -> None:
        """Drop all other rows: those of an unfinished batch."""
        self.rows = list(rows)
        if self.path is not None:
            with writing(self.path):
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
        with writing(path), path.open("r+b") as file:
            file.truncate(len(whole) + 1 if whole else 0)
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise RunError(
            f"{path} holds a line that is not JSON ({error}); choose another --out"
        ) from error
    return [read_record(kind, row, f"{path}, line {n}") for n, row in enumerate(rows, 1)]
