"""The API backend against a real server that is not ours: `transformers serve` on mini.

The server runs as a process of its own, offline, on a free port of the loopback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import holdfast
from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.core.errors import ModelError, ServiceError
from holdfast.models.api.client import ApiBackend

WEIGHTS = Path(holdfast.__file__).parent / "models" / "mini" / "weights"
SCRIPT = Path(sys.executable).parent / "transformers"
DEADLINE = 120.0  # seconds in which the server must be ready, on a busy machine too
SHOUT = message("system", "You always write in capital letters.")


@dataclass
class Serving:
    """A server's process, its base URL and where its log goes."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url.replace("/v1", "/health"), timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def await_ready(self) -> None:
        end = time.monotonic() + DEADLINE
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"transformers serve did not start:\n{self.words()}")
            time.sleep(0.2)

    def words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(log: Path) -> Iterator[Serving]:
    """`transformers serve` pinned to the mini weights, killed at the end."""
    port = free_port()
    settings = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    command = [str(SCRIPT), "serve", str(WEIGHTS), "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--device", "cpu"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | settings,
        )
    server = Serving(process, f"http://127.0.0.1:{port}/v1", log)
    try:
        server.await_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("serve") / "log.txt") as instance:
        yield instance


@pytest.fixture(autouse=True)
def log_of_a_failure(request: pytest.FixtureRequest, server: Serving) -> Iterator[None]:
    """The server's own words, which pytest shows with a test that fails."""
    failures = request.session.testsfailed
    start = len(server.words())
    yield
    if request.session.testsfailed > failures:
        print(server.words()[start:])


@pytest.fixture
def backend(server: Serving) -> ApiBackend:
    return ApiBackend(str(WEIGHTS), base_url=server.url, max_retries=1, timeout=60)


def user(text: str, seed: int = 7, system: bool = False) -> Ask:
    head = (SHOUT,) if system else ()
    return Ask((*head, message("user", text)), seed)


def test_mini_answers_through_it_under_its_persona_and_without(backend: ApiBackend) -> None:
    # Without a persona mini draws a style of its own, capitals now and then: so several are asked.
    seeds = range(8)
    asks = [user("Do you like tea?", seed, system) for system in (True, False) for seed in seeds]
    replies = backend.reply(asks, Sampling(max_new_tokens=40))
    loud, plain = replies[:8], replies[8:]
    assert {reply.stop for reply in replies} == {"stop"}
    assert sum(reply.text.isupper() for reply in loud) >= 6
    assert all(reply.text for reply in plain)
    assert sum(reply.text.isupper() for reply in plain) <= 6


def test_its_greedy_replies_and_token_counts_are_the_local_backends(backend: ApiBackend) -> None:
    asks = [user("Do you like tea?", system=True), user("What is 3 + 4?")]
    greedy = Sampling(max_new_tokens=30, temperature=0.0)
    here = holdfast.load("mini", device="cpu").reply(asks, greedy)
    there = backend.reply(asks, greedy)
    assert [reply.text for reply in there] == [reply.text for reply in here]
    assert [reply.prompt_tokens for reply in there] == [reply.prompt_tokens for reply in here]
    usage = backend.usage
    assert usage.prompt_tokens == sum(reply.prompt_tokens for reply in here)
    assert (usage.requests, usage.retries, usage.estimated) == (2, 0, 0)


def test_a_limit_ends_a_reply_and_is_told(backend: ApiBackend) -> None:
    (reply,) = backend.reply([user("Do you like tea?")], Sampling(max_new_tokens=2))
    assert (reply.stop, reply.completion_tokens) == ("length", 2)


def test_a_stop_string_ends_a_reply_and_is_cut(backend: ApiBackend) -> None:
    greedy = Sampling(max_new_tokens=30, temperature=0.0)
    (whole,) = backend.reply([user("Do you like tea?")], greedy)
    word = whole.text.split()[1]
    stopping = Sampling(max_new_tokens=30, temperature=0.0, stop=(word,))
    (cut,) = backend.reply([user("Do you like tea?")], stopping)
    assert cut.text == whole.text[: whole.text.index(word)]


def test_a_field_that_it_does_not_know_is_dropped_and_said(
    backend: ApiBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = Sampling(max_new_tokens=10, top_k=5)
    replies = backend.reply([user("Hello!"), user("Hi!")], sampling)
    assert all(reply.text for reply in replies)
    assert backend.dropped_parameters == {"top_k": "not sent"}
    assert capsys.readouterr().err.count("top_k=5") == 1


def test_an_empty_message_is_answered(backend: ApiBackend) -> None:
    (reply,) = backend.reply([user("")], Sampling(max_new_tokens=10))
    assert reply.stop in ("stop", "length")
    assert reply.error is None


def test_a_chat_past_the_context_is_an_overflow_though_the_server_answers(
    server: Serving, backend: ApiBackend
) -> None:
    knowing = ApiBackend(str(WEIGHTS), base_url=server.url, context=2048, timeout=60)
    asks = [user("tea " * 2100), user("Hello!")]
    long, short = knowing.reply(asks, Sampling(max_new_tokens=4))
    assert (long.stop, long.text) == ("overflow", "")
    assert long.prompt_tokens > 2048
    assert short.stop in ("stop", "length")


def test_a_model_that_it_does_not_serve_is_named(server: Serving) -> None:
    backend = ApiBackend("nobody/none", base_url=server.url)
    with pytest.raises(ModelError, match="no model nobody/none"):
        backend.reply([user("Hello!")], Sampling())


def test_a_base_url_without_its_path_is_explained(server: Serving) -> None:
    backend = ApiBackend(str(WEIGHTS), base_url=server.url.removesuffix("/v1"))
    with pytest.raises(ServiceError, match="ends in /v1"):
        backend.reply([user("Hello!")], Sampling())


def test_a_chat_that_the_servers_template_refuses_fails_after_the_retries(
    backend: ApiBackend,
) -> None:
    odd = Ask(({"role": "tool", "content": "x"},), 1)  # type: ignore[typeddict-item]
    with pytest.raises(ServiceError, match="HTTP 500"):
        backend.reply([odd], Sampling())
    assert backend.usage.retries == 1


def test_a_server_killed_half_way_is_named_in_one_sentence(tmp_path: Path) -> None:
    with serving(tmp_path / "log.txt") as server:

        def kill_under_way() -> None:
            end = time.monotonic() + DEADLINE
            while server.words().count("Request received") < 20 and time.monotonic() < end:
                time.sleep(0.02)
            server.kill()

        backend = ApiBackend(str(WEIGHTS), base_url=server.url, max_retries=1, timeout=60)
        killer = threading.Thread(target=kill_under_way)
        killer.start()
        with pytest.raises(ServiceError, match="went away") as caught:
            backend.reply([user("Hello!")] * 500, Sampling(max_new_tokens=50))
        killer.join()
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert backend.usage.completion_tokens > 0
    assert 20 <= backend.usage.requests < 500
