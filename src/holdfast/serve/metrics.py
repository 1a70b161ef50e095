"""What a server counts, for Prometheus. Labels are few: no prompts, no free text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.core.control import Control

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Why a reply ended, as OpenAI and Anthropic say it, and one that did not come whole.
_FINISHES = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "function_call", "incomplete", "refusal"}
    | {"end_turn", "max_tokens", "max_output_tokens", "stop_sequence", "tool_use", "pause_turn"}
)
_SHARES = tuple(x / 20 for x in range(1, 21))


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "holdfast_requests", "Requests answered, by status", ["status"], registry=registry
        )
        self.replies = Counter(
            "holdfast_replies", "Replies, by control and why they ended", ["control", "finish"],
            registry=registry,
        )  # fmt: skip
        self.tokens = Counter(
            "holdfast_tokens", "Tokens: prompt, cached (of the prompt) and completion", ["kind"],
            registry=registry,
        )  # fmt: skip
        self.first = Histogram(
            "holdfast_first_token_seconds", "From a request to its first text", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.whole = Histogram(
            "holdfast_reply_seconds",
            "From a request to its end",
            buckets=_SECONDS,
            registry=registry,
        )
        self.share = Histogram(
            "holdfast_prompt_share", "Attention given to the system prompt", ["control"],
            buckets=_SHARES, registry=registry,
        )  # fmt: skip
        self.score = Histogram(
            "holdfast_judge_score", "Score of the pinned persona's judge", ["control"],
            buckets=_SHARES, registry=registry,
        )  # fmt: skip

        self.upstream_errors = Counter(
            "holdfast_upstream_errors", "Failures of the API behind the gateway, by kind",
            ["kind"], registry=registry,
        )  # fmt: skip

    def count_reply(
        self, control: Control, finish: str, tokens: tuple[int, int] | None, seconds: float
    ) -> None:
        """Count a reply of an API's.

        Args:
            control: what its request was under.
            finish: why it ended, as the API says.
            tokens: of prompt and reply, where the API says.
            seconds: from the request to its end.
        """
        reason = finish if finish in _FINISHES else "other"
        self.replies.labels(label(control), reason).inc()
        for kind, count in zip(("prompt", "completion"), tokens or (), strict=False):
            self.tokens.labels(kind).inc(max(0, count))
        self.whole.observe(seconds)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is read when Prometheus asks.

        A name that ends in `_total` is a counter's.
        """
        self.watch_each(name, meaning, (), lambda: {(): value()})

    def watch_each(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        values: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        """The same with a value for each combination of labels."""
        self.registry.register(_StateCollector(name, meaning, labels, values))

    def page(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)


class _StateCollector(Collector):
    """A gauge or a counter that is read when Prometheus asks."""

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        values: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._name, self._meaning, self._labels, self._values = name, meaning, labels, values

    def collect(self) -> Iterable[Metric]:
        kind = CounterMetricFamily if self._name.endswith("_total") else GaugeMetricFamily
        family = kind(self._name, self._meaning, labels=self._labels)
        for labels, value in self._values().items():
            family.add_metric(labels, value)
        yield family


def label(control: Control) -> str:
    """A control as a label: names only, since the strengths that clients choose are endless."""
    return "+".join(control.names) or "none"
