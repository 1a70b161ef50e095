"""OpenTelemetry spans of replies, by the semantic conventions of generative AI.

A reply is a span `chat MODEL` with `gen_ai.operation.name`, `gen_ai.provider.name`,
`gen_ai.request.model`, `gen_ai.conversation.id`, token usage and finish reason; its score is an
event `gen_ai.evaluation.result`. Spans hold no texts. Where and how they are sent is
OpenTelemetry's own configuration (`OTEL_…`). Without the package `opentelemetry` nothing is done,
and with its API alone the spans go nowhere.
"""

from __future__ import annotations

import time
from typing import Any

from holdfast.core.version import __version__
from holdfast.results.watch import ReplyRecord
from holdfast.serve.live.reply import LiveReply


class Spans:
    """Makes the spans."""

    def __init__(self) -> None:
        self._tracer: Any = None
        try:
            from opentelemetry import trace
        except ModuleNotFoundError:
            return
        self._tracer = trace.get_tracer("holdfast", __version__)

    def add(self, reply: LiveReply, record: ReplyRecord) -> None:
        """Make the span of a reply that has ended."""
        if self._tracer is None:
            return
        began = reply.began or time.time()
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "holdfast",
            "gen_ai.request.model": reply.model,
            "gen_ai.conversation.id": record.conversation,
            "gen_ai.response.finish_reasons": [reply.finish],
            "holdfast.persona": record.persona,
            "holdfast.control": record.control,
            "holdfast.round": record.round,
        }
        if reply.tokens is not None:
            attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"] = (
                reply.tokens
            )
        span = self._tracer.start_span(
            f"chat {reply.model}", start_time=int(began * 1e9), attributes=attributes
        )
        if record.score is not None:
            evaluation = {
                "gen_ai.evaluation.name": f"persona {record.persona}",
                "gen_ai.evaluation.score.value": record.score,
            }
            span.add_event("gen_ai.evaluation.result", evaluation)
        span.end()
