"""The buffers of a batch: what is written, moved, taken out as pages and put back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import Lfm2Config
from transformers.cache_utils import DynamicCache, DynamicLayer

from holdfast.models.engine.cache import BatchCache, full_pages, is_plain, layer_kinds
from tiny_models import CONFIGS


def begin_cache(rows: int, columns: int) -> BatchCache:
    cache = BatchCache([DynamicLayer])
    cache.begin(rows, columns)
    return cache


def write(
    cache: BatchCache, keys: Tensor, rows: slice, column: int, layers: int = 1
) -> tuple[Tensor, Tensor]:
    cache.write_at(rows.start, rows.stop, column, keys.shape[2])
    out = [cache.update(keys, -keys, layer) for layer in range(layers)][-1]
    cache.region.column = column + keys.shape[2]
    return out


def test_columns_written_bit_by_bit_equal_columns_in_one_piece() -> None:
    whole = torch.randn(3, 2, 50, 4)
    cache = begin_cache(3, 8)
    for start, end in [(0, 5), (5, 6), (6, 30), (30, 50)]:
        keys, values = write(cache, whole[:, :, start:end], slice(0, 3), start)
        assert torch.equal(keys, whole[:, :, :end])
        assert torch.equal(values, -whole[:, :, :end])
    assert cache.get_seq_length() == 50
    assert cache.get_mask_sizes(4, 0) == (54, 0)


def test_groups_of_rows_are_written_apart() -> None:
    whole = torch.randn(3, 1, 6, 4)
    cache = begin_cache(3, 6)
    write(cache, whole[:1], slice(0, 1), 0)
    write(cache, whole[1:], slice(1, 3), 0)
    keys, _ = write(cache, whole[:, :, :1], slice(0, 3), 6)
    assert torch.equal(keys[:, :, :6], whole)


def test_what_is_taken_can_be_put_back() -> None:
    whole = torch.randn(2, 1, 6, 4)
    cache = begin_cache(2, 6)
    write(cache, whole, slice(0, 2), 0)
    pages = cache.take(1, 2, 4)
    other = begin_cache(3, 9)
    other.put(2, 5, pages, 3)
    keys, values = write(other, torch.ones(3, 1, 1, 4), slice(0, 3), 8)
    assert torch.equal(keys[2, :, 5:8], whole[1, :, 2:5])
    assert torch.equal(values[2, :, 5:8], -whole[1, :, 2:5])
    # What nobody wrote is zero: padding must not bring NaN into a product.
    assert not keys[:2, :, :8].any()
    assert not keys[2, :, :5].any()


@pytest.mark.parametrize("batches", [1, 2])
def test_a_row_moves_with_all_it_holds(batches: int) -> None:
    cache = BatchCache([DynamicLayer])
    for _ in range(batches):  # layer by layer in the first, in one block from then on
        whole = torch.randn(4, 1, 6, 4)
        cache.begin(4, 10)
        write(cache, whole, slice(0, 4), 0)
        cache.move([(3, 1)])
        keys, values = write(cache, torch.ones(3, 1, 1, 4), slice(0, 3), 6)
        assert torch.equal(keys[:, :, :6], whole[[0, 3, 2]])
        assert torch.equal(values[:, :, :6], -whole[[0, 3, 2]])


def test_rows_kept_in_a_first_batch_can_be_put_back_in_a_later_one_and_the_reverse() -> None:
    first, second = torch.randn(2, 1, 6, 4), torch.randn(2, 1, 6, 4)
    cache = BatchCache([DynamicLayer])
    cache.begin(2, 6)
    write(cache, first, slice(0, 2), 0)
    alone = cache.take(0, 0, 6)
    cache.begin(2, 6)
    write(cache, second, slice(0, 2), 0)
    in_one = cache.take(1, 0, 6)
    assert [len(pages[0].tensors) for pages in (alone, in_one)] == [2, 1]
    cache.begin(2, 7)
    cache.put(0, 0, alone, 6)
    cache.put(1, 0, in_one, 6)
    keys, _ = write(cache, torch.ones(2, 1, 1, 4), slice(0, 2), 6)
    assert torch.equal(keys[0, :, :6], first[0]) and torch.equal(keys[1, :, :6], second[1])
    other = BatchCache([DynamicLayer])
    other.begin(1, 9)
    other.put(0, 2, in_one, 4)
    keys, values = write(other, torch.ones(1, 1, 1, 4), slice(0, 1), 6)
    assert torch.equal(keys[0, :, 2:6], second[1, :, :4])
    assert torch.equal(values[0, :, 2:6], -second[1, :, :4])


@pytest.mark.parametrize("tokens", [1, 4, 7, 8, 13])
def test_what_is_taken_in_pages_can_be_put_back(
    tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.models.engine.cache.PAGE", 4)
    cache = BatchCache([DynamicLayer] * 3)
    for _ in range(2):
        whole = torch.randn(2, 1, 15, 4)
        cache.begin(2, 15)
        write(cache, whole, slice(0, 2), 0, layers=3)
        first = cache.take(1, 2, 8)
        full = full_pages(first, tokens)
        pages = cache.take(1, 2, tokens, full)
        assert len(pages) == -(-tokens // 4)
        assert pages[: len(full)] == full  # the same, and no copies of them
        cache.begin(2, 20)
        cache.put(0, 3, pages, tokens)
        keys, values = write(cache, torch.ones(1, 1, 1, 4), slice(0, 1), 3 + tokens, layers=3)
        assert torch.equal(keys[0, :, 3 : 3 + tokens], whole[1, :, 2 : 2 + tokens])
        assert torch.equal(values[0, :, 3 : 3 + tokens], -whole[1, :, 2 : 2 + tokens])


def test_a_reply_longer_than_expected_makes_the_buffers_grow() -> None:
    cache = BatchCache([DynamicLayer])
    for columns in (4, 4):
        whole = torch.randn(2, 1, 40, 4)
        cache.begin(2, columns)
        for column in range(40):
            keys, _ = write(cache, whole[:, :, column : column + 1], slice(0, 2), column)
        assert torch.equal(keys, whole)
        pages = cache.take(1, 3, 30)
        cache.begin(1, 40)
        cache.put(0, 0, pages, 30)
        keys, _ = write(cache, torch.ones(1, 1, 1, 4), slice(0, 1), 30)
        assert torch.equal(keys[0, :, :30], whole[1, :, 3:33])


LAYERS, ROWS = 30, 2
ONE = LAYERS * 2 * ROWS * 3 * 64 * 4
"""Bytes of a column of `at_work`."""


def at_work(columns: int, reply: int = 1) -> BatchCache:
    """A cache in its second batch, with 300 columns of prompts and those of a reply."""
    cache = BatchCache([DynamicLayer] * LAYERS)
    for _ in range(2):
        cache.begin(ROWS, columns)
        write(cache, torch.zeros(ROWS, 3, 300, 64), slice(0, ROWS), 0, LAYERS)
        for column in range(300, 300 + reply):
            write(cache, torch.zeros(ROWS, 3, 1, 64), slice(0, ROWS), column, LAYERS)
    return cache


def peak(work: Callable[[], object]) -> int:
    """The most bytes that tensors have at once while some work is done."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    events = [one for one in trace.profiler.kineto_results.events() if one.name() == "[memory]"]
    sizes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(accumulate(sizes), default=0)


def test_buffers_that_grow_or_move_are_hardly_ever_there_twice() -> None:
    # A reply that is longer than expected once left both the old buffers and the new ones.
    assert peak(lambda: at_work(310, reply=20)) < (465 + 50) * ONE
    assert peak(lambda: at_work(400).grow(ROWS, 600)) < (600 + 100) * ONE
    assert peak(lambda: at_work(400).shift(ROWS, 50)) < (400 + 100) * ONE


def test_few_long_rows_after_many_short_ones_do_not_take_the_product_of_both() -> None:
    cache = BatchCache([DynamicLayer])
    for rows, columns in ((64, 10), (64, 10), (1, 400)):
        cache.begin(rows, columns)
        write(cache, torch.zeros(rows, 1, columns, 4), slice(0, rows), 0)
        write(cache, torch.zeros(rows, 1, 1, 4), slice(0, rows), columns)
    assert cache.blocks[0].numel() <= 4 * 2 * 400 * 4


def test_only_caches_of_keys_and_values_are_plain() -> None:
    assert all(is_plain(layer_kinds(config)) for config in CONFIGS.values())
    hybrid = Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"])
    assert not is_plain(layer_kinds(hybrid))
    assert DynamicCache(config=CONFIGS["mistral"]).is_sliding == [True, True]
    assert BatchCache(layer_kinds(CONFIGS["mistral"])).is_sliding == [False, False]
