"""A model behind an OpenAI-compatible API: OpenAI, vLLM, Ollama, llama.cpp, gateways.

The `openai` client sends the asks, several at a time, and retries as the server directs. An error
that concerns all asks becomes one sentence (`responses`). An error that concerns one ask (it does
not fit the context, a filter stopped it, the answer is malformed) becomes that ask's reply, so
that it is counted and never dropped.

An API promises no reproducibility: we send seeds, and a server may ignore them. This module knows
chats and HTTP. It knows no personas, judges or rounds, and no weights.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import openai

from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Reply, Sampling, find_stop, price_tokens
from holdfast.core.chat import Message, without_surrogates
from holdfast.core.control import NONE, Control
from holdfast.core.errors import ControlError, ServiceError, first_line
from holdfast.models.api.endpoint import OPENAI, choose_key, public_url, read_environment
from holdfast.models.api.event_loop import run_coroutine
from holdfast.models.api.parameters import Parameters
from holdfast.models.api.responses import (
    ApiCompletion,
    Endpoint,
    ServerError,
    Tokens,
    classify,
    exception_for,
    find_refused_parameter,
    is_final,
    is_page,
    read_completion,
    read_error,
)
from holdfast.models.api.usage import Usage


class ApiBackend:
    """A `Backend` over `/chat/completions`; its name is `api:` and the model's.

    Attributes:
        model: the model's name on the server.
        user_first: a chat must open with a user message.
        system_anywhere: a system message may come in mid-chat.
        context: tokens that the model can see; None where unknown.
        price: prices per million tokens (input, output); None where unknown.
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
        template_options: Mapping[str, Any] | None = None,
        user_first: bool = True,
        system_anywhere: bool = False,
        context: int | None = None,
    ) -> None:
        """Prepare to ask a model behind an API; nothing is sent yet.

        Args:
            model: the model's name on the server.
            base_url: the server's URL; by default HOLDFAST_BASE_URL, else OPENAI_BASE_URL, else
                OpenAI's.
            api_key: the key; by default HOLDFAST_API_KEY, else OPENAI_API_KEY. A server other
                than OpenAI's may need none.
            concurrency: how many asks are under way at once.
            timeout: seconds that one ask may take.
            max_retries: how often an ask is tried again; the server says after which time.
            price: prices per million tokens (input, output).
            extra_body: goes into every request and overrides what we put there.
            template_options: options of the chat template, sent as `chat_template_kwargs`. A
                server that refuses them is asked without, and standard error says so.
            user_first: False for a server whose templates take an assistant message first; the
                first exchange is then not folded.
            system_anywhere: True for a server whose templates take a system message in mid-chat;
                reminders then need not join the user's messages.
            context: the model's, where you know it. A completion for which the server counts
                more tokens is an overflow.

        Raises:
            ServiceError: a setting cannot work, or OpenAI's server would get no key.
        """
        self.model = model
        self.name = f"api:{model}"
        self.user_first, self.system_anywhere = user_first, system_anywhere
        self.context = context
        self._url = (base_url or read_environment("BASE_URL") or OPENAI).rstrip("/")
        self._endpoint = Endpoint(model, public_url(self._url))
        self._key = choose_key(api_key, self._url)
        if concurrency < 1 or timeout <= 0 or max_retries < 0:
            raise ServiceError(
                "an API needs a concurrency of at least 1, a timeout above 0 and retries of at "
                f"least 0, not {concurrency}, {timeout:g} and {max_retries}"
            )
        if price is not None and not all(one >= 0 for one in price):
            raise ServiceError(f"prices per million tokens must not be negative, as in {price}")
        self._concurrency, self._timeout, self._retries = concurrency, timeout, max_retries
        self.price = price
        self._parameters = Parameters(extra_body or {}, template_options or {})
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """Return what this backend has used so far."""
        return replace(self._usage, cost=self.cost)

    @property
    def cost(self) -> float | None:
        """Return the cost of the tokens so far; None without a price."""
        if self.price is None:
            return None
        usage = self._usage
        return round(price_tokens(self.price, usage.prompt_tokens, usage.completion_tokens), 6)

    @property
    def dropped_parameters(self) -> Mapping[str, str]:
        """Return the parameters that the server refused, and what was done about each."""
        return dict(self._parameters.dropped)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """Return one reply per ask, in order; `measure` and `keep` have no effect here.

        It works with or without a running event loop. Raises `ControlError` for a control that
        does not exist or that needs the weights, `ServiceError` where the service refuses or
        goes away, and `ModelError` where it has no such model or the model takes no such
        chat; the other asks are then cancelled.
        """
        asks = [self._apply_control(ask) for ask in asks]
        return run_coroutine(self._reply_to_all(asks, sampling)) if asks else []

    def refusal(self, control: Control) -> str | None:
        """Why this model cannot be put under a control, or None."""
        if not control.needs_weights:
            return None
        return (
            f"{self.name} is behind an API, and `{control.text}` needs the model's weights: use "
            "window or reminder, or name a local model."
        )

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Raise `ServiceError`: an API gives text only."""
        raise ServiceError(
            f"{self.name} is behind an API, which does not say how likely a given reply is: score "
            "by generation."
        )

    def _apply_control(self, ask: Ask) -> Ask:
        """Return the ask with its chat as the control rewrites it."""
        if why := self.refusal(ask.control):
            raise ControlError(why)
        chat = rewrite(
            ask.chat,
            ask.control,
            system_anywhere=self.system_anywhere,
            user_first=self.user_first,
            judge=ask.judge,
        )
        return replace(ask, chat=chat, control=NONE)

    def count(self, text: str) -> int:
        """Estimate the tokens in a text, at four bytes of UTF-8 each.

        On samples of English, French, German and Spanish prose two published tokenizers
        count 0.9 to 1.4 times as many, on capitals and other scripts up to 2.1 times.
        """
        return -(-len(text.encode("utf-8", "replace")) // 4)

    def forget(self) -> None:
        """Do nothing: what a server keeps is its own."""

    def describe(self) -> Mapping[str, object]:
        """Return what determines the replies as far as we know it, as JSON; never a key.

        It does not change over the backend's life, so that a run can be resumed.
        """
        return {
            "name": self.name,
            "backend": "api",
            "model": self.model,
            "base_url": self._endpoint.url,
            "extra_body": dict(self._parameters.extra),
            "user_first": self.user_first,
            "system_anywhere": self.system_anywhere,
            "context": self.context,
            **({"template_options": template} if (template := self._parameters.template) else {}),
        }

    async def _reply_to_all(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        gate = asyncio.Semaphore(self._concurrency)
        async with self._make_client() as client:
            tasks = [asyncio.create_task(self._reply(client, gate, ask, sampling)) for ask in asks]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _make_client(self) -> openai.AsyncOpenAI:
        """Return a client for one event loop. Its hooks count requests and stop useless retries."""

        async def count_request(request: Any) -> None:
            again = request.headers.get("x-stainless-retry-count", "0") != "0"
            self._add(requests=1, retries=int(again))

        async def stop_useless_retry(response: Any) -> None:
            if response.status_code >= 400:
                error = read_error(response.status_code, await response.aread())
                if is_final(error):
                    response.headers["x-should-retry"] = "false"

        timeout = openai.Timeout(self._timeout, connect=min(self._timeout, 15.0))
        hooks: dict[str, list[Any]] = {"request": [count_request], "response": [stop_useless_retry]}
        try:
            http = openai.DefaultAsyncHttpxClient(timeout=timeout, event_hooks=hooks)
        except Exception as error:  # each wrong setting has one of its own
            raise ServiceError(
                "requests cannot be sent with this environment's proxy and certificates "
                f"({first_line(error)}): check ALL_PROXY, HTTP_PROXY, HTTPS_PROXY and SSL_CERT_FILE"
            ) from error
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
                body = self._parameters.write(ask, sampling)
                response = await self._post(client, ask, body)
                if isinstance(response, ApiCompletion):
                    return self._read_reply(ask, response, sampling)
                name = find_refused_parameter(response, body.keys() - self._parameters.extra.keys())
                if name is None or not self._parameters.drop(
                    name, body[name], self.name, self._endpoint.url
                ):
                    return self._read_failure(response)

    async def _post(
        self, client: openai.AsyncOpenAI, ask: Ask, body: Mapping[str, Any]
    ) -> ApiCompletion | ServerError:
        """Send a request. We read the body ourselves, since the client trusts what servers send."""
        messages = [_without_thought(part) for part in ask.chat]
        create: Any = client.chat.completions.with_raw_response.create
        url = self._endpoint.url
        try:
            raw = await create(model=self.model, messages=messages, extra_body=dict(body))
        except openai.APIStatusError as error:
            refusal = read_error(error.status_code, error.response.content)
            return refusal._replace(message=self._remove_key(refusal.message))
        except openai.APITimeoutError as error:
            raise ServiceError(
                f"{url} did not answer within {self._timeout:g} seconds, {self._tries()}; check "
                "the server or lower the concurrency, then run the same command again"
            ) from error
        except openai.APIConnectionError as error:
            why = self._remove_key(str(error.__cause__ or error)).rstrip(".")
            raise ServiceError(
                f"{url} cannot be reached, or went away, {self._tries()} ({why}); start or check "
                "the server, then run the same command again"
            ) from error
        except openai.OpenAIError as error:
            raise ServiceError(f"{url}: {self._remove_key(str(error))}") from error
        content = raw.http_response.content
        if is_page(content):
            raise ServiceError(
                f"{url} answered with a web page and no completion; a base URL usually ends in /v1"
            )
        return read_completion(content)

    def _tries(self) -> str:
        return f"tried {self._retries + 1} times" if self._retries else "tried once"

    def _remove_key(self, text: str) -> str:
        """Remove the key from a server's words; some servers repeat it."""
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text

    def _read_failure(self, error: ServerError) -> Reply:
        """Return the reply for an error of one ask; raise an error that concerns all asks."""
        match classify(error):
            case "overflow":
                return Reply("", stop="overflow", error=error.message or "too long")
            case "filter":
                return Reply("", stop="error", error=error.message or "content filter")
        raise exception_for(error, self._endpoint)

    def _read_reply(self, ask: Ask, completion: ApiCompletion, sampling: Sampling) -> Reply:
        """Return the reply in a completion and count its tokens."""
        estimate = Tokens(
            sum(self.count(part["content"]) + 4 for part in ask.chat),
            0,
            self.count(completion.text),
        )
        tokens = completion.tokens or estimate
        self._add(
            prompt_tokens=tokens.prompt,
            cached_tokens=tokens.cached,
            completion_tokens=tokens.completion,
            estimated=int(completion.tokens is None),
        )
        total = tokens.prompt + tokens.completion
        if self.context is not None and completion.tokens and total > self.context:
            # transformers serve, for one, answers on past the end, and in nonsense.
            why = f"the server went to {total} tokens, past the context of {self.context}"
            return Reply("", "overflow", *tokens, error=why)
        text = completion.text[: find_stop(completion.text, sampling.stop)]  # some leave it in
        stop = (
            "stop" if text != completion.text and completion.stop == "length" else completion.stop
        )
        error = self._remove_key(completion.error) if completion.error else None
        return Reply(text, stop, *tokens, error=error, thought=completion.thought)

    def _add(self, **more: int) -> None:
        with self._lock:
            now = {name: getattr(self._usage, name) + n for name, n in more.items()}
            self._usage = replace(self._usage, **now)


def _without_thought(part: Message) -> dict[str, Any]:
    """A message as a server takes it. DeepSeek's, for one, refuses chats that hold thoughts."""
    part_to_send: dict[str, Any] = {**without_surrogates(part)}
    part_to_send.pop("reasoning_content", None)
    return part_to_send
