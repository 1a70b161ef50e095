"""Text and TOML files of the user's: what cannot be read is one sentence that says what to do.

This module knows no format but TOML, and nobody's columns.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError


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
