"""The reference of two-part attention: the matrix of weights, made whole and reweighted.

It is differentiable, and the only implementation that knows soft-capping and sinks:

    weight = softmax within the part × (w in the persona's span, 1 - w in the rest)

The matrix is (B, H, Lq, Lk) in float32 (float64 where the model is); `attention` avoids it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from holdfast.control.kernels import attention_scores, logsumexp, share_of
from holdfast.control.share_functions import ShareFunction, TurnFunction, TurnShare, new_share


def reference_weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    scale: float | None = None,
    span: Tensor | None = None,
    share: ShareFunction | TurnFunction | None = None,
    *,
    steered: Tensor | None = None,
    near: Tensor | None = None,
    earlier: Tensor | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The reference: the attention matrix, reweighted. Differentiable.

    Args:
        query: (B, H, Lq, D).
        key: (B, Hkv, Lk, D).
        mask: boolean (True may be seen) or additive; None where all keys are seen.
        scale: what scores are multiplied by; by default 1/√D.
        span: which keys are the persona, (B, Lk).
        share: what becomes of π; None leaves it.
        steered: for which queries it does; None for all.
        near: queries that meet the persona in place of `query`.
        earlier: which keys are earlier turns, (B, Lq, Lk), where the share depends on them.
        softcap: bounds scores at ±softcap.
        sinks: scores of keys without a value, (H,), which count to the rest.

    Returns:
        The weights (B, H, Lq, Lk), and the persona's π before, (B, H, Lq), both in float32.
    """
    score = attention_scores(query, key, scale)
    if near is not None and span is not None:
        score = torch.where(span[:, None, None], attention_scores(near, key, scale), score)
    if softcap is not None:
        score = torch.tanh(score / softcap) * softcap
    return reweigh(apply_mask(score, mask), span, share, steered, sinks, earlier)


def apply_mask(score: Tensor, mask: Tensor | None) -> Tensor:
    """Scores with -inf where a mask, boolean (True may be seen) or additive, hides a key."""
    if mask is None:
        return score
    return score.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else score + mask


def reweigh(
    score: Tensor,
    span: Tensor | None = None,
    share: ShareFunction | TurnFunction | None = None,
    steered: Tensor | None = None,
    sinks: Tensor | None = None,
    earlier: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`reference_weights` from masked scores (B, H, Lq, Lk) on."""
    sink = None if sinks is None else sinks.to(score.dtype)[None, :, None]
    if span is None:
        total = logsumexp(score)
        total = total if sink is None else torch.logaddexp(total, sink)
        return _exponentials(score, total[..., None]), score.new_zeros(score.shape[:3])
    inside = span[:, None, None]
    lse_p = logsumexp(score.masked_fill(~inside, -torch.inf))
    lse_r = logsumexp(score.masked_fill(inside, -torch.inf))
    lse_r = lse_r if sink is None else torch.logaddexp(lse_r, sink)
    pi = share_of(lse_p, lse_r)
    if earlier is not None:
        lse = logsumexp(score.masked_fill(inside | earlier[:, None], -torch.inf))
        lse = lse if sink is None else torch.logaddexp(lse, sink)
        share = TurnShare(cast(TurnFunction, share), lse)
    w = new_share(cast(ShareFunction | TurnShare | None, share), pi, lse_r)
    if steered is not None:
        w = torch.where(steered, w, pi)
    # Each part a softmax of its own, times its share: exact also where π is next to 0 or 1.
    inner = _exponentials(score, torch.where(inside, lse_p[..., None], lse_r[..., None]))
    return inner * torch.where(inside, w[..., None], 1 - w[..., None]), pi


def _exponentials(score: Tensor, total: Tensor) -> Tensor:
    """exp(score - total), 0 where the total is that of nothing."""
    return (score - total.masked_fill(total.isneginf(), 0.0)).exp()
