"""One attention with its log-sum-exp, on the fused kernel of each device.

    attend(q, K, V) = softmax(q·Kᵀ·scale + mask) · V,   log Σ exp(q·Kᵀ·scale + mask)

With the log-sum-exp, attentions over different keys can be joined afterwards. The CPU's flash
kernel is used as it is, and so is CUDA's where nothing is masked; CUDA's memory-efficient
kernel takes masks. Where none of them can be used (other devices, odd shapes, or a gradient is
needed, which their log-sum-exp does not carry), the matrix of scores is made in float32. The
CUDA branch has been traced on fake tensors, but it has not been run on a GPU yet.

This module knows tensors. It knows no spans and no shares.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import torch
from torch import Tensor
from torch.backends import cuda
from torch.nn.functional import pad

# Up to so many queries the CPU's kernel gains from stacked heads; beyond, masks are copied.
_FEW = 256
# So many heads that share keys are worth stacking for single queries: a query alone is a product
# of a matrix and a vector, which the kernel starts in a third of the time.
_HEADS = 5


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    scale: float | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """One attention with its log-sum-exp.

    Args:
        query: (B, H, Lq, D).
        key: (B, Hkv, Lk, D); Hkv divides H.
        value: (B, Hkv, Lk, D).
        mask: additive in the query's dtype, (B or 1, H or 1, Lq or 1, Lk).
        scale: what scores are multiplied by; by default 1/√D.
        causal: without a mask, the queries are the last tokens of the sequence and see what
            is before them. Otherwise they see all keys.

    Returns:
        The output (B, H, Lq, D), and the log-sum-exp (B, H, Lq) in float32. A query that sees
        nothing gets zeros and -inf.
    """
    rows, heads, queries, size = query.shape
    if 0 in (rows, queries, key.shape[2]):  # the kernels divide by them
        empty = query.new_zeros(rows, heads, queries, value.shape[3])
        return empty, in_float32(empty.new_full(empty.shape[:3], -torch.inf))
    causal = causal and mask is None and queries > 1
    if size != value.shape[3] or needs_gradient(query, key, value):
        return _plain(query, key, value, mask, scale, causal)
    if query.device.type == "cpu":
        return _on_cpu(query, key, value, mask, scale, causal)
    if query.device.type == "cuda":
        return _on_cuda(query, key, value, mask, scale, causal)
    return _plain(query, key, value, mask, scale, causal)


def attend_only(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """`attend` without its log-sum-exp, for queries that see at least one key."""
    odd = query.shape[3] != value.shape[3] or needs_gradient(query, key, value)
    if odd or query.device.type != "cpu":
        return attend(query, key, value, mask, scale)[0]
    return _attend_stacked(query, key, value, mask, scale, False)[0]


def join_attentions(
    out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Join two attentions of the same queries into the one over the keys of both."""
    output = torch.lerp(in_float32(out_b), in_float32(out_a), share_of(lse_a, lse_b)[..., None])
    return output.to(out_a.dtype), torch.logaddexp(lse_a, lse_b)


def share_of(lse_a: Tensor, lse_b: Tensor) -> Tensor:
    """The share of a's keys in the attention to a's and b's; 0 where a query sees neither."""
    return torch.sigmoid(lse_a - lse_b).nan_to_num(nan=0.0)


def _on_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float | None,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    queries, keys = query.shape[2], key.shape[2]
    if causal and queries != keys:  # the kernel's own causal mask begins at the first key
        if queries > keys:
            return _on_cpu(query, key, value, causal_mask(queries, keys, query), scale, False)
        past = keys - queries
        before = _on_cpu(query, key[:, :, :past], value[:, :, :past], None, scale, False)
        own = _on_cpu(query, key[:, :, past:], value[:, :, past:], None, scale, True)
        return join_attentions(*before, *own)
    output, lse = _attend_stacked(query, key, value, mask, scale, causal)
    return output, _lse_where_visible(lse, mask)


def _attend_stacked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float | None,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    """The CPU's kernel, whose log-sum-exp is not -inf where a query sees nothing."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    (rows, heads, queries, size), keys = query.shape, key.shape[2]
    # The kernel reads and packs a key once for each head that meets it. Stacked, the queries of
    # a group's heads count as one head's.
    group_size = heads // key.shape[1]
    slow = queries == 1 and query.dtype == torch.bfloat16 and not _multiplies_tiles()
    pays = queries <= _FEW if queries > 1 else slow or group_size >= _HEADS
    stack = group_size if pays and not causal else 1
    if slow and stack == 1:  # a query that is asked twice is not alone
        output, lse = _attend_stacked(query.expand(-1, -1, 2, -1), key, value, mask, scale, False)
        return output[:, :, :1], lse[:, :, :1]
    stacked = query.reshape(rows, heads // stack, stack * queries, size)
    visible = None if mask is None else _stack_mask(mask, stack, queries).expand(rows, -1, -1, keys)
    output, lse = kernel(stacked, key, value, is_causal=causal, attn_mask=visible, scale=scale)
    return output.reshape(query.shape), lse.reshape(query.shape[:3])


@cache
def _multiplies_tiles() -> bool:
    """Whether this processor has AMX. Without it a lone bfloat16 query takes the kernel three to
    six times as long as two."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _stack_mask(mask: Tensor, stack: int, queries: int) -> Tensor:
    """A mask for the queries of `stack` heads as those of one: (…, stack · Lq, Lk)."""
    rows, heads, _, keys = mask.shape
    each = mask.expand(rows, heads if heads > 1 else stack, queries, keys)
    return each.reshape(rows, -1, stack * queries, keys)


def _lse_where_visible(lse: Tensor, mask: Tensor | None) -> Tensor:
    """The log-sum-exp, -inf where a query sees nothing; kernels return other numbers there."""
    return lse if mask is None else lse.masked_fill(mask.amax(-1).isneginf(), -torch.inf)


def _on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float | None,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    """The flash kernel without a mask or under a causal one, else the efficient kernel."""
    queries, keys = query.shape[2], key.shape[2]
    if mask is None and queries <= keys and takes_flash(query, key, value):
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        # Its causal mask ends at the last key, whatever the number of queries.
        output, lse, *_ = flash(query, key, value, 0.0, causal, False, scale=scale)
        return output, lse
    if query.shape[3] % 8:
        return _plain(query, key, value, mask, scale, causal)
    mask = causal_mask(queries, keys, query) if causal else mask
    bias = None
    if mask is not None:
        # The kernel reads biases in steps of eight: make a longer one, and cut its rows to size.
        padded = pad(mask.expand(-1, -1, queries, keys), (0, 8 - keys % 8))
        bias = padded[..., :keys].expand(*query.shape[:3], keys)
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    output, lse, *_ = efficient(query, key, value, bias, True, scale=scale)
    lse = _lse_where_visible(lse[..., :queries], mask)
    return output.masked_fill(lse.isneginf()[..., None], 0.0), lse


def takes_flash(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether CUDA's flash kernel takes these: 16 bits, heads of up to 256, a recent GPU."""
    if query.dtype not in (torch.float16, torch.bfloat16) or query.shape[3] % 8:
        return False
    grouped = query.shape[1] != key.shape[1]
    parameters = cuda.SDPAParams(query, key, value, None, 0.0, False, grouped)
    return bool(cuda.can_use_flash_attention(parameters))


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float | None,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    mask = causal_mask(query.shape[2], key.shape[2], query) if causal else mask
    score = attention_scores(query, key, scale)
    score = score if mask is None else score + mask
    lse = logsumexp(score)
    weights = (score - lse.masked_fill(lse.isneginf(), 0.0)[..., None]).exp()
    return apply_weights(weights.to(value.dtype), value), lse


def logsumexp(score: Tensor) -> Tensor:
    """Over the last dimension; -inf where all are, with no gradient there instead of NaN."""
    nothing = score.amax(-1, keepdim=True).isneginf()
    total = score.masked_fill(nothing, 0.0).logsumexp(-1)
    return total.masked_fill(nothing[..., 0], -torch.inf)


def causal_mask(queries: int, keys: int, like: Tensor) -> Tensor:
    """The causal mask of a sequence's last queries, additive: (1, 1, Lq, Lk)."""
    place = torch.arange(keys - queries, keys, device=like.device)[:, None]
    visible = torch.arange(keys, device=like.device) <= place
    return cast(Tensor, additive_mask(visible, like))


def additive_mask(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask to be added to scores, in the dtype of `like`, with four dimensions."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill_(
            ~mask, -torch.inf
        )
    shape = (1,) * (4 - mask.dim()) + tuple(mask.shape)
    return mask.reshape(shape).to(like.dtype)


def attention_scores(query: Tensor, key: Tensor, scale: float | None) -> Tensor:
    """Scaled scores (B, H, Lq, Lk) in float32, keys not repeated."""
    rows, heads, queries, size = query.shape
    stacked = in_float32(query).reshape(rows, key.shape[1], -1, size)
    product = stacked @ in_float32(key).transpose(-1, -2)
    return product.reshape(rows, heads, queries, -1) * (size**-0.5 if scale is None else scale)


def apply_weights(weights: Tensor, value: Tensor) -> Tensor:
    """Weights (B, H, Lq, Lk) times grouped values (B, Hkv, Lk, D): (B, H, Lq, D)."""
    rows, heads, queries, keys = weights.shape
    product = weights.reshape(rows, value.shape[1], -1, keys) @ value
    return product.reshape(rows, heads, queries, -1)


def in_float32(x: Tensor) -> Tensor:
    """In float32, or in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether any of them needs a gradient."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
