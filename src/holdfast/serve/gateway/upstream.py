"""Requests to the API behind the gateway, and its answers.

Answers come back as they are, with their headers (`headers`), but for the upstream's key: it is
replaced by `[key]` wherever it stands, also across the pieces of a stream. Nothing is compressed on
the way; what an upstream compresses nevertheless is unpacked here, in small pieces. Errors are read
whole, up to `ERROR_BYTES`.

This module knows HTTP. It knows no chats.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit

import httpx
from fastapi import Request
from starlette.responses import Response

from holdfast.core.errors import ServiceError
from holdfast.models.api.endpoint import public_url
from holdfast.serve.access import Keys
from holdfast.serve.gateway.bodies import MASK, mask, unpack
from holdfast.serve.gateway.client_pool import ClientPool
from holdfast.serve.gateway.headers import Headers, for_client, for_upstream
from holdfast.serve.gateway.paths import REWRITTEN, overrides_method
from holdfast.serve.http_errors import RequestError
from holdfast.serve.limits import Limits
from holdfast.serve.metrics import Metrics
from holdfast.serve.stream import StreamingAnswer, until_client_leaves

LOG = logging.getLogger("holdfast.serve")
ERROR_BYTES = 1 << 20
REPLY_BYTES = 32 << 20  # of a reply that is checked before it is sent
_SHORTEST_SECRET = 8  # a shorter one would be found in ordinary text
_PACKINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True, "deflate": True}


@dataclass(frozen=True)
class Upstream:
    """The API behind the gateway. Raises `ServiceError` if `url` is no base URL."""

    url: str = field(repr=False)
    """Its base URL."""
    key: str | None = field(default=None, repr=False)
    """Its key; None forwards the client's."""
    timeout: float = 600.0
    """Seconds until an answer begins, and then between two pieces of it."""
    retries: int = 1
    """Further tries where it cannot be reached or says 503, so that nothing was done."""

    def __post_init__(self) -> None:
        public_url(self.url)
        parts = urlsplit(self.url)
        if parts.query or parts.fragment:
            raise ServiceError("the upstream's base URL ends with its path: leave ? and # out.")
        key = self.key or ""
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ServiceError("the upstream's key holds characters that no key has: copy it again")

    @property
    def public(self) -> str:
        """The base URL without credentials."""
        return public_url(self.url)

    @cached_property
    def secrets(self) -> tuple[bytes, ...]:
        """What no response may hold: the key and the URL's password, also as JSON writes them."""
        parts = urlsplit(self.url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if password else ""
        texts = [self.key or "", password, parts.password or "", basic]
        texts += [text.replace("/", "\\/") for text in texts]
        return tuple({text.encode() for text in texts if len(text) >= _SHORTEST_SECRET})

    def url_for(self, path: str, query: str) -> str:
        """The URL of a path below the base URL; the path is not encoded yet."""
        escaped_path = quote(path, safe="/:@!$&'()*+,;=~")
        return f"{self.url.rstrip('/')}/{escaped_path}" + (f"?{query}" if query else "")

    def key_headers(self, path: str) -> Headers:
        """The headers that carry the key, as OpenAI's protocol and Anthropic's have them."""
        if not self.key:
            return []
        key = self.key.encode()
        bearer = [(b"authorization", b"Bearer " + key)]
        if path.partition("/")[0] != "messages":
            return bearer
        host = urlsplit(self.url).hostname or ""
        # Anthropic's own server refuses a request with both.
        own = host == "anthropic.com" or host.endswith(".anthropic.com")
        return [(b"x-api-key", key), *([] if own else bearer)]


@dataclass(frozen=True)
class Proxy:
    """Forwards requests to the upstream."""

    upstream: Upstream
    pool: ClientPool
    keys: Keys
    """The gateway's; where there are any, a client's key is the gateway's and not forwarded."""
    limits: Limits
    metrics: Metrics

    async def forward(
        self,
        request: Request,
        path: str,
        body: bytes,
        about: Mapping[str, str],
        on_end: Callable[[bytes, bool], None] | None = None,
    ) -> Response:
        """Forward a request; the upstream's response is sent as it comes.

        Args:
            request: the client's request.
            path: where it goes, below the base URL.
            body: the body to forward.
            about: headers of ours.
            on_end: gets the body, up to `REPLY_BYTES` of it, and whether it came whole.
        """
        start = time.perf_counter()
        answer = await self.send(request, path, body)
        if answer.status_code >= 400:
            return await self.pass_error_on(answer, about)
        headers = self.headers(answer, about)
        pieces = self._pieces(answer)
        if on_end is not None:
            first = self.metrics.first
            pieces = _collect(pieces, on_end, lambda: first.observe(time.perf_counter() - start))
        timeout = self.limits.write_timeout
        return with_headers(StreamingAnswer(pieces, timeout, answer.status_code), headers)

    async def send(self, request: Request, path: str, body: bytes) -> httpx.Response:
        """Send a request, and return the upstream's response with its body still unread.

        Raises:
            RequestError: the upstream cannot be reached, does not answer in time, or sends a chat
                elsewhere, where it would be without its persona.
        """
        if overrides_method(request.url.query):
            raise RequestError(400, "the query names another method: leave it out.")
        try:
            client = self.pool.client()
            upstream_request = client.build_request(
                request.method,
                self.upstream.url_for(path, request.url.query),
                headers=self._request_headers(request, path),
                content=body,
            )
        except (httpx.InvalidURL, ValueError):
            raise RequestError(400, "the path or its query is no part of a URL.") from None
        for attempt in range(self.upstream.retries + 1):
            if attempt:
                await asyncio.sleep(min(0.25 * 2 ** (attempt - 1), 4.0))
            last = attempt == self.upstream.retries
            try:
                sending = client.send(upstream_request, stream=True)
                answer = await until_client_leaves(request.receive, sending)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if last:
                    raise self._failure("unreachable", error) from error
            except httpx.TimeoutException as error:
                raise self._failure("timeout", error) from error
            except httpx.HTTPError as error:
                raise self._failure("unreachable", error) from error
            else:
                if answer.has_redirect_location and path in REWRITTEN:
                    await answer.aclose()
                    raise self.unusable_error(
                        "sends chats elsewhere: give the other address as --upstream"
                    )
                if last or answer.status_code != 503:
                    return await self._check_packing(answer)
                await answer.aclose()
        raise AssertionError("the last try returns or raises")

    async def pass_error_on(self, answer: httpx.Response, about: Mapping[str, str]) -> Response:
        """An error for the client; one that is too long is replaced by ours."""
        content, status = await self.read(answer, ERROR_BYTES), answer.status_code
        if content is None:
            sentence = f"{self.upstream.public} sent an error of more than {ERROR_BYTES} bytes."
            content = RequestError(status, sentence, code="upstream_error_too_large").content
        return with_headers(Response(content, status), self.headers(answer, about))

    async def read(self, answer: httpx.Response, limit: int) -> bytes | None:
        """A response's whole body without secrets; None if it is longer than `limit` bytes."""
        content = bytearray()
        try:
            async with (
                asyncio.timeout(self.upstream.timeout),
                aclosing(self._unpack_body(answer)) as it,
            ):
                async for piece in it:
                    content += piece
                    if len(content) > limit:
                        return None
        except (TimeoutError, httpx.HTTPError, zlib.error) as error:
            raise self._failure(_kind(error), error) from error
        finally:
            await answer.aclose()
        return self._mask_secrets(bytes(content))

    def headers(self, answer: httpx.Response, about: Mapping[str, str]) -> Headers:
        """The response's headers for the client, and ours."""
        headers = [
            (name, self._mask_secrets(value)) for name, value in for_client(answer.headers.raw)
        ]
        return [*headers, *((name.encode(), value.encode()) for name, value in about.items())]

    def _request_headers(self, request: Request, path: str) -> Headers:
        headers = for_upstream(request.headers.raw, keys=not (self.upstream.key or self.keys))
        return [*headers, (b"accept-encoding", b"identity"), *self.upstream.key_headers(path)]

    async def _pieces(self, answer: httpx.Response) -> AsyncGenerator[bytes]:
        """A response's body without secrets, as it comes."""
        try:
            async with aclosing(self._unpack_body(answer)) as body:
                async for piece in mask(body, self.upstream.secrets):
                    yield piece
        except (httpx.HTTPError, zlib.error) as error:
            self._count(_kind(error), error)
            # The client's connection breaks as the upstream's did.
            raise ConnectionResetError from error
        finally:
            await answer.aclose()

    async def _check_packing(self, answer: httpx.Response) -> httpx.Response:
        """The response. Raises `RequestError` if it is packed in a way that we cannot unpack."""
        packing = _packing(answer)
        if packing not in _PACKINGS:
            await answer.aclose()
            cause = ValueError(f"content-encoding {packing[:40]!r}, although asked for identity")
            raise self._failure("broken", cause)
        return answer

    async def _unpack_body(self, answer: httpx.Response) -> AsyncGenerator[bytes]:
        """A response's body, unpacked."""
        if not _PACKINGS[_packing(answer)]:
            async for piece in answer.aiter_raw():
                yield piece
            return
        async with aclosing(unpack(answer.aiter_raw())) as pieces:
            async for piece in pieces:
                yield piece

    def _mask_secrets(self, content: bytes) -> bytes:
        for secret in self.upstream.secrets:
            content = content.replace(secret, MASK)
        return content

    def unusable_error(self, problem: str) -> RequestError:
        """Count and log an answer that is of no use; the error for the client.

        Args:
            problem: what the upstream did, as in "sent no JSON".
        """
        self._count("broken", ValueError(problem))
        return RequestError(502, f"{self.upstream.public} {problem}.")

    def _failure(self, kind: str, cause: Exception) -> RequestError:
        self._count(kind, cause)
        status, sentence = {
            "unreachable": (502, "cannot be reached."),
            "timeout": (504, "did not answer in time."),
            "broken": (502, "broke off."),
        }[kind]
        return RequestError(status, f"{self.upstream.public} {sentence}")

    def _count(self, kind: str, cause: Exception) -> None:
        self.metrics.upstream_errors.labels(kind).inc()
        reason = self._mask_secrets(f"{type(cause).__name__}: {cause}".encode())
        text = reason.decode(errors="replace")[:300].encode("unicode_escape").decode()
        LOG.warning("upstream %s: %s (%s)", kind, self.upstream.public, text)


async def _collect(
    pieces: AsyncGenerator[bytes],
    on_end: Callable[[bytes, bool], None],
    on_begin: Callable[[], None],
) -> AsyncGenerator[bytes]:
    """The pieces as they come; at their end `on_end` gets them, and whether these are all."""
    content, whole = bytearray(), False
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                if not content:
                    on_begin()
                if len(content) <= REPLY_BYTES:
                    content += piece
                yield piece
        whole = len(content) <= REPLY_BYTES
    finally:  # also where the client leaves
        on_end(bytes(content), whole)


def with_headers(response: Response, headers: Headers) -> Response:
    """Give a response these headers; one that is no stream keeps its length."""
    lengths = [pair for pair in response.raw_headers if pair[0] == b"content-length"]
    response.raw_headers = [*((name.lower(), value) for name, value in headers), *lengths]
    return response


def _kind(error: Exception) -> str:
    """The kind of failure by which a body ended early."""
    return "timeout" if isinstance(error, TimeoutError | httpx.TimeoutException) else "broken"


def _packing(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-encoding", "")).strip().lower()
