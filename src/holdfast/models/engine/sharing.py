"""Which rows of a batch copy what they share with another row, so that it is computed once.

Questions to one persona, or samples of one question, begin with the same tokens. Of rows that
join together one is prefilled first, and the others copy its keys and values:

    wave 1    persona + question a                     computed
    wave 2    persona | question b                     the persona is copied
    wave 3    persona + question b                     copied, but for the last token

Rows copy in the same way from a row that is there already. This module knows token ids. It
copies nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.models.engine.prefix_store import count_common
from holdfast.models.engine.request import Row

LEAST = 16  # tokens that are worth a copy
PASS = 256  # tokens below which a pass of its own costs more than it saves


class PrefixSource(NamedTuple):
    """A row to copy from, and how many tokens of its prompt another row begins with."""

    row: Row | None
    tokens: int


NOWHERE = PrefixSource(None, 0)


def plan_waves(there: Sequence[Row], rows: Sequence[Row]) -> list[list[Row]]:
    """Divide rows that join into waves to be prefilled in turn.

    A row's `source` and `cached_tokens` are set where it copies from a row that is there, or from
    one of an earlier wave. In a wave the rows with the fewest new tokens come first.

    Args:
        there: the batch's rows, their prompts prefilled.
        rows: the rows that join.
    """
    order = PrefixOrder([*there, *rows])
    ready, pending, waves = {id(row) for row in there}, {id(row) for row in rows}, []
    while pending:
        sources = order.sources(ready)
        later = order.followers(pending, sources)
        now = pending - later
        wave = [row for row in rows if id(row) in now]
        for row in wave:
            source = sources[id(row)]
            if source.tokens - row.cached_tokens >= LEAST:
                row.source, row.cached_tokens, row.pages = source.row, source.tokens, ()
        waves.append(sorted(wave, key=lambda row: (row.new, len(row.ids), row.index)))
        ready, pending = ready | now, later
    return waves


class PrefixOrder:
    """Rows in an order in which those that begin alike stand together."""

    def __init__(self, rows: Sequence[Row]) -> None:
        # Bytes are compared a hundred times as fast as tuples, and group ids as well.
        self.rows = sorted(rows, key=lambda row: (row.request.state, row.ids.tobytes()))
        # Between a row and the one before it: the prompt tokens that both have, the last left out.
        self.common = [
            0,
            *(_count_copyable(a, b) for a, b in zip(self.rows, self.rows[1:], strict=False)),
        ]

    def sources(self, ready: set[int]) -> dict[int, PrefixSource]:
        """For each row the ready row that it shares most with: the nearest on either side."""
        before = self._nearest(ready, zip(self.rows, self.common, strict=True))
        onwards = [*self.common[1:], 0]
        after = self._nearest(ready, zip(self.rows[::-1], onwards[::-1], strict=True))
        return {
            key: max(before[key], after[key], key=lambda source: source.tokens) for key in before
        }

    def _nearest(self, ready: set[int], walk: Iterable[tuple[Row, int]]) -> dict[int, PrefixSource]:
        nearest, result = NOWHERE, {}
        for row, common in walk:
            nearest = PrefixSource(nearest.row, min(nearest.tokens, common))
            result[id(row)] = nearest
            if id(row) in ready:
                nearest = PrefixSource(row, len(row.ids) - 1)
        return result

    def followers(self, pending: set[int], sources: dict[int, PrefixSource]) -> set[int]:
        """Pending rows that save by waiting for another pending row; none where it saves little."""
        later, savings, tokens = set(), 0, 0
        for row, common in zip(self.rows, self.common, strict=True):
            tokens = min(tokens, common)
            if id(row) not in pending:
                continue
            gain = tokens - max(row.cached_tokens, sources[id(row)].tokens)
            if gain >= LEAST:
                later.add(id(row))
                savings += gain
            else:  # the rows after this one may wait for it
                tokens = len(row.ids) - 1
        return later if savings >= PASS else set()


def _count_copyable(a: Row, b: Row) -> int:
    """Tokens that the prompts of two rows begin with and that may be copied."""
    if not (a.reuses and b.reuses) or a.request.state != b.request.state:
        return 0
    return count_common(a.ids[:-1], b.ids[:-1], set(a.request.turns) ^ set(b.request.turns))
