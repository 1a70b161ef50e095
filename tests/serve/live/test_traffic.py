"""Replies of the server and the gateway are scored by round, logged, and tested for drift."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.core.backend import Reply
from holdfast.core.control import NONE, parse
from holdfast.core.errors import ServiceError
from holdfast.evals.watch.watch import watch
from holdfast.judge import pattern
from holdfast.persona.suite import Persona
from holdfast.serve.app import create_app
from holdfast.serve.live import traffic, watches
from holdfast.serve.live.reply import LiveReply, conversation_id
from holdfast.serve.live.traffic import Figures, LiveSettings, LiveTraffic
from holdfast.serve.live.webhook import post
from holdfast.serve.metrics import Metrics
from holdfast.serve.tenants.live import LiveTenants
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer
from serve.running import serve_app, small, until

SHOUT = Persona("shout", "pattern", "Shout.", ("Tea?",), {"name": "case", "to": "upper"})
KIND = Persona("kind", "character", "Be kind.", ("Tea?",), {"name": "rubric", "criteria": "kind"})


def completion(text: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"content": text}}]}).encode()


def reply(conversation: int, number: int, text: str, **more: Any) -> LiveReply:
    """The reply of a round to a conversation with an id."""
    turns = [("user", f"{conversation} asks"), ("assistant", "YES")] * number
    turns = [*turns[:-1]]
    about: dict[str, Any] = {"control": NONE, "model": "m", "id": f"c{conversation}", **more}
    return LiveReply(turns=turns, text=text, **about)


def broken(live: LiveTraffic, conversations: int = 40) -> None:
    """Conversations that break in their fifth round."""
    for c in range(conversations):
        for number in range(1, 7):
            live.reply(reply(c, number, "YES" if number < 5 else "no"))
    live.wait()


def value(page: bytes | str, name: str) -> float:
    text = page.decode() if isinstance(page, bytes) else page
    (line,) = [one for one in text.splitlines() if one.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_the_gateway_counts_rounds_scores_and_tells_where_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "traffic.jsonl"
    there = FakeUpstream(lambda request: make_answer(completion("LOUD"), headers={"a": "b"}))
    messages: list[dict[str, str]] = []
    with gateway(there, persona=SHOUT, traffic=LiveSettings(log=log)) as url:
        for r in range(3):
            messages.append({"role": "user", "content": f"secret {r}"})
            httpx.post(f"{url}/chat/completions", json={"model": "m", "messages": messages})
            messages.append({"role": "assistant", "content": "LOUD"})
        root = url.removesuffix("/v1")
        page, state = httpx.get(f"{root}/metrics").text, httpx.get(f"{root}/holdfast/traffic")
        assert httpx.get(f"{root}/live").status_code == 200
    name = 'holdfast_persona_score_count{control="none",persona="shout",rounds="%s"}'
    assert [value(page, name % rounds) for rounds in ("1", "2", "3-4")] == [1, 1, 1]
    assert value(page, 'holdfast_conversations_total{alias="",persona="shout"}') == 1
    assert state.json()["conversations"] == 1 and state.json()["first"] == 1.0
    assert "secret" not in log.read_text() and "LOUD" not in log.read_text()
    again = watch(log, SHOUT)
    assert [one.round for one in again.replies] == [1, 2, 3]


def test_the_gateway_watches_no_reply_to_a_request_that_says_so() -> None:
    there = FakeUpstream(lambda request: make_answer(completion("LOUD")))
    body = {"messages": [{"role": "user", "content": "hi"}]}
    with gateway(there, persona=SHOUT, lock=False) as url:
        for watched in (False, True):
            own = {"holdfast": {"watch": watched}}
            assert httpx.post(f"{url}/chat/completions", json=body | own).status_code == 200
        root = url.removesuffix("/v1")
        page, state = httpx.get(f"{root}/metrics").text, httpx.get(f"{root}/holdfast/traffic")
    assert state.json()["replies"] == state.json()["conversations"] == 1
    assert value(page, 'holdfast_replies_total{control="none",finish="stop"}') == 2
    assert all("holdfast" not in json.loads(one.content) for one in there.requests)


def test_a_line_that_was_torn_off_costs_the_log_no_other(tmp_path: Path) -> None:
    log = tmp_path / "traffic.jsonl"
    live = LiveTraffic(SHOUT, NONE, Figures(Metrics()), LiveSettings(log=log))
    live.reply(reply(0, 1, "YES"))
    with log.open("a") as file:
        file.write('{"conversation": "c1", "rou')  # the disk was full, or the server killed
    live.reply(reply(2, 1, "YES"))
    live.reply(reply(3, 1, "YES"))
    read = watch(log, SHOUT).summary
    assert read.state.replies == 3
    assert read.reading is not None and read.reading.unfit == 1


def test_a_stream_through_the_gateway_is_watched_whole() -> None:
    pieces = [
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode()
        for text in ("LO", "UD")
    ]
    there = FakeUpstream(lambda request: make_answer(*(piece + b"\n\n" for piece in pieces)))
    with gateway(there, persona=SHOUT) as url:
        body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
        httpx.post(f"{url}/chat/completions", json=body)
        state = httpx.get(f"{url.removesuffix('/v1')}/holdfast/traffic").json()
    assert state["rounds"] == [
        {"rounds": "1", "replies": 1, "score": 1.0, "controls": {"none": 1.0}}
    ]


@pytest.mark.parametrize("sent_back", ["<think>He wants tea.</think>LOUD", "LOUD"])
def test_the_gateway_judges_no_thoughts_and_knows_the_conversation_without(sent_back: str) -> None:
    there = FakeUpstream(lambda request: make_answer(completion("<think>tea</think>LOUD")))
    messages = [{"role": "user", "content": "hi"}]
    with gateway(there, persona=SHOUT) as url:
        for _ in range(2):
            httpx.post(f"{url}/chat/completions", json={"messages": messages})
            messages += [
                {"role": "assistant", "content": sent_back}, {"role": "user", "content": "so"},
            ]  # fmt: skip
        state = httpx.get(f"{url.removesuffix('/v1')}/holdfast/traffic").json()
    assert state["conversations"] == 1
    assert [(row["rounds"], row["score"]) for row in state["rounds"]] == [("1", 1.0), ("2", 1.0)]


def test_the_gateway_counts_replies_tokens_and_seconds() -> None:
    whole = {"choices": [{"message": {"content": "LOUD"}, "finish_reason": "length"}]}
    whole["usage"] = {"prompt_tokens": 7, "completion_tokens": 2}  # type: ignore[assignment]
    there = FakeUpstream(lambda request: make_answer(json.dumps(whole).encode()))
    with gateway(there, control="window:3") as url:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        httpx.post(f"{url}/chat/completions", json=body)
        page = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    assert value(page, 'holdfast_replies_total{control="window",finish="length"}') == 1
    assert value(page, 'holdfast_tokens_total{kind="prompt"}') == 7
    assert value(page, 'holdfast_tokens_total{kind="completion"}') == 2
    assert value(page, "holdfast_reply_seconds_count") == 1
    assert value(page, "holdfast_first_token_seconds_count") == 1


def test_the_local_server_watches_too_and_takes_the_id_from_the_header() -> None:
    with serve_app(create_app(small(), persona=SHOUT, lock=False)) as url:
        for _ in range(3):
            body = {
                "model": "small", "max_tokens": 8, "seed": 0,
                "messages": [{"role": "user", "content": "hi"}],
            }  # fmt: skip
            body["messages"][0]["content"] += str(_)  # type: ignore[index]
            answer = httpx.post(
                f"{url}/chat/completions", json=body, headers={"x-conversation-id": "one"}
            )
            assert answer.status_code == 200
        state = httpx.get(f"{url.removesuffix('/v1')}/holdfast/traffic").json()
    assert state["conversations"] == 1
    assert [row["rounds"] for row in state["rounds"]] == ["1", "2", "3-4"]


def test_without_a_persona_there_is_nothing_to_watch() -> None:
    with gateway(FakeUpstream()) as url:
        assert httpx.get(f"{url.removesuffix('/v1')}/holdfast/traffic").json() is None


def test_a_break_raises_the_alarm_in_metrics_and_state() -> None:
    metrics = Metrics()
    live = LiveTraffic(SHOUT, NONE, Figures(metrics), LiveSettings())
    assert value(metrics.page(), 'holdfast_drift_alarms_total{persona="shout"}') == 0
    broken(live)
    assert value(metrics.page(), 'holdfast_drift_alarms_total{persona="shout"}') >= 1
    assert live.state()["drifts"] and live.state()["alarms"][0]["rounds"] == "5"


def test_replies_under_another_control_are_counted_apart_and_not_tested() -> None:
    live = LiveTraffic(SHOUT, parse("window:3"), Figures(Metrics()), LiveSettings())
    broken(live)
    state = live.state()
    assert not state["drifts"] and state["conversations"] == state["replies"] == 0
    assert state["others"] == 240
    first = {"rounds": "1", "replies": 0, "score": None, "controls": {"none": 1.0}}
    assert state["rounds"][0] == first and state["prompt"] == "Shout."


def test_the_scores_by_round_are_of_the_servers_own_control() -> None:
    live = LiveTraffic(SHOUT, parse("anchor"), Figures(Metrics()), LiveSettings())
    for control, text in (("anchor", "YES"), ("none", "no")):
        for number in (1, 2, 3):
            live.reply(reply(number, number, text, control=parse(control), id=control))
    state = live.state()
    assert [(row["replies"], row["score"]) for row in state["rounds"]] == [(1, 1.0)] * 3
    assert {row["controls"]["none"] for row in state["rounds"]} == {0.0}
    assert (state["conversations"], state["replies"], state["others"]) == (1, 3, 3)


def test_two_sides_that_begin_alike_stay_two_conversations() -> None:
    live = LiveTraffic(SHOUT, parse("anchor"), Figures(Metrics()), LiveSettings())
    turns: list[tuple[str, str]] = []
    for number in range(1, 5):
        turns = [*turns, ("user", f"{number}?")]
        for control in ("anchor", "none"):  # the page's two sides, which a control may not part
            live.reply(LiveReply(turns=turns, text="YES", control=parse(control), model="m"))
        turns = [*turns, ("assistant", "YES")]
    state = live.state()
    assert (state["conversations"], state["replies"], state["others"]) == (1, 4, 4)
    assert [one["conversations"] for one in state["tests"]][:2] == [1, 1]


def test_an_alarm_is_posted_once_with_its_numbers() -> None:
    with hook([200]) as (url, posts):
        live = LiveTraffic(SHOUT, NONE, Figures(Metrics()), LiveSettings(webhook=url))
        broken(live, 20)
        live.wait()
    assert len(posts) == live.state()["alarm_count"] == 1
    assert posts[0]["event"] == "drift" and posts[0]["persona"] == "shout"
    assert posts[0]["round"] == 5


def test_a_webhook_that_fails_is_tried_three_times() -> None:
    with hook([500, 500, 200]) as (url, posts):
        assert post(url, {"a": 1}, pause=0)
    assert len(posts) == 3
    assert not post("http://127.0.0.1:9/closed", {"a": 1}, pause=0)


def test_a_rubric_is_judged_in_the_background_on_a_sample() -> None:
    class Grader:
        def reply(self, asks: Any, sampling: Any) -> list[Reply]:
            return [Reply('{"reason": "kind", "score": 5}') for _ in asks]

    settings = LiveSettings(judge_model=Grader(), sample_share=1.0)  # type: ignore[arg-type]
    live = LiveTraffic(KIND, NONE, Figures(Metrics()), settings)
    live.reply(reply(0, 1, "Of course, dear."))
    live.wait()
    assert live.state()["rounds"][0]["score"] == 1.0
    unused = LiveTraffic(KIND, NONE, Figures(Metrics()), LiveSettings())
    unused.reply(reply(0, 1, "Of course, dear."))
    assert unused.state()["replies"] == 0


def test_a_slow_judge_goes_to_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveTraffic(SHOUT, NONE, Figures(Metrics()), LiveSettings())
    live._seconds = 1.0
    threads: list[str] = []
    score = live.traffic.score
    monkeypatch.setattr(
        live.traffic,
        "score",
        lambda text, persona=None: (threads.append(threading.current_thread().name), score(text))[
            1
        ],
    )
    live.reply(reply(0, 1, "YES"))
    live.wait()
    assert threads == ["traffic"]


def test_a_judge_that_gives_up_goes_to_the_background_and_costs_no_client_its_reply(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pattern, "SECONDS", 0.05)
    monkeypatch.setattr(traffic, "IN_LINE", 0.001)
    endless = {"name": "regex", "pattern": r"(?s)(.|..)+\b\B"}  # which nothing matches
    persona = Persona("slow", "pattern", "Be slow.", ("Tea?",), endless)
    live = LiveTraffic(persona, NONE, Figures(Metrics()), LiveSettings())
    for number in (1, 2):
        live.reply(reply(0, number, "a" * 40))
        assert (live._worker is None) == (number == 1)
    live.wait()
    body = {"model": "small", "max_tokens": 40, "messages": [{"role": "user", "content": "hi"}]}
    with serve_app(create_app(small(), persona=persona, lock=False)) as url:
        answer = httpx.post(f"{url}/chat/completions", json=body)
        stream = httpx.post(f"{url}/chat/completions", json={**body, "stream": True})
    assert answer.status_code == 200 and "score" not in answer.json()["holdfast"]
    assert stream.text.endswith("data: [DONE]\n\n")
    assert "did not finish" in caplog.text


def test_a_server_that_stops_finishes_what_it_judges_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "traffic.jsonl"
    for patience, lines in ((30.0, 1), (0.0, 0)):
        monkeypatch.setattr(watches, "PATIENCE", patience)
        log.unlink(missing_ok=True)
        settings = LiveSettings(log=log)
        all_of_them = watches.Watches(SHOUT, NONE, Metrics(), settings, LiveTenants())
        live = all_of_them.own
        assert live is not None
        busy = threading.Event()
        live._defer(lambda busy=busy: busy.wait(60))  # type: ignore[misc]
        live.reply(reply(0, 1, "YES"))
        assert not log.read_text()
        if lines:
            threading.Timer(0.2, busy.set).start()
        all_of_them.stop()
        assert len(log.read_text().splitlines()) == lines
        assert ("before all replies" in caplog.text) == (lines == 0)
        busy.set()
        live.wait()


def test_texts_are_in_the_log_only_if_they_are_asked_for(tmp_path: Path) -> None:
    for texts in (False, True):
        log = tmp_path / f"{texts}.jsonl"
        live = LiveTraffic(SHOUT, NONE, Figures(Metrics()), LiveSettings(log=log, texts=texts))
        live.reply(reply(0, 1, "YES"))
        assert ("YES" in log.read_text()) == texts


def test_the_id_is_in_the_header_or_the_metadata() -> None:
    assert (
        conversation_id({"x-conversation-id": "a"}, {"metadata": {"conversation_id": "b"}}) == "a"
    )
    assert conversation_id({}, {"metadata": {"conversation_id": "b"}}) == "b"
    assert conversation_id({}, {"metadata": "odd", "user": "u"}) is None


def test_a_log_or_a_webhook_that_cannot_work_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceError):
        LiveSettings(log=tmp_path / "none" / "log")
    for url in ("ftp://x", "http://[x", "http://x:99999/"):
        with pytest.raises(ServiceError):
            LiveSettings(webhook=url)


class hook:
    """A webhook that answers with these statuses in turn, and keeps what was posted."""

    def __init__(self, statuses: list[int]) -> None:
        self.posts: list[dict[str, Any]] = []
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                posts.append(json.loads(self.rfile.read(length)))
                self.send_response(statuses[min(len(posts), len(statuses)) - 1])
                self.end_headers()

            log_message: Callable[..., None] = lambda *args: None  # type: ignore[assignment]

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> tuple[str, list[dict[str, Any]]]:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}/hook", self.posts

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_a_full_disk_costs_no_client_its_reply(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = {"model": "small", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
    body["seed"] = 0  # a reply that happens to be blank is not watched
    full = LiveSettings(log=Path("/dev/full"))
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with serve_app(create_app(small(), persona=SHOUT, lock=False, traffic=full)) as url:
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
        stream = httpx.post(f"{url}/chat/completions", json={**body, "stream": True})
        place = f"{url.removesuffix('/v1')}/metrics"
        until(lambda: value(httpx.get(place).text, "holdfast_watch_dropped_total") == 2)
    assert stream.text.endswith("data: [DONE]\n\n") and "error" not in stream.text
    assert "No space left" in caplog.text
    with gateway(FakeUpstream(), persona=SHOUT, traffic=full) as url:
        body["stream"] = True
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
