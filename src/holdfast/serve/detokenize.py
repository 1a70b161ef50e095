"""A reply's text as its tokens come: which part can be sent already, and where the reply ends.

A token may contain half a character, and the beginning of a stop string may turn out to be
ordinary text. Both wait until they are certain. Text that was sent stays sent, so that the pieces
of a stream joined together are the reply.

This module knows token ids and text. It knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from holdfast.models.thinking import ThoughtSplitter

BROKEN = "\N{REPLACEMENT CHARACTER}"  # what half a character is decoded to
_MOST_PARTS = 4  # tokens that share a character


def _byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level vocabularies write bytes (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): b for i, b in enumerate(other)}


_ALPHABET = _byte_alphabet()
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # how SentencePiece writes a byte


def token_bytes(token: str, text: str) -> bytes:
    """The bytes of a token, which may be a part of a character.

    Args:
        token: the token as the vocabulary writes it.
        text: what it decodes to.
    """
    if BROKEN not in text:
        return text.encode()
    if match := _BYTE.fullmatch(token):
        return bytes([int(match[1], 16)])
    if all(character in _ALPHABET for character in token):
        return bytes(_ALPHABET[character] for character in token)
    return text.encode()


class ReplyText:
    """The text of one reply; `feed` is the function that tells the engine to stop.

    Args:
        decode: token ids to text.
        stops: strings that end the reply and are cut from it; in a thought they end nothing.
        opened: whether the chat template has opened a thought.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stops: Sequence[str] = (),
        opened: bool = False,
    ) -> None:
        self._decode = decode
        self._splitter = ThoughtSplitter(opened=opened)
        self._reply = 0  # where the reply begins
        self._stops = [stop for stop in stops if stop]
        self._firsts = {stop[0] for stop in self._stops}
        self._longest = max(map(len, self._stops), default=0)
        self._text = ""
        self._sent_length = 0  # characters
        # Tokens from `_start` on are decoded, since a character may span several; those before
        # `_read` are in the text.
        self._start, self._read_end = 0, 0
        self._stopped = False

    def feed(self, ids: Sequence[int]) -> bool:
        """Read the tokens so far. True once a stop string has come."""
        before = self._decode(ids[self._start : self._read_end])
        now = self._decode(ids[self._start :])
        end = len(ids)
        if now.endswith(BROKEN) and end - self._read_end > _MOST_PARTS:
            # No character waits for so many tokens: those before the last few are what they are.
            end -= _MOST_PARTS
            whole, now = now, self._decode(ids[self._start : end])
            if not whole.startswith(now):
                return self._stopped
        elif now.endswith(BROKEN):
            return self._stopped
        if len(now) > len(before):
            self._start, self._read_end = self._read_end, end
            self._add(now[len(before) :])
        return self._stopped

    def end(self, ids: Sequence[int]) -> None:
        """Add what waited, half a character included: no token will follow."""
        if self._stopped:
            return
        before = self._decode(ids[self._start : self._read_end])
        tail = self._decode(ids[self._start :])
        self._start, self._read_end = self._read_end, len(ids)
        self._add(tail[len(before) :])
        self._longest = 0

    def take(self) -> str:
        """The text that can be sent and was not sent yet."""
        end = len(self._text) - (0 if self._stopped else self._count_waiting())
        piece, self._sent_length = self._text[self._sent_length : end], max(self._sent_length, end)
        return piece

    def _add(self, piece: str) -> None:
        start = max(0, len(self._text) - self._longest)
        self._text += piece
        if self._stops:
            start = max(start, self._reply_start(piece))
        places = [at for stop in self._stops if (at := self._text.find(stop, start)) >= 0]
        if places:
            self._text, self._stopped = self._text[: min(places)], True

    def _reply_start(self, piece: str) -> int:
        """Where the reply begins; the end of the text while there is only a thought."""
        before, split = self._splitter.thinking, self._splitter.feed(piece)
        if self._splitter.thinking:
            self._reply = len(self._text)
        elif before:
            self._reply = len(self._text) - len(split.reply)
        return self._reply

    def _count_waiting(self) -> int:
        """Number of characters at the end that may be the beginning of a stop string."""
        for size in range(min(self._longest - 1, len(self._text) - self._reply), 0, -1):
            if self._text[-size] not in self._firsts:
                continue
            tail = self._text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
