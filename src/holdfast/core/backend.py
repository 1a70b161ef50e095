"""The one seam between the benchmarks and whatever answers: asks in, replies out.

A backend gets all the asks of a step at once, so that a local engine can batch
them and reuse their common prefixes, and an API can keep several in flight. It
answers each ask on its own: a reply depends on the ask and the sampling, never
on the other asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from holdfast.core.chat import Chat
from holdfast.core.control import NONE, Control
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option, require_types

Stop = Literal["stop", "length", "overflow", "error"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled. The defaults are the paper's (T = 1, nucleus .9) with top-k off."""

    max_new_tokens: int = option(200, "Tokens of a reply at most.")
    """Tokens of a reply at most."""
    temperature: float = option(1.0, "0 is greedy.")
    """0 is greedy."""
    top_p: float = option(0.9, "Share of the probability that tokens are drawn from (nucleus).")
    """Nucleus: only the most probable tokens with this mass together are sampled."""
    top_k: int = option(0, "0 is off.")
    """Only so many of the most probable tokens are sampled; 0 is off."""
    stop: tuple[str, ...] = ()
    """Strings that end a reply and are cut from it."""

    def __post_init__(self) -> None:
        require_types(type(self), vars(self))
        if self.max_new_tokens < 1:
            raise HoldfastError(f"`max_new_tokens` must be at least 1, not {self.max_new_tokens}")
        if not 0 <= self.temperature < float("inf"):
            raise HoldfastError(f"`temperature` must be 0 (greedy) or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise HoldfastError(f"`top_p` must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise HoldfastError(f"`top_k` must be 0 (off) or more, not {self.top_k}")


@dataclass(frozen=True)
class Ask:
    """One chat to be answered.

    `keep` is a hint: False says that nothing will follow this reply (a probe on a
    branch), so the backend may drop its keys and values. It never changes a reply.
    `measure` asks a local model for the prompt share of the reply's tokens. `judge` describes the
    persona's judge, by which the control `auto:` decides.
    """

    chat: Chat
    seed: int
    control: Control = NONE
    keep: bool = True
    measure: bool = False
    judge: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        require_types(type(self), {"control": self.control})


@dataclass(frozen=True)
class Share:
    """Prompt share of one reply: attention that its tokens give to the system prompt.

    `heads` and `heads_template` are [layer][head] means over the reply's queries, the
    first counting the prompt's content tokens, the second the whole rendered system
    message with its template tokens and BOS. `tokens` is the mean over layers and
    heads (content tokens) per query, in order. `span` is the number of content
    tokens and `length` the number of keys the reply's first query sees, so that
    span / length is the dilution line. Under a control of the attention `heads` is the
    share after it, and `heads_before` the share of the same queries under plain attention.
    """

    heads: tuple[tuple[float, ...], ...]
    heads_template: tuple[tuple[float, ...], ...]
    tokens: tuple[float, ...]
    span: int
    length: int
    heads_before: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Reply:
    """A reply: its text, why it ended, and its cost in tokens.

    `stop` is "stop" for a finished reply, "length" at the token limit, "overflow"
    where the chat does not fit the context (nothing was generated), and "error" for a
    reply that failed, with the reason in `error`. Empty text is a reply.
    `cached_tokens` of `prompt_tokens` were not computed again. `thought` is what a thinking model
    thought before its reply; it is no part of `text`.
    """

    text: str
    stop: Stop = "stop"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    share: Share | None = None
    error: str | None = None
    thought: str | None = None


class Backend(Protocol):
    """Answers chats."""

    @property
    def name(self) -> str:
        """The model as the user named it."""

    @property
    def local(self) -> bool:
        """True where the same asks in the same batches give the same replies, byte for byte."""

    @property
    def context(self) -> int | None:
        """Tokens the model can see, prompt and reply together; None where unknown."""

    @property
    def user_first(self) -> bool:
        """True where a chat must open with a user message (after the system prompt)."""

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order."""

    def refusal(self, control: Control) -> str | None:
        """Why this model cannot be put under a control, in one sentence, or None where it can."""

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-likelihood of each ask's options as its reply.

        -inf for all of an ask's options where they do not fit the context. Raises
        `ServiceError` where only text comes back.
        """

    def count(self, text: str) -> int:
        """Tokens in a text (an estimate for APIs)."""

    def forget(self) -> None:
        """Drop all state between calls, so that later replies do not depend on earlier calls.

        Called at the start of a batch, which can then be run again byte for byte.
        """

    def describe(self) -> Mapping[str, object]:
        """What determines the replies (weights, dtype, versions), as JSON, for the manifest."""


def tokens_drawn(model: Backend) -> int:
    """Tokens that a model on this machine has generated so far; 0 for others."""
    tokens: int = getattr(getattr(model, "engine", None), "tokens_drawn", 0)
    return tokens


Clock = Literal["processor time", "wall clock"]


def clock_of(model: Backend) -> Clock:
    """What times this model's replies: processor time where it computes in this process.

    Other load on the machine takes the processor away from a model on the CPU, which the wall
    clock counts and processor time does not. On a GPU the processor only waits; a reply is text,
    which is there when the GPU has finished, so wall clock needs no synchronisation. Load on that
    GPU still counts, as it does on an API's server.
    """
    on_cpu = model.local and model.describe().get("device") == "cpu"
    return "processor time" if on_cpu else "wall clock"


def seconds_of(model: Backend) -> Callable[[], float]:
    """A function that reads that model's clock, in seconds; only differences mean anything."""
    return time.process_time if clock_of(model) == "processor time" else time.perf_counter


def find_stop(text: str, stops: Iterable[str]) -> int | None:
    """Where the first stop string begins in a text, or None."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return min(places, default=None)


def price_tokens(
    price: tuple[float, float], prompt_tokens: float, completion_tokens: float
) -> float:
    """What tokens cost, by their prices per million (prompt, completion)."""
    return (price[0] * prompt_tokens + price[1] * completion_tokens) / 1e6
