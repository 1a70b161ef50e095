"""The held rows of a step, computed from blocks, against each row alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from holdfast.control.attention import two_part_attention
from holdfast.control.steering import RowSteering
from holdfast.core.control import parse
from holdfast.models.vllm.block_layout import BlockLayout
from holdfast.models.vllm.held_rows import HeldRows, step_rows
from holdfast.models.vllm.rotary import VllmRotary

TOKENS, SIZE, HEADS, GROUPS = 16, 32, 4, 2
LENGTHS, QUERIES = (40, 21, 50, 30), (1, 1, 20, 1)  # the third is a prompt's second part
SPAN = (3, 9)


class Blocks:
    """A cache with the rows' keys and values in it, blocks out of order."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.layout = BlockLayout(TOKENS, SIZE, torch.float32, self.write)
        self.cache = torch.randn(20, GROUPS, TOKENS, 2 * SIZE, generator=generator)
        order = torch.randperm(20, generator=generator)
        self.table = order[:16].view(4, 4)
        self.query = torch.randn(sum(QUERIES), HEADS, SIZE, generator=generator)
        self.common = SimpleNamespace(
            query_start_loc_cpu=torch.tensor([0, *torch.tensor(QUERIES).cumsum(0).tolist()]),
            seq_lens=torch.tensor(LENGTHS),
            num_reqs=4,
            req_idx=None,
            block_table_tensor=self.table,
        )

    @staticmethod
    def write(key: Tensor, value: Tensor, cache: Tensor) -> None:
        both = torch.cat((key[:, 0].flatten(), value[:, 0].flatten()))
        cache.copy_(both.view_as(cache))

    def alone(self, i: int, share: str) -> Tensor:
        """Row i's attention under a share, by itself: (Lq, H, D)."""
        length, queries = LENGTHS[i], QUERIES[i]
        keys, values = self.layout.gather(self.cache, self.table[i : i + 1])
        first = sum(QUERIES[:i])
        own = self.query[first : first + queries].transpose(0, 1)[None]
        at = torch.arange(length - queries, length)
        seen = torch.arange(length) <= at[:, None]
        span = torch.zeros(1, length, dtype=torch.bool)
        span[:, SPAN[0] : SPAN[1]] = True
        out = two_part_attention(
            own, keys[:, :, :length], values[:, :, :length], span, share, seen[None, None]
        )[0]
        return out[0].transpose(0, 1)


def held(blocks: Blocks, controls: dict[int, str]) -> Tensor:
    """A step's output where some rows are held; the others' stays 7."""
    layer = nn.Module()
    layer.layer_idx = 0  # type: ignore[assignment]
    table = {i: RowSteering(parse(text), SPAN, (0, 12), (12, 18)) for i, text in controls.items()}
    output = torch.full_like(blocks.query, 7.0)
    rows = step_rows(table, blocks.common, TOKENS)
    step = HeldRows(rows, blocks.layout, VllmRotary())
    step.attend(layer, SIZE**-0.5, blocks.query, blocks.cache, output)
    return output


def test_held_rows_of_any_length_equal_each_alone_and_others_are_untouched() -> None:
    blocks = Blocks()
    shares = {0: "split-softmax:0.7", 1: "boost:4", 2: "split-softmax:0.5"}
    output = held(blocks, shares)
    for i, share in shares.items():
        first = sum(QUERIES[:i])
        torch.testing.assert_close(
            output[first : first + QUERIES[i]], blocks.alone(i, share), atol=1e-5, rtol=1e-5
        )
    assert bool((output[-1] == 7).all())


@pytest.mark.parametrize("text", ["boost:4@layers=1-2", "none"])
def test_a_layer_that_no_control_changes_keeps_vllms_output(text: str) -> None:
    blocks = Blocks()
    controls = {} if text == "none" else {0: text}
    if controls:
        assert bool((held(blocks, controls) == 7).all())
    assert step_rows({}, blocks.common, TOKENS) == []


def test_a_row_is_found_by_its_place_in_the_second_runners_table() -> None:
    blocks = Blocks()
    blocks.common.req_idx = torch.tensor([5, 0, 9, 2])
    steering = RowSteering(parse("boost:4"), SPAN, (0, 12))
    rows = step_rows({9: steering}, blocks.common, TOKENS)
    assert [(row.start, row.queries, row.length) for row in rows] == [(2, 20, 50)]
