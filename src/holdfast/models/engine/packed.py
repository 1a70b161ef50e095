"""Weights in the order in which a processor's bfloat16 units read them.

A decoding step of few rows reads every weight once, and how fast it reads them is its speed.
oneDNN reorders a weight for AMX and AVX512-BF16 in each product; reordered once and kept, a
product of up to 64 rows takes about two thirds of the time. The copy costs the weights' memory a
second time, so models above `LIMIT` go without.

This module knows linear layers. It knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

LIMIT = 4 << 30  # bytes of weights above which no second copy is made
_STRIDE = 997  # of the elements that show whether a weight has changed


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (x86 with AMX or AVX512-BF16)."""
    # Not public before torch 2.13, whose `get_capabilities` asks the same.
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


@dataclass(frozen=True)
class PackedProduct:
    """A linear layer with its weight reordered."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor, function: str = "none") -> Tensor:
        """The layer's output for x (…, in); `function` is oneDNN's name of what follows it."""
        product: Any = torch.ops.mkldnn._linear_pointwise
        result: Tensor = product(x, self.weight, self.bias, function, [], "")
        return result

    def then(self, x: Tensor, operation: str, other: Tensor) -> Tensor:
        """The layer's output for x, and `other` "add"ed to it or "mul"tiplied with it."""
        product: Any = torch.ops.mkldnn._linear_pointwise.binary
        result: Tensor = product(x, other, self.weight, self.bias, operation)
        return result


class PackedWeights:
    """The reordered weights of a model's linear layers, made when they are first asked for."""

    def __init__(self) -> None:
        self._products: dict[tuple[int, ...], tuple[_Fingerprint, PackedProduct]] = {}

    def product(self, *layers: nn.Linear) -> PackedProduct:
        """The product of layers that read the same input, their outputs one after another.

        It is made anew where a weight or a bias has changed since.
        """
        key = tuple(id(layer) for layer in layers)
        fingerprint = _Fingerprint.of(layers)
        entry = self._products.get(key)
        if entry is not None and entry[0].equals(fingerprint):
            return entry[1]
        weight = torch.cat([layer.weight.detach() for layer in layers])
        bias = None
        if any(layer.bias is not None for layer in layers):
            biases = (
                weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
                for layer in layers
            )
            bias = torch.cat(list(biases))
        # The number of rows only chooses the order; one for few rows also serves many.
        reordered = torch.ops.mkldnn._reorder_linear_weight(weight, 16)
        product = PackedProduct(reordered, bias)
        self._products[key] = fingerprint, product
        return product


class _Fingerprint(NamedTuple):
    """What shows that layers have changed."""

    versions: list[int]
    """Torch's count of what was written to each weight and bias; `data` is written uncounted."""
    sample: Tensor
    """Every 997th element of the weights, and the biases: an optimiser's step and a merged adapter
    change them."""

    @classmethod
    def of(cls, layers: Sequence[nn.Linear]) -> Self:
        """The fingerprint of layers as they are."""
        biases = [layer.bias for layer in layers if layer.bias is not None]
        tensors = [*(layer.weight for layer in layers), *biases]
        samples = [layer.weight.detach().flatten()[::_STRIDE] for layer in layers]
        return cls(
            [0 if tensor.is_inference() else tensor._version for tensor in tensors],
            torch.cat([*samples, *(bias.detach() for bias in biases)]),
        )

    def equals(self, other: _Fingerprint) -> bool:
        """Whether nothing has changed between the two."""
        return self.versions == other.versions and torch.equal(self.sample, other.sample)


def can_pack(weights: Iterable[Tensor]) -> bool:
    """Whether weights are bfloat16 on a CPU that multiplies it, and few enough for a copy."""
    size = 0
    for weight in weights:
        if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
            return False
        size += weight.numel() * weight.element_size()
    return size <= LIMIT and bool(torch.backends.mkldnn.is_available()) and multiplies_bfloat16()
