"""Requests made from the server's own OpenAPI schema, right and wrong: it never fails on one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode

from holdfast.serve.app import create_app
from holdfast.serve.limits import Limits
from serve.running import TEA, served, small

app = create_app(small(), limits=Limits(context=400, choices=4))
schema = schemathesis.openapi.from_dict(app.openapi())
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(create_app(small(), limits=Limits(context=400, choices=4))) as made:
        yield made


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_the_schema_yields_is_answered(case: schemathesis.Case, url: str) -> None:
    if isinstance(case.body, dict):
        # Replies of thousands of tokens are the schema's right and nobody's test.
        case.body = {**case.body, "max_completion_tokens": 3}
        if isinstance(case.body.get("model"), str):
            case.body["model"] = "small"
    answer = case.call(base_url=url.removesuffix("/v1"), timeout=30)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str) and error["message"]


def test_it_is_still_up_and_right(url: str) -> None:
    asked = {"model": "small", "messages": [TEA], "max_tokens": 4}
    answer = httpx.post(f"{url}/chat/completions", json=asked)
    assert answer.json()["usage"]["completion_tokens"] == 4
