"""Bodies on their way back to the client, piece by piece: unpacked, and without secrets.

This module knows bytes. It knows no HTTP.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from holdfast.models.thinking import measure_beginning

MASK = b"[key]"  # what stands for a secret
_PIECE = 1 << 16


async def mask(pieces: AsyncIterator[bytes], secrets: Sequence[bytes]) -> AsyncGenerator[bytes]:
    """Pieces with every secret replaced, also one that is cut by the border of two pieces."""
    rest = b""
    async for piece in pieces:
        text = rest + piece
        for secret in secrets:
            text = text.replace(secret, MASK)
        beginning = measure_beginning(text, secrets)
        rest = text[len(text) - beginning :]
        if len(text) > beginning:
            yield text[: len(text) - beginning]
    if rest:
        yield rest


async def unpack(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Gzip or zlib unpacked, at most `_PIECE` bytes at a time. Raises `zlib.error`."""
    unpacker = zlib.decompressobj(wbits=47)
    has_output = False
    async for piece in pieces:
        while piece:
            if unpacker.eof:  # a further member of the file
                unpacker = zlib.decompressobj(wbits=47)
            text = unpacker.decompress(piece, _PIECE)
            piece = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            has_output = True
            if text:
                yield text
    if has_output and not unpacker.eof:
        raise zlib.error("the packed body ends early")
