"""The paths of the upstream that a client may reach, beside those that are rewritten.

A path passes if it is named exactly, or begins with a name that ends in `*`. Spellings of a
rewritten path (`//chat/completions`, a trailing slash, other case) never pass: an upstream may
take them for the path itself, and would answer without the persona.

This module knows methods and paths below `/v1/`. It knows no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from holdfast.core.errors import ServiceError

REWRITTEN = ("chat/completions", "responses", "messages")
_METHOD_NAMES = {"_method", "$httpmethod", "x-http-method-override"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class PathRule:
    """A path that passes, or all that begin with it."""

    methods: tuple[str, ...]
    """The methods that pass."""
    path: str
    """The path below `/v1/`, without the `*`."""
    open_ended: bool = False
    """True if longer paths that begin with it pass too."""

    def matches(self, method: str, path: str) -> bool:
        """True if a request of this method and path passes."""
        same = path.startswith(self.path) if self.open_ended else path == self.path
        return same and method in self.methods


MODELS = (PathRule(("GET",), "models"), PathRule(("GET",), "models/", open_ended=True))


def read_rule(text: str) -> PathRule:
    """Read `/v1/embeddings`, `POST /v1/files` or `DELETE /v1/files/*`.

    Without a method GET and POST pass. Raises `ServiceError` for anything else.
    """
    method, space, path = text.strip().rpartition(" ")
    path = path.removeprefix("/v1/").removeprefix("/")
    open_ended = path.endswith("*")
    path = path.removesuffix("*")
    whole = open_ended and not path
    has_method = not space or method.strip().upper() in METHODS
    if not has_method or not (whole or is_plain(path.removesuffix("/") if open_ended else path)):
        raise ServiceError(
            f"`pass_through` takes a path as in /v1/embeddings, `POST /v1/files` or "
            f"`DELETE /v1/files/*`, not {text!r}."
        )
    if _spelling(path) in REWRITTEN and not open_ended:
        raise ServiceError(f"`pass_through` {text}: the gateway rewrites this path, always.")
    methods = (method.strip().upper(),) if space else ("GET", "POST")
    return PathRule(methods, path, open_ended)


def passes(rules: Sequence[PathRule], method: str, path: str) -> bool:
    """True if a request may be forwarded as it is."""
    if not is_plain(path) or _spelling(path) in REWRITTEN:
        return False
    return any(rule.matches(method, path) for rule in rules)


def is_plain(path: str) -> bool:
    """True if a path has names only: no empty one, no `.` or `..`, no backslash, no control."""
    names = path.split("/")
    return path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(names)


def overrides_method(query: str) -> bool:
    """True if a query names a method, which some servers go by instead of the request's own."""
    return any(name.casefold() in _METHOD_NAMES for name, _ in parse_qsl(query, True))


def _spelling(path: str) -> str:
    """A path as a lenient upstream may read it; Java's servers leave out what follows a `;`."""
    segments = path.casefold().replace("\\", "/").split("/")
    names = [segment.partition(";")[0].strip() for segment in segments]
    return "/".join(name for name in names if name not in ("", "."))
