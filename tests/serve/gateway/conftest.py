"""The upstream and the gateway that a module's fixture `shared` starts once."""

from __future__ import annotations

import pytest

from serve.gateway.upstreams import FakeUpstream


@pytest.fixture
def there(shared: tuple[FakeUpstream, str]) -> FakeUpstream:
    upstream = shared[0]
    upstream.requests.clear()
    upstream.answer = FakeUpstream().answer
    return upstream


@pytest.fixture
def url(shared: tuple[FakeUpstream, str]) -> str:
    return shared[1]
