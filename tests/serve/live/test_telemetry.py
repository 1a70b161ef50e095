"""A watched reply is an OpenTelemetry span and a few metrics, by the GenAI conventions."""

from __future__ import annotations

import gzip
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from holdfast.core.control import NONE, parse
from holdfast.persona.suite import Persona
from holdfast.results.watch import ReplyRecord
from holdfast.serve.app import create_app
from holdfast.serve.live import telemetry
from holdfast.serve.live.reply import LiveReply
from holdfast.serve.live.telemetry import Moment, Telemetry
from holdfast.serve.live.traffic import Figures, LiveSettings, LiveTraffic
from holdfast.serve.metrics import Metrics
from serve.gateway.upstreams import FakeUpstream, gateway
from serve.running import TEA, serve_app, small

SHOUT = Persona("shout", "pattern", "Shout.", ("Tea?",), {"name": "case", "to": "upper"})
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
END = Moment(None, 6.5)


@dataclass
class Seen:
    """What the SDK keeps in memory."""

    exporter: Any
    reader: Any
    provider: Any

    @property
    def spans(self) -> list[Any]:
        return [one for one in self.exporter.get_finished_spans() if one.name.startswith("chat ")]

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        scopes = [scope for one in data.resource_metrics for scope in one.scope_metrics]
        metrics = [one for scope in scopes for one in scope.metrics if one.name == name]
        return [point for one in metrics for point in one.data.data_points]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """OpenTelemetry's SDK, exporting to memory."""
    pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry's SDK is in [telemetry]")
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import _internal
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader])
    # The global providers can be set once in a process.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    for module in (metrics, _internal):
        monkeypatch.setattr(module, "get_meter_provider", lambda: meters)
    return Seen(exporter, reader, provider)


def test_a_span_has_model_conversation_tokens_score_and_times_and_no_text(sdk: Seen) -> None:
    Telemetry().add(REPLY, RECORD, END)
    (span,) = sdk.spans
    assert span.name == "chat m"
    assert (span.start_time, span.end_time) == (5_000_000_000, 6_500_000_000)
    assert span.attributes["gen_ai.operation.name"] == "chat"
    assert span.attributes["gen_ai.conversation.id"] == "c"
    assert span.attributes["gen_ai.usage.input_tokens"] == 7
    assert span.attributes["gen_ai.usage.output_tokens"] == 2
    assert span.attributes["gen_ai.response.finish_reasons"] == ("length",)
    assert span.attributes["holdfast.round"] == 3
    (event,) = span.events
    assert event.name == "gen_ai.evaluation.result"
    assert event.attributes["gen_ai.evaluation.score.value"] == 0.5
    assert event.timestamp == span.end_time
    assert "secret" not in span.to_json()


def test_metrics_have_score_by_round_tokens_by_type_seconds_and_alarms(sdk: Seen) -> None:
    own = Telemetry()
    own.add(REPLY, RECORD, END)
    own.add(replace(REPLY, tokens=None), replace(RECORD, score=None), END)
    own.alarm("shout")
    (score,) = sdk.points("holdfast.persona.score")
    assert dict(score.attributes) == {"persona": "shout", "control": "reminder", "rounds": "3-4"}
    assert (score.count, score.sum) == (1, 0.5)
    tokens = sdk.points("gen_ai.client.token.usage")
    assert {one.attributes["gen_ai.token.type"]: one.sum for one in tokens} == {
        "input": 7,
        "output": 2,
    }
    (seconds,) = sdk.points("gen_ai.server.request.duration")
    assert (seconds.count, seconds.sum) == (2, 3.0)
    (alarms,) = sdk.points("holdfast.drift.alarms")
    assert alarms.value == 1 and alarms.attributes["persona"] == "shout"


def test_the_models_that_clients_name_are_bounded_in_metrics(sdk: Seen) -> None:
    own = Telemetry()
    for i in range(telemetry.MODELS + 20):
        own.add(replace(REPLY, model=f"m{i}"), RECORD, END)
    points = sdk.points("gen_ai.server.request.duration")
    counts = {one.attributes["gen_ai.request.model"]: one.count for one in points}
    assert len(counts) == telemetry.MODELS + 1 and counts["other"] == 20


def test_a_half_character_in_a_models_name_does_not_keep_a_batch_from_being_sent(sdk: Seen) -> None:
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    Telemetry().add(replace(REPLY, model="\ud800"), RECORD, END)
    assert b"chat ?" in encoder.encode_spans(sdk.spans).SerializeToString()


def test_a_reply_judged_in_the_background_ends_when_it_ended_within_its_request(sdk: Seen) -> None:
    judging = threading.Event()
    live = LiveTraffic(SHOUT, NONE, Figures(Metrics()), LiveSettings())
    observe = live.traffic.observe

    def slow(*args: Any, **more: Any) -> Any:
        judging.wait(30)
        return observe(*args, **more)

    live.traffic.observe = slow  # type: ignore[method-assign]
    live._seconds = 1.0  # as if the judge had been slow so far
    with sdk.provider.get_tracer("test").start_as_current_span("request") as request:
        live.reply(replace(REPLY, began=time.time()))
        end = time.time_ns()
    judging.set()
    live.wait()
    (span,) = sdk.spans
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.start_time <= span.end_time <= end


@dataclass
class Collector:
    """An OTLP collector's HTTP side: it reads spans and metrics as protobuf."""

    port: int = 0
    spans: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.proto", reason="OTLP's messages are in [telemetry]")
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    store = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            if self.path == "/v1/traces":
                traces = trace_service_pb2.ExportTraceServiceRequest.FromString(content)
                for one in traces.resource_spans:
                    store.spans += [span for scope in one.scope_spans for span in scope.spans]
            else:
                figures = metrics_service_pb2.ExportMetricsServiceRequest.FromString(content)
                for each in figures.resource_metrics:
                    store.metrics += [m for scope in each.scope_metrics for m in scope.metrics]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    store.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield store
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def otlp(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """The SDK with its OTLP exporters, which send once in ten minutes or when they are told to."""
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http", reason="the exporter is in [telemetry]"
    )
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.metrics import _internal
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    url, late = f"http://127.0.0.1:{collector.port}/v1", 600_000
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{url}/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=late))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/metrics"), late)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    for module in (metrics, _internal):
        monkeypatch.setattr(module, "get_meter_provider", lambda: meters)
    yield collector
    provider.shutdown()
    meters.shutdown()


def attribute(span: Any, name: str) -> Any:
    (value,) = [one.value for one in span.attributes if one.key == name]
    return value


@pytest.mark.parametrize("stream", [False, True])
def test_the_server_sends_its_last_spans_to_a_collector_before_it_stops(
    otlp: Collector, stream: bool
) -> None:
    with serve_app(create_app(small(), persona=SHOUT)) as url:
        body = {"model": "small", "max_tokens": 2, "messages": [TEA], "stream": stream}
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
    (span,) = [one for one in otlp.spans if one.name == "chat small"]
    assert attribute(span, "gen_ai.usage.output_tokens").int_value == 2
    assert attribute(span, "holdfast.persona").string_value == "shout"
    assert span.events[0].name == "gen_ai.evaluation.result"
    names = {one.name for one in otlp.metrics}
    assert {"holdfast.persona.score", "gen_ai.server.request.duration"} <= names


def test_the_gateway_sends_its_spans_to_a_collector(otlp: Collector) -> None:
    with gateway(FakeUpstream(), persona=SHOUT) as url:
        body = {"model": "there", "messages": [TEA]}
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
    (span,) = [one for one in otlp.spans if one.name == "chat there"]
    assert span.start_time_unix_nano < span.end_time_unix_nano
    assert attribute(span, "gen_ai.conversation.id").string_value


def test_a_collector_that_hangs_does_not_hold_up_the_stop(
    sdk: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(sdk.provider, "force_flush", lambda wait: free.wait(30))
    began = time.monotonic()
    Telemetry().flush(0.05)
    assert time.monotonic() - began < 20
    free.set()


def test_without_opentelemetry_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    own = Telemetry()
    own.add(REPLY, RECORD, own.moment())
    own.alarm("shout")
    own.flush()
