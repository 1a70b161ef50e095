"""Where an API is and with which key: from arguments, or from the environment.

This module knows URLs and keys. It opens no connection.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from holdfast.core.errors import ServiceError

OPENAI = "https://api.openai.com/v1"
_NO_KEY = "none"  # for a server that needs no key, since the client must send one


def read_environment(name: str) -> str | None:
    """Read HOLDFAST_`name`, else OPENAI_`name`."""
    return os.environ.get(f"HOLDFAST_{name}") or os.environ.get(f"OPENAI_{name}") or None


def choose_key(key: str | None, url: str) -> str:
    """Return the key to send: the argument, or the environment's.

    Raises `ServiceError` where OpenAI's own server would get none, or where it is no key.
    """
    key = (key or read_environment("API_KEY") or "").strip()
    if not key and url == OPENAI:
        raise ServiceError(
            "an api: model needs a key in OPENAI_API_KEY (or HOLDFAST_API_KEY), or a server of "
            "your own named by `base_url`"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ServiceError("the API key holds characters that no key has; copy it again")
    return key or _NO_KEY


def public_url(url: str) -> str:
    """Return a base URL without its user, password and query.

    Raises `ServiceError` where it is no URL of a server.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ServiceError(
            "the base URL must start with http:// or https:// and name a host, as in "
            f"http://localhost:8000/v1, unlike {url.rpartition('@')[2]!r}"
        )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
