"""Two-part attention on random tensors: its laws, whatever computes it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from holdfast.control.attention import Queries, sliced_attention, two_part_attention
from holdfast.control.kernels import additive_mask, apply_weights
from holdfast.control.reference_attention import TurnKeys, reference_weights
from holdfast.control.share_functions import (
    Boost,
    Restore,
    ShareFunction,
    SplitSoftmax,
    Spotlight,
    share_function,
)
from holdfast.core.errors import ControlError, ShapeError

SHARES: dict[str, ShareFunction] = {
    "split-softmax": SplitSoftmax(0.4),
    "boost": Boost(5.0),
    "spotlight": Spotlight(0.6),
}
OFF: list[ShareFunction] = [SplitSoftmax(1.0), Boost(1.0), Spotlight(0.0)]


def tensors(
    rows: int = 3,
    queries: int = 5,
    keys: int = 17,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:
    """Six heads on two key heads."""
    make = torch.Generator().manual_seed(seed)
    shapes = ((rows, 6, queries, 8), (rows, 2, keys, 8), (rows, 2, keys, 8))
    query, key, value = (torch.randn(shape, generator=make, dtype=dtype) for shape in shapes)
    return query, key, value


def spans(*columns: tuple[int, int], keys: int = 17) -> Tensor:
    at = torch.arange(keys)
    return torch.stack([(at >= a) & (at < b) for a, b in columns])


ALIGNED, RAGGED = spans((2, 7), (2, 7), (2, 7)), spans((2, 7), (4, 9), (0, 0))


def causal(queries: int = 5, keys: int = 17) -> Tensor:
    """(1, 1, queries, keys): the last queries of a sequence."""
    at = torch.arange(keys - queries, keys)
    return (torch.arange(keys) <= at[:, None])[None, None]


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    assert torch.allclose(a, b, atol=tolerance, rtol=tolerance), (a - b).abs().max()


@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
@pytest.mark.parametrize("mask", [None, causal()])
def test_the_identity_is_plain_attention(span: Tensor, mask: Tensor | None) -> None:
    query, key, value = tensors()
    out, _ = two_part_attention(query, key, value, span, None, mask)
    close(out, scaled_dot_product_attention(query, key, value, mask, enable_gqa=True))


@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
@pytest.mark.parametrize("off", OFF)
def test_the_strength_that_is_off_is_the_identity_bit_for_bit(
    span: Tensor, off: ShareFunction
) -> None:
    query, key, value = tensors()
    plain, _ = two_part_attention(query, key, value, span, None)
    assert torch.equal(two_part_attention(query, key, value, span, off)[0], plain)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
@pytest.mark.parametrize("mask", [None, causal()])
def test_fused_parts_equal_the_reweighted_matrix(
    name: str, span: Tensor, mask: Tensor | None
) -> None:
    query, key, value = tensors()
    out, pi = two_part_attention(query, key, value, span, SHARES[name], mask)
    weights, before = reference_weights(query, key, mask, None, span, SHARES[name])
    close(out, apply_weights(weights, value))
    close(pi, before)


@pytest.mark.parametrize("name", SHARES)
def test_the_share_after_is_w_of_the_share_before_and_ratios_inside_stay(name: str) -> None:
    query, key, _ = tensors()
    plain, pi = reference_weights(query, key, causal(), None, RAGGED)
    weights, _ = reference_weights(query, key, causal(), None, RAGGED, SHARES[name])
    inside = RAGGED[:, None, None]
    close((weights * inside).sum(-1), SHARES[name](pi))
    close(weights.sum(-1), torch.ones(3, 6, 5))
    for part in (inside, ~inside):
        inner = plain * part
        ratio = torch.where(inner > 0, weights / plain.clamp(min=1e-30), 0.0)
        top = ratio.amax(-1, keepdim=True)
        close(torch.where(inner > 0, ratio, top), top.expand_as(ratio), 1e-4)


@given(
    st.floats(0.0, 1.0, width=32),
    st.floats(0.0, 1.0, width=32),
    st.sampled_from(["split-softmax", "boost", "spotlight"]),
)
def test_a_share_stays_a_share_and_never_falls(pi: float, strength: float, kind: str) -> None:
    function = share_function(kind, strength if kind != "boost" else 1 + 20 * strength)
    shares = torch.full((1, 2, 1), pi, dtype=torch.float32)
    w = function(shares)
    assert bool(((w >= 0) & (w <= 1)).all())
    assert bool((w >= shares * (1 - 1e-5)).all())


@given(st.floats(0.0, 1.0, width=32))
def test_strengths_that_are_off_give_the_share_back_bit_for_bit(pi: float) -> None:
    shares = torch.tensor([pi, 1e-30, 1e-44, 1 - 2**-24]).reshape(1, 2, 2)
    one = torch.ones(1, 1, 1)
    each: list[ShareFunction] = [SplitSoftmax(one), Boost(one), Spotlight(0 * one)]
    for off in OFF + each:
        assert torch.equal(off(shares), shares)


@pytest.mark.parametrize("pi", [1e-30, 1e-12, 0.3, 1 - 1e-6])
def test_shares_are_as_exact_as_float32_is(pi: float) -> None:
    shares = torch.full((1, 2, 1), pi, dtype=torch.float32)
    exact = shares.double()
    close(SplitSoftmax(0.4)(shares).double() / exact**0.4, torch.ones_like(exact))
    for odds in (1.5, 4.0, 1e30):
        by_hand = odds * exact / (odds * exact + 1 - exact)
        close(Boost(odds)(shares).double() / by_hand, torch.ones_like(exact))
    factor = torch.where(exact < 0.5, 0.5 / exact, 1.0)
    spotlight = factor * exact / (factor * exact + 1 - exact)
    close(Spotlight(0.5)(shares).double() / spotlight, torch.ones_like(exact))


@pytest.mark.parametrize("name", ["split-softmax", "boost", "spotlight"])
def test_no_share_and_all_of_it_stay_what_they_are(name: str) -> None:
    ends = torch.tensor([0.0, 1.0]).reshape(1, 1, 2)
    strongest = share_function(name, {"split-softmax": 0.0, "boost": 1e9, "spotlight": 1.0}[name])
    assert torch.equal(strongest(ends), ends)


def test_spotlight_raises_only_queries_whose_mean_share_is_low() -> None:
    pi = torch.tensor([[[0.1, 0.5], [0.3, 0.7]]])  # means .2 and .6
    w = Spotlight(0.4)(pi)
    assert torch.equal(w[..., 1], pi[..., 1])
    odds = 2.0  # τ / mean
    close(w[..., 0], odds * pi[..., 0] / (odds * pi[..., 0] + 1 - pi[..., 0]))


def test_every_row_may_have_a_strength_of_its_own() -> None:
    query, key, value = tensors()
    strengths = torch.tensor([1.0, 4.0, 9.0])
    span = spans((2, 7), (4, 9), (1, 3))
    together, _ = two_part_attention(query, key, value, span, Boost(strengths[:, None, None]))
    for i, strength in enumerate(strengths.tolist()):
        row = slice(i, i + 1)
        alone, _ = two_part_attention(query[row], key[row], value[row], span[row], Boost(strength))
        close(together[row], alone)


@pytest.mark.parametrize("name", SHARES)
def test_padded_rows_come_out_as_alone(name: str) -> None:
    query, key, value = tensors()
    pads = torch.tensor([0, 3, 6])
    visible = (torch.arange(17) >= pads[:, None])[:, None, None, :] & causal()
    span = spans((2, 7), (5, 9), (8, 9))
    together, _ = two_part_attention(query, key, value, span, SHARES[name], visible)
    for i, pad in enumerate(pads.tolist()):
        row = slice(i, i + 1)
        alone, _ = two_part_attention(
            query[row],
            key[row, :, pad:],
            value[row, :, pad:],
            span[row, pad:],
            SHARES[name],
            causal(keys=17 - pad),
        )
        close(together[row], alone)


@pytest.mark.parametrize("queries", [1, 5, 12, 17])
@pytest.mark.parametrize("columns", [(2, 7), (0, 3), (3, 3)])
def test_slices_know_the_causal_order_without_a_mask(
    queries: int, columns: tuple[int, int]
) -> None:
    query, key, value = tensors(queries=queries)
    near = torch.flip(query, [0])  # what meets the span may be other queries
    steered = torch.arange(17 - queries, 17)[None, None] >= columns[1]
    mask = additive_mask(causal(queries), query)
    for limit in (None, steered):
        arguments = (Queries(query, near, limit), key, value, columns, Boost(3.0))
        out, pi, *_ = sliced_attention(*arguments, causal=True)
        by_mask, share, *_ = sliced_attention(*arguments, mask)
        close(out, by_mask)
        close(pi, share)


def test_queries_that_meet_the_span_may_be_others() -> None:
    query, key, value = tensors()
    near = torch.flip(query, [0])
    mask = additive_mask(causal(), query)
    span = spans(*[(2, 7)] * 3)
    out, pi, *_ = sliced_attention(Queries(query, near), key, value, (2, 7), Boost(3.0), mask)
    weights, share = reference_weights(query, key, causal(), None, span, Boost(3.0), near=near)
    close(out, apply_weights(weights, value))
    close(pi, share)


@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
@pytest.mark.parametrize("gap", [-80.0, 80.0])
def test_a_share_next_to_none_or_all_is_raised_as_any_other(span: Tensor, gap: float) -> None:
    query, key, value = tensors()
    bias = torch.zeros(3, 1, 1, 17).masked_fill(span[:, None, None], gap)
    for share in (SplitSoftmax(0.01), Boost(1e35), Spotlight(0.5)):
        out, pi = two_part_attention(query, key, value, span, share, bias)
        weights, before = reference_weights(query, key, bias, None, span, share)
        close(out, apply_weights(weights, value), 1e-4)
        close(pi, before)
        has = span.any(1)
        if gap < 0:  # π is near 1e-35, and what it becomes is not
            assert bool((pi[has] > 0).all() & (pi[has] < 1e-30).all())
        after = (weights * span[:, None, None]).sum(-1)
        assert bool((after[has] > 0.01).all())
        close(weights.sum(-1), torch.ones(3, 6, 5), 1e-4)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
def test_queries_in_chunks_come_out_as_the_whole(name: str, span: Tensor) -> None:
    query, key, value = tensors()
    whole, pi = two_part_attention(query, key, value, span, SHARES[name], causal())
    for a, b in [(0, 2), (2, 3), (3, 5)]:
        part, before = two_part_attention(
            query[:, :, a:b], key, value, span, SHARES[name], causal()[:, :, a:b]
        )
        close(part, whole[:, :, a:b])
        close(before, pi[..., a:b])


def test_grouped_heads_are_repeated_heads() -> None:
    query, key, value = tensors()
    keys, values = (x.repeat_interleave(3, 1) for x in (key, value))
    out, _ = two_part_attention(query, key, value, RAGGED, Boost(4.0))
    close(out, two_part_attention(query, keys, values, RAGGED, Boost(4.0))[0])


def test_a_span_that_a_mask_hides_has_no_share_and_changes_nothing() -> None:
    query, key, value = tensors()
    window = causal() & (torch.arange(17) > 8)
    out, pi = two_part_attention(query, key, value, ALIGNED, SplitSoftmax(0.2), window)
    assert not pi.any()
    close(out, scaled_dot_product_attention(query, key, value, window, enable_gqa=True))


def test_a_span_of_several_pieces_is_one_part() -> None:
    query, key, value = tensors()
    pieces = spans((1, 3), (1, 3), (1, 3)) | spans((9, 12), (9, 12), (9, 12))
    out, pi = two_part_attention(query, key, value, pieces, Boost(3.0))
    weights, before = reference_weights(query, key, None, None, pieces, Boost(3.0))
    close(out, apply_weights(weights, value))
    close(pi, before)


@pytest.mark.parametrize("columns", [(0, 17), (0, 0), (0, 5), (12, 17)])
def test_a_span_may_be_all_or_nothing_or_at_either_end(columns: tuple[int, int]) -> None:
    query, key, value = tensors()
    span = spans(columns, columns, columns)
    out, pi = two_part_attention(query, key, value, span, Boost(3.0))
    weights, before = reference_weights(query, key, None, None, span, Boost(3.0))
    close(out, apply_weights(weights, value))
    close(pi, before)


def test_a_query_that_sees_nothing_gets_zeros() -> None:
    query, key, value = tensors()
    visible = causal().clone()
    visible[..., 2, :] = False
    for span in (ALIGNED, RAGGED):
        out, pi = two_part_attention(query, key, value, span, Boost(3.0), visible)
        assert not out[:, :, 2].any()
        assert bool(torch.isfinite(out).all() & torch.isfinite(pi).all())
    weights, _ = reference_weights(query, key, visible)
    assert not weights[:, :, 2].any()


def test_additive_and_boolean_masks_mean_the_same() -> None:
    query, key, value = tensors()
    visible = causal()
    bias = torch.zeros(1, 1, 5, 17).masked_fill(~visible, -torch.inf)
    for span in (ALIGNED, RAGGED):
        a, b = (
            two_part_attention(query, key, value, span, Boost(3.0), m)[0] for m in (visible, bias)
        )
        close(a, b)


@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
@pytest.mark.parametrize("gradient", [False, True])
def test_a_mask_may_be_the_same_for_all_keys(span: Tensor, gradient: bool) -> None:
    query, key, value = tensors()
    visible = torch.tensor([True, False, True, True, True])[:, None]
    for mask in (visible, visible.expand(3, 1, 5, 1), torch.tensor(True)):
        reference = two_part_attention(query, key, value, span, Boost(2), mask.expand(3, 6, 5, 17))
        own = query.clone().requires_grad_(gradient)
        result = two_part_attention(own, key, value, span, Boost(2), mask)
        torch.testing.assert_close(result[0], reference[0])
        torch.testing.assert_close(result[1], reference[1])


@pytest.mark.parametrize("sizes", [(0, 5, 17), (3, 0, 17), (3, 5, 0), (0, 0, 0)])
def test_of_nothing_it_is_nothing(sizes: tuple[int, int, int]) -> None:
    query, key, value = tensors(*sizes)
    span = torch.ones(sizes[0], sizes[2], dtype=torch.bool)
    output, pi = two_part_attention(query, key, value, span, "boost:2")
    assert output.shape == query.shape and pi.shape == query.shape[:3]
    assert not output.any() and not pi.any()


def test_scores_are_scaled_as_asked() -> None:
    query, key, value = tensors()
    out, _ = two_part_attention(query, key, value, RAGGED, None, scale=0.7)
    close(out, scaled_dot_product_attention(query, key, value, scale=0.7, enable_gqa=True))


def test_sinks_count_to_the_rest_and_soft_caps_come_before_all() -> None:
    query, key, _ = tensors()
    sinks = torch.linspace(-1, 2, 6)
    weights, pi = reference_weights(
        query, key, causal(), None, RAGGED, Boost(3.0), softcap=1.5, sinks=sinks
    )
    scores = query @ key.repeat_interleave(3, 1).transpose(-1, -2) / 8**0.5
    scores = (1.5 * torch.tanh(scores / 1.5)).masked_fill(~causal(), -torch.inf)
    column = sinks.reshape(1, 6, 1, 1).expand(3, 6, 5, 1)
    matrix = torch.cat([scores, column], -1).softmax(-1)
    inside = torch.cat([RAGGED, torch.zeros(3, 1, dtype=torch.bool)], 1)[:, None, None]
    share = (matrix * inside).sum(-1)
    close(pi, share)
    w = Boost(3.0)(share)
    close((weights * inside[..., :-1]).sum(-1), w)
    rest = (matrix * ~inside)[..., :-1].sum(-1) * (1 - w) / (1 - share)
    close((weights * ~inside[..., :-1]).sum(-1), rest)


@pytest.mark.parametrize("name", SHARES)
def test_gradients_are_those_of_the_reference(name: str) -> None:
    inputs = tensors(dtype=torch.float64)
    leaves = [x.requires_grad_() for x in inputs]
    share = SHARES[name]

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return two_part_attention(query, key, value, RAGGED, share, causal())[0]

    assert torch.autograd.gradcheck(run, leaves, atol=1e-5, fast_mode=True)
    with torch.no_grad():
        close(run(*leaves), two_part_attention(*inputs, RAGGED, share, causal())[0], 1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("span", [ALIGNED, RAGGED])
def test_in_16_bits_it_comes_as_near_as_plain_attention_does(
    span: Tensor, dtype: torch.dtype
) -> None:
    query, key, value = (x.to(dtype) for x in tensors())
    exact, _ = two_part_attention(
        query.float(), key.float(), value.float(), span, Boost(3.0), causal()
    )
    out, pi = two_part_attention(query, key, value, span, Boost(3.0), causal())
    assert (out.dtype, pi.dtype) == (dtype, torch.float32)
    plain = scaled_dot_product_attention(query, key, value, causal(), enable_gqa=True)
    whole = scaled_dot_product_attention(
        query.float(), key.float(), value.float(), causal(), enable_gqa=True
    )
    # Two roundings, of the parts and of the merge, where plain attention has one.
    assert (out - exact).abs().max() <= 2.5 * (plain - whole).abs().max()


def test_nothing_waits_for_the_device_where_a_model_runs() -> None:
    query, key = torch.empty(3, 6, 5, 8, device="meta"), torch.empty(3, 2, 17, 8, device="meta")
    for share in SHARES.values():  # a meta tensor raises when asked for a value
        out, pi, *_ = sliced_attention(Queries(query, query), key, key, (2, 7), share, causal=True)
        assert (out.shape, pi.shape) == (query.shape, query.shape[:3])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 17), st.integers(0, 17), st.integers(1, 6), st.integers(0, 99))
def test_any_span_and_number_of_queries_equals_the_reference(
    a: int, b: int, queries: int, seed: int
) -> None:
    query, key, value = tensors(queries=queries, seed=seed)
    span = spans((min(a, b), max(a, b)), (0, a), (b, 17))
    mask = causal(queries)
    out, pi = two_part_attention(query, key, value, span, SplitSoftmax(0.5), mask)
    weights, before = reference_weights(query, key, mask, None, span, SplitSoftmax(0.5))
    close(out, apply_weights(weights, value), 1e-4)
    close(pi, before, 1e-4)


def test_a_share_may_be_named_by_its_text() -> None:
    query, key, value = tensors()
    by_name, _ = two_part_attention(query, key, value, RAGGED, "split-softmax:0.4")
    assert torch.equal(by_name, two_part_attention(query, key, value, RAGGED, SplitSoftmax(0.4))[0])
    plain, _ = two_part_attention(query, key, value, RAGGED, None)
    assert torch.equal(two_part_attention(query, key, value, RAGGED, "none")[0], plain)


@pytest.mark.parametrize("text", ["anchor", "window:3", "boost:2+reminder:1", "boost:2@layers=1"])
def test_what_is_more_than_a_share_is_refused(text: str) -> None:
    with pytest.raises(ControlError, match=r"share function|layers"):
        two_part_attention(*tensors(), RAGGED, text)
    with pytest.raises(ControlError, match="no share function"):
        share_function("anchor", 1.0)


@pytest.mark.parametrize("takes_own", [False, True])
def test_restore_gives_the_share_without_earlier_turns_as_far_as_there_is_some_to_take(
    takes_own: bool,
) -> None:
    query, key, _ = tensors()
    span, inside = ALIGNED, ALIGNED[:, None, None]
    earlier, own = torch.zeros(2, 3, 5, span.shape[1], dtype=torch.bool)
    earlier[:, :, 7:12] = own[:, :, 9:12] = True
    bias = torch.zeros(earlier.shape).masked_fill(earlier, -torch.inf)[:, None]
    _, empty = reference_weights(query, key, bias, None, span)
    plain, pi = reference_weights(query, key, None, None, span)
    turns = TurnKeys(earlier, own, torch.tensor([[[takes_own]]]))
    weights, _ = reference_weights(query, key, None, None, span, Restore(0.8), turns=turns)
    shift = torch.maximum(pi, 0.8 * empty) - pi
    if takes_own:
        shift = torch.minimum(shift, (plain * own[:, None]).sum(-1))
        others = ~(inside | own[:, None])
        close(weights * others, plain * others)
    assert (shift > 1e-3).any()
    close((weights * inside).sum(-1), pi + shift)
    close(weights.sum(-1), torch.ones(3, 6, 5))


def test_restore_needs_turns_that_one_attention_does_not_know() -> None:
    query, key, value = tensors()
    with pytest.raises(ControlError, match="depends on turns"):
        two_part_attention(query, key, value, ALIGNED, "restore:1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": torch.zeros(2, 2, 4, 8)}, "key and value differ only in their last"),
        ({"span_mask": torch.zeros(2, 3, dtype=torch.bool)}, r"not \(2, 3\)"),
        ({"span_mask": torch.zeros(2, 5)}, "of booleans"),
        (dict.fromkeys(("key", "value"), torch.zeros(2, 3, 5, 8)), "key heads divide query heads"),
        (dict.fromkeys(("key", "value"), torch.zeros(1, 2, 5, 8)), "the same rows"),
        (dict.fromkeys(("key", "value"), torch.zeros(2, 2, 5, 6)), "head size"),
        ({"query": torch.zeros(4, 1, 8)}, "query has four dimensions"),
        ({"attn_mask": torch.ones(2, 1, 1, 4, dtype=torch.bool)}, r"broadcasts to \(2, 4, 1, 5\)"),
        ({"attn_mask": torch.ones(2, 1, 1, 5, dtype=torch.long)}, "of torch.int64"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused_with_their_shapes(
    changes: dict[str, Tensor], message: str
) -> None:
    tensors = {"query": torch.zeros(2, 4, 1, 8), "span_mask": torch.zeros(2, 5, dtype=torch.bool)}
    tensors |= dict.fromkeys(("key", "value"), torch.zeros(2, 2, 5, 8))
    two_part_attention(**tensors, share=None)
    with pytest.raises(ShapeError, match=message):
        two_part_attention(**{**tensors, **changes}, share=None)
