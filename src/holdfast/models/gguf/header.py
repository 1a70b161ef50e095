"""What a GGUF file says before its weights: its values by name, and which tensors it has.

The reader of the package gguf makes arrays of every token and every merge, which takes a hundred
times as long where a vocabulary is large.

This module knows bytes. It knows no model.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY, _FLOAT32 = 8, 9, 0
TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
"""The lists that are kept: the vocabulary, in the order of ids, and the type of each token."""


class GgufTensor(NamedTuple):
    """A tensor as the header has it."""

    shape: tuple[int, ...]
    kind: int
    """GGML's number of its format."""
    offset: int
    """Where it begins, from the first tensor on."""


@dataclass(frozen=True)
class GgufHeader:
    """The values and the tensors of a file."""

    file: Path
    values: Mapping[str, Any]
    """Values by name; None for lists other than `TOKENS` and `TYPES`."""
    tensors: Mapping[str, GgufTensor]
    start: int
    """Where the first tensor begins, in bytes."""

    @property
    def family(self) -> str:
        """The model's family ("llama")."""
        return str(self.values.get("general.architecture"))

    def find(self, name: str) -> Any:
        """The family's value of a name ("context_length"); None if the file has none."""
        return self.values.get(f"{self.family}.{name}")

    def read_floats(self, name: str) -> tuple[float, ...] | None:
        """The numbers of a list in float32; None in another format."""
        tensor = self.tensors[name]
        if tensor.kind != _FLOAT32:
            return None
        with self.file.open("rb") as stream:
            stream.seek(self.start + tensor.offset)
            return _unpack(stream, f"{tensor.shape[0]}f")


def read_header(file: Path) -> GgufHeader | None:
    """The header of a GGUF file; None if it is no such file, or damaged.

    Args:
        file: the file.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                return None
            _, tensors, count = _unpack(stream, "IQQ")
            values = dict(_read_value(stream) for _ in range(count))
            infos = dict(_read_tensor(stream) for _ in range(tensors))
            alignment = int(values.get("general.alignment") or 32)
            return GgufHeader(file, values, infos, -(-stream.tell() // alignment) * alignment)
    except (OSError, struct.error, ValueError, KeyError):
        return None  # transformers says what is wrong with it


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(f"<{form}")
    return struct.unpack(f"<{form}", stream.read(size))


def _read_text(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    if length > 1 << 20:  # a chat template may be long, a damaged length is longer
        raise ValueError("no text is as long")
    return stream.read(length).decode(errors="replace")


def _read_value(stream: BinaryIO) -> tuple[str, Any]:
    """A key and its value; None for a list that is not kept."""
    key = _read_text(stream)
    (kind,) = _unpack(stream, "I")
    if kind == _STRING:
        return key, _read_text(stream)
    if kind != _ARRAY:
        return key, _unpack(stream, _NUMBERS[kind])[0]
    kind, count = _unpack(stream, "IQ")
    if kind == _STRING:
        texts = [_read_text(stream) for _ in range(count)]
        return key, texts if key == TOKENS else None
    if key == TYPES:
        return key, _unpack(stream, f"{count}{_NUMBERS[kind]}")
    stream.seek(count * struct.calcsize(_NUMBERS[kind]), 1)
    return key, None


def _read_tensor(stream: BinaryIO) -> tuple[str, GgufTensor]:
    """A tensor's name, and what the header says of it."""
    name = _read_text(stream)
    (dimensions,) = _unpack(stream, "I")
    shape = _unpack(stream, f"{dimensions}Q")
    kind, offset = _unpack(stream, "IQ")
    return name, GgufTensor(shape, kind, offset)
