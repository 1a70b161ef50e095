"""Rows kept from earlier batches, by token ids.

A `PrefixStore` keeps finished rows and answers with the one that shares the longest prefix of token
ids. Its rows are made of pages, and rows that begin alike may have the same ones. It is bounded in
bytes and forgets the least recently used row first. Nothing depends on what it holds but the time
taken.

This module knows token ids and pages. It knows no model and no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from holdfast.models.engine.cache import Page, Pages

Ids = np.ndarray[Any, np.dtype[np.int64]]


class StoredRow(NamedTuple):
    """A finished row, and where turns begin that its control knows of."""

    state: str
    ids: Ids
    pages: Pages
    turns: Sequence[int]


class PrefixStore:
    """Finished rows by token ids, the least recently used forgotten beyond `limit` bytes.

    A page counts once, however many rows have it: a branch of a conversation costs its own end.
    Rows are indexed by their state and first `head` tokens, so a search does not get slower with
    more rows. Common prefixes shorter than `head` are missed.
    """

    def __init__(self, limit: int, head: int = 8) -> None:
        self.limit = limit
        self.size = 0
        self._head = head
        self._rows: dict[int, StoredRow] = {}
        self._users: Counter[Page] = Counter()  # rows that have a page
        self._by_head: dict[tuple[str, bytes], set[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._by_head.clear()
        self._users.clear()
        self.size = 0

    def find(self, state: str, ids: Ids, turns: Sequence[int] = ()) -> tuple[int, Pages]:
        """Tokens of `ids` that a row of the same state begins with, and that row's pages."""
        best, match = 0, -1
        for key in sorted(self._find_like(state, ids), reverse=True):
            row = self._rows[key]
            # Only a row that agrees at position `best` can be longer: one look instead of a scan.
            if best < min(len(row.ids), len(ids)) and row.ids[best] == ids[best]:
                length = count_common(row.ids, ids, set(row.turns) ^ set(turns))
                if length > best:
                    best, match = length, key
        if match < 0:
            return 0, ()
        row = self._rows[match] = self._rows.pop(match)  # now the most recently used
        return best, row.pages

    def holds(self, state: str, ids: Ids, turns: Sequence[int] = ()) -> bool:
        """Whether a stored row already begins with these ids."""
        like = (self._rows[key] for key in self._find_like(state, ids))
        return any(_begins_with(row.ids, ids, set(row.turns) ^ set(turns)) for row in like)

    def keep(self, state: str, ids: Ids, pages: Pages, turns: Sequence[int] = ()) -> None:
        """Keep a row; rows that it extends go, and the oldest go until the rest fits."""
        if sum(page.size for page in pages) > self.limit or not len(ids):
            return
        shorter = [
            key for key in self._find_like(state, ids) if _begins_with(ids, self._rows[key].ids)
        ]
        self._rows[self._next] = StoredRow(state, ids, pages, turns)
        self._by_head.setdefault(self._make_key(state, ids), set()).add(self._next)
        self._next += 1
        self.size += sum(page.size for page in pages if not self._users[page])
        self._users.update(pages)
        for key in shorter:  # now: pages that both have stay
            self._drop(key)
        while self.size > self.limit:
            self._drop(next(iter(self._rows)))

    def _drop(self, key: int) -> None:
        row = self._rows.pop(key)
        self._users.subtract(row.pages)
        for page in row.pages:
            if not self._users[page]:
                del self._users[page]
                self.size -= page.size
        place = self._make_key(row.state, row.ids)
        self._by_head[place].discard(key)
        if not self._by_head[place]:
            del self._by_head[place]

    def _make_key(self, state: str, ids: Ids) -> tuple[str, bytes]:
        return state, ids[: self._head].tobytes()

    def _find_like(self, state: str, ids: Ids) -> Collection[int]:
        """Rows of the state that begin as `ids` do."""
        return self._by_head.get(self._make_key(state, ids), ())


def _begins_with(ids: Ids, start: Ids, turns: Collection[int] = ()) -> bool:
    """True where `ids` begins with `start`, before any turn that only one of them has."""
    n = len(start)
    # The last token tells most rows apart without looking at the others.
    fits = n <= len(ids) and (n == 0 or bool(ids[n - 1] == start[-1]))
    return fits and count_common(ids, start, turns) == n


def count_common(a: Ids, b: Ids, turns: Collection[int] = ()) -> int:
    """Length of the longest common prefix of two arrays of ids.

    It ends at a turn that only one of them has. The first token of what opens a turn is steered
    as that turn's, but may open other messages too: what opens it differs a token later.
    """
    n = min(len(a), len(b), *turns)
    if n == 0 or a[0] != b[0]:
        return 0
    differ = a[:n] != b[:n]
    first = int(differ.argmax())
    return first if differ[first] else n
