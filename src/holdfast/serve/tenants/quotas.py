"""What each key has used: requests of the last minute, and tokens of the day (UTC).

Counts are kept in this process: two servers count apart, and a restart begins anew.

This module knows keys and numbers. It knows no HTTP but the error that a client gets.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque

from holdfast.serve.http_errors import RequestError, too_busy
from holdfast.serve.tenants.config import KeyRule

_MINUTE, _DAY = 60.0, 86_400


class Quotas:
    """Counts of all keys, by name."""

    def __init__(self) -> None:
        self._requests: defaultdict[str, deque[float]] = defaultdict(deque)
        self._tokens: dict[str, tuple[int, int]] = {}

    def enter(self, rule: KeyRule, now: float | None = None) -> None:
        """Count a request.

        Raises:
            RequestError: a 429 with Retry-After, if the key has used up what it may.
        """
        now = time.time() if now is None else now
        if rule.tokens_per_day is not None and self.tokens(rule.name, now) >= rule.tokens_per_day:
            raise self._quota_error(rule, now)
        times = self._requests[rule.name]
        while times and times[0] <= now - _MINUTE:
            times.popleft()
        if rule.requests_per_minute is None:
            times.clear()
            return
        if len(times) >= rule.requests_per_minute:
            raise too_busy(
                f"the key {rule.name} has sent {len(times)} requests in the last minute, which is "
                "all that it may.",
                times[0] + _MINUTE - now,
            )
        times.append(now)

    def add(self, name: str, tokens: int, now: float | None = None) -> None:
        """Count the tokens of a reply."""
        now = time.time() if now is None else now
        self._tokens[name] = (int(now // _DAY), self.tokens(name, now) + tokens)

    def tokens(self, name: str, now: float | None = None) -> int:
        """Tokens that a key has used today."""
        now = time.time() if now is None else now
        day, count = self._tokens.get(name, (0, 0))
        return count if day == int(now // _DAY) else 0

    def _quota_error(self, rule: KeyRule, now: float) -> RequestError:
        rest = (now // _DAY + 1) * _DAY - now
        return too_busy(
            f"the key {rule.name} has used its {rule.tokens_per_day} tokens of today.", rest
        )
