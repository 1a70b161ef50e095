"""Settings of a command, each declared once.

A command's settings are a frozen dataclass whose fields carry their sentence of help:

    @dataclass(frozen=True)
    class ProbeSettings:
        runs: int = option(2, "Probe answers drawn at each point.")
        sampling: Sampling = field(default_factory=Sampling)

The library takes the dataclass, or its fields as keyword arguments (`settle`); the command line
makes an option of each field that has help, also of those of a dataclass within (`cli.options`);
the manifest holds the values. A field without help is for the library alone. The help is the
field's documentation too: a docstring under it adds what the command line has no room for. Errors
name a setting in backticks, as Python knows it, and the command line puts its option there (`cli`).

This module knows no command and no command line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import lru_cache
from math import inf
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from holdfast.core.errors import HoldfastError, shorten, suggestion

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
    """The word for the value in the help."""


def option(
    default: T,
    help: str,
    *flags: str,
    parse: Callable[[str], T] | None = None,
    metavar: str | None = None,
) -> T:
    """A field of a settings dataclass with its default and its help; see `Option`."""
    setting: Any = field(default=default, metadata={"option": Option(help, flags, parse, metavar)})
    return setting  # type: ignore[no-any-return]


def with_default(settings: type, name: str, default: T) -> T:
    """A field of another settings dataclass with its help, and a default of its own."""
    (original,) = (one for one in fields(settings) if one.name == name)
    setting: Any = field(default=default, metadata=original.metadata)
    return setting  # type: ignore[no-any-return]


def settle(settings: S | None, kind: type[S], changes: Mapping[str, Any], *models: object) -> S:
    """The settings to use: those given, or the defaults of `kind`, with some fields changed.

    Args:
        settings: the settings, if any.
        kind: their class.
        changes: fields with their values, as the keyword arguments of a function of the library.
        models: what that function was given as models.

    Raises:
        HoldfastError: a value has not the type of its field, or a model is none, as its name.
        TypeError: a change names a field that `kind` does not have, as for a wrong keyword
            argument.
    """
    for model in models:
        if not hasattr(model, "reply"):
            raise HoldfastError(f'{model!r} is no model: load it, as in holdfast.load("mini").')
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(changes.keys() - set(names)):
        raise TypeError(f"{kind.__name__} has no {unknown[0]}: {suggestion(unknown[0], names)}")
    if settings is not None and not isinstance(settings, kind):
        raise HoldfastError(f"`settings` is {_describe(kind)}, not {settings!r}.")
    require_types(kind, changes)
    # A number of NumPy would not go into the manifest.
    changes = {name: getattr(value, "item", lambda v=value: v)() for name, value in changes.items()}
    return replace(settings or kind(), **changes)  # type: ignore[type-var]


def require_types(kind: type, values: Mapping[str, Any]) -> None:
    """Refuse values that have not the types of their fields.

    Args:
        kind: the dataclass.
        values: values by the names of fields.

    Raises:
        HoldfastError: says what the first such field is.
    """
    hints = _hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise HoldfastError(
                f"`{name}` is {_describe(hints[name])}, not {shorten(repr(value), 100)}."
            )


_hints = lru_cache(get_type_hints)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type; a whole number is a number, and a text a path."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return value in parts
    if kind in (tuple, Sequence):
        several = isinstance(value, Sequence) and not isinstance(value, str)
        return several and all(_fits(one, parts[0]) for one in value)
    if is_dataclass(kind):  # defaults of their own make a subclass
        kind = [one for one in hint.__mro__ if is_dataclass(one)][-1]
    if isinstance(value, bool):
        return kind is bool
    classes: dict[Any, Any] = {int: Integral, float: Real, Path: (Path, str)}
    return isinstance(value, classes.get(kind, kind))


def _describe(hint: Any) -> str:
    """A type in words."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_describe(part) for part in parts if part is not NoneType)
    if kind is Literal:
        return " or ".join(map(repr, parts))
    if kind in (tuple, Sequence):
        return f"a list of which each is {_describe(parts[0])}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    return words.get(kind) or ("a path" if kind is Path else f"of the type {kind.__name__}")


def require_name(what: str, name: object, names: Collection[str]) -> None:
    """Refuse an unknown name.

    Args:
        what: what it would be the name of, as "verifier".
        name: what was written.
        names: the known names.

    Raises:
        HoldfastError: suggests one of them.
    """
    if name not in names:
        raise HoldfastError(f"there is no {what} {name!r}: {suggestion(name, names)}")


def require_at_least(least: float, settings: object, *names: str) -> None:
    """Refuse settings that are smaller than they may be; None is a default that is chosen later.

    Args:
        least: the least value.
        settings: a dataclass of settings.
        names: the fields.

    Raises:
        HoldfastError: names the first one that is smaller, NaN or infinite.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not least <= value < inf:
            raise HoldfastError(f"`{name}` is {least:g} or more, not {value:g}.")


def expand_home(path: Path | str) -> Path:
    """A path as written, with ~ and ~USER as that user's home where there is such a user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def changed_settings(settings: object, *names: str) -> list[str]:
    """The names in backticks, as errors name settings, of fields whose values are not the defaults.

    Args:
        settings: a dataclass of settings, all of whose fields have defaults.
        names: the fields; one that holds a dataclass stands for the fields of that one.
    """
    usual, changed = type(settings)(), list[str]()
    for one in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, one.name)
        if one.name in names and value != getattr(usual, one.name):
            if is_dataclass(value):
                changed += changed_settings(value, *(part.name for part in fields(value)))
            else:
                changed.append(f"`{one.name}`")
    return changed
