"""The reply in a body of each protocol, whole and as a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.serve.live.wire_reply import WireReply, read_wire_reply


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)


CHAT = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
RESPONSE = {
    "output": [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {"content": [{"type": "output_text", "text": "Hi"}]},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
THOUGHT_AND_TEXT = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
    {"type": "text", "text": "Hi"},
]
MESSAGE = {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}


def chunk(text: str | None, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (json.dumps({**CHAT, **USAGE}).encode(), WireReply("Hi", (3, 2))),
        # Mistral's reasoning models, whole and in a stream.
        (
            json.dumps({"choices": [{"message": {"content": THOUGHT_AND_TEXT}}]}).encode(),
            WireReply("Hi"),
        ),
        (
            stream({"choices": [{"index": 0, "delta": {"content": THOUGHT_AND_TEXT}}]}),
            WireReply("Hi"),
        ),
        (json.dumps(RESPONSE).encode(), WireReply("Hi", (3, 2))),
        (json.dumps(MESSAGE).encode(), WireReply("Hi", finish="end_turn")),
        (
            stream(chunk("H"), chunk("no", 1), chunk("i"), chunk(None, finish="length"), USAGE)
            + b"data: [DONE]\n\n",
            WireReply("Hi", (3, 2), "length"),
        ),
        (
            stream(
                {"type": "response.output_text.delta", "delta": "Hi"},
                {"type": "response.completed", "response": RESPONSE},
            ),
            WireReply("Hi", (3, 2)),
        ),
        (
            stream(
                {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 2},
                },
            ),
            WireReply("Hi", (3, 2), "end_turn"),
        ),
        # What Anthropic's cache reads and keeps is of the prompt, and not in `input_tokens`.
        (
            json.dumps(
                {
                    **MESSAGE,
                    "usage": {
                        "input_tokens": 3,
                        "cache_read_input_tokens": 1000,
                        "cache_creation_input_tokens": 100,
                        "output_tokens": 2,
                    },
                }
            ).encode(),
            WireReply("Hi", (1103, 2), "end_turn"),
        ),
        (
            json.dumps(
                {
                    **RESPONSE,
                    "status": "incomplete",
                    "incomplete_details": {"reason": "max_output_tokens"},
                }
            ).encode(),
            WireReply("Hi", (3, 2), "max_output_tokens"),
        ),
        (
            json.dumps({**RESPONSE, "output": [], "status": "failed"}).encode(),
            WireReply(tokens=(3, 2), failed=True),
        ),
        (
            stream(
                {"type": "response.output_text.delta", "delta": "Hi"},
                {"type": "response.failed", "response": {"status": "failed", "output": []}},
            ),
            WireReply("Hi", failed=True),
        ),
        (stream(chunk("Hi"), {"error": {"message": "overloaded"}}), WireReply("Hi", failed=True)),
        (stream({"type": "error", "error": {"type": "overloaded_error"}}), WireReply(failed=True)),
        (json.dumps({"error": {"message": "busy"}}).encode(), WireReply(failed=True)),
        (b"no JSON", WireReply()),
        (b'{"choices": "odd"}', WireReply()),
        (b'data: [1]\n\ndata: {"choices": [7]}\n\n', WireReply()),
    ],
)
def test_the_first_reply_is_read(content: bytes, answer: WireReply) -> None:
    assert read_wire_reply(content) == answer
