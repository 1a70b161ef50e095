"""A pool of personas: a task is asked under each to see what the wrong persona costs.

A member is a text, meant to be *helpful*, *irrelevant* or *harmful* to tasks with one right
answer; what it does is to be measured. Some are for *train*ing, others *held-out* from it, so
that robustness is shown on personas that no training has seen. Built in: `core`, seventy-two of
our own writing, and `mini`, in the words of the embedded model's world.

This module knows text. It knows no models and no tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.core.errors import PersonaError, suggestion
from holdfast.persona.files import read_toml
from holdfast.results.robustness import PoolPersona

KINDS = ("helpful", "irrelevant", "harmful")
SPLITS = ("train", "held-out")
_A_MEMBER = f"A persona of a pool has id, kind ({', '.join(KINDS)}), text and perhaps split."
_DATA = Path(__file__).parent / "data"
_BUILT_IN = {"core": _DATA / "pool.toml", "mini": _DATA / "mini-pool.toml"}


def load(source: str | Path, *, split: str = "all") -> tuple[PoolPersona, ...]:
    """The personas of `core`, of `mini`, or of a TOML file of `[[persona]]` tables.

    `split` keeps those of "train" or "held-out" alone. A table has id, kind (of `KINDS`), text,
    and optionally split (of `SPLITS`); without one a persona is held out. Raises `PersonaError`,
    which names file, persona and field.
    """
    if split not in ("all", *SPLITS):
        hint = suggestion(split, ("all", *SPLITS))
        raise PersonaError(f"there is no split {split!r}: {hint}")
    path = _BUILT_IN.get(str(source)) or Path(source)
    members = [_member(table, f"{path}, persona {i}") for i, table in enumerate(_tables(path), 1)]
    _check(members, path)
    of_split = tuple(one for one in members if split in ("all", one.split))
    if not of_split:
        option = " (permix: `held_out`)" if split == SPLITS[1] else ""
        raise PersonaError(
            f'{path} has no persona of the split {split!r}: give some split = "{split}", or name '
            f"another pool{option}."
        )
    return of_split


def _tables(path: Path) -> list[Any]:
    file = read_toml(path, "personas", "name core, mini or a TOML file", PersonaError)
    if other := next((key for key in file if key != "persona"), None):
        raise PersonaError(f"{path}: {other} is unknown; a pool has [[persona]] tables alone.")
    tables = file.get("persona")
    if not isinstance(tables, list) or not tables:
        raise PersonaError(f"{path} is an empty pool: write [[persona]] tables.")
    return tables


def _member(table: Any, where: str) -> PoolPersona:
    if not isinstance(table, dict):
        raise PersonaError(f"{where}: a persona is a table.")
    fields = {"split": SPLITS[1], **table}
    for name, value in fields.items():
        if name not in PoolPersona.__dataclass_fields__:
            hint = suggestion(name, PoolPersona.__dataclass_fields__)
            raise PersonaError(f"{where}: there is no field {name!r}: {hint} {_A_MEMBER}")
        if not isinstance(value, str) or not value.strip():
            raise PersonaError(f"{where}: {name} is a text.")
    for name in ("id", "kind", "text"):
        if name not in fields:
            raise PersonaError(f"{where}: there is no {name}, which every persona has.")
    for name, names in (("kind", KINDS), ("split", SPLITS)):
        if (value := fields[name]) not in names:
            raise PersonaError(f"{where}: there is no {name} {value!r}: {suggestion(value, names)}")
    return PoolPersona(**fields)


def _check(members: Sequence[PoolPersona], path: Path) -> None:
    """Refuse an id or a text that occurs twice: it would leak into the held-out split."""
    for name in ("id", "text"):
        values_so_far: set[str] = set()
        for one in members:
            value = _plain(getattr(one, name))
            if value in values_so_far:
                raise PersonaError(f"{path}: two personas have the {name} {value[:60]!r}.")
            values_so_far.add(value)


def _plain(text: str) -> str:
    """A text as it is compared: whatever its case and its blanks."""
    return " ".join(text.split()).casefold()


def overlap(members: Sequence[PoolPersona], others: Sequence[PoolPersona]) -> tuple[str, ...]:
    """Ids of the members that are among the others too, by id or by text."""
    ids = {one.id for one in others}
    texts = {_plain(one.text) for one in others}
    return tuple(one.id for one in members if one.id in ids or _plain(one.text) in texts)


def describe(members: Sequence[PoolPersona]) -> list[dict[str, str]]:
    """The personas as JSON, for a manifest."""
    return [asdict(member) for member in members]
