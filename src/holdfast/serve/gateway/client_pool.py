"""Connections to the upstream, in several pools.

For every request httpcore looks through all of a pool's connections, so that the work of a pool
grows with the square of what is in flight: at 320 requests it holds the event loop for seconds.

This module knows connections. It knows no requests.
"""

from __future__ import annotations

import asyncio
import itertools

import httpx

POOLS = 16
_CONNECT_SECONDS = 15.0


class ClientPool:
    """Clients that take requests in turn.

    Args:
        timeout: seconds until an answer begins, and then between two pieces of it.
        connections: how many a client may have at once; the requests in flight are bounded
            elsewhere, so that none waits here.
        transport: how the upstream is reached; by default over the network.
    """

    def __init__(
        self, timeout: float, connections: int, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        trust = httpx.create_ssl_context()  # reading the certificates takes time: once for all
        self._clients = [
            httpx.AsyncClient(
                verify=trust,
                timeout=httpx.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout)),
                limits=httpx.Limits(max_connections=connections),
                transport=transport,
                follow_redirects=False,
            )
            for _ in range(POOLS)
        ]
        self._turns = itertools.cycle(self._clients)

    def client(self) -> httpx.AsyncClient:
        """The client of the next request."""
        return next(self._turns)

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.aclose() for client in self._clients))
