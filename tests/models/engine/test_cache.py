"""The store of kept rows, and the buffers of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Lfm2Config
from transformers.cache_utils import DynamicCache, DynamicLayer

from holdfast.models.engine.cache import (
    BatchCache,
    Ids,
    Layers,
    PrefixStore,
    layer_kinds,
    plain,
    shared,
)
from tiny_models import CONFIGS


def array(*ids: int) -> Ids:
    return np.array(ids, dtype=np.int64)


def tensors(tokens: int) -> Layers:
    """One layer of one head of size 1: eight bytes a token."""
    return ((torch.zeros(1, tokens, 1), torch.zeros(1, tokens, 1)),)


def keep(store: PrefixStore, *ids: int, state: str = "") -> None:
    store.keep(state, array(*ids), tensors(len(ids)))


token = st.integers(0, 2)


@given(st.lists(token), st.lists(token))
def test_shared_is_the_longest_common_prefix(a: list[int], b: list[int]) -> None:
    n = shared(array(*a), array(*b))
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@settings(max_examples=200)
@given(st.lists(st.lists(token, min_size=1, max_size=6), max_size=8), st.lists(token, max_size=7))
def test_find_answers_the_longest_prefix_held(kept: list[list[int]], asked: list[int]) -> None:
    store = PrefixStore(10_000, head=1)
    for ids in kept:
        keep(store, *ids)
    length, layers = store.find("", array(*asked))
    assert length == max((shared(array(*ids), array(*asked)) for ids in kept), default=0)
    assert (layers is None) == (length == 0)
    if layers is not None and layers[0] is not None:
        assert layers[0][0].shape[1] >= length


@settings(max_examples=100)
@given(st.lists(st.lists(token, min_size=1, max_size=9), max_size=12), st.integers(0, 200))
def test_the_store_never_exceeds_its_bound(kept: list[list[int]], limit: int) -> None:
    store = PrefixStore(limit, head=1)
    for ids in kept:
        keep(store, *ids)
        assert store.size <= limit
        assert store.size >= 8 * len(store)


def test_the_least_recently_used_row_goes_first() -> None:
    store = PrefixStore(8 * 4, head=1)
    keep(store, 1, 1)
    keep(store, 2, 2)
    assert store.find("", array(1, 1))[0] == 2
    keep(store, 3, 3)
    assert [store.find("", array(i, i))[0] for i in (1, 2, 3)] == [2, 0, 2]


def test_a_row_takes_the_place_of_those_it_extends() -> None:
    store = PrefixStore(10_000, head=1)
    keep(store, 1, 2)
    keep(store, 1, 3)
    keep(store, 1, 2, 4)
    assert len(store) == 2
    assert store.size == 8 * 5


def test_a_row_larger_than_the_bound_is_not_kept_and_costs_no_other() -> None:
    store = PrefixStore(16, head=1)
    keep(store, 1)
    keep(store, 2, 2, 2)
    assert store.find("", array(1))[0] == 1
    assert len(store) == 1


def test_a_row_answers_up_to_a_turn_that_only_one_has() -> None:
    store = PrefixStore(10_000, head=1)
    store.keep("", array(1, 2, 3, 4, 5), tensors(5), (1, 3))
    lengths = [store.find("", array(1, 2, 3, 4, 5, 6), turns)[0] for turns in ((1, 3, 5), (1,), ())]
    assert lengths == [5, 3, 1]
    assert store.holds("", array(1, 2, 3), (1,)) and not store.holds("", array(1, 2, 3, 4), (1,))


def test_states_are_worlds_apart() -> None:
    store = PrefixStore(10_000, head=1)
    keep(store, 1, 2, state="a")
    keep(store, 1, 2, 3, state="b")
    assert store.find("a", array(1, 2, 3))[0] == 2
    assert store.holds("b", array(1, 2))
    assert not store.holds("a", array(1, 2, 3))


def begun(rows: int, columns: int) -> BatchCache:
    cache = BatchCache([DynamicLayer])
    cache.begin(rows, columns)
    return cache


def write(cache: BatchCache, keys: Tensor, rows: slice, column: int) -> tuple[Tensor, Tensor]:
    region = cache.region
    region.top, region.bottom, region.column = rows.start, rows.stop, column
    out = cache.update(keys, -keys, 0)
    region.column = column + keys.shape[2]
    return out


def test_columns_written_bit_by_bit_equal_columns_in_one_piece() -> None:
    whole = torch.randn(3, 2, 50, 4)
    cache = begun(3, 8)
    for start, end in [(0, 5), (5, 6), (6, 30), (30, 50)]:
        keys, values = write(cache, whole[:, :, start:end], slice(0, 3), start)
        assert torch.equal(keys, whole[:, :, :end])
        assert torch.equal(values, -whole[:, :, :end])
    assert cache.get_seq_length() == 50
    assert cache.get_mask_sizes(4, 0) == (54, 0)


def test_groups_of_rows_are_written_apart() -> None:
    whole = torch.randn(3, 1, 6, 4)
    cache = begun(3, 6)
    write(cache, whole[:1], slice(0, 1), 0)
    write(cache, whole[1:], slice(1, 3), 0)
    keys, _ = write(cache, whole[:, :, :1], slice(0, 3), 6)
    assert torch.equal(keys[:, :, :6], whole)


def test_what_is_taken_can_be_put_back() -> None:
    whole = torch.randn(2, 1, 6, 4)
    cache = begun(2, 6)
    write(cache, whole, slice(0, 2), 0)
    layers = cache.take(1, 2, 4)
    other = begun(3, 9)
    other.put(2, 5, layers, 3)
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


def test_rows_kept_in_one_form_can_be_put_back_in_the_other() -> None:
    first, second = torch.randn(2, 1, 6, 4), torch.randn(2, 1, 6, 4)
    cache = BatchCache([DynamicLayer])
    cache.begin(2, 6)
    write(cache, first, slice(0, 2), 0)
    by_layer = cache.take(0, 0, 6)
    cache.begin(2, 6)
    write(cache, second, slice(0, 2), 0)
    in_one = cache.take(1, 0, 6)
    assert isinstance(by_layer, tuple) and isinstance(in_one, Tensor)
    cache.begin(2, 7)
    cache.put(0, 0, by_layer, 6)
    cache.put(1, 0, in_one, 6)
    keys, _ = write(cache, torch.ones(2, 1, 1, 4), slice(0, 2), 6)
    assert torch.equal(keys[0, :, :6], first[0]) and torch.equal(keys[1, :, :6], second[1])
    other = BatchCache([DynamicLayer])
    other.begin(1, 9)
    other.put(0, 2, in_one, 4)
    keys, values = write(other, torch.ones(1, 1, 1, 4), slice(0, 1), 6)
    assert torch.equal(keys[0, :, 2:6], second[1, :, :4])
    assert torch.equal(values[0, :, 2:6], -second[1, :, :4])


def test_a_reply_longer_than_expected_grows_out_of_the_block() -> None:
    cache = BatchCache([DynamicLayer])
    for columns in (4, 4):
        whole = torch.randn(2, 1, 40, 4)
        cache.begin(2, columns)
        for column in range(40):
            keys, _ = write(cache, whole[:, :, column : column + 1], slice(0, 2), column)
        assert torch.equal(keys, whole)
        layers = cache.take(1, 3, 30)
        cache.begin(1, 40)
        cache.put(0, 0, layers, 30)
        keys, _ = write(cache, torch.ones(1, 1, 1, 4), slice(0, 1), 30)
        assert torch.equal(keys[0, :, :30], whole[1, :, 3:33])


def test_only_caches_of_keys_and_values_are_plain() -> None:
    assert all(plain(layer_kinds(config)) for config in CONFIGS.values())
    hybrid = Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"])
    assert not plain(layer_kinds(hybrid))
    assert DynamicCache(config=CONFIGS["mistral"]).is_sliding == [True, True]
    assert BatchCache(layer_kinds(CONFIGS["mistral"])).is_sliding == [False, False]


def test_a_common_prefix_shorter_than_the_head_is_not_looked_for() -> None:
    store = PrefixStore(10_000, head=3)
    keep(store, 1, 2, 3, 4)
    assert store.find("", array(1, 2, 3, 9))[0] == 3
    assert store.find("", array(1, 2, 9, 9))[0] == 0
