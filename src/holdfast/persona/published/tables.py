"""Rows of published files: JSON, JSONL or CSV, and what was made of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core.errors import PersonaError
from holdfast.persona.files import parse_json_lines, read_text

FileRow = Mapping[str, Any]


@dataclass
class PersonaTables:
    """Personas of a file, and the rows that could not be any."""

    personas: dict[str, dict[str, object]] = field(default_factory=dict)
    """The personas by id, as tables of a persona file, in the order of the rows."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows left out, by reason."""

    def left_out(self) -> str:
        """How many rows were left out, and why."""
        return "; ".join(f"{n} ({reason})" for reason, n in self.skipped.most_common())

    def add(
        self,
        id_: str,
        category: str,
        prompt: str,
        probes: Sequence[str],
        judge: FileRow,
        source: str,
    ) -> None:
        """Keep a persona; see `persona.suite.Persona` for the fields."""
        if id_ in self.personas:
            raise PersonaError(f"{source}: the id {id_} is used twice")
        self.personas[id_] = {
            "id": id_,
            "category": category,
            "prompt": prompt,
            "probes": list(probes),
            "judge": dict(judge),
            "source": source,
        }


def rows(path: Path, what: str, columns: Sequence[str]) -> Iterator[tuple[str, FileRow]]:
    """The rows of a file with where each stands.

    Args:
        path: A CSV file by its ending; else a JSON array, or JSON lines.
        what: What the file should hold; named in errors.
        columns: Columns that every row has.

    Raises:
        PersonaError: The file cannot be read, or a row lacks a column.
    """
    text = read_text(path, what, "name the authors' file", PersonaError)
    for where, row in _rows(path, text, what):
        if not isinstance(row, Mapping):
            raise PersonaError(f"{where} is no object: is this the file of {what}?")
        if missing := [name for name in columns if name not in row]:
            raise PersonaError(f"{where} lacks {', '.join(missing)}: is this the file of {what}?")
        yield where, row


def _rows(path: Path, text: str, what: str) -> list[tuple[str, Any]]:
    if path.suffix == ".csv":
        csv.field_size_limit(10_000_000)
        table: list[Any] = list(csv.DictReader(io.StringIO(text)))
    elif text.lstrip().startswith("["):
        try:
            table = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PersonaError(f"{path} is no JSON array ({error}).") from None
    elif not text.strip():
        return []
    else:
        return [
            (line.where, line.fields) for line in parse_json_lines(text, path, what, PersonaError)
        ]
    return [(f"{path}, row {n}", row) for n, row in enumerate(table, 1)]


def parse_value(value: Any, where: str) -> Any:
    """A value that may be JSON within JSON, as the columns of Multi-IF are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PersonaError(f"{where}: a column is not JSON ({error})") from None


def as_id(*parts: object) -> str:
    """Words of lower case joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower()).strip("-")


def text_of(value: Any, where: str, what: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise PersonaError(f"{where}: {what} is no text")
    return value.replace("\0", "").strip()
