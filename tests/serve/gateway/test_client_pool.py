"""Connections to the upstream are spread, since a pool's work grows with their square."""

from __future__ import annotations

import asyncio
from collections import Counter

from holdfast.serve.gateway.client_pool import POOLS, ClientPool


def test_requests_are_spread_evenly_over_several_clients() -> None:
    pool = ClientPool(5.0, 320)
    counts = Counter(id(pool.client()) for _ in range(320))
    asyncio.run(pool.aclose())
    assert len(counts) == POOLS >= 8 and set(counts.values()) == {320 // POOLS}
