"""What servers say, as bytes: good answers, bad ones, and complaints in every dialect."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import ModelError, ServiceError
from holdfast.models.api import responses
from holdfast.models.api.responses import (
    ApiCompletion,
    Endpoint,
    ServerError,
    Tokens,
    classify,
    read_completion,
    read_error,
)

PLACE = Endpoint("m", "http://host/v1")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def completion(content: object = "Hello.", finish: object = "stop", **more: object) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def error(status: int, message: object = "", **fields: object) -> ServerError:
    return read_error(status, json.dumps({"error": {"message": message, **fields}}).encode())


# Answers


def test_a_completion_gives_its_text_and_the_servers_counts() -> None:
    assert read_completion(completion()) == ApiCompletion("Hello.", "stop", None, Tokens(11, 0, 3))


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        (None, "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "error"),
        ("error", "error"),
    ],
)
def test_a_finish_reason_becomes_one_of_our_four_stops(finish: object, stop: str) -> None:
    result = read_completion(completion(finish=finish))
    assert result.stop == stop
    assert result.text == "Hello."
    assert (result.error is not None) == (stop == "error")


def test_an_empty_text_is_a_reply_and_no_text_is_an_error() -> None:
    assert read_completion(completion("")) == ApiCompletion("", "stop", None, Tokens(11, 0, 3))
    result = read_completion(completion(None))
    assert (result.text, result.stop) == ("", "error")
    assert "no text" in (result.error or "")


def test_a_reply_that_ran_out_of_tokens_while_thinking_is_empty_at_the_limit() -> None:
    result = read_completion(completion(None, "length", reasoning_content="Let me think"))
    assert (result.text, result.stop, result.error) == ("", "length", None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_thought_is_read_apart_from_the_text(field: str) -> None:
    result = read_completion(completion("Yes.", **{field: "Hm, no."}))
    assert (result.text, result.thought) == ("Yes.", "Hm, no.")


def test_a_thought_within_the_text_is_split_from_it() -> None:
    result = read_completion(completion("Hm, no.</think>\n\nYes."))
    assert (result.text, result.thought) == ("Yes.", "Hm, no.")


def test_thoughts_are_no_part_of_the_text() -> None:
    assert read_completion(completion("Yes.", reasoning_content="Hm, no.")).text == "Yes."
    parts = [
        {"type": "thinking", "thinking": "Hm", "text": "Hm"},
        {"type": "text", "text": "Ye"},
        {"type": "text", "text": "s."},
    ]
    assert read_completion(completion(parts)).text == "Yes."


def test_a_refusal_field_is_what_the_model_said() -> None:
    assert read_completion(completion(None, refusal="I cannot.")).text == "I cannot."


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b"{}", b'{"choices": []}', b'{"choices": "x"}',
     b'{"choices": [null]}', b'{"choices": [{"message": "text"}]}', b"\xff\xfe"],
)  # fmt: skip
def test_a_malformed_body_is_an_error_with_a_reason(content: bytes) -> None:
    result = read_completion(content)
    assert (result.text, result.stop) == ("", "error")
    assert result.error


def test_text_that_is_not_utf8_keeps_what_can_be_read() -> None:
    body = completion("caf_").replace(b"caf_", b"caf\xe9")
    assert read_completion(body).text == "caf\ufffd"
    assert read_completion(completion("a\ud800b")).text == "a\ufffdb"
    assert read_completion(completion("🌊")).text == "🌊"


def test_an_error_in_a_successful_response_is_the_reason() -> None:
    result = read_completion(
        json.dumps({"error": {"code": 502, "message": "Provider is down"}}).encode()
    )
    assert (result.stop, result.error) == ("error", "Provider is down")
    body = {"error": {"code": "context_length_exceeded", "message": "Too long"}}
    assert read_completion(json.dumps(body).encode()).stop == "overflow"


UNBELIEVABLE: list[object] = [
    None,
    {},
    [],
    "many",
    {"prompt_tokens": 3},
    {"prompt_tokens": -1, "completion_tokens": 2},
    {"prompt_tokens": True, "completion_tokens": 2},
    {"prompt_tokens": "3", "completion_tokens": 2},
    {"prompt_tokens": float("inf"), "completion_tokens": 2},
]


@pytest.mark.parametrize("usage", UNBELIEVABLE)
def test_counts_that_cannot_be_believed_are_none(usage: object) -> None:
    body = {"choices": [{"message": {"content": "x"}}], "usage": usage}
    assert read_completion(json.dumps(body).encode()).tokens is None


def test_cached_tokens_are_counted_within_the_prompts() -> None:
    usage = {"prompt_tokens": 10.0, "completion_tokens": 2}
    for cached, count in ((4, 4), (40, 10), (None, 0)):
        details = {"prompt_tokens_details": {"cached_tokens": cached}}
        body = {"choices": [{"message": {"content": "x"}}], "usage": usage | details}
        assert read_completion(json.dumps(body).encode()).tokens == Tokens(10, count, 2)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(content: bytes) -> None:
    assert read_completion(content).stop in ("stop", "length", "overflow", "error")
    assert responses.exception_for(read_error(500, content), PLACE)


@given(json_values, json_values, json_values, st.integers(400, 599))
def test_no_json_makes_it_raise(one: object, two: object, three: object, status: int) -> None:
    choice = {"message": {"content": one}, "finish_reason": two, "error": three}
    for body in (one, {"choices": one, "error": two}, {"choices": [choice], "usage": three}):
        result = read_completion(json.dumps(body).encode())
        result.text.encode()
        assert result.error is not None or result.stop != "error"
    for wrong in (one, {"error": one}, {"error": {"message": one, "code": two, "param": three}},
                  {"detail": one}, [one]):  # fmt: skip
        complaint = read_error(status, json.dumps(wrong).encode())
        assert len(complaint.message) <= 2 * responses.LONGEST_LINE + 1
        complaint.message.encode()
        str(responses.exception_for(complaint, PLACE)).encode()


# Complaints

OVERFLOWS = [
    error(400, "Too many.", code="context_length_exceeded"),
    error(400, "This model's maximum context length is 4096 tokens. However, you requested 4200"),
    error(400, "request (4390 tokens) exceeds the available context size (4096 tokens)", code=400,
          type="exceed_context_size_error"),
    error(500, "Context size has been exceeded.", code=500, type="server_error"),
    error(400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    error(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    error(400, "The input token count (40000) exceeds the maximum number of tokens allowed"),
    error(422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."),
    error(413, "Payload too large"),
    read_error(400, b'{"object": "error", "message": "maximum context length is 8", "code": 400}'),
]  # fmt: skip


@pytest.mark.parametrize("complaint", OVERFLOWS, ids=lambda said: said.message[:30])
def test_a_chat_that_does_not_fit_is_known_by_code_or_words(complaint: ServerError) -> None:
    assert classify(complaint) == "overflow"
    assert responses.is_final(complaint)
    assert responses.find_refused_parameter(complaint, ["max_tokens", "seed"]) is None


@pytest.mark.parametrize(
    ("complaint", "about"),
    [
        (error(401, "Incorrect API key provided"), "key"),
        (error(403, "Country not supported"), "permission"),
        (error(403, "Your input was flagged"), "filter"),
        (error(400, "Blocked", code="content_filter"), "filter"),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), "quota"),
        (error(402, "Insufficient credits"), "quota"),
        (error(429, "Rate limit reached: too many tokens per minute"), "rate"),
        (error(404, "The model `m` does not exist or you do not have access to it."), "model"),
        (error(404, 'model "m" not found, try pulling it first'), "model"),
        (error(400, "m is not a valid model ID"), "model"),
        (error(404, "Nothing", code="model_not_found"), "model"),
        (read_error(400, b"{\"detail\": \"Server is pinned to 'a'; requested 'b'.\"}"), "model"),
        (read_error(404, b'{"detail": "Not Found"}'), "path"),
        (read_error(404, b"<html>Not here: model not found</html>"), "path"),
        (error(400, "System role not supported"), "system"),
        (error(400, "Developer instruction is not enabled for models/gemma-3-27b-it"), "system"),
        (error(400, "Conversation roles must alternate user/assistant/user"), "order"),
        (read_error(400, b'{"error": "bad thing"}'), "request"),
        (read_error(500, b"Internal Server Error"), "server"),
        (read_error(503, b""), "server"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.message[:30],
)
def test_a_complaint_is_known_for_what_it_is_about(complaint: ServerError, about: str) -> None:
    assert classify(complaint) == about


def test_a_complaint_reads_every_shape_of_error() -> None:
    assert read_error(400, b'{"error": "flat"}').message == "flat"
    assert read_error(400, b'{"message": "bare", "code": 7}').codes == {"7"}
    assert read_error(400, b'[{"error": {"message": "listed"}}]').message == "listed"
    assert read_error(400, b"plain\n words").message == "plain words"
    assert read_error(400, b"<html>page</html>").message == ""
    raw = {"message": "Provider returned error", "metadata": {"raw": "upstream said no"}}
    complaint = read_error(400, json.dumps({"error": raw}).encode())
    assert complaint.message == "Provider returned error upstream said no"


@pytest.mark.parametrize(
    ("complaint", "name"),
    [
        (error(400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
               "'max_completion_tokens' instead.", param="max_tokens"), "max_tokens"),
        (error(400, "Unsupported value", param="temperature"), "temperature"),
        (error(400, "`temperature` and `top_p` cannot both be specified"), "top_p"),
        (read_error(422, b'{"detail": "Unexpected fields in the request: {\'top_k\'}"}'), "top_k"),
        (read_error(422, b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}'),
         "seed"),
        (error(400, "Argument not supported on this model: stop"), "stop"),
        (error(400, "Please stop sending me such requests"), None),
        (error(400, "temperature must be between 0 and 1", param="temperature"), None),
        (error(500, "Unsupported parameter", param="seed"), None),
        (error(400, "Unsupported parameter", param="logit_bias"), None),
    ],
)  # fmt: skip
def test_only_a_parameter_that_was_sent_and_is_refused_is_given_up(
    complaint: ServerError, name: str | None
) -> None:
    names = ["max_tokens", "temperature", "top_p", "top_k", "seed", "stop"]
    assert responses.find_refused_parameter(complaint, names) == name
    assert responses.find_refused_parameter(complaint, []) is None


def test_every_sentence_names_the_place_and_repeats_what_the_server_said() -> None:
    models = {"system", "order", "model"}
    for about in responses._SENTENCES:
        complaint = {
            "key": error(401, "No {braces}."),
            "permission": error(403, "No {braces}."),
            "quota": error(402, "No {braces}."),
            "rate": error(429, "No {braces}."),
            "system": error(400, "System role not supported, no {braces}."),
            "order": error(400, "roles must alternate, no {braces}."),
            "model": error(404, "no {braces}.", code="model_not_found"),
            "path": error(404, "No {braces}."),
            "request": error(400, "No {braces}."),
            "server": error(500, "No {braces}."),
        }[about]
        assert classify(complaint) == about
        exception = responses.exception_for(complaint, PLACE)
        assert isinstance(exception, ModelError if about in models else ServiceError)
        assert "http://host/v1" in str(exception)
        assert "{braces})" in str(exception)
        assert f"HTTP {complaint.status}" in str(exception)
        assert "\n" not in str(exception)
