"""OpenTelemetry of watched replies, by the semantic conventions of generative AI.

A reply is a span `chat MODEL` with `gen_ai.operation.name`, `gen_ai.provider.name`,
`gen_ai.request.model`, `gen_ai.conversation.id`, token usage and finish reason; its score is an
event `gen_ai.evaluation.result`. The span belongs to the one that was current in the route, which
is the request's where FastAPI makes such. The metrics are

    gen_ai.server.request.duration   s         model
    gen_ai.client.token.usage        {token}   model, gen_ai.token.type
    holdfast.persona.score           1         persona, control, rounds
    holdfast.drift.alarms            {alarm}   persona

No span or metric holds texts. OpenTelemetry's own settings (`OTEL_…`) say where they go. Without
the package `opentelemetry` nothing is done, and with its API alone nothing is sent.

Sources: semantic-conventions-genai, "GenAI spans", "GenAI metrics" and "GenAI events".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.version import __version__
from holdfast.evals.watch.watcher import round_label
from holdfast.results.watch import ReplyRecord
from holdfast.serve.live.reply import LiveReply
from holdfast.serve.metrics import label

MODELS = 100  # names of models in metrics: a gateway's clients send any
FLUSH = 5.0  # seconds that the last spans may take to leave when the server stops
# The conventions' own bounds.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**n for n in range(14))
_SCORES = tuple(n / 10 for n in range(11))


@dataclass(frozen=True)
class Moment:
    """When a reply ended, and the span that was current then."""

    context: Any
    """OpenTelemetry's context; None without it."""
    time: float
    """Seconds since 1970."""


class Telemetry:
    """Makes spans and metrics. A server has one, since a meter's names are unique."""

    def __init__(self) -> None:
        self._tracer: Any = None
        self._models: set[str] = set()
        try:
            from opentelemetry import metrics, trace
        except ModuleNotFoundError:
            return
        self._tracer = trace.get_tracer("holdfast", __version__)
        meter = metrics.get_meter("holdfast", __version__)
        self._seconds = meter.create_histogram(
            "gen_ai.server.request.duration", "s", "From a request to the end of its reply",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )  # fmt: skip
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of prompts and replies",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )  # fmt: skip
        self._scores = meter.create_histogram(
            "holdfast.persona.score", "1", "Judge score of replies, by the round of their chat",
            explicit_bucket_boundaries_advisory=_SCORES,
        )  # fmt: skip
        self._alarms = meter.create_counter(
            "holdfast.drift.alarms", "{alarm}", "Alarms that the deployment drifts"
        )

    def moment(self) -> Moment:
        """The moment at which this is called, for `add` at a later one."""
        if self._tracer is None:
            return Moment(None, time.time())
        from opentelemetry import context

        return Moment(context.get_current(), time.time())

    def add(self, reply: LiveReply, record: ReplyRecord, moment: Moment) -> None:
        """Make the span of a reply, and count it.

        Args:
            reply: the reply.
            record: its place and score.
            moment: when it ended.
        """
        if self._tracer is None:
            return
        start = reply.began or moment.time
        common = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "holdfast",
            "gen_ai.request.model": _plain(reply.model),
        }
        self._add_span(reply, record, common, start, moment)
        common["gen_ai.request.model"] = self._model_label(common["gen_ai.request.model"])
        self._seconds.record(max(0.0, moment.time - start), common, moment.context)
        for kind, count in zip(("input", "output"), reply.tokens or (), strict=False):
            self._tokens.record(count, {**common, "gen_ai.token.type": kind}, moment.context)
        if record.score is not None:
            about = {"persona": record.persona or "", "control": label(reply.control)}
            about["rounds"] = round_label(record.round)
            self._scores.record(record.score, about, moment.context)

    def alarm(self, persona: str) -> None:
        """Count an alarm."""
        if self._tracer is not None:
            self._alarms.add(1, {"persona": persona})

    def flush(self, seconds: float = FLUSH) -> None:
        """Send what waits: a server that ends by a signal runs no handlers at its exit.

        Args:
            seconds: how long to wait at most; a collector may be away.
        """
        if self._tracer is not None:
            thread = threading.Thread(target=_flush, args=(seconds,), daemon=True)
            thread.start()
            thread.join(seconds)

    def _add_span(
        self,
        reply: LiveReply,
        record: ReplyRecord,
        common: Mapping[str, str],
        start: float,
        moment: Moment,
    ) -> None:
        attributes: dict[str, Any] = {
            **common,
            "gen_ai.conversation.id": record.conversation,
            "gen_ai.response.finish_reasons": [_plain(reply.finish)],
            "holdfast.persona": record.persona,
            "holdfast.control": record.control,
            "holdfast.round": record.round,
        }
        names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        attributes |= dict(zip(names, reply.tokens or (), strict=False))
        span = self._tracer.start_span(
            f"chat {common['gen_ai.request.model']}",
            context=moment.context,
            start_time=int(start * 1e9),
            attributes=attributes,
        )
        end = int(max(start, moment.time) * 1e9)
        if record.score is not None:
            evaluation = {
                "gen_ai.evaluation.name": f"persona {record.persona}",
                "gen_ai.evaluation.score.value": record.score,
            }
            span.add_event("gen_ai.evaluation.result", evaluation, timestamp=end)
        span.end(end_time=end)

    def _model_label(self, model: str) -> str:
        """The model's name in metrics."""
        if len(self._models) < MODELS:
            self._models.add(model)
        return model if model in self._models else "other"


def _flush(seconds: float) -> None:
    from opentelemetry import metrics, trace

    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if (flush := getattr(provider, "force_flush", None)) is not None:  # the API's has none
            flush(int(seconds * 1000))


def _plain(text: str) -> str:
    """A client's text as an attribute: one half character would make a whole batch unsendable."""
    return text[:200].encode("utf-8", "replace").decode()
