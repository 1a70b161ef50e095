"""Text, TOML and JSON lines, read and written: what cannot be read is one sentence that helps.

This module knows no other format, and nobody's columns.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.core.errors import HoldfastError, PersonaError, suggestion
from holdfast.core.folder import new_file
from holdfast.core.settings import expand_home


def read_text(path: Path, what: str, hint: str, error: type[HoldfastError] = HoldfastError) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        what: what the file should hold, such as "tasks"; named in the error.
        hint: what to do where there is no such file, such as "name a JSONL file".
        error: the exception to raise.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{path} is not UTF-8 (byte {wrong.start}): convert it first.") from wrong
    except (OSError, ValueError) as missing:  # of a name with a NUL character, too
        why = getattr(missing, "strerror", missing)
        raise error(f"there are no {what} in {path} ({why}): {hint}.") from missing


def read_toml(
    path: Path, what: str, hint: str, error: type[HoldfastError] = HoldfastError
) -> dict[str, Any]:
    """The tables of a TOML file; see `read_text` for the arguments."""
    try:
        return tomllib.loads(read_text(path, what, hint, error))
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise error(f"{path} is not TOML ({wrong}).") from wrong


class JsonLine(NamedTuple):
    """A line of a file, which is one JSON object."""

    where: str
    """The file and the line's number, for errors."""
    number: int
    """The line's number, from 1; empty lines count."""
    fields: dict[str, Any]
    """The object."""


def read_json_lines(
    path: Path, what: str, hint: str, error: type[HoldfastError] = HoldfastError
) -> list[JsonLine]:
    """The objects of a JSONL file, one at least; see `read_text` for the arguments."""
    return parse_json_lines(read_text(path, what, hint, error), path, what, error)


def parse_json_lines(
    text: str, path: Path, what: str, error: type[HoldfastError] = HoldfastError
) -> list[JsonLine]:
    """The objects of JSON lines, one at least; empty lines are passed over.

    Args:
        text: the text of a file.
        path: the file; named in errors.
        what: what the lines should hold, such as "tasks"; named in errors.
        error: the exception to raise.
    """
    # A line ends at "\n" alone: JSON may hold other separators as they are.
    numbered_lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not numbered_lines:
        raise error(f"{path} holds no {what}: write one on each line.")
    places = [f"{path}, line {n}" for n, _ in numbered_lines]
    return [
        JsonLine(where, n, _parse_json_line(line, where, error))
        for where, (n, line) in zip(places, numbered_lines, strict=True)
    ]


def _parse_json_line(line: str, where: str, error: type[HoldfastError]) -> dict[str, Any]:
    """The object of a line of JSON; `where` names the line in errors."""
    try:
        fields = json.loads(line)
        json.dumps(fields, ensure_ascii=False).encode()  # half a character can never be written
    except (ValueError, RecursionError) as wrong:
        reason = str(wrong).split("\n")[0][:200]
        raise error(f"{where}: this is not JSON ({reason}).") from None
    if not isinstance(fields, dict):
        raise error(f"{where}: this is JSON, but no object with names and values.")
    return fields


def write_new(path: Path, content: str | bytes) -> None:
    """Write a file that must not be there yet. Raises `PersonaError` where it cannot be written."""
    data = content.encode() if isinstance(content, str) else content
    try:
        with new_file(path) as file:
            file.write(data)
    except FileExistsError:
        raise PersonaError(f"{path} is there already: name another `out`, or remove it.") from None
    except OSError as error:
        raise PersonaError(f"{path} cannot be written ({error.strerror}).") from None


Columns = Mapping[str, tuple[Callable[[Any], bool], str]]
"""For each column, a function that says whether a value fits, and what a value is in words."""


def check_columns(fields: Mapping[str, Any], columns: Columns, where: str) -> None:
    """Raise `HoldfastError` for a column that does not exist, or a value that does not fit."""
    for name, value in fields.items():
        if name not in columns:
            hint = suggestion(name, columns)
            raise HoldfastError(f"{where}: there is no column {name!r}: {hint}")
        fits, kind = columns[name]
        if not fits(value):
            raise HoldfastError(f"{where}: {name} is {kind}, not {str(value)[:80]!r}.")


def is_text(value: object) -> bool:
    """Whether a value is a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def find_repeat(names: Iterable[str]) -> str | None:
    """The first name that occurs twice, or None."""
    return next((name for name, n in Counter(names).items() if n > 1), None)


def as_toml(value: object) -> str:
    """A value as TOML on one line: strings, numbers, booleans, lists and inline tables."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(str(k))} = {as_toml(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_toml, value))}]"
    # JSON's strings, numbers and booleans are TOML's, save that TOML wants DEL escaped.
    text = str(value).encode("utf-8", "replace").decode() if isinstance(value, str) else value
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """A key as TOML writes it, in quotes where it is no bare word."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else as_toml(key)


def is_there(path: Path) -> bool:
    """Whether there is a file or folder; False for what can be no name of one, such as a text."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name
        return False


def find_in_folder(text: str, folder: Path) -> str:
    """FILE or FILE:ID with the folder before it; the text as it is where the folder has no FILE.

    Args:
        text: a path, a path with an id, or any other text.
        folder: where the file is looked for.
    """
    file, colon, id_ = text.rpartition(":")
    for name, rest in ((text, ""), (file, colon + id_)):
        if name and is_there(folder / name):
            return f"{folder / name}{rest}"
    return text


def text_or_file(text: str) -> str:
    """A text as it is, or with @ before it the text of that file.

    Raises:
        PersonaError: the file cannot be read.
    """
    if not text.startswith("@"):
        path = Path(text)
        if re.fullmatch(r"\S+\.\w{2,4}", text) and is_there(path) and path.is_file():
            raise PersonaError(f"{text} is a file: write @{text} for the prompt in it.")
        return text
    path = expand_home(text[1:])
    return read_text(path, "prompts", "name a file after @", PersonaError).strip()
