"""Reordered weights give the layers' own products, and follow the weights when these change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from holdfast.models.engine import packed
from holdfast.models.engine.packed import PackedWeights, can_pack

pytestmark = pytest.mark.skipif(
    not packed.multiplies_bfloat16(), reason="this processor does not multiply bfloat16"
)


def layer(outputs: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(64, outputs, bias=bias, dtype=torch.bfloat16)


@pytest.mark.parametrize("rows", [1, 5, 200])
def test_products_of_several_layers_are_theirs_one_after_another(rows: int) -> None:
    torch.manual_seed(0)
    layers, x = (layer(96), layer(32, bias=False)), torch.randn(2, rows, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        product = PackedWeights().product(*layers)
        expected = torch.cat([one(x) for one in layers], -1)
        assert torch.allclose(product(x), expected, atol=0.02)
        gate = product.then(x, "mul", product(x, "swish"))
        assert torch.allclose(gate, nn.functional.silu(expected) * expected, rtol=0.03, atol=0.03)


def test_a_changed_weight_is_reordered_anew_and_an_unchanged_one_is_not() -> None:
    weights, own, x = PackedWeights(), layer(96), torch.randn(3, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        first = weights.product(own)
        assert weights.product(own) is first
        own.weight.data += 1.0  # as a merged adapter does, unseen by version counters
        assert torch.allclose(weights.product(own)(x), own(x), atol=0.3)
        own.bias.data += 5.0
        assert torch.allclose(weights.product(own)(x), own(x), atol=0.3)
    with torch.no_grad():
        own.weight[1, 2:9] = 50.0  # of one token, say, which no sample meets
    with torch.inference_mode():
        assert torch.allclose(weights.product(own)(x), own(x), atol=0.3, rtol=0.02)


def test_only_narrow_weights_that_are_few_enough_are_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert can_pack([torch.zeros(3, dtype=torch.bfloat16)])
    assert not can_pack([torch.zeros(3)])
    monkeypatch.setattr(packed, "LIMIT", 4)
    assert not can_pack([torch.zeros(3, dtype=torch.bfloat16)])
