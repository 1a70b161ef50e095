"""Failures and tokens of a run, over every reply in its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from holdfast.results.conversation import Failures, ProbeAnswer, RoundRecord, TokenCount, Turn
from holdfast.results.drift import Costs


def costs(records: Sequence[RoundRecord]) -> Costs:
    """Count failures and tokens."""
    failures: Counter[str] = Counter()
    tokens = np.zeros(3, int)
    for reply in (reply for record in records for reply in _replies(record)):
        failures["of"] += 1
        tokens += reply.tokens
        if _is_cut_thought(reply):
            failures["thought"] += 1
        elif reply.stop != "stop":
            failures[reply.stop] += 1
        elif not reply.text.strip():
            failures["empty"] += 1
    pairs = [record.filled.tokens for record in records if record.filled]
    users, fillers = sum(user for user, _ in pairs), sum(filler for _, filler in pairs)
    return Costs(
        failures=Failures(**failures),
        tokens=TokenCount(*map(int, tokens)),
        filler_token_ratio=round(fillers / max(1, users), 3) if pairs else None,
    )


def _is_cut_thought(reply: Turn | ProbeAnswer) -> bool:
    return reply.stop == "length" and bool(reply.thought) and not reply.text.strip()


def _replies(record: RoundRecord) -> Iterator[Turn | ProbeAnswer]:
    """Every reply of a round: turns, answers to probes and questions, the twin's turn."""
    yield from record.answers
    yield from record.questions or ()
    yield from (turn for turn in (record.user, record.agent) if turn)
    if record.filled:
        yield record.filled.agent
