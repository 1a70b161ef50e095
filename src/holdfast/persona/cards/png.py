"""Texts in the chunks of a PNG, read and written; pictures themselves are left alone.

A chunk is its length, its type, its data and a CRC-32 of the two. A `tEXt` chunk is a keyword, a
zero byte and Latin-1 text (PNG specification, 11.3.4.3). Cards put base64 there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

from holdfast.core.errors import PersonaError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_TEXT = 64 << 20
"""Bytes of a text at most, after it was decompressed."""


def read_texts(data: bytes) -> dict[str, bytes]:
    """The texts of a PNG by keyword; of a keyword that occurs twice, the last.

    Raises:
        PersonaError: the data is no PNG, or a chunk of it is broken.
    """
    texts: dict[str, bytes] = {}
    for kind, body in _chunks(data):
        keyword, zero, rest = body.partition(b"\0")
        if kind == b"tEXt" and zero:
            texts[keyword.decode("latin-1")] = rest
        elif kind == b"zTXt" and zero:
            texts[keyword.decode("latin-1")] = _inflate(rest[1:])
    return texts


def with_texts(data: bytes, texts: Mapping[str, bytes]) -> bytes:
    """A PNG with these texts in place of its own of the same keywords.

    Raises:
        PersonaError: the data is no PNG, or a chunk of it is broken.
    """
    names = {name.encode("latin-1") for name in texts}
    pieces = [SIGNATURE]
    for kind, body in _chunks(data):
        if kind in (b"tEXt", b"zTXt", b"iTXt") and body.partition(b"\0")[0] in names:
            continue
        if kind == b"IEND":
            pieces += [
                _chunk(b"tEXt", name.encode("latin-1") + b"\0" + text)
                for name, text in texts.items()
            ]
        pieces.append(_chunk(kind, body))
    return b"".join(pieces)


def blank_picture(width: int = 64, height: int = 96) -> bytes:
    """A plain grey PNG, for a card that has no picture."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x80" * width) * height)
    chunks = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        raise PersonaError("it is no PNG.")
    at = len(SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        if len(data) - at < 12 or end > len(data):
            raise PersonaError("the PNG ends within a chunk: get the file again.")
        kind, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        if int.from_bytes(data[end - 4 : end], "big") != zlib.crc32(kind + body):
            raise PersonaError("a chunk of the PNG is damaged: get the file again.")
        yield kind, body
        if kind == b"IEND":
            return
        at = end
    raise PersonaError("the PNG has no end: get the file again.")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _inflate(data: bytes) -> bytes:
    """A compressed text, unless it is a bomb."""
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(data, MOST_TEXT)
    except zlib.error as error:
        raise PersonaError(f"a text of the PNG cannot be decompressed ({error}).") from None
    if unpack.unconsumed_tail:
        raise PersonaError(f"a text of the PNG has more than {MOST_TEXT >> 20} MiB.")
    return text
