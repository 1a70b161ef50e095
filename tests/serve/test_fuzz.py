"""Requests made from the server's own OpenAPI schema, right and wrong: it never fails on one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from holdfast.serve.app import create_app
from holdfast.serve.limits import Limits
from serve.running import TEA, serve_app, small

app = create_app(small(), limits=Limits(context=400, choices=4))
schema = schemathesis.openapi.from_dict(app.openapi())
# Operations by name: tests that schemathesis makes share one id, and of these xdist runs one.
OPERATIONS = [operation.ok() for operation in schema.get_all_operations()]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_app(create_app(small(), limits=Limits(context=400, choices=4))) as address:
        yield address


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_whatever_the_schema_yields_is_answered(
    operation: schemathesis.schemas.APIOperation, data: st.DataObject, url: str
) -> None:
    mode = data.draw(st.sampled_from(GenerationMode))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    if isinstance(case.body, dict):
        # Replies of thousands of tokens are the schema's right and nobody's test.
        case.body = {**case.body, "max_completion_tokens": 3}
        if isinstance(case.body.get("model"), str):
            case.body["model"] = "small"
    answer = case.call(base_url=url.removesuffix("/v1"), timeout=30)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        if not operation.path.startswith("/api/"):  # Ollama's is the sentence alone
            assert set(error) == {"message", "type", "param", "code"}
            error = error["message"]
        assert isinstance(error, str) and error


def test_it_is_still_up_and_right(url: str) -> None:
    body = {"model": "small", "messages": [TEA], "max_tokens": 4}
    answer = httpx.post(f"{url}/chat/completions", json=body)
    assert answer.json()["usage"]["completion_tokens"] == 4
