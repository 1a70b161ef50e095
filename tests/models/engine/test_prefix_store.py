"""The store of kept rows."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.models.engine.cache import Page
from holdfast.models.engine.prefix_store import Ids, PrefixStore, count_common


def array(*ids: int) -> Ids:
    return np.array(ids, dtype=np.int64)


def page(tokens: int) -> Page:
    """One layer of one head of size 1: eight bytes a token."""
    return Page((torch.zeros(2, 1, tokens, 1),))


def keep(store: PrefixStore, *ids: int, state: str = "") -> None:
    store.keep(state, array(*ids), [page(len(ids))])


token = st.integers(0, 2)


@given(st.lists(token), st.lists(token))
def test_shared_is_the_longest_common_prefix(a: list[int], b: list[int]) -> None:
    n = count_common(array(*a), array(*b))
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@settings(max_examples=200)
@given(st.lists(st.lists(token, min_size=1, max_size=6), max_size=8), st.lists(token, max_size=7))
def test_find_answers_the_longest_prefix_held(rows: list[list[int]], prompt: list[int]) -> None:
    store = PrefixStore(10_000, head=1)
    for ids in rows:
        keep(store, *ids)
    length, pages = store.find("", array(*prompt))
    assert length == max((count_common(array(*ids), array(*prompt)) for ids in rows), default=0)
    assert bool(pages) == (length > 0)
    assert sum(one.tensors[0].shape[2] for one in pages) >= length


@settings(max_examples=100)
@given(st.lists(st.lists(token, min_size=1, max_size=9), max_size=12), st.integers(0, 200))
def test_the_store_never_exceeds_its_bound(rows: list[list[int]], limit: int) -> None:
    store = PrefixStore(limit, head=1)
    for ids in rows:
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


@settings(max_examples=100)
@given(st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=12), st.integers(0, 100))
def test_a_page_counts_once_however_many_rows_have_it(rows: list[list[int]], limit: int) -> None:
    store, pages = PrefixStore(limit, head=1), [page(1) for _ in range(6)]
    for i, some in enumerate(rows):
        own = [pages[k] for k in dict.fromkeys(some)]
        store.keep("", array(i, *range(len(own))), own)
        there = {page for row in store._rows.values() for page in row.pages}
        assert store.size == 8 * len(there) <= limit


def test_what_two_rows_share_stays_with_the_one_that_is_left() -> None:
    store, (start, end, other) = PrefixStore(8 * 4, head=1), (page(1), page(1), page(1))
    store.keep("", array(1, 2), (start, end))
    store.keep("", array(1, 3), (start, other))
    assert (len(store), store.size) == (2, 8 * 3)
    store.keep("", array(4, 4), (page(2),))  # the oldest goes, with its end alone
    assert (len(store), store.size) == (2, 8 * 4)
    assert store.find("", array(1, 3)) == (2, (start, other))


def test_a_row_larger_than_the_bound_is_not_kept_and_costs_no_other() -> None:
    store = PrefixStore(16, head=1)
    keep(store, 1)
    keep(store, 2, 2, 2)
    assert store.find("", array(1))[0] == 1
    assert len(store) == 1


def test_a_row_answers_up_to_a_turn_that_only_one_has() -> None:
    store = PrefixStore(10_000, head=1)
    store.keep("", array(1, 2, 3, 4, 5), [page(5)], (1, 3))
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


def test_a_common_prefix_shorter_than_the_head_is_not_looked_for() -> None:
    store = PrefixStore(10_000, head=3)
    keep(store, 1, 2, 3, 4)
    assert store.find("", array(1, 2, 3, 9))[0] == 3
    assert store.find("", array(1, 2, 9, 9))[0] == 0
