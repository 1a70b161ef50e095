"""The file that says which persona a request is under, and what a key may do.

    [alias.guide]                     # a model name that clients send
    persona = "guide.toml"            # FILE or FILE:ID, from the folder of this file
    control = "reminder:1"            # by default the server's
    lock = true                       # by default as without this file
    model = "gpt-5-mini"              # asked upstream in place of the alias (gateway)

    [route."/guide"]                  # http://server/guide/v1/… is under the alias
    alias = "guide"

    [key.bot-team]                    # a name for the log
    sha256 = "…"                      # of the key, or: env = "BOT_TEAM_KEY"
    alias = "guide"                   # of requests that name neither alias nor route
    only = ["guide"]                  # aliases that it may use; by default any
    requests_per_minute = 600
    tokens_per_day = 2_000_000        # prompt and completion, by UTC's days

A route goes before a model's name, and both before a key's own alias. This module knows files. It
knows no HTTP.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core.control import Control, parse
from holdfast.core.errors import HoldfastError, ServiceError, suggestion
from holdfast.persona.every_reply import load_persona
from holdfast.persona.files import find_in_folder
from holdfast.persona.suite import Persona

_NAME = re.compile(r"[\w][\w.:/-]{0,99}")
_ROUTE = re.compile(r"(?:/[\w.-]{1,60}){1,4}")
_FORMS = {_NAME: "team-a or org/model:1, without blanks", _ROUTE: "/guide"}
_KINDS = {str: "a text", bool: "true or false", int: "a whole number"}
_RESERVED = {
    "api", "docs", "docs-files", "health", "holdfast", "live", "metrics", "page", "ready", "v1",
}  # fmt: skip
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Alias:
    """A persona under a name."""

    name: str
    """The model name that clients send."""
    persona: Persona | None = None
    """Goes before the chats."""
    control: Control | None = None
    """The control of requests that name none; None is the server's."""
    lock: bool | None = None
    """Whether requests may choose no other control; None is the server's rule."""
    model: str | None = None
    """The model that is asked; None is the only one, or in the gateway the alias itself."""


@dataclass(frozen=True)
class KeyRule:
    """An API key and what it may do."""

    name: str
    """Its name in the log."""
    digest: bytes = field(repr=False)
    """SHA-256 of the key."""
    alias: str | None = None
    """The alias of requests that name none."""
    only: tuple[str, ...] = ()
    """Aliases that it may use; none means any, and no alias too."""
    requests_per_minute: int | None = None
    """None is without a bound."""
    tokens_per_day: int | None = None
    """None is without a bound."""


@dataclass(frozen=True)
class Tenants:
    """The file, read."""

    aliases: Mapping[str, Alias] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)
    """Names of aliases, by path."""
    keys: tuple[KeyRule, ...] = ()

    def route_of(self, path: str) -> str | None:
        """The route that a path is below, or None."""
        fits = [route for route in self.routes if path.startswith(f"{route}/")]
        return max(fits, key=len, default=None)


def read_tenants(path: Path) -> Tenants:
    """Read the file.

    Raises:
        ServiceError: it cannot be read, or a field is unknown, missing or wrong.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ServiceError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{path} cannot be read: {error}") from error
    _check_fields(path, "the file", table, {"alias", "route", "key"})
    aliases = {
        name: _alias(path, name, one) for name, one in _tables(path, table, "alias", _NAME).items()
    }
    routes = {}
    for route, one in _tables(path, table, "route", _ROUTE).items():
        _check_fields(path, f"route {route}", one, {"alias"})
        if route.split("/")[1] in _RESERVED:
            raise ServiceError(f"{path}: the route {route} is a path of the server's own.")
        routes[route] = _alias_name(path, f"route {route}", one.get("alias"), aliases)
    keys = tuple(
        _key(path, name, one, aliases) for name, one in _tables(path, table, "key", _NAME).items()
    )
    if len({key.digest for key in keys}) < len(keys):
        raise ServiceError(f"{path}: two of its keys are the same.")
    return Tenants(aliases, routes, keys)


def _tables(
    path: Path, table: Mapping[str, Any], kind: str, pattern: re.Pattern[str]
) -> dict[str, dict[str, Any]]:
    some = table.get(kind, {})
    if not isinstance(some, dict) or not all(isinstance(one, dict) for one in some.values()):
        raise ServiceError(f"{path}: {kind} is written as [{kind}.NAME], a table for each.")
    for name in some:
        if not pattern.fullmatch(name):
            raise ServiceError(f"{path}: {kind} {name!r}: write its name as in {_FORMS[pattern]}.")
    return some


def _check_fields(path: Path, place: str, table: Mapping[str, Any], names: set[str]) -> None:
    if unknown := sorted(table.keys() - names):
        hint = suggestion(unknown[0], sorted(names))
        raise ServiceError(f"{path}: {place} has an unknown field {unknown[0]!r}: {hint}")


def _alias(path: Path, name: str, table: Mapping[str, Any]) -> Alias:
    place = f"alias {name}"
    _check_fields(path, place, table, {"persona", "control", "lock", "model"})
    persona, control = table.get("persona"), table.get("control")
    lock, model = table.get("lock"), table.get("model")
    _check_types(path, place, {"persona": persona, "control": control, "model": model}, str)
    _check_types(path, place, {"lock": lock}, bool)
    try:
        return Alias(
            name,
            None if persona is None else load_persona(find_in_folder(persona, path.parent)),
            None if control is None else parse(control),
            lock,
            model,
        )
    except (HoldfastError, OSError) as error:  # a prompt in place of a file is too long a name
        raise ServiceError(f"{path}: {place}: {error}") from error


def _check_types(path: Path, place: str, values: Mapping[str, Any], kind: type) -> None:
    for name, value in values.items():
        if value is not None and type(value) is not kind:
            raise ServiceError(f"{path}: {place}: {name} must be {_KINDS[kind]}, not {value!r}.")
        if value == "":  # as a variable that was not set leaves it
            raise ServiceError(f"{path}: {place}: {name} is empty: give it, or leave it out.")


def _alias_name(path: Path, place: str, name: Any, aliases: Mapping[str, Alias]) -> str:
    if name is None:
        raise ServiceError(f"{path}: {place} needs the name of its alias.")
    if not isinstance(name, str) or name not in aliases:
        raise ServiceError(f"{path}: {place}: there is no alias {name!r}.")
    return name


def _key(path: Path, name: str, table: Mapping[str, Any], aliases: Mapping[str, Alias]) -> KeyRule:
    place = f"key {name}"
    _check_fields(path, place, table, {"sha256", "env", "alias", "only", *_QUOTAS})
    quotas = {quota: table.get(quota) for quota in _QUOTAS}
    _check_types(path, place, quotas, int)
    if any(value is not None and value < 1 for value in quotas.values()):
        raise ServiceError(f"{path}: {place}: a quota is at least 1.")
    only = table.get("only", [])
    if not isinstance(only, list) or ("only" in table and not only):
        raise ServiceError(f"{path}: {place}: only must be a list of aliases, one at least.")
    alias = table.get("alias")
    if alias is not None and only and alias not in only:
        raise ServiceError(f"{path}: {place}: its alias {alias!r} is none of those in only.")
    return KeyRule(
        name,
        _digest(path, place, table),
        None if alias is None else _alias_name(path, place, alias, aliases),
        tuple(_alias_name(path, place, one, aliases) for one in only),
        quotas["requests_per_minute"],
        quotas["tokens_per_day"],
    )


_QUOTAS = ("requests_per_minute", "tokens_per_day")


def _digest(path: Path, place: str, table: Mapping[str, Any]) -> bytes:
    hexadecimal, variable = table.get("sha256"), table.get("env")
    if bool(hexadecimal) == bool(variable):
        raise ServiceError(f"{path}: {place} needs sha256 or env, one of them.")
    if hexadecimal is not None:
        if not isinstance(hexadecimal, str) or not _SHA256.fullmatch(hexadecimal):
            raise ServiceError(f"{path}: {place}: sha256 has 64 digits, from 0 to f.")
        return bytes.fromhex(hexadecimal)
    key = os.environ.get(str(variable), "").strip()
    if not key:
        raise ServiceError(f"{path}: {place}: the environment has no {variable}.")
    return hashlib.sha256(key.encode()).digest()
