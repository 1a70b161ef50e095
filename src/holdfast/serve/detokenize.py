"""A reply's text as its tokens come: what can be shown already, and where it ends.

A token may hold half a character, and the start of a stop string may turn out to be
ordinary text: both are held back until they are known. What was shown is never taken
back, so the pieces of a stream, joined, are the reply.

This module knows token ids and text. It knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"  # what half a character is decoded to


class Text:
    """The text of one reply; `feed` is a `row.Halt`."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._text = ""
        self._shown = 0
        self._from, self._read = 0, 0  # tokens from which is decoded, and up to which was
        self._over = False

    def feed(self, ids: Sequence[int]) -> bool:
        """Read the tokens so far; True where a stop string has come."""
        before = self._decode(ids[self._from : self._read])
        now = self._decode(ids[self._from :])
        if not now.endswith(BROKEN) and len(now) > len(before):
            self._from, self._read = self._read, len(ids)
            self._add(now[len(before) :])
        return self._over

    def end(self, ids: Sequence[int]) -> None:
        """No token will follow: what was held back is text, half a character included."""
        if self._over:
            return
        before = self._decode(ids[self._from : self._read])
        self._from, self._read, tail = self._read, len(ids), self._decode(ids[self._from :])
        self._add(tail[len(before) :])
        self._longest = 0

    def take(self) -> str:
        """What can be shown and has not been taken yet."""
        end = len(self._text) - (0 if self._over else self._held())
        piece, self._shown = self._text[self._shown : end], max(self._shown, end)
        return piece

    def _add(self, piece: str) -> None:
        start = max(0, len(self._text) - self._longest)
        self._text += piece
        places = [at for stop in self._stops if (at := self._text.find(stop, start)) >= 0]
        if places:
            self._text, self._over = self._text[: min(places)], True

    def _held(self) -> int:
        """Characters at the end that a stop string might begin with."""
        for size in range(min(self._longest - 1, len(self._text)), 0, -1):
            tail = self._text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
