"""Values that were computed for prompts, kept within a bound of bytes.

Prompts come from clients of a server. A bound on their number alone would let a few long ones take
all memory. A server reads long requests in threads of their own, so several may use one cache.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")
_CHARACTER, _ENTRY = 4, 200  # bytes of a character at most, and of an entry about
BYTES = 16 << 20  # of a cache: some thousand prompts of usual length


class PromptCache(Generic[T]):
    """Values by prompt; the least recently used go first.

    Args:
        limit: bytes of prompts and values together. A prompt of more than an eighth is not kept.
    """

    def __init__(self, limit: int = BYTES) -> None:
        self.limit, self.size = limit, 0
        self._values: dict[str, tuple[T, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, prompt: str) -> T | None:
        """The prompt's value, or None."""
        with self._lock:
            entry = self._values.pop(prompt, None)
            if entry is None:
                return None
            self._values[prompt] = entry
            return entry[0]

    def put(self, prompt: str, value: T, size: int) -> None:
        """Keep a value of so many bytes."""
        cost = size + _CHARACTER * len(prompt) + _ENTRY
        with self._lock:
            self._remove(prompt)
            if cost > self.limit // 8:
                return
            self._values[prompt] = (value, cost)
            self.size += cost
            while self.size > self.limit:
                self._remove(next(iter(self._values)))

    def _remove(self, prompt: str) -> None:
        entry = self._values.pop(prompt, None)
        self.size -= entry[1] if entry else 0
