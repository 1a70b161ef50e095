"""The API backend against a server in this process that misbehaves as it is told."""

from __future__ import annotations

import _thread
import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.chat import agent_view, message
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, HoldfastError, ModelError, ServiceError
from holdfast.evals.drift import drift
from holdfast.models.api.client import OPENAI, ApiBackend
from holdfast.models.load import load

Answer = tuple[int, object] | tuple[int, object, dict[str, str]] | None
PATIENCE = 20  # seconds that a test's thread waits for another before it fails
SOON = {"retry-after-ms": "1"}


def completion(text: object = "Hello.", finish: str = "stop", **body: object) -> dict[str, object]:
    choice = {"index": 0, "finish_reason": finish, "message": {"content": text}}
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    return {"choices": [choice], "usage": usage} | body


def error(text: str, **fields: object) -> dict[str, object]:
    return {"error": {"message": text, **fields}}


class Server(ThreadingHTTPServer):
    """`answer` maps a request's JSON to (status, body[, headers]), or None to hang up."""

    daemon_threads = True
    answer: Callable[[dict[str, Any]], Answer]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = lambda request: (200, completion())
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(request)
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.server.paths.append(self.path)
        answer = self.server.answer(request)
        if answer is None:
            return
        status, body, headers = (*answer, {})[:3]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | headers).items():
            self.send_header(name, value)
        if "content-length" not in headers:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "BASE_URL"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
        monkeypatch.delenv(f"HOLDFAST_{name}", raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as instance:
        thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield instance
        instance.shutdown()
        thread.join()


@pytest.fixture
def backend(server: Server) -> ApiBackend:
    return ApiBackend("some-model", base_url=server.url, max_retries=2)


def ask(text: str = "Hi!", seed: int = 7, system: str | None = "Be brief.") -> Ask:
    head = (message("system", system),) if system else ()
    return Ask((*head, message("user", text)), seed)


def one(backend: ApiBackend, sampling: Sampling | None = None) -> Reply:
    (reply,) = backend.reply([ask()], sampling or Sampling())
    return reply


def refusal(backend: ApiBackend, kind: type[HoldfastError] = ServiceError) -> str:
    """The sentence with which a reply fails."""
    with pytest.raises(kind) as caught:
        one(backend)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# What is sent


def test_an_ask_is_sent_as_chat_sampling_and_seed(server: Server, backend: ApiBackend) -> None:
    one(backend, Sampling(50, 0.7, 0.8, 0, ("END",)))
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests == [
        {
            "model": "some-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi!"},
            ],
            "max_tokens": 50,
            "temperature": 0.7,
            "top_p": 0.8,
            "seed": 7,
            "stop": ["END"],
        }
    ]


def test_top_k_is_sent_only_where_it_is_on(server: Server, backend: ApiBackend) -> None:
    one(backend, Sampling(top_k=5))
    one(backend, Sampling(top_k=0))
    one(backend, Sampling(temperature=0, top_k=5))
    assert [request.get("top_k") for request in server.requests] == [5, None, None]
    assert [request.get("top_p") for request in server.requests] == [0.9, 0.9, None]


def test_a_seed_of_any_size_is_sent_in_31_bits(server: Server, backend: ApiBackend) -> None:
    backend.reply([ask(seed=(1 << 62) + 5)], Sampling())
    assert server.requests[0]["seed"] == 5


def test_extra_body_overrides_what_we_put_in_a_request(server: Server) -> None:
    extra = {"temperature": 0.1, "min_p": 0}
    one(ApiBackend("m", base_url=server.url, extra_body=extra))
    assert server.requests[0]["temperature"] == 0.1
    assert server.requests[0]["min_p"] == 0


def test_a_lone_surrogate_in_a_chat_can_still_be_sent(server: Server, backend: ApiBackend) -> None:
    backend.reply([ask("a\ud800b")], Sampling())
    assert server.requests[0]["messages"][1]["content"] == "a\ufffdb"


# Settings


def test_holdfast_settings_come_before_openais_and_arguments_before_both(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-key")
    monkeypatch.setenv("HOLDFAST_BASE_URL", server.url)
    one(ApiBackend("m"))
    monkeypatch.setenv("HOLDFAST_API_KEY", "sk-holdfast-key")
    one(ApiBackend("m"))
    one(ApiBackend("m", api_key="sk-given-key"))
    keys = [headers["authorization"] for headers in server.headers]
    assert keys == ["Bearer sk-openai-key", "Bearer sk-holdfast-key", "Bearer sk-given-key"]


def test_a_server_of_ones_own_needs_no_key_and_openai_does(server: Server) -> None:
    assert one(ApiBackend("m", base_url=server.url)).text == "Hello."
    with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
        ApiBackend("m")
    assert ApiBackend("m", api_key="sk-0123").describe()["base_url"] == OPENAI


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://[x", "/v1"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ServiceError, match="http://localhost:8000/v1"):
        ApiBackend("m", base_url=url)


@pytest.mark.parametrize("key", ["sk with space", "sk-\u00e9t\u00e9", "sk-a\nb"])
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str) -> None:
    with pytest.raises(ServiceError, match="API key") as caught:
        ApiBackend("m", api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"concurrency": 0}, {"timeout": 0}, {"max_retries": -1}, {"price": (1.0, -2.0)}],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ServiceError):
        ApiBackend("m", base_url="http://localhost:1/v1", **wrong)


def test_load_makes_one_from_a_name(server: Server) -> None:
    backend = load("api:org/some-model", base_url=server.url, concurrency=2)
    assert isinstance(backend, ApiBackend)
    assert (backend.name, backend.local, backend.user_first) == ("api:org/some-model", False, True)
    assert backend.reply([ask()], Sampling())[0].text == "Hello."
    assert server.requests[0]["model"] == "org/some-model"


def test_a_description_holds_no_secret_and_does_not_change(server: Server) -> None:
    url = server.url.replace("http://", "http://me:secret-word@")
    backend = ApiBackend("m", base_url=url, api_key="secret-word", extra_body={"min_p": 0})
    before = json.dumps(backend.describe())
    assert "secret-word" not in before
    assert json.loads(before)["base_url"] == server.url
    server.answer = refusing("seed")
    one(backend)
    assert backend.dropped_parameters == {"seed": "not sent"}
    assert json.dumps(backend.describe()) == before


def test_it_is_a_backend() -> None:
    backend: Backend = ApiBackend("m", base_url="http://localhost:1/v1")
    names = [name for name in vars(Backend) if not name.startswith("_")]
    assert [name for name in names if not hasattr(backend, name)] == []
    backend.forget()


# Replies


def test_replies_come_in_the_order_of_the_asks(server: Server, backend: ApiBackend) -> None:
    server.answer = lambda request: (200, completion(request["messages"][-1]["content"].upper()))
    replies = backend.reply([ask(f"number {n}") for n in range(20)], Sampling())
    assert [reply.text for reply in replies] == [f"NUMBER {n}" for n in range(20)]


def test_no_asks_make_no_request(server: Server, backend: ApiBackend) -> None:
    assert backend.reply([], Sampling()) == []
    assert server.requests == []


def test_as_many_asks_are_under_way_as_allowed_and_no_more(server: Server) -> None:
    together = threading.Barrier(3)
    lock, under_way, most = threading.Lock(), 0, 0

    def answer(request: dict[str, Any]) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(PATIENCE)
        with lock:
            under_way -= 1
        together.wait(PATIENCE)
        return 200, completion()

    server.answer = answer
    backend = ApiBackend("m", base_url=server.url, concurrency=3, max_retries=0)
    assert len(backend.reply([ask()] * 9, Sampling())) == 9
    assert most == 3


def test_it_answers_inside_a_running_event_loop(backend: ApiBackend) -> None:
    async def notebook_cell() -> Reply:
        return one(backend)

    assert asyncio.run(notebook_cell()).text == "Hello."


def test_one_backend_serves_several_calls_and_threads(server: Server, backend: ApiBackend) -> None:
    threads = [threading.Thread(target=one, args=(backend,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    one(backend)
    assert backend.usage.requests == len(server.requests) == 5
    assert backend.usage.prompt_tokens == 55


def test_a_stop_string_that_the_server_leaves_in_is_cut(
    server: Server, backend: ApiBackend
) -> None:
    server.answer = lambda request: (200, completion("One. Two! Three.", "length"))
    assert one(backend, Sampling(stop=("!", "Two"))).text == "One. "
    assert one(backend, Sampling(stop=("!",))).stop == "stop"
    assert one(backend, Sampling(stop=("?",))).stop == "length"


def test_more_stop_strings_than_the_protocol_takes_still_end_a_reply(
    server: Server, backend: ApiBackend
) -> None:
    server.answer = lambda request: (200, completion("One two"))
    assert one(backend, Sampling(stop=("a", "b", "c", "d", " two"))).text == "One"
    assert server.requests[0]["stop"] == ["a", "b", "c", "d"]


def test_an_answer_gone_wrong_is_a_reply_with_its_reason_and_the_others_stay(
    server: Server, backend: ApiBackend
) -> None:
    bodies: dict[str, object] = {
        "broken": b'{"choices": [',
        "none": {"choices": []},
        "silent": completion(None),
        "filtered": completion("Half", "content_filter"),
        "empty": completion(""),
        "fine": completion("Fine."),
    }
    server.answer = lambda request: (200, bodies[request["messages"][-1]["content"]])
    replies = dict(
        zip(bodies, backend.reply([ask(name) for name in bodies], Sampling()), strict=True)
    )
    assert {name: reply.stop for name, reply in replies.items()} == {
        "broken": "error", "none": "error", "silent": "error", "filtered": "error",
        "empty": "stop", "fine": "stop",
    }  # fmt: skip
    assert all(bool(reply.error) == (reply.stop == "error") for reply in replies.values())
    assert (replies["empty"].text, replies["fine"].text) == ("", "Fine.")


def test_a_filters_refusal_is_a_reply_with_its_reason(server: Server, backend: ApiBackend) -> None:
    server.answer = lambda request: (400, error("Blocked by policy", code="content_filter"))
    assert one(backend) == Reply("", "error", error="Blocked by policy")


def test_a_chat_that_does_not_fit_is_an_overflow_of_that_ask_alone(
    server: Server, backend: ApiBackend
) -> None:
    text = "This model's maximum context length is 8 tokens."
    for status in (400, 500):
        answer: Answer = (status, error(text))
        server.answer = lambda request, answer=answer: (  # type: ignore[misc]
            answer if request["seed"] == 1 else (200, completion())
        )
        short, long = backend.reply([ask(seed=0), ask(seed=1)], Sampling())
        assert (short.text, short.stop) == ("Hello.", "stop")
        assert (long.text, long.stop, long.error) == ("", "overflow", text)
    assert backend.usage.retries == 0


def test_an_answer_past_the_known_context_is_an_overflow(server: Server) -> None:
    backend = ApiBackend("m", base_url=server.url, context=13)
    reply = one(backend)
    assert (reply.text, reply.stop, reply.prompt_tokens) == ("", "overflow", 11)
    assert one(ApiBackend("m", base_url=server.url, context=14)).stop == "stop"


# Counting


def test_tokens_requests_and_cost_add_up(server: Server) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 5}}
    usage = {"prompt_tokens": 11, "completion_tokens": 3} | details
    server.answer = lambda request: (200, completion(usage=usage))
    backend = ApiBackend("m", base_url=server.url, price=(2.0, 10.0))
    (reply, _) = backend.reply([ask(), ask()], Sampling())
    assert (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens) == (11, 5, 3)
    totals = backend.usage
    assert (totals.prompt_tokens, totals.cached_tokens, totals.completion_tokens) == (22, 10, 6)
    assert (totals.requests, totals.retries, totals.estimated) == (2, 0, 0)
    assert totals.cost == backend.cost == pytest.approx((22 * 2 + 6 * 10) / 1e6)


def test_without_a_price_there_is_no_cost(backend: ApiBackend) -> None:
    one(backend)
    assert backend.cost is None
    assert backend.usage.cost is None


def test_tokens_that_the_server_does_not_count_are_estimated_and_that_is_counted(
    server: Server, backend: ApiBackend
) -> None:
    server.answer = lambda request: (200, completion("twelve bytes", usage=None))
    reply = one(backend)
    assert reply.completion_tokens == backend.count("twelve bytes") == 3
    assert reply.prompt_tokens >= backend.count("Be brief.") + backend.count("Hi!")
    assert backend.usage.estimated == 1


def test_an_estimate_grows_with_the_text_and_takes_any_text(backend: ApiBackend) -> None:
    assert [backend.count(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
    assert backend.count("私は週末") == 3
    assert backend.count("\ud800") == 1


# Retries


def test_it_waits_as_the_server_says_and_then_has_the_reply(
    server: Server, backend: ApiBackend
) -> None:
    answers: list[Answer] = [(429, error("Slow down"), SOON), (503, b"", SOON), (200, completion())]
    queue = iter(answers)
    server.answer = lambda request: next(queue)
    assert one(backend).text == "Hello."
    assert (backend.usage.requests, backend.usage.retries) == (3, 2)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, error("Slow down"), "limited the rate"),
        (500, b"Internal Server Error", "failed"),
        (503, b"<html>Bad gateway</html>", "failed"),
    ],
)
def test_after_the_last_retry_it_gives_up_with_one_sentence(
    server: Server, backend: ApiBackend, status: int, body: object, words: str
) -> None:
    server.answer = lambda request: (status, body, SOON)
    sentence = refusal(backend)
    assert words in sentence
    assert server.url in sentence
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, error("Incorrect API key"), ServiceError, "OPENAI_API_KEY"),
        (403, error("Not for you"), ServiceError, "ask for access"),
        (404, error("The model `x` does not exist"), ModelError, "no model some-model"),
        (404, {"detail": "Not Found"}, ServiceError, "ends in /v1"),
        (429, error("No quota", code="insufficient_quota"), ServiceError, "top it up"),
        (400, error("System role not supported"), ModelError, "takes no system prompt"),
        (500, error("System role not supported"), ModelError, "takes no system prompt"),
        (400, error("Something odd"), ServiceError, "Something odd"),
        (200, b"<!doctype html><p>Welcome", ServiceError, "web page"),
    ],
)
def test_what_no_retry_can_mend_is_asked_once(
    server: Server,
    backend: ApiBackend,
    status: int,
    body: object,
    kind: type[HoldfastError],
    words: str,
) -> None:
    server.answer = lambda request: (status, body, SOON)
    sentence = refusal(backend, kind)
    assert words in sentence
    assert server.url in sentence
    assert len(server.requests) == 1


def test_a_key_that_a_server_repeats_is_not_shown(server: Server) -> None:
    server.answer = lambda request: (401, error("Incorrect API key: sk-very-secret"))
    sentence = refusal(ApiBackend("m", base_url=server.url, api_key="sk-very-secret"))
    assert "sk-very-secret" not in sentence
    assert "[key]" in sentence


# A server that goes away


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as listener:  # bound and not listening: nobody answers, nobody moves in
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        sentence = refusal(ApiBackend("m", base_url=url, max_retries=1))
    assert url in sentence
    assert "tried 2 times" in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "gopher://localhost:1"),
        ("HTTP_PROXY", "localhost:port"),
        ("SSL_CERT_FILE", "/nowhere/at/all.pem"),
    ],
)
def test_a_proxy_or_certificate_that_cannot_be_used_is_one_sentence(
    server: Server, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ServiceError, match="cannot be sent with this environment's proxy"):
        ApiBackend("m", base_url=server.url).reply([ask("Hi")], Sampling())


def test_a_server_that_hangs_up_is_asked_again_and_then_named(server: Server) -> None:
    backend = ApiBackend("m", base_url=server.url, max_retries=1)
    hung_up = iter([None, (200, completion())])
    server.answer = lambda request: next(hung_up)
    assert one(backend).text == "Hello."
    server.answer = lambda request: None
    assert server.url in refusal(backend)
    assert len(server.requests) == 4


def test_an_answer_cut_off_half_way_is_no_answer(server: Server) -> None:
    server.answer = lambda request: (200, b'{"choices": [{"mess', {"content-length": "500"})
    sentence = refusal(ApiBackend("m", base_url=server.url, max_retries=0))
    assert "went away" in sentence
    assert "tried once" in sentence


def test_a_server_that_takes_too_long_is_named_with_the_limit(server: Server) -> None:
    waiting = threading.Event()

    def answer(request: dict[str, Any]) -> Answer:
        waiting.wait(PATIENCE)
        return None

    server.answer = answer
    sentence = refusal(ApiBackend("m", base_url=server.url, max_retries=0, timeout=0.2))
    waiting.set()
    assert "within 0.2 seconds" in sentence


def test_a_refusal_cancels_the_asks_still_under_way(server: Server) -> None:
    others = threading.Semaphore(0)
    release = threading.Event()

    def answer(request: dict[str, Any]) -> Answer:
        if request["seed"]:
            others.release()
            return None if release.wait(PATIENCE) else (200, completion())
        for _ in range(3):
            assert others.acquire(timeout=PATIENCE)
        return 401, error("Key withdrawn")

    server.answer = answer
    backend = ApiBackend("m", base_url=server.url, concurrency=4)
    with pytest.raises(ServiceError, match="Key withdrawn"):
        backend.reply([ask(seed=seed) for seed in range(10)], Sampling())
    release.set()
    assert len(server.requests) == 4


def test_an_interrupt_ends_a_call_at_once(server: Server, backend: ApiBackend) -> None:
    release = threading.Event()
    # A job in the background of a shell starts with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def answer(request: dict[str, Any]) -> Answer:
        _thread.interrupt_main()
        return None if release.wait(PATIENCE) else (200, completion())

    server.answer = answer
    try:
        with pytest.raises(KeyboardInterrupt):
            one(backend)
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()
    server.answer = lambda request: (200, completion())
    assert one(backend).text == "Hello."


def test_a_run_goes_on_where_its_server_left_it(server: Server, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "suite": "mini",
        "pairs": 2,
        "rounds": 3,
        "runs": 1,
        "out": tmp_path / "run",
    }
    backend = ApiBackend("m", base_url=server.url, max_retries=0)
    server.answer = lambda request: refusing("seed")(request) if len(server.requests) < 30 else None
    with pytest.raises(ServiceError, match="went away"):
        drift(backend, **settings)
    records = (tmp_path / "run" / "records.jsonl").read_bytes()
    assert records.count(b"\n") >= 2
    server.answer = refusing("seed")
    result = drift(backend, **settings)
    assert (tmp_path / "run" / "records.jsonl").read_bytes().startswith(records)
    assert (tmp_path / "run" / "report.html").exists()
    assert result.summary.setting.rounds == 3


# Parameters and controls


def refusing(*names: str) -> Callable[[dict[str, Any]], Answer]:
    """A server that refuses the first of some parameters that it is sent."""

    def answer(request: dict[str, Any]) -> Answer:
        for name in names:
            if name in request:
                text = f"Unsupported parameter: '{name}' is not supported with this model."
                return 400, error(text, param=name, code="unsupported_parameter")
        return 200, completion()

    return answer


def test_parameters_that_a_server_refuses_are_given_up_and_said_once(
    server: Server, backend: ApiBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = refusing("max_tokens", "top_p", "seed")
    for _ in range(2):
        replies = backend.reply([ask()] * 5, Sampling(max_new_tokens=9))
        assert [reply.text for reply in replies] == ["Hello."] * 5
    last = server.requests[-1]
    assert last["max_completion_tokens"] == 9
    assert last.keys() == {"model", "messages", "max_completion_tokens", "temperature"}
    assert backend.dropped_parameters == {
        "max_tokens": "sent as max_completion_tokens",
        "top_p": "not sent",
        "seed": "not sent",
    }
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("does not take") == 3
    assert all(output.err.count(f"{name}=") == 1 for name in ("max_tokens", "top_p", "seed"))


def test_a_reply_is_never_asked_for_without_a_limit(server: Server, backend: ApiBackend) -> None:
    server.answer = refusing("max_tokens", "max_completion_tokens")
    assert "max_completion_tokens" in refusal(backend)


def test_template_options_are_sent_until_a_server_refuses_them(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        if "chat_template_kwargs" in request:
            return 400, error("Unrecognized request argument supplied: chat_template_kwargs")
        return 200, completion()

    server.answer = answer
    options = {"enable_thinking": False}
    backend = load("api:some", base_url=server.url, template_options=options)
    assert one(backend).text == one(backend).text == "Hello."
    assert [request.get("chat_template_kwargs") for request in server.requests] == [
        options, None, None
    ]  # fmt: skip
    assert backend.describe()["template_options"] == options
    assert capsys.readouterr().err.count("does not take chat_template_kwargs") == 1


def test_what_the_user_put_into_extra_body_is_never_dropped(server: Server) -> None:
    server.answer = refusing("seed")
    sentence = refusal(ApiBackend("m", base_url=server.url, extra_body={"seed": 3}))
    assert "'seed' is not supported" in sentence


def test_a_control_is_refused_before_anything_is_sent(server: Server, backend: ApiBackend) -> None:
    asks = [ask(), Ask(ask().chat, 1, control=parse("split-softmax:0.7"))]
    with pytest.raises(ControlError, match=r"`split-softmax:0\.7` .* local"):
        backend.reply(asks, Sampling())
    assert server.requests == []


def test_window_and_reminder_rewrite_what_is_sent(server: Server, backend: ApiBackend) -> None:
    chat = agent_view("You are a lighthouse.", ["one", "two", "three", "four", "five"])
    backend.reply([Ask(chat, 1, control=parse("window:3+reminder:1"))], Sampling())
    messages = server.requests[0]["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[1]["content"] == "three"
    assert messages[3]["content"] == "You are a lighthouse.\n\nfive"


def test_a_server_known_to_take_system_messages_anywhere_gets_reminders_as_such(
    server: Server,
) -> None:
    backend = ApiBackend("m", base_url=server.url, system_anywhere=True)
    chat = agent_view("You are a lighthouse.", ["one", "two", "three"])
    backend.reply([Ask(chat, 1, control=parse("reminder:1"))], Sampling())
    roles = [m["role"] for m in server.requests[0]["messages"]]
    assert roles == ["system", "user", "assistant", "system", "user"]


def test_a_text_that_is_no_control_is_refused_by_name(backend: ApiBackend) -> None:
    with pytest.raises(ControlError, match="no control 'ancor'"):
        backend.refusal(parse("ancor"))


def test_hints_for_local_models_change_nothing(server: Server, backend: ApiBackend) -> None:
    chat = ask().chat
    plain, other = backend.reply([Ask(chat, 1), Ask(chat, 1, keep=False, measure=True)], Sampling())
    assert plain == other
    assert other.share is None
    first, second = server.requests
    assert first == second
