"""A gateway is ready if its upstream answers; it asks rarely."""

from __future__ import annotations

import httpx
import pytest

from holdfast.serve.gateway import readiness
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (make_answer, 200),
        (lambda: make_answer(status=401), 200),
        (lambda: make_answer(status=502), 503),
    ],
)
def test_an_upstream_that_answers_is_ready(answer: object, status: int) -> None:
    there = FakeUpstream(lambda request: answer())  # type: ignore[operator]
    with gateway(there) as url:
        for _ in range(3):
            assert httpx.get(url.replace("/v1", "/ready")).status_code == status
        assert httpx.get(url.replace("/v1", "/health")).status_code == 200
    assert there.paths == ["GET /v1/models"]


def test_an_upstream_that_comes_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LIFETIME", 0.0)
    there = FakeUpstream()

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    own, there.answer = there.answer, away
    with gateway(there) as url:
        place = url.replace("/v1", "/ready")
        answer = httpx.get(place)
        assert answer.status_code == 503 and "ConnectError" in answer.text
        there.answer = own
        assert httpx.get(place).status_code == 200
