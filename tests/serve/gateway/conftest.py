"""The upstream and the gateway that a module's fixture `shared` starts once."""

from __future__ import annotations

import pytest

from serve.gateway.upstreams import Recorded


@pytest.fixture
def there(shared: tuple[Recorded, str]) -> Recorded:
    recorded = shared[0]
    recorded.requests.clear()
    recorded.answer = Recorded().answer
    return recorded


@pytest.fixture
def url(shared: tuple[Recorded, str]) -> str:
    return shared[1]
