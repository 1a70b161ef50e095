"""The reference of two-part attention: the matrix of weights, made whole and reweighted.

It is differentiable, and the only implementation that knows soft-capping and sinks:

    weight = softmax within the part × (w in the persona's span, 1 - w in the rest)

The matrix is (B, H, Lq, Lk) in float32 (float64 where the model is); `attention` avoids it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from holdfast.control.kernels import attention_scores, logsumexp, share_of
from holdfast.control.share_functions import ShareFunction, TurnFunction

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False)
class TurnKeys:
    """Which of a pass's keys are earlier turns, and which rows take from which."""

    earlier: Tensor
    """Keys of turns before a query's own, (B, Lq, Lk)."""
    own: Tensor
    """Of these, the replies of the model itself, (B, Lq, Lk)."""
    takes: Tensor
    """Rows and heads that take only from these, (B, H or 1, 1)."""

    def part(self, queries: slice) -> TurnKeys:
        """The same for some of the queries."""
        return TurnKeys(self.earlier[:, queries], self.own[:, queries], self.takes)


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
    turns: TurnKeys | None = None,
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
        turns: which keys are earlier turns, where the share depends on them.
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
    return reweigh(apply_mask(score, mask), span, share, steered, sinks, turns)


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
    turns: TurnKeys | None = None,
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
    w = _new_share(score, inside, share, pi, lse_r, sink, turns)
    if steered is not None:
        w = torch.where(steered, w, pi)
    # Each part a softmax of its own, times its share: exact also where π is next to 0 or 1.
    inner = _exponentials(score, torch.where(inside, lse_p[..., None], lse_r[..., None]))
    if turns is None or not bool(turns.takes.any()):
        return inner * torch.where(inside, w[..., None], 1 - w[..., None]), pi
    return _take_from_replies(inner, inside, pi, w, turns), pi


def _take_from_replies(
    inner: Tensor, inside: Tensor, pi: Tensor, w: Tensor, turns: TurnKeys
) -> Tensor:
    """The weights where the persona's gain is taken from own replies alone, in rows that say so.

    Args:
        inner: the softmax within the persona and within the rest, (B, H, Lq, Lk).
        inside: which keys are the persona.
        pi: the persona's share before.
        w: its share after, as far as the replies have so much.
        turns: which keys are own replies, and which rows take from them.
    """
    rest = torch.where(inside, 0.0, inner) * (1 - pi)[..., None]
    own = (rest * turns.own[:, None]).sum(-1)
    shift = torch.where(turns.takes, torch.minimum(w - pi, own), 0.0)
    scale = torch.where(turns.own[:, None], (1 - shift / own.clamp(min=_TINY))[..., None], 1.0)
    persona = torch.where(turns.takes, pi + shift, w)
    proportional = inner * (1 - w)[..., None]
    rest = torch.where(turns.takes[..., None], rest * scale, proportional)
    return torch.where(inside, inner * persona[..., None], rest)


def _new_share(
    score: Tensor,
    inside: Tensor,
    share: ShareFunction | TurnFunction | None,
    pi: Tensor,
    lse_r: Tensor,
    sink: Tensor | None,
    turns: TurnKeys | None,
) -> Tensor:
    """What the share function makes of π, given what earlier turns leave of the rest."""
    if share is None:
        return pi
    if turns is None:
        return cast(ShareFunction, share)(pi)
    lse = logsumexp(score.masked_fill(inside | turns.earlier[:, None], -torch.inf))
    lse = lse if sink is None else torch.logaddexp(lse, sink)
    without_earlier = (lse - lse_r).clamp(max=0).nan_to_num(nan=0.0).exp()
    return cast(TurnFunction, share)(pi, without_earlier)


def _exponentials(score: Tensor, total: Tensor) -> Tensor:
    """exp(score - total), 0 where the total is that of nothing."""
    return (score - total.masked_fill(total.isneginf(), 0.0)).exp()
