"""How vLLM packs a block is measured; here against packings of our own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from holdfast.models.vllm.block_layout import BlockLayout, SplitLayout

TOKENS, SIZE = 32, 64
Pack = Callable[[Tensor], Tensor]  # (tokens, size) to the memory's order


def plain(states: Tensor) -> Tensor:
    return states.flatten()


def on_its_side(states: Tensor) -> Tensor:
    return states.T.flatten()


def in_tiles(states: Tensor) -> Tensor:
    return states.view(TOKENS // 16, 16, SIZE // 2, 2).permute(0, 2, 1, 3).flatten()


def shuffle(states: Tensor) -> Tensor:
    order = torch.randperm(TOKENS * SIZE, generator=torch.Generator().manual_seed(3))
    return states.flatten()[order]


def writing(keys: Pack, values: Pack) -> Callable[[Tensor, Tensor, Tensor, Tensor], None]:
    """What fills a cache whose blocks are packed so."""

    def write(key: Tensor, value: Tensor, cache: Tensor, slots: Tensor) -> None:
        for block in range(len(cache)):
            tokens = slice(block * TOKENS, (block + 1) * TOKENS)
            for head in range(cache.shape[1]):
                both = keys(key[tokens, head]), values(value[tokens, head])
                cache[block, head] = torch.cat(both).view(TOKENS, 2 * SIZE)

    return write


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pack", [plain, on_its_side, in_tiles, shuffle])
def test_keys_and_values_come_back_from_any_packing(pack: Pack, dtype: torch.dtype) -> None:
    write = writing(pack, shuffle if pack is plain else plain)
    layout = BlockLayout(TOKENS, SIZE, dtype, write)
    key, value = (torch.randn(4 * TOKENS, 3, SIZE).to(dtype) for _ in range(2))
    cache = torch.zeros(4, 3, TOKENS, 2 * SIZE, dtype=dtype)
    write(key, value, cache, torch.arange(len(key)))
    parts = layout.gather(cache, torch.tensor([[2, 0], [3, 1]]))
    for states, was in zip(parts, (key, value), strict=True):
        blocks = was.view(4, TOKENS, 3, SIZE)[torch.tensor([[2, 0], [3, 1]])]  # (2, 2, tokens, …)
        assert torch.equal(states, blocks.flatten(1, 2).transpose(1, 2))


def test_a_single_block_on_its_side_comes_back_contiguous() -> None:
    # The fused kernel reads other numbers where the last dimension has a stride.
    write = writing(on_its_side, plain)
    layout = BlockLayout(TOKENS, SIZE, torch.float32, write)
    keys, values = layout.gather(torch.zeros(1, 1, TOKENS, 2 * SIZE), torch.tensor([[0]]))
    assert keys.is_contiguous() and values.is_contiguous()


def test_a_packing_that_loses_numbers_is_refused() -> None:
    def write(key: Tensor, value: Tensor, cache: Tensor, slots: Tensor) -> None:
        cache.zero_()

    with pytest.raises(ValueError, match="every number"):
        BlockLayout(TOKENS, SIZE, torch.float32, write)


def test_keys_beside_their_values_come_back_from_a_cache_of_any_strides() -> None:
    key, value = (torch.randn(4, 3, TOKENS, SIZE) for _ in range(2))
    cache = torch.cat((key, value), -1).transpose(1, 2).contiguous().transpose(1, 2)
    rows = torch.tensor([[2, 0], [3, 1]])
    for states, was in zip(SplitLayout(TOKENS).gather(cache, rows), (key, value), strict=True):
        assert torch.equal(states, was[rows].transpose(1, 2).flatten(2, 3))
