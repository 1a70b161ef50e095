"""Clocks for the two sides of the drift benchmark: seconds of each round and kind of call."""

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
    """The clock of one side."""

    rounds: int
    """Rounds that both sides have."""
    by_round: dict[int, list[float]] = field(default_factory=_counter)
    """[replies, seconds] of each round."""
    calls: dict[str, list[float]] = field(default_factory=_counter)
    """[replies, seconds] of the backend's calls, by kind."""
    now: int = 0
    """The round under way."""

    def rate(self) -> float:
        """Replies per second over the rounds that both sides have."""
        rounds = [self.by_round[number] for number in range(self.rounds + 1)]
        return sum(n for n, _ in rounds) / sum(seconds for _, seconds in rounds)


@dataclass
class ClockedBackend:
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


class AlternatingProgress(Progress):
    """Holds each round of the reference after the same round of ours, off our clock."""

    def __init__(
        self, ours: Side, stock: Side, chat: SelfChat, conversations: Sequence[OpenConversation]
    ) -> None:
        super().__init__(enabled=False)
        self.ours, self.stock, self.chat, self.conversations = ours, stock, chat, conversations
        ours.now = stock.now = 0
        self.began = time.perf_counter()

    def advance(self, steps: int, replies: int) -> None:
        """Called by `converse`: once with no step as it begins, then after each round."""
        if steps:
            seconds = time.perf_counter() - self.began
            self.ours.by_round[self.ours.now][1] += seconds
            print(f"round {self.ours.now}: {replies} replies, {seconds:.1f} s", file=sys.stderr)
            self.ours.now += 1
            open_ones = [one for one in self.conversations if not one.stopped]
            if self.stock.now <= self.stock.rounds and open_ones:
                self._reference(self.stock.now, open_ones)
        self.began = time.perf_counter()

    def _reference(self, number: int, conversations: Sequence[OpenConversation]) -> None:
        began = time.perf_counter()
        self.chat.hold(conversations, number)
        self.stock.by_round[number][1] += time.perf_counter() - began
        self.stock.now += 1
