"""Text and TOML files, read and written: what cannot be read is one sentence that says what to do.

This module knows no format but TOML, and nobody's columns.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError, PersonaError


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
    except OSError as missing:
        raise error(f"there are no {what} in {path} ({missing.strerror}): {hint}.") from missing
    except UnicodeDecodeError as wrong:
        raise error(f"{path} is not UTF-8 (byte {wrong.start}): convert it first.") from wrong


def read_toml(
    path: Path, what: str, hint: str, error: type[HoldfastError] = HoldfastError
) -> dict[str, Any]:
    """The tables of a TOML file; see `read_text` for the arguments."""
    try:
        return tomllib.loads(read_text(path, what, hint, error))
    except tomllib.TOMLDecodeError as wrong:
        raise error(f"{path} is not TOML ({wrong}).") from wrong


def as_toml(value: object) -> str:
    """A value as TOML on one line: strings, numbers, booleans, lists and inline tables."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(str(k))} = {as_toml(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_toml, value))}]"
    # JSON's strings, numbers and booleans are TOML's, save that TOML wants DEL escaped.
    text = str(value).encode("utf-8", "replace").decode() if isinstance(value, str) else value
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else as_toml(key)


def text_or_file(text: str) -> str:
    """A text as it is, or with @ before it the text of that file.

    Raises:
        PersonaError: the file cannot be read.
    """
    if not text.startswith("@"):
        if re.fullmatch(r"\S+\.\w{2,4}", text) and Path(text).is_file():
            raise PersonaError(f"{text} is a file: write @{text} for the prompt in it.")
        return text
    path = Path(text[1:]).expanduser()
    return read_text(path, "prompts", "name a file after @", PersonaError).strip()
