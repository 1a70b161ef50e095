"""Who may call which path: plain paths, API keys, and pages of other sites.

Everything needs a key where the server has keys; only the paths in `OPEN` do not. All decisions
are about the route path, which is the path below the place where the application is mounted, and
the same one that routing uses.

A page of another site may make a browser send requests. It cannot send JSON or an Authorization
header without asking first, and browsers name its origin, so that its requests are told apart.

This module knows paths and headers. It knows neither bodies nor chats.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from holdfast.core.errors import ServiceError
from holdfast.serve.http_errors import RequestError

OPEN = frozenset({
    "/", "/page/page.css", "/page/dom.js", "/page/page.js", "/live", "/page/live.js", "/health",
    "/ready",
})  # fmt: skip
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What servers behind a proxy may read as a separator, a dot or an end of the path.
_ENCODED_SEPARATORS = re.compile(rb"%(?:2f|5c|2e|3f|23|25|00)", re.IGNORECASE)
_SPECIAL = re.compile(r"[\x00-\x1f\x7f\\?#]")
_MODEL = "/v1/models/"  # clients encode the separators in a model's name


class Keys:
    """API keys, compared in constant time; only their hashes are kept.

    Raises:
        ServiceError: a key is empty or has blanks at its ends, so that no client could send it.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if any(not key or key != key.strip() for key in keys):
            raise ServiceError("an API key is empty or begins or ends with a blank: leave it out.")
        # Clients send what is not ASCII as UTF-8 or as Latin-1.
        self._own = {digest: "" for key in keys for digest in _digests(key)}
        self._named: dict[bytes, str] = {}

    def __bool__(self) -> bool:
        return bool(self._own or self._named)

    @property
    def own(self) -> bool:
        """Whether there are keys beside those of `name`."""
        return bool(self._own)

    def name(self, digests: Mapping[bytes, str]) -> None:
        """Take further keys, as SHA-256 and with names, in place of those taken before."""
        self._named = dict(digests)

    def owner(self, authorization: str) -> str | None:
        """The name of the key in an Authorization header, or None if it is none of ours.

        Keys without a name, and requests where there are no keys, are "".

        Args:
            authorization: the header's value, decoded as Latin-1.
        """
        scheme, _, key = authorization.partition(" ")
        key = key.strip(" \t") if scheme.lower() == "bearer" else ""
        digest = _digests(key)[-1]
        digests = {**self._own, **self._named}
        # All are compared, so that the time taken does not tell which one was close.
        names = [name for one, name in digests.items() if hmac.compare_digest(digest, one)]
        return names[0] if names else None if digests else ""


def _digests(key: str) -> list[bytes]:
    """Hashes of a key as UTF-8 and, where it has that form, as Latin-1."""
    forms = [key.encode("utf-8", "surrogateescape")]
    try:
        latin = key.encode("latin-1")
    except UnicodeEncodeError:
        latin = forms[0]
    return [hashlib.sha256(form).digest() for form in dict.fromkeys([*forms, latin])]


def route_path(scope: MutableMapping[str, Any]) -> str:
    """The path below the mount, or the whole path if it is not below it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if path.startswith(f"{root}/") else path


def check_path(scope: MutableMapping[str, Any]) -> None:
    """Refuse a path that a server further on could read differently.

    Raises:
        RequestError: the path has dot segments, empty segments, a slash at its end, or characters
            that are encoded although they separate.
    """
    path = str(scope["path"])
    raw = bytes(scope.get("raw_path") or b"").partition(b"?")[0]
    if route_path(scope).startswith(_MODEL):
        raw = re.sub(rb"%2f", b"/", raw, flags=re.IGNORECASE)
    segments = path.split("/")[1:]
    plain_end = route_path(scope) == "/"
    empty = "" in (segments[:-1] if plain_end else segments)
    if (
        empty
        or {".", ".."} & set(segments)
        or _SPECIAL.search(path)
        or _ENCODED_SEPARATORS.search(raw)
    ):
        raise RequestError(
            400,
            "the path is not plain: leave out dot segments, doubled and closing slashes, and "
            "encoded separators.",
            code="invalid_path",
        )


def check_key(scope: MutableMapping[str, Any], headers: Mapping[bytes, str], keys: Keys) -> str:
    """The name of the request's key; may be empty.

    Anthropic's clients send theirs as `x-api-key`.

    Raises:
        RequestError: the path needs a key and the request has none.
    """
    own = headers.get(b"x-api-key", "")
    owner = keys.owner(headers.get(b"authorization", "") or f"Bearer {own}")
    if owner is not None or route_path(scope) in OPEN:
        return owner or ""
    raise RequestError(
        401,
        "the API key is missing or wrong: send it as `Authorization: Bearer KEY`.",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def check_open(scope: MutableMapping[str, Any], name: str) -> None:
    """Refuse what shows other tenants' personas and figures to a key of certain aliases.

    Raises:
        RequestError: the path is none of those that need no key.
    """
    if route_path(scope) not in OPEN:
        raise RequestError(
            403,
            f"the key {name} is for chats under its own models: it does not open this path.",
            code="path_not_allowed",
        )


def check_origin(
    scope: MutableMapping[str, Any], headers: Mapping[bytes, str], origins: Sequence[str]
) -> None:
    """Refuse what a page of another site makes a browser send.

    Args:
        scope: the request.
        headers: its headers.
        origins: origins of pages that may call, as in "https://bot.example".

    Raises:
        RequestError: the request comes from another site's page.
    """
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    if origin in origins or site == "same-origin":
        return
    reading = scope["method"] in READING
    if reading:
        api = route_path(scope).startswith(("/v1", "/api"))
        foreign = site in ("cross-site", "same-site") and api
    else:
        foreign = origin is not None and origin.partition("://")[2] != headers.get(b"host")
        foreign |= origin is None and site in ("cross-site", "same-site")
    if foreign:
        raise RequestError(
            403,
            f"pages of {origin or 'other sites'} may not call this server: allow them with "
            "--origin.",
            code="foreign_origin",
        )


def check_media_type(scope: MutableMapping[str, Any], headers: Mapping[bytes, str]) -> None:
    """Refuse a body that is not JSON in UTF-8, which every server reads alike.

    A form is taken beside an Authorization header, which pages of other sites cannot send. What
    curl calls a form is taken as JSON under /api, as Ollama does and its manual writes it, but from
    no browser.

    Raises:
        RequestError: the body is of another media type, another character set, or packed.
    """
    if not has_body(headers):
        return
    kind, *parameters = headers.get(b"content-type", "").lower().split(";")
    kind = kind.strip()
    _check_coding(headers.get(b"content-encoding", ""), parameters)
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    bearer = headers.get(b"authorization", "").lower().startswith("bearer ")
    if kind == "multipart/form-data" and bearer:
        return
    by_browser = b"origin" in headers or b"sec-fetch-site" in headers
    of_ollama = route_path(scope).startswith("/api/")
    if kind == "application/x-www-form-urlencoded" and of_ollama and not by_browser:
        return
    raise RequestError(
        415,
        f"the body is {kind or 'of no media type'}: send JSON with `Content-Type: "
        "application/json`.",
        code="unsupported_media_type",
    )


def _check_coding(packing: str, parameters: Sequence[str]) -> None:
    """Refuse a body whose bytes another server would read otherwise than this one."""
    pairs = [one.partition("=") for one in parameters]
    sets = [(name.strip(), value.strip(' \t"')) for name, _, value in pairs if "charset" in name]
    if packing.strip().lower() in ("", "identity") and all(
        one in (("charset", "utf-8"), ("charset", "utf8")) for one in sets
    ):
        return
    raise RequestError(
        415,
        "the body must be UTF-8 and not be packed: leave Content-Encoding and other character "
        "sets out.",
        code="unsupported_media_type",
    )


def has_body(headers: Mapping[bytes, str]) -> bool:
    """True if the headers announce a body."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", "0") != "0"
