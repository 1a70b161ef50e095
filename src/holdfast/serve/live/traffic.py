"""Live traffic: every reply under a persona is scored and watched as it ends.

`LiveTraffic` is what routes hand their replies to. It counts them for Prometheus, writes the log,
puts them through the tests of `evals.watch`, and posts alarms. `watches` has one for each persona.

A judge that is a rule scores in line, as long as it takes no more than `IN_LINE` seconds a reply; a
slower one, and a rubric's model, run in one background thread behind a queue of `QUEUE` replies.
What does not fit the queue is left out and counted.

Replies under another control than the server's own, as clients may choose, count in the metrics and
in the scores of their control, and in no test. Of several choices the first counts.

This module knows chats and scores. It knows no HTTP but that of the webhook.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from prometheus_client import Counter, Histogram

from holdfast.core.backend import Backend
from holdfast.core.control import Control
from holdfast.core.errors import ServiceError
from holdfast.core.records import Record, as_record, dumps
from holdfast.evals.watch.traffic import Observation, Traffic
from holdfast.evals.watch.watcher import Watcher, WatchSettings, round_label
from holdfast.judge.by_model import judge_answers
from holdfast.judge.rubric import Item
from holdfast.persona.suite import Persona
from holdfast.results.watch import Alarm
from holdfast.serve.live.reply import LiveReply
from holdfast.serve.live.telemetry import Moment, Telemetry
from holdfast.serve.live.webhook import check_url, post
from holdfast.serve.metrics import Metrics, label

LOG = logging.getLogger("holdfast.serve")
IN_LINE = 0.001  # seconds of CPU time
QUEUE = 1000  # replies


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """How live traffic is watched.

    Raises `ServiceError` if the log cannot be written, or the webhook is no URL.
    """

    watch: WatchSettings = field(default_factory=WatchSettings)
    """What is an alarm."""
    log: Path | None = None
    """JSONL file that gets a line for each reply; None writes none."""
    texts: bool = False
    """Whether the log has what was said."""
    webhook: str | None = None
    """URL that alarms are posted to."""
    judge_model: Backend | None = None
    """The model of a persona that a rubric judges."""
    sample_share: float = 0.05
    """Share of the replies that the model judges."""

    def __post_init__(self) -> None:
        if self.webhook is not None:
            check_url(self.webhook)
        if self.log is not None:
            _check_log(self.log)


class LiveTraffic:
    """The watch over the traffic of one persona.

    Args:
        persona: the persona.
        control: what its requests are under unless they choose.
        figures: the server's, where replies are counted.
        settings: how traffic is watched.
        alias: the name that the persona has in the file of tenants; empty for the server's own.
    """

    def __init__(
        self,
        persona: Persona,
        control: Control,
        figures: Figures,
        settings: LiveSettings,
        alias: str = "",
    ) -> None:
        self.persona, self.control, self.settings = persona, control, settings
        self.traffic = Traffic(persona, settings.watch)
        self._enough = self.traffic.watcher.conversations_to_alarm()
        self._figures = figures
        figures.add(persona.id, alias, self.traffic)
        self._seconds = 0.0  # that a reply takes, as of late
        self._lock = threading.Lock()
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(QUEUE)
        self._worker: threading.Thread | None = None
        self._post_thread: threading.Thread | None = None  # the newest alarm's
        self._random = random.Random()

    def reply(self, one: LiveReply) -> None:
        """Take a reply into account, now or in the background.

        Whatever fails here is logged and counted: the client has its reply all the same.
        """
        moment = self._figures.telemetry.moment()
        if self.persona.needs_model and one.score is None:
            if (
                self.settings.judge_model is None
                or self._random.random() >= self.settings.sample_share
            ):
                self._try(lambda: self._take(one, moment))
            else:
                self._defer(lambda: self._judge(one, moment))
        elif self._queue.unfinished_tasks or (self._seconds > IN_LINE and one.score is None):
            self._defer(lambda: self._take(one, moment))
        else:
            self._try(lambda: self._take(one, moment))

    def state(self) -> Record:
        """Where the watch stands, as JSON."""
        with self._lock:
            record: Record = as_record(self.traffic.watcher.state)
        more = {"enough": self._enough, "control": self.control.text, "prompt": self.persona.prompt}
        return {**record, **more}

    def wait(self) -> None:
        """Return when everything handed over so far is taken into account, and posted."""
        self._queue.join()
        if self._post_thread is not None:
            self._post_thread.join()

    def _defer(self, work: Callable[[], None]) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="traffic", daemon=True)
            self._worker.start()
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self._figures.drops.inc()

    def _work(self) -> None:
        while True:
            self._try(self._queue.get())
            self._queue.task_done()

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self._figures.drops.inc()
            LOG.exception("a reply could not be watched")

    def _judge(self, one: LiveReply, moment: Moment) -> None:
        """Have the model judge a reply, and take it into account."""
        model = self.settings.judge_model
        assert model is not None
        question = next((text for role, text in reversed(one.turns) if role == "user"), "")
        item = Item(self.persona.prompt, question, one.text)
        (verdict,) = judge_answers(self.persona.judge, [item], model)
        self._take(replace(one, score=verdict.value if verdict.parsed else None), moment)

    def _take(self, one: LiveReply, moment: Moment) -> None:
        start = time.thread_time()  # what others do on this machine is not the judge's time
        try:
            with self._lock:
                observation = self.traffic.observe(
                    one.turns,
                    one.text,
                    id=one.id,
                    control=one.control.text,
                    model=one.model,
                    time=round(time.time(), 3),
                    score=one.score,
                    tested=one.control == self.control,
                )
        finally:  # a judge that gives up has taken its time, too
            seconds = time.thread_time() - start
            self._seconds += 0.05 * (seconds - self._seconds)
        if observation is None:
            return
        self._figures.seconds.observe(seconds)
        self._report(one, observation, moment)

    def _report(self, one: LiveReply, observation: Observation, moment: Moment) -> None:
        record, alarm = observation.record, observation.alarm
        if record.score is not None:
            self._figures.score.labels(
                self.persona.id, label(one.control), round_label(record.round)
            ).observe(record.score)
        self._figures.telemetry.add(one, record, moment)
        if alarm is not None:
            self._raise(alarm, one.model)
        if self.settings.log is not None:  # last: a disk may be full
            texts = record if self.settings.texts else replace(record, user=None, reply=None)
            with self._lock:
                _add_line(self.settings.log, dumps(texts))

    def _raise(self, alarm: Alarm, model: str) -> None:
        self._figures.alarms.labels(self.persona.id).inc()
        self._figures.telemetry.alarm(self.persona.id)
        LOG.warning("drift of %s: %s", self.persona.id, dumps(alarm))
        if (url := self.settings.webhook) is not None:
            about = {"event": "drift", "persona": self.persona.id, "model": model}
            content = {**about, "control": self.control.text, **as_record(alarm)}
            # In a thread of its own: a slow receiver must not keep replies waiting.
            self._post_thread = threading.Thread(
                target=lambda: self._figures.count_post(post(url, content)), daemon=True
            )
            self._post_thread.start()


class Figures:
    """The metrics of a server's live traffic, and its telemetry."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.telemetry = Telemetry()
        self._watchers: dict[str, tuple[str, Watcher]] = {}
        self.score = Histogram(
            "holdfast_persona_score", "Judge score of replies, by the round of their conversation",
            ["persona", "control", "rounds"], registry=registry,
            buckets=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1),
        )  # fmt: skip
        self.alarms = Counter(
            "holdfast_drift_alarms", "Alarms that the deployment drifts", ["persona"],
            registry=registry,
        )  # fmt: skip
        self.webhooks = Counter(
            "holdfast_drift_webhooks", "Alarms posted, by outcome", ["outcome"], registry=registry
        )
        for outcome in ("sent", "failed"):  # at 0 from the start, as alarms are
            self.webhooks.labels(outcome)
        self.drops = Counter(
            "holdfast_watch_dropped", "Replies left out: the queue was full, or watching failed",
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "holdfast_watch_seconds", "CPU time that watching a reply takes", registry=registry,
            buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1),
        )  # fmt: skip
        self._watch(
            metrics,
            "holdfast_drift_evidence",
            "The most that a test of drift has; 1 raises an alarm",
            lambda watcher: watcher.evidence,
        )
        self._watch(
            metrics,
            "holdfast_conversations_total",
            "Conversations watched",
            lambda watcher: watcher.conversation_count,
        )
        self._watch(
            metrics,
            "holdfast_conversations_slipped_total",
            "Conversations that lost the persona for certain",
            lambda watcher: watcher.slip_count,
        )

    def add(self, persona: str, alias: str, traffic: Traffic) -> None:
        """Count another persona's traffic too, in place of what the alias had."""
        self._watchers[alias] = persona, traffic.watcher
        self.alarms.labels(persona)  # at 0 from the start, so that its first rise is seen

    def _watch(
        self, metrics: Metrics, name: str, meaning: str, value: Callable[[Watcher], float]
    ) -> None:
        def values() -> dict[tuple[str, ...], float]:
            watchers = list(self._watchers.items())
            return {(persona, alias): value(one) for alias, (persona, one) in watchers}

        metrics.watch_each(name, meaning, ("persona", "alias"), values)

    def count_post(self, arrived: bool) -> None:
        self.webhooks.labels("sent" if arrived else "failed").inc()


def _add_line(path: Path, line: str) -> None:
    """Add a line to a log. One that a full disk or a killed server tore off is ended before it."""
    end = b""
    if path.is_file():  # a pipe has no end to look at
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 1))
            end = log.read(1)
    with path.open("ab") as log:
        log.write((b"" if end in (b"", b"\n") else b"\n") + line.encode() + b"\n")


def _check_log(path: Path) -> None:
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise ServiceError(
            f"{path} cannot be written ({error.strerror}): choose another `traffic_log`."
        ) from error
