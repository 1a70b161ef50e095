"""A function of the user's own as the agent's model, and users who say neutral sentences.

This module knows functions from messages to text. Only the chat reaches them: neither a control
nor the sampling does.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.control import NONE, Control
from holdfast.core.errors import HoldfastError, ModelError, ServiceError

AskFunction = Callable[[list[dict[str, str]]], str | Awaitable[str]]
"""From messages as OpenAI's API has them, the system prompt first, to the text of the reply."""


class TextBackend:
    """What backends without weights and without a network of their own share."""

    local = False
    context = None
    user_first = False

    def __init__(self, name: str) -> None:
        self.name = name

    def refusal(self, control: Control) -> str | None:
        """Why no control can be applied."""
        return None if control == NONE else f"{self.name} takes no control: it only sees messages."

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Raise `ServiceError`: only text comes back."""
        raise ServiceError(f"{self.name} returns text only, without likelihoods.")

    def count(self, text: str) -> int:
        """Words, as an estimate of tokens."""
        return len(text.split())

    def forget(self) -> None:
        """Nothing is kept between calls."""

    def describe(self) -> Mapping[str, object]:
        """The name, which is all that is known."""
        return {"name": self.name}


class CallableBackend(TextBackend):
    """A function, or a coroutine function, from messages to text."""

    def __init__(self, ask: AskFunction, *, concurrency: int = 1) -> None:
        """Take a function.

        Args:
            ask: The function. What it raises ends the measurement.
            concurrency: Calls at once, each in a thread; 1, since not every function allows more.

        Raises:
            HoldfastError: `concurrency` is less than 1.
        """
        super().__init__(getattr(ask, "__qualname__", type(ask).__name__))
        if concurrency < 1:
            raise HoldfastError(f"concurrency is 1 or more, not {concurrency}")
        self.ask, self.concurrency = ask, concurrency

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """What the function returns for each chat."""
        if self.concurrency == 1:
            return [self._reply(one) for one in asks]
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self._reply, asks))

    def _reply(self, ask: Ask) -> Reply:
        messages = [{"role": m["role"], "content": m["content"]} for m in ask.chat]
        text = self.ask(messages)
        if inspect.isawaitable(text):
            text = _wait_for(text)
        if not isinstance(text, str):
            raise ModelError(
                f"{self.name} returned {type(text).__name__}: return the text of the reply."
            )
        return Reply(text)


_loop_lock = threading.Lock()


def _wait_for(text: Awaitable[str]) -> str:
    """The awaited text, also where the test itself is a coroutine."""
    with _loop_lock:
        loop = _event_loop()
    future = asyncio.run_coroutine_threadsafe(_result(text), loop)
    try:
        return future.result()
    finally:
        future.cancel()  # if the wait was interrupted


@cache
def _event_loop() -> asyncio.AbstractEventLoop:
    """The loop of all coroutines: a client that is shared by calls works in one loop only."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="holdfast-functions", daemon=True).start()
    return loop


async def _result(text: Awaitable[str]) -> str:
    return await text


class NeutralUsers(TextBackend):
    """Users who say one of some lines, drawn by the seed of the ask."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("neutral users")
        self.lines = lines

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """A line for each ask."""
        return [Reply(random.Random(ask.seed).choice(self.lines)) for ask in asks]
