"""Prompt shares of many layers come from one product, and are those of each layer's own weights."""

from __future__ import annotations

import pytest
import torch

from holdfast.control.kernels import additive_mask, attend, attention_scores
from holdfast.control.recorder import Recorder
from holdfast.control.switch import AttentionCall

ROWS, COLUMNS = 3, 20
STARTS = torch.tensor([[2, 3, 0], [1, 3, 0]])  # of two spans; the last row has none
ENDS = torch.tensor([[7, 5, 0], [9, 5, 0]])


def visible(first: int) -> torch.Tensor:
    """A mask under which row b sees the columns from first + b on."""
    starts = first + torch.arange(ROWS)
    return (torch.arange(COLUMNS) >= starts[:, None])[:, None, None]


@pytest.mark.parametrize(
    "shapes, masks",
    [
        ([(4, 2, 8)] * 3, [None] * 3),
        ([(4, 2, 8)] * 3, [visible(0)] * 3),
        ([(4, 2, 8)] * 3, [visible(0), visible(3), visible(0)]),
        ([(4, 2, 8), (6, 2, 8), (4, 4, 16)], [None] * 3),
    ],
    ids=["alike", "masked", "two masks", "other heads"],
)
def test_each_layer_has_the_share_of_its_own_weights(
    shapes: list[tuple[int, int, int]], masks: list[torch.Tensor | None]
) -> None:
    torch.manual_seed(0)
    recorder = Recorder(STARTS, ENDS)
    for _ in range(2):  # a second pass meets the keys that the first one gathered
        recorder.begin(COLUMNS)
        references = []
        for layer, ((heads, key_heads, size), mask) in enumerate(zip(shapes, masks, strict=True)):
            torch.manual_seed(layer)
            key = torch.randn(ROWS, key_heads, COLUMNS, size)
            query = torch.randn(ROWS, heads, 1, size)
            bias = None if mask is None else additive_mask(mask, query)
            _, lse = attend(query, key, key, bias)
            module = torch.nn.Module()
            module.layer_idx = layer  # type: ignore[assignment]
            recorder.record_spans(AttentionCall(module, query, key, key, mask, None), lse)
            score = attention_scores(query, key, None)
            weights = (score if bias is None else score + bias).softmax(-1)[:, :, 0]
            references.append(weights @ recorder.spans.movedim(0, -1))
        shares = recorder.result()  # (2, spans, B, layers, H)
        for layer, share in enumerate(references):
            heads = share.shape[1]
            assert torch.allclose(shares[0, :, :, layer, :heads].permute(1, 2, 0), share, atol=1e-6)
        assert (shares[0] == shares[1]).all()
