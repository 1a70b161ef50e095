"""A model behind an OpenAI-compatible API: OpenAI, vLLM, Ollama, llama.cpp, gateways.

The `openai` client sends the asks, several at a time, and retries as the server directs.
What a server refuses for good becomes one sentence (`service`); what goes wrong with one
ask alone (it does not fit the context, a filter stopped it, the answer is malformed)
becomes that ask's reply, so that it is counted and never dropped.

An API promises no reproducibility: seeds are sent, and honoured or not. This module
knows chats and HTTP. It knows no personas, judges or rounds, and no weights.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import openai

from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.control import NONE, Control
from holdfast.core.errors import ControlError, ServiceError
from holdfast.models.api import loop
from holdfast.models.api import responses as service

OPENAI = "https://api.openai.com/v1"
_NO_KEY = "none"  # what a server that wants no key is sent, since the client must send one
_STOPS = 4  # as many stop strings as OpenAI takes; the rest are cut here


@dataclass(frozen=True)
class Usage:
    """What a backend has used so far.

    `requests` counts everything sent, `retries` those of them that repeated another;
    the tokens of `estimated` replies are our estimate, the server having sent none.
    `cost` is in the currency of the prices, without any discount for cached tokens, and
    None where no price is known.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0
    retries: int = 0
    estimated: int = 0
    cost: float | None = None


class ApiBackend:
    """A `Backend` over `/chat/completions`; the model's name here is `api:` + `model`.

    `base_url` and `api_key` come from the arguments, else from HOLDFAST_BASE_URL and
    HOLDFAST_API_KEY, else from OPENAI_BASE_URL and OPENAI_API_KEY; a server other than
    OpenAI's may go without a key. At most `concurrency` asks are under way at once, each
    for at most `timeout` seconds, and tried `max_retries` times more, as long after one
    another as the server says. `price` is (input, output) per million tokens.
    `extra_body` goes into every request and overrides what we put there. `user_first`
    False spares a server whose templates take an assistant message first the folding of
    the first exchange; `system_anywhere` True says that they take a system message in
    mid-chat, so that reminders need not join the user's. `context` is the model's, where
    you know it; an answer for which the server counts more tokens than that is an overflow.

    Raises `ServiceError` for settings that cannot work.
    """

    local = False

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        concurrency: int = 8,
        timeout: float = 300.0,
        max_retries: int = 5,
        price: tuple[float, float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        user_first: bool = True,
        system_anywhere: bool = False,
        context: int | None = None,
    ) -> None:
        self.model = model
        self.name = f"api:{model}"
        self.user_first, self.system_anywhere = user_first, system_anywhere
        self.context = context
        self._url = (base_url or _environ("BASE_URL") or OPENAI).rstrip("/")
        self._place = service.Place(model, public(self._url))
        self._key = _key(api_key, self._url)
        if concurrency < 1 or timeout <= 0 or max_retries < 0:
            raise ServiceError(
                "an API needs a concurrency of at least 1, a timeout above 0 and retries of at "
                f"least 0, not {concurrency}, {timeout:g} and {max_retries}"
            )
        if price is not None and min(price) < 0:
            raise ServiceError(f"prices per million tokens must not be negative, as in {price}")
        self._concurrency, self._timeout, self._retries = concurrency, timeout, max_retries
        self._price = price
        self._extra = dict(extra_body or {})
        self._dropped: dict[str, str] = {}
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """What has been used since this backend was made."""
        return replace(self._usage, cost=self.cost)

    @property
    def cost(self) -> float | None:
        """What the tokens so far cost at the given price; None without one."""
        if self._price is None:
            return None
        used = self._usage
        spent = self._price[0] * used.prompt_tokens + self._price[1] * used.completion_tokens
        return round(spent / 1e6, 6)

    @property
    def dropped_parameters(self) -> Mapping[str, str]:
        """Parameters that the server refused so far, and what was done about each."""
        return dict(self._dropped)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order; `measure` and `keep` mean nothing here.

        Works with or without a running event loop. Raises `ControlError` for a control that
        there is not or that needs the weights, `ServiceError` where the service refuses or
        goes away, and `ModelError` where it has no such model or the model takes no such
        chat; asks still under way are then cancelled.
        """
        asks = [self._controlled(ask) for ask in asks]
        return loop.run(self._replies(asks, sampling)) if asks else []

    def refusal(self, control: Control) -> str | None:
        """Why this model cannot be put under a control, or None."""
        if not control.needs_weights:
            return None
        return (
            f"{self.name} is behind an API, and `{control.text}` needs the model's weights: use "
            "window or reminder, or name a local model."
        )

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]], *, per_token: bool = False
    ) -> list[list[float]]:
        """Refused: an API gives text. Raises `ServiceError`."""
        raise ServiceError(
            f"{self.name} is behind an API, which does not say how likely a given reply is: score "
            "by generation."
        )

    def _controlled(self, ask: Ask) -> Ask:
        """The ask with its chat as the control rewrites it."""
        if why := self.refusal(ask.control):
            raise ControlError(why)
        chat = rewrite(
            ask.chat,
            ask.control,
            system_anywhere=self.system_anywhere,
            user_first=self.user_first,
        )
        return replace(ask, chat=chat, control=NONE)

    def count(self, text: str) -> int:
        """Tokens in a text, estimated at four bytes of UTF-8 each.

        On samples of English, French, German and Spanish prose two published tokenizers
        count 0.9 to 1.4 times as many, on capitals and other scripts up to 2.1 times.
        """
        return -(-len(text.encode("utf-8", "replace")) // 4)

    def forget(self) -> None:
        """Nothing to drop: a service keeps what it keeps, and promises nothing."""

    def describe(self) -> Mapping[str, object]:
        """What determines the replies as far as we know it, as JSON: names, never keys.

        It stays the same over the backend's life, so that a run can be resumed.
        """
        return {
            "name": self.name,
            "backend": "api",
            "model": self.model,
            "base_url": self._place.url,
            "extra_body": dict(self._extra),
            "user_first": self.user_first,
            "system_anywhere": self.system_anywhere,
            "context": self.context,
        }

    async def _replies(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        gate = asyncio.Semaphore(self._concurrency)
        async with self._client() as client:
            tasks = [asyncio.create_task(self._reply(client, gate, ask, sampling)) for ask in asks]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _client(self) -> openai.AsyncOpenAI:
        """A client for one event loop. Hooks count requests and stop retries without hope."""

        async def sending(request: Any) -> None:
            again = request.headers.get("x-stainless-retry-count", "0") != "0"
            self._add(requests=1, retries=int(again))

        async def received(response: Any) -> None:
            if response.status_code >= 400:
                said = service.complaint(response.status_code, await response.aread())
                if service.hopeless(said):
                    response.headers["x-should-retry"] = "false"

        timeout = openai.Timeout(self._timeout, connect=min(self._timeout, 15.0))
        http = openai.DefaultAsyncHttpxClient(
            timeout=timeout, event_hooks={"request": [sending], "response": [received]}
        )
        return openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self._url,
            timeout=timeout,
            max_retries=self._retries,
            http_client=http,
        )

    async def _reply(
        self, client: openai.AsyncOpenAI, gate: asyncio.Semaphore, ask: Ask, sampling: Sampling
    ) -> Reply:
        async with gate:
            while True:
                sent = self._body(ask, sampling)
                found = await self._post(client, ask, sent)
                if isinstance(found, service.Answer):
                    return self._made(ask, found, sampling)
                refused = service.refused_parameter(found, sent.keys() - self._extra.keys())
                if refused is None or not self._give_up(refused, sent):
                    return self._without_answer(found)

    def _body(self, ask: Ask, sampling: Sampling) -> dict[str, Any]:
        """The sampling parameters of a request, in the words this server is known to take."""
        body: dict[str, Any] = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": ask.seed & 0x7FFF_FFFF,  # some servers keep it in 32 bits
        }
        if sampling.temperature > 0:
            body["top_p"] = sampling.top_p
            if sampling.top_k > 0:
                body["top_k"] = sampling.top_k
        if sampling.stop:
            body["stop"] = list(sampling.stop[:_STOPS])
        if "max_tokens" in self._dropped:
            body["max_completion_tokens"] = body["max_tokens"]
        kept = {name: value for name, value in body.items() if name not in self._dropped}
        return kept | self._extra

    def _give_up(self, name: str, sent: Mapping[str, Any]) -> bool:
        """Do without a parameter from now on, and say so once; False where that cannot be."""
        if name == "max_completion_tokens":
            return False  # a reply without any limit is not what was asked for
        done = "sent as max_completion_tokens" if name == "max_tokens" else "not sent"
        if name not in self._dropped:
            self._dropped[name] = done
            print(
                f"{self.name}: {self._place.url} does not take {name}={sent[name]!r}, which is "
                f"{done} from now on",
                file=sys.stderr,
            )
        return True

    async def _post(
        self, client: openai.AsyncOpenAI, ask: Ask, body: Mapping[str, Any]
    ) -> service.Answer | service.Complaint:
        """What came back. The body is read by us: the client believes what servers send."""
        messages = [{**part, "content": service.whole_text(part["content"])} for part in ask.chat]
        create: Any = client.chat.completions.with_raw_response.create
        url = self._place.url
        try:
            raw = await create(model=self.model, messages=messages, extra_body=dict(body))
        except openai.APIStatusError as error:
            said = service.complaint(error.status_code, error.response.content)
            return said._replace(message=self._censored(said.message))
        except openai.APITimeoutError as error:
            raise ServiceError(
                f"{url} did not answer within {self._timeout:g} seconds, {self._tries()}; check "
                "the server or lower the concurrency, then run the same command again"
            ) from error
        except openai.APIConnectionError as error:
            why = self._censored(str(error.__cause__ or error)).rstrip(".")
            raise ServiceError(
                f"{url} cannot be reached, or went away, {self._tries()} ({why}); start or check "
                "the server, then run the same command again"
            ) from error
        except openai.OpenAIError as error:
            raise ServiceError(f"{url}: {self._censored(str(error))}") from error
        content = raw.http_response.content
        if service.is_page(content):
            raise ServiceError(
                f"{url} answered with a web page and no completion; a base URL usually ends in /v1"
            )
        return service.answer(content)

    def _tries(self) -> str:
        return f"tried {self._retries + 1} times" if self._retries else "tried once"

    def _censored(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text

    def _without_answer(self, said: service.Complaint) -> Reply:
        """The reply to an ask that the server turned down, or the error that ends them all."""
        match service.kind(said):
            case "overflow":
                return Reply("", stop="overflow", error=said.message or "too long")
            case "filter":
                return Reply("", stop="error", error=said.message or "content filter")
        raise service.sentence(said, self._place)

    def _made(self, ask: Ask, answer: service.Answer, sampling: Sampling) -> Reply:
        """The reply of an answer, its tokens counted."""
        estimated = service.Tokens(
            sum(self.count(part["content"]) + 4 for part in ask.chat), 0, self.count(answer.text)
        )
        tokens = answer.tokens or estimated
        self._add(
            prompt_tokens=tokens.prompt,
            cached_tokens=tokens.cached,
            completion_tokens=tokens.completion,
            estimated=int(answer.tokens is None),
        )
        seen = tokens.prompt + tokens.completion
        if self.context is not None and answer.tokens and seen > self.context:
            # transformers serve, for one, answers on past the end, and in nonsense.
            why = f"the server went to {seen} tokens, past the context of {self.context}"
            return Reply("", "overflow", *tokens, error=why)
        text = _cut(answer.text, sampling.stop)
        stop = "stop" if text != answer.text and answer.stop == "length" else answer.stop
        error = self._censored(answer.error) if answer.error else None
        return Reply(text, stop, *tokens, error=error)

    def _add(self, **more: int) -> None:
        with self._lock:
            now = {name: getattr(self._usage, name) + n for name, n in more.items()}
            self._usage = replace(self._usage, **now)


def _environ(name: str) -> str | None:
    return os.environ.get(f"HOLDFAST_{name}") or os.environ.get(f"OPENAI_{name}") or None


def _key(given: str | None, url: str) -> str:
    """The key to send. Raises `ServiceError` where none is known or it cannot be one."""
    key = (given or _environ("API_KEY") or "").strip()
    if not key and url == OPENAI:
        raise ServiceError(
            "an api: model needs a key in OPENAI_API_KEY (or HOLDFAST_API_KEY), or a server of "
            "your own named by --base-url"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ServiceError("the API key holds characters that no key has; copy it again")
    return key or _NO_KEY


def public(url: str) -> str:
    """A base URL without the user, password and query that it may hold.

    Raises `ServiceError` where it is none.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ServiceError(
            "the base URL must start with http:// or https:// and name a host, as in "
            f"http://localhost:8000/v1, unlike {url.rpartition('@')[2]!r}"
        )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text up to the first of the stop strings; some servers leave them in."""
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
