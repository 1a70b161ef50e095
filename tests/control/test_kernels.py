"""One attention and its log-sum-exp: every path against float64, made the long way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.control import kernels
from holdfast.control.kernels import additive_mask, attend, causal_mask, join_attentions


def tensors(
    queries: int = 5,
    keys: int = 17,
    rows: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:
    """Six heads on two key heads."""
    make = torch.Generator().manual_seed(seed)
    shapes = ((rows, 6, queries, 8), (rows, 2, keys, 8), (rows, 2, keys, 8))
    query, key, value = (torch.randn(s, generator=make).to(dtype) for s in shapes)
    return query, key, value


def long_way(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, scale: float = 8**-0.5
) -> tuple[Tensor, Tensor]:
    """In float64, heads repeated; zeros and -inf for a query that sees nothing."""
    query, key, value = (x.double() for x in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.transpose(-1, -2) * scale
    scores = scores if mask is None else scores + mask.double()
    return scores.softmax(-1).nan_to_num(0.0) @ value, scores.logsumexp(-1)


def agree(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], tolerance: float = 1e-5) -> None:
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(
            one, other, atol=tolerance, rtol=tolerance, check_dtype=False, equal_nan=False
        )


def masks(queries: int, keys: int, rows: int = 3) -> dict[str, Tensor]:
    """Additive masks of every shape that broadcasts."""
    make = torch.Generator().manual_seed(1)

    def draw_mask(*shape: int) -> Tensor:
        is_hidden = torch.rand(shape, generator=make) < 0.4
        return torch.randn(shape, generator=make).masked_fill(is_hidden, -torch.inf)

    blind = draw_mask(rows, 1, queries, keys)
    blind[1, :, queries // 2] = -torch.inf
    return {
        "for all": draw_mask(1, 1, queries, keys),
        "for all queries": draw_mask(rows, 1, 1, keys),
        "for each head": draw_mask(rows, 6, queries, keys),
        "for each head, not row": draw_mask(1, 6, 1, keys),
        "that blinds a query": blind,
    }


SIZES = [(1, 17), (5, 17), (1, 1), (300, 310)]  # 300 is beyond what is stacked


@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_a_query_attends_to_every_key(queries: int, keys: int) -> None:
    inputs = tensors(queries, keys)
    agree(attend(*inputs), long_way(*inputs))
    agree(attend(*inputs, scale=0.9), long_way(*inputs, scale=0.9))


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("name", masks(1, 1))
def test_masks_broadcast_and_a_query_that_sees_nothing_gets_zeros(
    name: str, queries: int, keys: int
) -> None:
    inputs, mask = tensors(queries, keys), masks(queries, keys)[name]
    agree(attend(*inputs, mask), long_way(*inputs, mask))


@pytest.mark.parametrize(("queries", "keys"), [(1, 9), (5, 5), (5, 17), (300, 300), (300, 310)])
def test_causal_queries_are_the_last_of_the_sequence(queries: int, keys: int) -> None:
    inputs = tensors(queries, keys)
    mask = causal_mask(queries, keys, inputs[0])
    assert torch.equal(mask[0, 0, -1], torch.zeros(keys))
    agree(attend(*inputs, causal=True), long_way(*inputs, mask))


def test_causal_queries_before_the_first_key_see_nothing() -> None:
    inputs = tensors(queries=6, keys=4)
    output, lse = attend(*inputs, causal=True)
    assert not output[:, :, :2].any()
    assert bool(lse[..., :2].isneginf().all())
    agree((output, lse), long_way(*inputs, causal_mask(6, 4, inputs[0])))


def test_no_keys_and_no_queries_are_nothing() -> None:
    query, key, value = tensors()
    output, lse = attend(query, key[:, :, :0], value[:, :, :0])
    assert output.shape == query.shape
    assert not output.any()
    assert bool(lse.isneginf().all())
    assert attend(query[:, :, :0], key, value)[0].shape == (3, 6, 0, 8)


def test_slices_of_keys_are_taken_as_they_are() -> None:
    query, key, value = tensors()
    query = query.transpose(1, 2).contiguous().transpose(1, 2)  # as a projection leaves it
    agree(
        attend(query, key[:, :, 3:9], value[:, :, 3:9]),
        long_way(query, key[:, :, 3:9], value[:, :, 3:9]),
    )


class KernelQueries(TorchDispatchMode):
    """The number of queries in each call of the CPU's kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "flash_attention_for_cpu" in str(func):
            self.sizes.append(args[0].shape[2])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("heads", [2, 6])
def test_without_tiles_the_kernel_gets_no_lone_bfloat16_query(
    heads: int, tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_multiplies_tiles", lambda: tiles)
    query, key, value = tensors(1, dtype=torch.bfloat16)
    inputs = (query[:, :heads], key, value)
    mask = masks(1, key.shape[2])["for all queries"].to(torch.bfloat16)
    with KernelQueries() as calls:
        agree(attend(*inputs, mask), long_way(*inputs, mask), 2e-2)
    assert (min(calls.sizes) > 1) == (not tiles)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("queries", [1, 5])
def test_the_log_sum_exp_is_in_float32_or_wider(dtype: torch.dtype, queries: int) -> None:
    inputs = tensors(queries, dtype=dtype)
    output, lse = attend(*inputs)
    exact = dtype == torch.float64
    assert (output.dtype, lse.dtype) == (dtype, torch.float64 if exact else torch.float32)
    agree((output, lse), long_way(*inputs), 1e-9 if exact else 2e-2)


def test_values_may_have_a_width_of_their_own() -> None:
    query, key, value = tensors()
    wide = torch.cat([value, value], -1)
    agree(attend(query, key, wide), long_way(query, key, wide))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 17), st.integers(0, 99))
def test_attentions_to_two_sets_of_keys_join_to_that_of_both(
    queries: int, cut: int, seed: int
) -> None:
    query, key, value = tensors(queries, seed=seed)
    a = attend(query, key[:, :, :cut], value[:, :, :cut])
    b = attend(query, key[:, :, cut:], value[:, :, cut:])
    agree(join_attentions(*a, *b), long_way(query, key, value))


def test_what_sees_nothing_joins_to_nothing() -> None:
    nothing = torch.zeros(1, 1, 1, 8), torch.full((1, 1, 1), -torch.inf)
    output, lse = join_attentions(*nothing, *nothing)
    assert not output.any()
    assert bool(lse.isneginf().all())


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_go_through_output_and_log_sum_exp(causal: bool) -> None:
    leaves = [x.requires_grad_() for x in tensors(rows=1, keys=7, dtype=torch.float64)]
    make = torch.Generator().manual_seed(1)
    mask = None if causal else additive_mask(torch.rand(5, 7, generator=make) < 0.6, leaves[0])
    if mask is not None:
        mask[..., 2, :] = -torch.inf  # sees nothing, and has no NaN for a gradient

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output, lse = attend(query, key, value, mask, causal=causal)
        return output.sum() + lse.masked_fill(lse.isneginf(), 0.0).sum()

    assert torch.autograd.gradcheck(run, leaves)


# What follows stands in for a GPU: kernels with the contracts of CUDA's, after PyTorch's
# sources. It shows that they are called as they ask to be, not that they are fast or right.


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    causal: bool,
    debug: bool,
    *,
    scale: float | None = None,
) -> tuple[Tensor, ...]:
    """Grouped heads, 16 bits, causal masks that end at the last key."""
    assert query.dtype == torch.bfloat16
    assert query.shape[3] % 8 == 0
    assert all(x.stride(-1) == 1 for x in (query, key, value))
    mask = causal_mask(query.shape[2], key.shape[2], query) if causal else None
    output, lse = long_way(query, key, value, mask, scale or query.shape[3] ** -0.5)
    return output.to(query.dtype), lse.float(), torch.empty(0), torch.empty(0)


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    compute: bool,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor, ...]:
    """Heads repeated, biases aligned to eight, NaN and 0 for nothing, rows of 32."""
    assert query.shape[1] == key.shape[1]
    assert compute
    assert not causal
    if bias is not None:
        assert bias.shape == (*query.shape[:3], key.shape[2])
        assert all(stride % 8 == 0 for stride in bias.stride()[:3])
        assert bias.stride(3) == 1
        assert bias.data_ptr() % 16 == 0
    output, lse = long_way(query, key, value, bias, scale or query.shape[3] ** -0.5)
    nothing = lse.isneginf()
    output = output.masked_fill(nothing[..., None], torch.nan).to(query.dtype)
    padded = torch.full((*lse.shape[:2], -(-lse.shape[2] // 32) * 32), torch.inf)
    padded[..., : lse.shape[2]] = lse.masked_fill(nothing, 0.0)
    return output, padded, torch.empty(0), torch.empty(0)


@pytest.fixture(params=[True, False], ids=["recent GPU", "old GPU"])
def gpu(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The CUDA branch, on the two stand-ins."""
    aten = torch.ops.aten
    monkeypatch.setattr(aten, "_scaled_dot_product_flash_attention", flash, raising=False)
    monkeypatch.setattr(aten, "_scaled_dot_product_efficient_attention", efficient, raising=False)
    monkeypatch.setattr(
        kernels, "takes_flash", lambda q, k, v: request.param and q.dtype == torch.bfloat16
    )
    monkeypatch.setattr(kernels, "_on_cpu", kernels._on_cuda)
    return attend


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("queries", "keys"), [(1, 17), (5, 16), (40, 41), (6, 4)])
def test_on_a_gpu_the_kernels_are_asked_for_the_same(
    gpu: Callable[..., Any], queries: int, keys: int, dtype: torch.dtype
) -> None:
    inputs = tensors(queries, keys, dtype=dtype)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    agree(gpu(*inputs, scale=0.4), long_way(*inputs, scale=0.4), tolerance)
    ending = causal_mask(queries, keys, inputs[0])
    agree(gpu(*inputs, causal=queries > 1), long_way(*inputs, ending), tolerance)
    for mask in masks(queries, keys).values():
        mask = mask.to(dtype)
        agree(gpu(*inputs, mask), long_way(*inputs, mask), tolerance)
        part = (inputs[0], inputs[1][:, :, 1:], inputs[2][:, :, 1:], mask[..., 1:])
        agree(gpu(*part), long_way(*part), tolerance)


@pytest.mark.parametrize("size", [8, 12])
def test_on_a_gpu_shapes_are_those_of_torch_own_kernels(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """On meta tensors, whose kernels are real but for the numbers, and wait for nothing."""
    query = torch.empty(2, 6, 5, size, dtype=torch.bfloat16, device="meta")
    key = torch.empty(2, 2, 17, size, dtype=torch.bfloat16, device="meta")
    mask = causal_mask(5, 17, query)
    for flashes in (True, False):
        monkeypatch.setattr(kernels, "takes_flash", lambda q, k, v, at=flashes: at and size == 8)
        for visible, causal in ((None, False), (None, True), (mask, False)):
            output, lse = kernels._on_cuda(query, key, key, visible, None, causal)
            assert (output.shape, output.dtype) == (query.shape, torch.bfloat16)
            assert (lse.shape, lse.dtype) == (query.shape[:3], torch.float32)
