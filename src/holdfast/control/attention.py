"""Two-part attention: the persona's keys and the rest, merged by their log-sum-exps.

For a query, split its keys into the persona's span P and the rest R. Each part is an
attention of its own that also returns its log-sum-exp:

    o_P, l_P = attention(q, K_P, V_P)        o_R, l_R = attention(q, K_R, V_R)
    π = sigmoid(l_P - l_R)                   out = w(π)·o_P + (1 - w(π))·o_R

With w(π) = π this is plain attention, exactly. A *share function* maps π to another w;
the ratios inside each part stay what they were. π and the merge are in float32 (in
float64 where the model is).

Both parts run on the fused kernel of the device (`kernels`), so no matrix of queries × keys
is made. Where a gradient is needed, `reference_attention` makes it.

This module knows tensors. It knows no tokens, no layers and no models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.control.kernels import (
    additive_mask,
    apply_weights,
    attend,
    causal_mask,
    in_float32,
    join_attentions,
    needs_gradient,
    share_of,
)
from holdfast.control.reference_attention import reference_weights
from holdfast.control.share_functions import ShareFunction, TurnFunction, parse_share
from holdfast.core.errors import ShapeError


def two_part_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    span_mask: Tensor,
    share: ShareFunction | str | None,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention in which the span's share π of every query's attention becomes w(π).

    Differentiable: where a gradient is needed the reference runs instead of the fused kernels,
    whose log-sum-exp carries none.

    Args:
        query: (B, H, Lq, D).
        key: (B, Hkv, Lk, D); Hkv divides H.
        value: (B, Hkv, Lk, D).
        span_mask: which keys are the span, (B, Lk) of booleans.
        share: a share function, its text ("split-softmax:0.7"), or None for the identity.
        attn_mask: boolean (True may be seen) or additive; broadcasts to (B, H, Lq, Lk). By
            default every query sees every key.
        scale: what scores are multiplied by; by default 1/√D.

    Returns:
        The output (B, H, Lq, D), and π before, (B, H, Lq) in float32. A query that sees
        nothing gets zeros.

    Raises:
        ShapeError: the tensors' shapes, or a mask's dtype, are not these.
        ControlError: there is no share function of that text.
    """
    _check_shapes(query, key, value, span_mask, attn_mask)
    if isinstance(share, str):
        share = parse_share(share)
    if needs_gradient(query, key, value):
        weights, pi = reference_weights(query, key, attn_mask, scale, span_mask, share)
        return apply_weights(weights.to(value.dtype), value), pi
    mask = additive_mask(attn_mask, query)
    if mask is not None:  # parts of its keys are taken
        mask = mask.expand(-1, -1, -1, key.shape[2])
    span = _common_span(span_mask)
    if span is not None:
        return sliced_attention(Queries(query, query), key, value, span, share, mask, scale)[:2]
    places, inside = find_places(span_mask)
    mask_p, mask_r = split_mask(mask, query, places, inside, span_mask)
    o_p, l_p = attend(
        query, gather_columns(key, places), gather_columns(value, places), mask_p, scale
    )
    o_r, l_r = attend(query, key, value, mask_r, scale)
    return merge(o_p, l_p, o_r, l_r, share)[:2]


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, span_mask: Tensor, attn_mask: Tensor | None
) -> None:
    """Raise `ShapeError` where the tensors of `two_part_attention` do not belong together."""

    def shape(tensor: Tensor) -> str:
        return str(tuple(tensor.shape))

    for name, tensor in {"query": query, "key": key, "value": value}.items():
        if tensor.dim() != 4:
            raise ShapeError(f"{name} has four dimensions, not {shape(tensor)}.")
    if key.shape[:3] != value.shape[:3]:
        raise ShapeError(
            f"key and value differ only in their last dimension, unlike {shape(key)} and "
            f"{shape(value)}."
        )
    fits = query.shape[0] == key.shape[0] and query.shape[3] == key.shape[3]
    if not fits or not key.shape[1] or query.shape[1] % key.shape[1]:
        raise ShapeError(
            "query and key have the same rows and head size, and key heads divide query heads, "
            f"unlike {shape(query)} and {shape(key)}."
        )
    rows, keys = key.shape[0], key.shape[2]
    if span_mask.shape != (rows, keys) or span_mask.dtype != torch.bool:
        raise ShapeError(
            f"span_mask is of booleans and {(rows, keys)} for these keys, not {shape(span_mask)} "
            f"of {span_mask.dtype}."
        )
    if attn_mask is None:
        return
    whole = (*query.shape[:3], keys)
    mask = tuple(attn_mask.shape)
    broadcasts = len(mask) <= 4 and all(
        own in (1, other) for own, other in zip(mask[::-1], whole[::-1], strict=False)
    )
    if not broadcasts or not (attn_mask.dtype == torch.bool or attn_mask.is_floating_point()):
        raise ShapeError(
            f"attn_mask is boolean or additive and broadcasts to {whole}, unlike {mask} of "
            f"{attn_mask.dtype}."
        )


def _common_span(span: Tensor) -> tuple[int, int] | None:
    """The columns [a, b) that are every row's span, or None where rows or runs differ."""
    if not bool((span == span[:1]).all()):
        return None
    at = span[:1].nonzero()[:, 1].tolist()
    if not at:
        return 0, 0
    return (at[0], at[-1] + 1) if at[-1] - at[0] == len(at) - 1 else None


def find_places(span: Tensor) -> tuple[Tensor, Tensor]:
    """Places of each row's span (B, Lk), as many as the longest has, and which are its own: (B, n).

    Shorter rows are filled up with other places.
    """
    counts = span.sum(1)
    places = span.int().argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
    return places, torch.arange(places.shape[1], device=places.device) < counts[:, None]


def gather_columns(states: Tensor, places: Tensor) -> Tensor:
    """Each row's keys or values at its `places` (B, n), (B, Hkv, n, D)."""
    rows = torch.arange(states.shape[0], device=states.device)[:, None, None]
    heads = torch.arange(states.shape[1], device=states.device)[:, None]
    # Indexing copies whole vectors, in a quarter of the time that `gather` takes in 16 bits.
    return states[rows, heads, places.to(states.device)[:, None]]


def split_mask(
    mask: Tensor | None, like: Tensor, places: Tensor, inside: Tensor, span: Tensor
) -> tuple[Tensor, Tensor]:
    """A mask as two: of the span's keys, gathered, and of the rest.

    Args:
        mask: additive, with four dimensions; None where all keys are seen.
        like: a tensor of the masks' dtype and device.
        places: where the gathered keys are, (B, n).
        inside: which of these are keys of the row's span, (B, n).
        span: which keys are the span, (B, Lk).

    Returns:
        Two additive masks, (B, 1 or H, 1 or Lq, n) and (…, Lk).
    """
    rows, keys = span.shape
    full = like.new_zeros(1, 1, 1, keys) if mask is None else mask
    full = full.expand(rows, *full.shape[1:3], keys)
    index = places.to(like.device)[:, None, None].expand(*full.shape[:3], -1)
    outside = ~inside.to(like.device)[:, None, None]
    of_span = full.gather(3, index).masked_fill(outside, -torch.inf)
    return of_span, full.masked_fill(span.to(like.device)[:, None, None], -torch.inf)


class Merge(NamedTuple):
    """The attention to the span (P) and to the rest (R) as one."""

    output: Tensor
    """(B, H, Lq, D)."""
    before: Tensor
    """The span's share π before, (B, H, Lq) in float32, as all that follows."""
    persona: Tensor
    """The share after: what weighs the softmax over P."""
    rest: Tensor
    """What weighs the softmax over R."""
    lse_p: Tensor
    lse_r: Tensor


@dataclass(frozen=True)
class Queries:
    """The queries of one two-part attention."""

    rest: Tensor
    """Those that meet the rest, (B, H, Lq, D)."""
    span: Tensor
    """Those that meet the span, of the same shape; turned back under anchor."""
    steered: Tensor | None = None
    """Whose share changes, (…, Lq) of booleans; None for all."""

    def part(self, start: int, end: int) -> Queries:
        """The queries from `start` up to `end`."""
        steered = None if self.steered is None else self.steered[..., start:end]
        return Queries(self.rest[:, :, start:end], self.span[:, :, start:end], steered)


def sliced_attention(
    queries: Queries,
    key: Tensor,
    value: Tensor,
    span: tuple[int, int],
    share: ShareFunction | None,
    mask: Tensor | None = None,
    scale: float | None = None,
    causal: bool = False,
) -> Merge:
    """Two-part attention where all rows have the span in the same columns: no key is copied.

    Args:
        queries: (B, H, Lq, D) each.
        key: (B, Hkv, Lk, D).
        value: (B, Hkv, Lk, D).
        span: the span's columns [start, end).
        share: what becomes of π; None leaves it.
        mask: additive, with four dimensions.
        scale: what scores are multiplied by; by default 1/√D.
        causal: without a mask, the queries are the last tokens of the sequence and see what
            is before them. Otherwise they see all keys.
    """
    end, count = span[1], queries.rest.shape[2]
    # Queries in the span or before it see no key after it.
    early = end + count - key.shape[2] if causal and mask is None else 0
    if early <= 0:
        return _merge_slices(queries, key, value, span, share, mask, scale, causal)
    up_to_end = causal_mask(early, end, queries.rest)
    first = _merge_slices(
        queries.part(0, early), key[:, :, :end], value[:, :, :end], span, share, up_to_end, scale
    )
    later = queries.part(early, count)
    after = _merge_slices(later, key, value, span, share, None, scale, causal)
    return Merge(*(torch.cat(both, 2) for both in zip(first, after, strict=True)))


def _merge_slices(
    queries: Queries,
    key: Tensor,
    value: Tensor,
    span: tuple[int, int],
    share: ShareFunction | None,
    mask: Tensor | None,
    scale: float | None,
    causal: bool = False,
) -> Merge:
    """The attentions to the keys before, in and after the span, merged."""

    def attend_to(query: Tensor, a: int, b: int, ends: bool = False) -> tuple[Tensor, Tensor]:
        part = None if mask is None else mask[..., a:b]
        return attend(query, key[:, :, a:b], value[:, :, a:b], part, scale, ends)

    start, end = span
    rest = attend_to(queries.rest, end, key.shape[2], causal)
    if start:
        rest = join_attentions(*attend_to(queries.rest, 0, start), *rest)
    return merge(*attend_to(queries.span, start, end), *rest, share, queries.steered)


def merge(
    out_p: Tensor,
    lse_p: Tensor,
    out_r: Tensor,
    lse_r: Tensor,
    share: ShareFunction | None = None,
    steered: Tensor | None = None,
) -> Merge:
    """Merge the attention to the span (P) with the attention to the rest (R).

    Args:
        out_p: output of P, (B, H, Lq, D).
        lse_p: log-sum-exp of P, (B, H, Lq) in float32.
        out_r: output of R.
        lse_r: log-sum-exp of R.
        share: what becomes of π; None leaves it.
        steered: for which queries it does, broadcast to π; None for all.
    """
    pi = share_of(lse_p, lse_r)
    w = pi if share is None else share(pi)
    if steered is not None and share is not None:
        w = torch.where(steered, w, pi)
    output = torch.lerp(in_float32(out_r), in_float32(out_p), w[..., None])
    return Merge(output.to(out_p.dtype), pi, w, 1 - w, lse_p, lse_r)


Attention = tuple[Tensor, Tensor]
"""What `attend` returns: the output (B, H, Lq, D), and the log-sum-exp (B, H, Lq)."""


def merge_turns(
    persona: Attention,
    later: Attention,
    earlier: tuple[Attention, Attention] | None,
    share: TurnFunction,
    takes: Tensor | None = None,
    steered: Tensor | None = None,
) -> Merge:
    """Merge four parts where the persona's share depends on earlier turns (`restore`).

    Args:
        persona: the attention to the persona.
        later: to the query's own turn, and to what is before the first.
        earlier: to the model's own earlier replies, and to what else is in earlier turns; None
            where there are none.
        share: what becomes of π, given the part of the rest that is `later`.
        takes: rows and heads that take from own replies alone, (B, H or 1, 1), where the others
            take from all three; None for all.
        steered: whose share changes, (B, 1, Lq); None for all.

    Returns:
        The merge, whose `rest` is not that of own replies, which give what the persona gains.
    """
    outputs, lses = zip(persona, later, *(earlier or ()), strict=True)
    lse_p, lse_r = lses[0], reduce(torch.logaddexp, lses[1:])
    of_rest = (torch.stack(lses[1:]) - lse_r).clamp(max=0).nan_to_num(nan=0.0).exp()
    pi = share_of(lse_p, lse_r)
    w = share(pi, of_rest[0])
    if steered is not None:
        w = torch.where(steered, w, pi)
    # The share before own replies give: what is taken from all three parts is there already.
    base = pi if takes is None else torch.where(takes, pi, w)
    remainder = 1 - base
    weights = [base, *(remainder * of_rest)]
    if earlier is not None:
        shift = torch.minimum(w - base, weights[2])
        weights[0], weights[2] = base + shift, weights[2] - shift
    output = (torch.stack(weights)[..., None] * in_float32(torch.stack(outputs))).sum(0)
    return Merge(output.to(persona[0].dtype), pi, weights[0], remainder, lse_p, lse_r)
