"""Lorebooks: a card's own (`character_book`), V3's stand-alone ones, SillyTavern's world info.

An entry is text that a front end puts into the prompt: always, where it is constant, or where one
of its keys occurs in the last messages. A system prompt is written once, so an entry is used where
it is constant or where a key occurs in the card's own texts, which is what the front end would send
at the start. The others are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import PersonaError
from holdfast.persona.files import read_text


@dataclass(frozen=True)
class LoreEntry:
    """One entry of a lorebook."""

    content: str
    keys: tuple[str, ...]
    """Words that call it."""
    constant: bool
    """Whether it is always there."""
    enabled: bool
    """Whether it is in use at all."""
    order: float
    """Entries of higher order come later."""
    before: bool
    """Whether it goes before the character's description."""
    cased: bool = False
    """Whether keys are sought with their case."""


def read_entries(book: object) -> list[LoreEntry]:
    """The entries of a lorebook of any of the three kinds, in their order."""
    if not isinstance(book, Mapping):
        return []
    inner = book.get("data") if book.get("spec") == "lorebook_v3" else book
    list_or_table = inner.get("entries") if isinstance(inner, Mapping) else None
    tables = list(list_or_table.values()) if isinstance(list_or_table, Mapping) else list_or_table
    if not isinstance(tables, list):
        return []
    entries = [_entry(one) for one in tables if isinstance(one, Mapping)]
    return sorted((one for one in entries if one.content), key=lambda one: one.order)


def read_lorebook(path: Path) -> list[LoreEntry]:
    """The entries of a lorebook's file.

    Raises:
        PersonaError: it is none.
    """
    text = read_text(path, "a lorebook", "name a JSON file", PersonaError)
    try:
        book = json.loads(text)
    except (ValueError, RecursionError):
        raise PersonaError(f"{path} is not JSON.") from None
    if not (entries := read_entries(book)):
        raise PersonaError(f"{path} is no lorebook: it has no entries with content.")
    return entries


def _entry(table: Mapping[str, Any]) -> LoreEntry:
    keys = table.get("keys", table.get("key", []))
    order = table.get("insertion_order", table.get("order", 0))
    is_off = table.get("disable") is True or table.get("enabled") is False
    content = table.get("content")
    return LoreEntry(
        content=content.strip() if isinstance(content, str) else "",
        keys=tuple(k.strip() for k in keys if isinstance(k, str) and k.strip())
        if isinstance(keys, list)
        else (),
        constant=table.get("constant") is True,
        enabled=not is_off,
        order=_order(order),
        before=table.get("position") in ("before_char", 0),
        cased=table.get("case_sensitive") is True or table.get("caseSensitive") is True,
    )


def _order(value: object) -> float:
    """The order of an entry; 0 where a book has none, or one that is no number to sort by."""
    try:
        order = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return order if order == order else 0.0


def find_active(entries: Sequence[LoreEntry], text: str) -> list[LoreEntry]:
    """The entries in use where a text stands: constant ones, and those whose keys occur."""
    return [one for one in entries if one.enabled and (one.constant or _is_called(one, text))]


def _is_called(entry: LoreEntry, text: str) -> bool:
    flags = 0 if entry.cased else re.IGNORECASE
    return any(re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text, flags) for key in entry.keys)
