"""Two-part attention: the persona's keys and the rest, merged by their log-sum-exps.

For a query, split its keys in the persona's span P and the rest R. Each part is an
attention of its own that also returns its log-sum-exp:

    o_P, l_P = attention(q, K_P, V_P)        o_R, l_R = attention(q, K_R, V_R)
    π = sigmoid(l_P - l_R)                   out = w(π)·o_P + (1 - w(π))·o_R

With w(π) = π this is plain attention, exactly. A *share function* maps π to another w;
the ratios inside each part stay what they were. π and the merge are in float32 (in
float64 where the model is).

Both parts run on the fused kernel of the device, so nothing of the size queries × keys is
made. `plain_weights` is the reference that does make it: differentiable, and the only
one that knows soft-capping and sinks. The CUDA branch has not been run on a GPU yet.

This module knows tensors. It knows no tokens, no layers and no models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import ControlError

ShareFunction = Callable[[Tensor], Tensor]
_TINY = 1e-30  # below any share that float32 can tell from none


def _inside(pi: Tensor, w: Tensor) -> Tensor:
    """w where there is something to share out; a part that sees all, or nothing, keeps it."""
    return torch.where((pi > 0) & (pi < 1), w, pi)


def _multiplied(pi: Tensor, odds: Tensor | float) -> Tensor:
    """The share whose odds π / (1 - π) are `odds` times as high; π itself, bit for bit, at 1."""
    raised = odds * pi / (odds * pi + (1 - pi))
    return torch.where(torch.as_tensor(odds, device=pi.device) == 1, pi, raised)


@dataclass(frozen=True)
class SplitSoftmax:
    """w = π^k, 0 ≤ k ≤ 1; k = 1 is off (Li et al. 2402.10962, eq. in section 6)."""

    k: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        """Shares (B, H, Lq) of the same shape; `k` may be (B, 1, 1), one for each row."""
        # At 0 the power has no slope, and a gradient would be NaN although nothing comes of it.
        return _inside(pi, pi.clamp(min=_TINY) ** self.k)


@dataclass(frozen=True)
class Boost:
    """w = Mπ / (Mπ + 1 - π), M ≥ 1; M = 1 is off (InstABoost 2506.13734)."""

    m: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        """Shares (B, H, Lq) of the same shape; `m` may be (B, 1, 1), one for each row."""
        return _inside(pi, _multiplied(pi, self.m))


@dataclass(frozen=True)
class Spotlight:
    """Odds times τ / mean where a query's mean of π over heads is below τ (2505.12025).

    τ = 0 is off. SpotLight's own code also averages over queries; here each query stands
    for itself, so that a prompt in chunks comes out as the whole.
    """

    tau: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        """Shares (B, H, Lq) of the same shape; `tau` may be (B, 1, 1), one for each row."""
        mean = pi.mean(1, keepdim=True)
        low = (mean < self.tau) & (mean > 0)
        odds = torch.where(low, self.tau / mean.clamp(min=_TINY), torch.ones_like(mean))
        return _inside(pi, _multiplied(pi, odds))


def share_function(kind: str, strength: float | Tensor) -> ShareFunction:
    """The share function of a name. Raises `ControlError` for another."""
    match kind:
        case "split-softmax":
            return SplitSoftmax(strength)
        case "boost":
            return Boost(strength)
        case "spotlight":
            return Spotlight(strength)
    raise ControlError(f"there is no share function `{kind}`: split-softmax, boost or spotlight.")


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

    query (B, H, Lq, D), key and value (B, Hkv, Lk, D) with Hkv dividing H, span_mask
    (B, Lk) boolean; `share` a share function, its text ("split-softmax:0.7") or None for
    the identity. `attn_mask` is boolean (True may be seen) or additive, and broadcasts to
    (B, H, Lq, Lk); None lets every query see every key. Returns the output (B, H, Lq, D)
    and the share before, π (B, H, Lq) in float32. A query that sees nothing gets zeros.

    Differentiable: where a gradient is wanted the reference runs instead of the fused
    kernels, whose log-sum-exp carries none.
    """
    if isinstance(share, str):
        share = _parsed(share)
    if differentiates(query, key, value):
        weights, pi = plain_weights(query, key, attn_mask, scale, span_mask, share)
        return applied(weights.to(value.dtype), value), pi
    mask = additive(attn_mask, query)
    columns = _columns(span_mask)
    if columns is not None:
        return sliced(query, query, key, value, mask, scale, columns, share)
    counts = span_mask.sum(1)
    # The span's columns first, as many as the longest row's has, the shorter filled up.
    order = torch.argsort(span_mask.int(), dim=1, descending=True, stable=True)
    places = order[:, : int(counts.max())]
    inside = torch.arange(places.shape[1], device=places.device) < counts[:, None]
    at_p, at_r = parted(mask, query, places, inside, span_mask)
    o_p, l_p = attend(query, taken(key, places), taken(value, places), at_p, scale)
    o_r, l_r = attend(query, key, value, at_r, scale)
    return merge(o_p, l_p, o_r, l_r, share)


def _parsed(text: str) -> ShareFunction | None:
    from holdfast.control import parse

    control = parse(text)
    part = control.share
    if control.anchor or control.window or control.reminder or control.guidance:
        raise ControlError(f"`{text}` is more than a share function: use split-softmax:0.7, say.")
    if part is not None and (part.layers or part.heads):
        raise ControlError(f"`{text}` names layers or heads, which one attention does not know.")
    return None if part is None else share_function(part.kind, part.strength)


def _columns(span: Tensor) -> tuple[int, int] | None:
    """The columns [a, b) that are every row's span, or None where rows or runs differ."""
    if not bool((span == span[:1]).all()):
        return None
    at = span[0].nonzero()[:, 0].tolist()
    if not at:
        return 0, 0
    return (at[0], at[-1] + 1) if at[-1] - at[0] == len(at) - 1 else None


def taken(states: Tensor, places: Tensor) -> Tensor:
    """Each row's keys or values at its `places` (B, n), (B, Hkv, n, D)."""
    shape = (-1, states.shape[1], -1, states.shape[3])
    return states.gather(2, places.to(states.device)[:, None, :, None].expand(shape))


def parted(
    mask: Tensor | None, query: Tensor, places: Tensor, inside: Tensor, span: Tensor
) -> tuple[Tensor, Tensor]:
    """What queries may see of the span, taken at `places` where `inside`, and of the rest.

    Both additive: (B, 1 or H, 1 or Lq, n) and (…, Lk). `mask` is additive with four
    dimensions, or None.
    """
    rows, keys = span.shape
    full = query.new_zeros(1, 1, 1, keys) if mask is None else mask
    full = full.expand(rows, *full.shape[1:3], keys)
    index = places.to(query.device)[:, None, None].expand(*full.shape[:3], -1)
    hidden = ~inside.to(query.device)[:, None, None]
    at_p = full.gather(3, index).masked_fill(hidden, -torch.inf)
    return at_p, full.masked_fill(span.to(query.device)[:, None, None], -torch.inf)


def sliced(
    query: Tensor,
    near: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float | None,
    columns: tuple[int, int],
    share: ShareFunction | None,
    steered: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Two-part attention where all rows have the span in the same columns: no key is copied.

    `near` are the queries that meet the span, `query` those that meet the rest. Returns
    as `merge` does.
    """
    start, end = columns

    def part(q: Tensor, a: int, b: int) -> tuple[Tensor, Tensor]:
        seen = None if mask is None else mask[..., a:b]
        return attend(q, key[:, :, a:b], value[:, :, a:b], seen, scale)

    o_r, l_r = part(query, end, key.shape[2])
    if start:
        head = part(query, 0, start)
        o_r, l_r = merge(*head, o_r, l_r)[0], torch.logaddexp(head[1], l_r)
    return merge(*part(near, start, end), o_r, l_r, share, steered)


def merge(
    out_p: Tensor,
    lse_p: Tensor,
    out_r: Tensor,
    lse_r: Tensor,
    share: ShareFunction | None = None,
    steered: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Two parts as one: the output (B, H, Lq, D), and π (B, H, Lq) of the first in float32.

    Where `steered` (broadcast to π) is False the share stays what it is.
    """
    pi = torch.sigmoid(lse_p - lse_r).masked_fill(lse_p.isneginf(), 0.0)
    w = pi if share is None else share(pi)
    if steered is not None and share is not None:
        w = torch.where(steered, w, pi)
    merged = torch.lerp(_wide(out_r), _wide(out_p), w[..., None])
    return merged.to(out_p.dtype), pi


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """One attention with its log-sum-exp: output (B, H, Lq, D), and (B, H, Lq) in float32.

    Heads may be grouped. `mask` is additive in the query's dtype, (B or 1, H or 1, Lq or
    1, Lk); None lets all see all. A query that sees nothing gets zeros and -inf.
    """
    rows, heads, queries, _ = query.shape
    if key.shape[2] == 0:
        empty = query.new_zeros(rows, heads, queries, value.shape[3])
        return empty, _wide(empty.new_full(empty.shape[:3], -torch.inf))
    if query.shape[3] != value.shape[3] or differentiates(query, key, value):
        return _plain(query, key, value, mask, scale)
    if query.device.type == "cpu":
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        shape = (rows, mask.shape[1], queries, key.shape[2]) if mask is not None else ()
        seen = mask.expand(shape) if mask is not None else None
        output, lse = fused(query, key, value, attn_mask=seen, scale=scale)
    elif query.device.type == "cuda":
        output, lse = _on_cuda(query, key, value, mask, scale)
    else:
        return _plain(query, key, value, mask, scale)
    if mask is not None:  # the kernels say 0 for the log-sum-exp of nothing
        lse = lse.masked_fill(mask.amax(-1).isneginf(), -torch.inf)
    return output, lse


def _on_cuda(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """The flash kernel where nothing is masked, else the memory-efficient one."""
    if mask is None and query.dtype in (torch.float16, torch.bfloat16):
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        output, lse, *_ = flash(query, key, value, 0.0, False, False, scale=scale)
        return output, lse
    groups, keys = query.shape[1] // key.shape[1], key.shape[2]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    if mask is not None:
        # The kernel reads biases in steps of eight: rows of a longer one, cut to size.
        wide = mask.new_zeros(*query.shape[:3], -(-keys // 8) * 8)
        wide[..., :keys] = mask
        mask = wide[..., :keys]
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    output, lse, *_ = efficient(query, key, value, mask, True, scale=scale)
    return output, lse[..., : query.shape[2]]


def _plain(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    scores = _scores(query, key, scale)
    scores = scores if mask is None else scores + mask
    lse = scores.logsumexp(-1)
    weights = (scores - lse.nan_to_num(neginf=0.0)[..., None]).exp()
    return applied(weights.to(value.dtype), value), lse


def plain_weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    scale: float | None = None,
    span: Tensor | None = None,
    share: ShareFunction | None = None,
    steered: Tensor | None = None,
    moved: tuple[Tensor, Tensor] | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The reference: the attention matrix, reweighted. Differentiable.

    Returns the weights (B, H, Lq, Lk) and the span's share before, π (B, H, Lq), both in
    float32. `span` (B, Lk) is the persona; `steered` says for which queries the share
    changes; `moved` are queries and the columns (B, Lk) that they meet in place of
    `query`; `softcap` bounds scores at ±softcap; `sinks` (H,) are scores of keys without
    a value, which count to the rest.
    """
    scores = _scores(query, key, scale)
    if moved is not None:
        scores = torch.where(moved[1][:, None, None], _scores(moved[0], key, scale), scores)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        seen = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if seen else scores + mask
    nothing = scores.amax(-1, keepdim=True).isneginf()
    if sinks is not None:
        sink = sinks.to(scores.dtype).reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        weights = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)
    if span is None:
        return weights, weights.new_zeros(weights.shape[:3])
    inside = span[:, None, None]
    pi = (weights * inside).sum(-1).clamp(max=1.0)
    if share is None:
        return weights, pi
    w = _inside(pi, share(pi))
    if steered is not None:
        w = torch.where(steered, w, pi)
    change = (pi > 0) & (pi < 1)
    up = torch.where(change, w / pi.clamp(min=_TINY), 1.0)
    down = torch.where(change, (1 - w) / torch.where(change, 1 - pi, 1.0), 1.0)
    return weights * torch.where(inside, up[..., None], down[..., None]), pi


def additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask to be added to scores, in the dtype of `like`, with four dimensions."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill_(
            ~mask, -torch.inf
        )
    shape = (1,) * (4 - mask.dim()) + tuple(mask.shape)
    return mask.reshape(shape).to(like.dtype)


def applied(weights: Tensor, value: Tensor) -> Tensor:
    """Weights (B, H, Lq, Lk) times grouped values (B, Hkv, Lk, D): (B, H, Lq, D)."""
    rows, heads, queries, keys = weights.shape
    grouped = weights.reshape(rows, value.shape[1], -1, keys) @ value
    return grouped.reshape(rows, heads, queries, -1)


def _scores(query: Tensor, key: Tensor, scale: float | None) -> Tensor:
    """Scaled scores (B, H, Lq, Lk) in float32, keys not repeated."""
    rows, heads, queries, size = query.shape
    wide = _wide(query).reshape(rows, key.shape[1], -1, size)
    grouped = wide @ _wide(key).transpose(-1, -2)
    return grouped.reshape(rows, heads, queries, -1) * (size**-0.5 if scale is None else scale)


def _wide(x: Tensor) -> Tensor:
    """In float32, or in what is wider."""
    return x if x.dtype == torch.float64 else x.float()


def differentiates(*tensors: Tensor) -> bool:
    """Whether a gradient is wanted of any of them."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
