"""The rotary frequencies that a GGUF file states, and that transformers leaves unread.

Llama 3.1's are a tensor of divisors, one for each frequency; linear and YaRN's are named with a
factor. Without them a model reads distances that it was not trained on, which nothing shows.

This module knows the header of a file and a model's rotary embedding.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from holdfast.control.switch import decoder_of
from holdfast.core.errors import ModelError

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
_DIVISORS = "rope_freqs.weight"
# Families that transformers itself reads, or that have no frequencies of this kind.
_NATIVE_FAMILIES = ("gpt-oss",)


class RopeScaling(NamedTuple):
    """What a file says of its frequencies."""

    parameters: dict[str, Any]
    """By transformers' names."""
    divisors: Tensor | None = None
    """What each frequency is divided by, where the file has them."""


def read_scaling(file: Path) -> RopeScaling | None:
    """How a GGUF file changes its rotary frequencies; None if it does not, or is no such file.

    Args:
        file: the file.
    """
    try:
        with file.open("rb") as stream:
            return _read(stream)
    except (OSError, struct.error, ValueError, KeyError):
        return None  # transformers says what is wrong with it


def restore_scaling(name: str, model: PreTrainedModel, file: Path) -> None:
    """Give a model that was read from a GGUF file the frequencies that the file states.

    Args:
        name: the model's name, for errors.
        model: the model; it is changed in place, its configuration too.
        file: the file.

    Raises:
        ModelError: transformers knows no such frequencies.
    """
    scaling = read_scaling(file)
    if scaling is None:
        return
    decoder: Any = decoder_of(model)
    rotary, parameters = decoder.rotary_emb, decoder.config.rope_parameters
    # Layers with a window have frequencies of their own, which no factor changes.
    prefix = "full_attention_" if "full_attention" in parameters else ""
    target = parameters["full_attention"] if prefix else parameters
    plain = getattr(rotary, f"{prefix}inv_freq").clone()
    target |= scaling.parameters
    try:
        own = type(rotary)(config=decoder.config).to(plain.device)
    except (KeyError, ValueError, TypeError) as error:
        raise _unknown_error(name) from error
    if scaling.divisors is not None:
        reference = plain.cpu() / scaling.divisors
        if not torch.allclose(
            getattr(own, f"{prefix}inv_freq").cpu(), reference, rtol=1e-3, atol=0
        ):
            raise _unknown_error(name)
    decoder.rotary_emb = own


def _unknown_error(name: str) -> ModelError:
    return ModelError(
        f"{name} states rotary frequencies that transformers does not know in GGUF files: choose"
        " the original weights, or serve it behind an API and use --model api:NAME."
    )


def _read(stream: BinaryIO) -> RopeScaling | None:
    if stream.read(4) != b"GGUF":
        return None
    _, tensors, count = _unpack(stream, "IQQ")
    values = dict(_read_value(stream) for _ in range(count))
    infos = dict(_read_tensor(stream) for _ in range(tensors))
    family = str(values.get("general.architecture"))
    if family in _NATIVE_FAMILIES:
        return None
    if _DIVISORS in infos:
        alignment = int(values.get("general.alignment") or 32)
        size, kind, offset = infos[_DIVISORS]
        if kind != _FLOAT32:
            return RopeScaling({"rope_type": "unknown"})
        stream.seek(-(-stream.tell() // alignment) * alignment + offset)
        divisors = torch.tensor(_unpack(stream, f"{size}f"))
        if bool((divisors == 1).all()):
            return None
        bounds = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # of all Llamas
        first = {"original_max_position_embeddings": 8192}
        llama = {"rope_type": "llama3", "factor": float(divisors.max())}
        return RopeScaling(llama | bounds | first, divisors)
    if any(one.startswith("rope_factors_") for one in infos):
        return RopeScaling({"rope_type": "unknown"})
    kind_of = values.get(f"{family}.rope.scaling.type")
    factor = float(values.get(f"{family}.rope.scaling.factor") or 1)
    if kind_of in (None, "none") or factor == 1:
        return None
    parameters: dict[str, Any] = {"rope_type": kind_of, "factor": factor}
    if first_length := values.get(f"{family}.rope.scaling.original_context_length"):
        parameters["original_max_position_embeddings"] = first_length
    return RopeScaling(parameters)


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(f"<{form}")
    return struct.unpack(f"<{form}", stream.read(size))


def _read_text(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    if length > 1 << 20:  # a chat template may be long, a damaged length is longer
        raise ValueError("no text is as long")
    return stream.read(length).decode()


def _read_value(stream: BinaryIO) -> tuple[str, Any]:
    """A key and its value; None for lists, which are not needed."""
    key = _read_text(stream)
    (kind,) = _unpack(stream, "I")
    if kind == _STRING:
        return key, _read_text(stream)
    if kind != _ARRAY:
        return key, _unpack(stream, _NUMBERS[kind])[0]
    kind, count = _unpack(stream, "IQ")
    if kind == _STRING:
        for _ in range(count):
            (length,) = struct.unpack("<Q", stream.read(8))
            stream.seek(length, 1)
    else:
        stream.seek(count * struct.calcsize(_NUMBERS[kind]), 1)
    return key, None


def _read_tensor(stream: BinaryIO) -> tuple[str, tuple[int, int, int]]:
    """A tensor's name, its size, its kind and where it begins."""
    name = _read_text(stream)
    (dimensions,) = _unpack(stream, "I")
    sizes = _unpack(stream, f"{dimensions}Q")
    kind, offset = _unpack(stream, "IQ")
    return name, (sizes[0] if dimensions == 1 else 0, kind, offset)
