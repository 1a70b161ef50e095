"""Settings of a command, each declared once.

A command's settings are a frozen dataclass whose fields carry their sentence of help:

    @dataclass(frozen=True)
    class ProbeSettings:
        runs: int = option(2, "Probe answers drawn at each point.")

The library takes the dataclass, or its fields as keyword arguments (`settle`); the command line
makes an option of each field (`cli.options`); the manifest holds what was chosen (`asdict`).

This module knows no command and no command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Option:
    """How a field looks on the command line."""

    help: str
    """One sentence of help."""
    flags: tuple[str, ...] = ()
    """Names in place of the field's own, such as `--json`."""
    parse: Callable[[str], Any] | None = None
    """Reads the text of an option whose type the command line does not know."""
    metavar: str | None = None
    """What stands for the value in the help."""


def option(
    default: T,
    help: str,
    *flags: str,
    parse: Callable[[str], T] | None = None,
    metavar: str | None = None,
) -> T:
    """A field of a settings dataclass with its default and its help; see `Option`."""
    about = Option(help, flags, parse, metavar)
    made: Any = field(default=default, metadata={"option": about})
    return made  # type: ignore[no-any-return]


def options_of(settings: type) -> dict[str, Option]:
    """The options of a settings dataclass by the names of their fields, in order."""
    return {one.name: one.metadata["option"] for one in fields(settings)}


def settle(settings: S | None, kind: type[S], changes: dict[str, Any]) -> S:
    """The settings to use: those given, or the defaults of `kind`, with some fields changed.

    Raises `TypeError` for a field that `kind` does not have, as a wrong keyword argument does.
    """
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(changes.keys() - known):
        raise TypeError(f"{kind.__name__} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return replace(settings or kind(), **changes)  # type: ignore[type-var]
