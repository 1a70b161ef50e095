"""A watched reply is an OpenTelemetry span with the attributes of the GenAI conventions."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from holdfast.core.control import parse
from holdfast.results.watch import ReplyRecord
from holdfast.serve.live.reply import LiveReply
from holdfast.serve.live.spans import Spans

REPLY = LiveReply(
    turns=[("user", "secret")],
    text="secret, too",
    control=parse("reminder:1"),
    model="m",
    began=5.0,
    tokens=(7, 2),
    finish="length",
)
RECORD = ReplyRecord(
    conversation="c", round=3, score=0.5, persona="shout", control="reminder:1", reply="secret, too"
)


class Tracer:
    """Keeps what a tracer is told."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, dict[str, Any]]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ended = 0

    def start_span(self, name: str, start_time: int, attributes: dict[str, Any]) -> Tracer:
        assert start_time == 5_000_000_000
        self.spans.append((name, attributes))
        return self

    def add_event(self, name: str, attributes: dict[str, Any]) -> None:
        self.events.append((name, attributes))

    def end(self) -> None:
        self.ended += 1


def test_a_span_has_model_conversation_tokens_and_score_and_no_text() -> None:
    spans, tracer = Spans(), Tracer()
    spans._tracer = tracer
    spans.add(REPLY, RECORD)
    ((name, attributes),) = tracer.spans
    assert name == "chat m" and tracer.ended == 1
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.conversation.id"] == "c"
    assert attributes["gen_ai.usage.input_tokens"] == 7
    assert attributes["gen_ai.response.finish_reasons"] == ["length"]
    ((event, values),) = tracer.events
    assert event == "gen_ai.evaluation.result"
    assert values["gen_ai.evaluation.score.value"] == 0.5
    assert "secret" not in str(tracer.spans) + str(tracer.events)


def test_without_opentelemetry_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    spans = Spans()
    assert spans._tracer is None
    spans.add(REPLY, RECORD)
