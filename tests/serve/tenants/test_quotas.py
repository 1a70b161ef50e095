"""A key's requests of a minute and tokens of a day are bounded."""

from __future__ import annotations

import pytest

from holdfast.serve.http_errors import RequestError
from holdfast.serve.tenants.config import KeyRule
from holdfast.serve.tenants.quotas import Quotas

NOON = 12 * 3600.0


def test_requests_of_a_minute_are_bounded_and_the_oldest_makes_room() -> None:
    quotas, rule = Quotas(), KeyRule("bot", b"", requests_per_minute=2)
    quotas.enter(rule, NOON)
    quotas.enter(rule, NOON + 20)
    with pytest.raises(RequestError, match="the key bot has sent 2") as caught:
        quotas.enter(rule, NOON + 30)
    assert caught.value.status == 429 and caught.value.headers == {"retry-after": "30"}
    quotas.enter(rule, NOON + 61)
    with pytest.raises(RequestError):
        quotas.enter(rule, NOON + 62)


def test_tokens_of_a_day_are_bounded_until_midnight() -> None:
    quotas, rule = Quotas(), KeyRule("bot", b"", tokens_per_day=100)
    quotas.add("bot", 60, NOON)
    quotas.enter(rule, NOON)
    quotas.add("bot", 60, NOON)
    with pytest.raises(RequestError) as caught:
        quotas.enter(rule, NOON + 1)
    assert caught.value.headers == {"retry-after": str(12 * 3600 - 1)}
    quotas.enter(rule, NOON + 86_400)
    assert quotas.tokens("bot", NOON + 86_400) == 0


def test_keys_are_counted_apart() -> None:
    quotas = Quotas()
    for name in ("a", "b"):
        quotas.enter(KeyRule(name, b"", requests_per_minute=1), NOON)
