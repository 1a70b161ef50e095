"""Two-part attention: the persona's keys and the rest, merged by their log-sum-exps.

For a query, split its keys in the persona's span P and the rest R. Each part is an
attention of its own that also returns its log-sum-exp:

    o_P, l_P = attention(q, K_P, V_P)        o_R, l_R = attention(q, K_R, V_R)
    π = sigmoid(l_P - l_R)                   out = w(π)·o_P + (1 - w(π))·o_R

With w(π) = π this is plain attention, exactly. A *share function* maps π to another w;
the ratios inside each part stay what they were. π and the merge are in float32 (in
float64 where the model is).

Both parts run on the fused kernel of the device (`kernels`), so nothing of the size
queries × keys is made. `plain_weights` is the reference that does make it:
differentiable, and the only one that knows soft-capping and sinks.

This module knows tensors. It knows no tokens, no layers and no models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.control.kernels import (
    additive,
    applied,
    attend,
    differentiates,
    joined,
    last,
    logsumexp,
    part,
    scores,
    wide,
)
from holdfast.core.control import parse
from holdfast.core.errors import ControlError

# π (B, H, Lq) to w of the same shape, which is 0 where π is 0 and 1 where it is 1.
ShareFunction = Callable[[Tensor], Tensor]
_TINY = torch.finfo(torch.float32).tiny  # the smallest share with all its bits


def _multiplied(pi: Tensor, odds: Tensor | float) -> Tensor:
    """The share whose odds π / (1 - π) are `odds` times as high; π itself, bit for bit, at 1."""
    raised = pi / (pi + (1 - pi) / odds)  # odds as a divisor: high ones do not overflow
    return torch.where(torch.as_tensor(odds, device=pi.device) == 1, pi, raised)


@dataclass(frozen=True)
class SplitSoftmax:
    """w = π^k, 0 ≤ k ≤ 1; k = 1 is off (Li et al. 2402.10962, eq. in section 6)."""

    k: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        """Shares (B, H, Lq) of the same shape; `k` may be (B, 1, 1), one for each row."""
        # At 0 the power has no slope, and a gradient would be NaN although nothing comes of it.
        return torch.where(pi > _TINY, pi.clamp(min=_TINY) ** self.k, pi)


@dataclass(frozen=True)
class Boost:
    """w = Mπ / (Mπ + 1 - π), M ≥ 1; M = 1 is off (InstABoost 2506.13734)."""

    m: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        """Shares (B, H, Lq) of the same shape; `m` may be (B, 1, 1), one for each row."""
        return _multiplied(pi, self.m)


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
        return _multiplied(pi, odds)


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
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """Two-part attention where all rows have the span in the same columns: no key is copied.

    `near` are the queries that meet the span, `query` those that meet the rest; `steered`
    is (…, Lq). Without a mask they see all keys or, if `causal`, are the last tokens of the
    sequence. Returns as `merge` does.
    """
    start, end = columns
    early = end + query.shape[2] - key.shape[2] if causal and mask is None else 0
    if early > 0:  # queries in the span or before it, which see no further
        held = (None, None) if steered is None else (steered[..., :early], steered[..., early:])
        q, n = query.split([early, query.shape[2] - early], 2), near[:, :, :early]
        k, v, m = key[:, :, :end], value[:, :, :end], last(early, end, query)
        own = sliced(q[0], n, k, v, m, scale, columns, share, held[0])
        n = near[:, :, early:]
        after = sliced(q[1], n, key, value, None, scale, columns, share, held[1], causal)
        return torch.cat([own[0], after[0]], 2), torch.cat([own[1], after[1]], 2)

    def met(by: Tensor, a: int, b: int, ends: bool = False) -> tuple[Tensor, Tensor]:
        seen = None if mask is None else mask[..., a:b]
        return attend(by, key[:, :, a:b], value[:, :, a:b], seen, scale, ends)

    rest = met(query, end, key.shape[2], causal)
    if start:
        rest = joined(*met(query, 0, start), *rest)
    return merge(*met(near, start, end), *rest, share, steered)


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
    pi = part(lse_p, lse_r)
    w = pi if share is None else share(pi)
    if steered is not None and share is not None:
        w = torch.where(steered, w, pi)
    merged = torch.lerp(wide(out_r), wide(out_p), w[..., None])
    return merged.to(out_p.dtype), pi


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
    score = scores(query, key, scale)
    if moved is not None:
        score = torch.where(moved[1][:, None, None], scores(moved[0], key, scale), score)
    if softcap is not None:
        score = torch.tanh(score / softcap) * softcap
    return weighed(masked(score, mask), span, share, steered, sinks)


def masked(score: Tensor, mask: Tensor | None) -> Tensor:
    """Scores with what a mask hides at -inf; it is boolean (True may be seen) or additive."""
    if mask is None:
        return score
    return score.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else score + mask


def weighed(
    score: Tensor,
    span: Tensor | None = None,
    share: ShareFunction | None = None,
    steered: Tensor | None = None,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The weights that masked scores come to, and π before: `plain_weights` from there on."""
    sink = None if sinks is None else sinks.to(score.dtype)[None, :, None]
    if span is None:
        total = logsumexp(score)
        total = total if sink is None else torch.logaddexp(total, sink)
        return _exponentials(score, total[..., None]), score.new_zeros(score.shape[:3])
    inside = span[:, None, None]
    lse_p = logsumexp(score.masked_fill(~inside, -torch.inf))
    lse_r = logsumexp(score.masked_fill(inside, -torch.inf))
    lse_r = lse_r if sink is None else torch.logaddexp(lse_r, sink)
    pi = part(lse_p, lse_r)
    w = pi if share is None else share(pi)
    if steered is not None:
        w = torch.where(steered, w, pi)
    # Each part a softmax of its own, times what it gets: exact also where π is next to 0 or 1.
    inner = _exponentials(score, torch.where(inside, lse_p[..., None], lse_r[..., None]))
    return inner * torch.where(inside, w[..., None], 1 - w[..., None]), pi


def _exponentials(score: Tensor, total: Tensor) -> Tensor:
    """exp(score - total), 0 where the total is that of nothing."""
    return (score - total.masked_fill(total.isneginf(), 0.0)).exp()
