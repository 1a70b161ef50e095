"""Two clocks for one protocol: what a round, and each kind of call, takes on either side."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.backend import Ask, Backend, Reply, Sampling
from holdfast.core.progress import Progress
from holdfast.evals.conversation.rounds import OpenConversation, SelfChat


def _counter() -> dict[Any, list[float]]:
    return defaultdict(lambda: [0, 0.0])


@dataclass
class Side:
    """One side's clock: [replies, seconds] by round, and of the backend's calls by kind."""

    rounds: int
    by_round: dict[int, list[float]] = field(default_factory=_counter)
    calls: dict[str, list[float]] = field(default_factory=_counter)
    now: int = 0

    def rate(self) -> float:
        """Replies per second over the rounds that both sides have, everything counted."""
        counted = [self.by_round[number] for number in range(self.rounds + 1)]
        return sum(n for n, _ in counted) / sum(seconds for _, seconds in counted)


@dataclass
class Timed:
    """A backend whose calls go on a side's clock."""

    backend: Backend
    side: Side
    who: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        began = time.perf_counter()
        replies = self.backend.reply(asks, sampling)
        self.side.by_round[self.side.now][0] += len(asks)
        if self.side.now <= self.side.rounds:
            call = self.side.calls[self.who if all(ask.keep for ask in asks) else "probes"]
            call[0] += len(asks)
            call[1] += time.perf_counter() - began
        return replies


class Interleaved(Progress):
    """Told of each round of ours, holds the same round of the reference, off our clock."""

    def __init__(
        self, ours: Side, stock: Side, chat: SelfChat, talks: Sequence[OpenConversation]
    ) -> None:
        super().__init__(enabled=False)
        self.ours, self.stock, self.chat, self.talks = ours, stock, chat, talks
        ours.now = stock.now = 0
        self.began = time.perf_counter()

    def advance(self, steps: int, replies: int) -> None:
        """Called by `converse`: once with no step as it begins, then after each round."""
        if steps:
            took = time.perf_counter() - self.began
            self.ours.by_round[self.ours.now][1] += took
            print(f"round {self.ours.now}: {replies} replies, {took:.1f} s", file=sys.stderr)
            self.ours.now += 1
            going = [talk for talk in self.talks if not talk.stopped]
            if self.stock.now <= self.stock.rounds and going:
                self._reference(self.stock.now, going)
        self.began = time.perf_counter()

    def _reference(self, number: int, talks: Sequence[OpenConversation]) -> None:
        began = time.perf_counter()
        self.chat.hold(talks, number)
        self.stock.by_round[number][1] += time.perf_counter() - began
        self.stock.now += 1
