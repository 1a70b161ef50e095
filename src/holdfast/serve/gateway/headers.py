"""Which headers go on to the upstream, and which come back to the client.

Left out are those of one connection (RFC 9110, 7.6.1), those by which a request would mean
something else than the gateway has read, and those by which an upstream speaks of its own site.

This module knows names of headers. It knows no bodies.
"""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

_CONNECTION = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"host", b"content-length", b"accept-encoding",
    b"cookie", b"set-cookie", b"server", b"date",
}  # fmt: skip
_KEYS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"}
# Another method or path than the request's own, which some servers go by: GET would delete.
_OVERRIDES = {
    b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url",
    b"x-rewrite-url",
}  # fmt: skip
# What a site says of itself to browsers, which would take it of the gateway.
_SITE = {
    b"strict-transport-security", b"alt-svc", b"clear-site-data", b"nel", b"report-to",
    b"reporting-endpoints", b"content-security-policy", b"content-security-policy-report-only",
    b"x-content-type-options", b"service-worker-allowed", b"content-encoding",
}  # fmt: skip
_PAGES = b"access-control-"  # which pages may read a response is said by `--origin`
# Opened as a page, an answer runs no script under the gateway's name.
_HARMLESS: Headers = [
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
]


def for_upstream(headers: Iterable[tuple[bytes, bytes]], keys: bool) -> Headers:
    """A client's headers for the upstream.

    Args:
        headers: as they came.
        keys: whether the client's API key goes on.
    """
    blocklist = _OVERRIDES if keys else _OVERRIDES | _KEYS
    # Some servers take `a_b` for `a-b`, so that it would come beside what was read.
    return [
        (name, value)
        for name, value in _of_message(headers)
        if name.lower() not in blocklist and b"_" not in name
    ]


def for_client(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """An upstream's headers for the client."""
    own = [
        (name, value)
        for name, value in _of_message(headers)
        if name.lower() not in _SITE and not name.lower().startswith(_PAGES)
    ]
    return own + _HARMLESS


def _of_message(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers without those of one connection."""
    pairs = list(headers)
    values = [value for name, value in pairs if name.lower() == b"connection"]
    hop_names = _CONNECTION | {one.strip().lower() for value in values for one in value.split(b",")}
    return [(name, value) for name, value in pairs if name.lower() not in hop_names]
