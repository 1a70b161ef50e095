"""Two-part attention: the persona's keys and the rest, merged by their log-sum-exps.

    π = sigmoid(l_P - l_R)        out = w(π)·o_P + (1 - w(π))·o_R

With w(π) = π this is plain attention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ShareFunction = Callable[[Tensor], Tensor]
_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True)
class SplitSoftmax:
    k: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        return pi**self.k


@dataclass(frozen=True)
class Boost:
    m: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        return self.m * pi / (self.m * pi + 1 - pi)


@dataclass(frozen=True)
class Spotlight:
    tau: float | Tensor

    def __call__(self, pi: Tensor) -> Tensor:
        mean = pi.mean(1, keepdim=True)
        low = (mean < self.tau) & (mean > 0)
        m = torch.where(low, self.tau / mean.clamp(min=1e-30), torch.ones_like(mean))
        return torch.where(low, m * pi / (m * pi + 1 - pi), pi)


def share_function(kind: str, strength: float | Tensor) -> ShareFunction:
    if kind == "split-softmax":
        return SplitSoftmax(strength)
    return Boost(strength) if kind == "boost" else Spotlight(strength)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    if query.device.type == "cpu" and not (torch.is_grad_enabled() and query.requires_grad):
        out, lse = _cpu(query, key, value, attn_mask=mask, scale=scale)
        if mask is not None:
            none = mask.amax(-1).isneginf().expand(lse.shape)
            lse = lse.masked_fill(none, -torch.inf)
        return out, lse
    groups = query.shape[1] // key.shape[1]
    keys, values = (x.float().repeat_interleave(groups, 1) for x in (key, value))
    scores = query.float() @ keys.transpose(-1, -2)
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = scores if mask is None else scores + mask.float()
    lse = scores.logsumexp(-1)
    weights = (scores - lse.nan_to_num(neginf=0.0)[..., None]).exp()
    return (weights @ values).to(query.dtype), lse


def merge(
    out_p: Tensor,
    lse_p: Tensor,
    out_r: Tensor,
    lse_r: Tensor,
    share: ShareFunction | None = None,
    steered: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    pi = torch.where(lse_p.isneginf(), torch.zeros_like(lse_p), torch.sigmoid(lse_p - lse_r))
    w = pi if share is None else torch.where((pi > 0) & (pi < 1), share(pi), pi)
    if steered is not None:
        w = torch.where(steered, w, pi)
    w_ = w[..., None].to(out_p.dtype)
    return out_r + w_ * (out_p - out_r), pi


def plain_weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    scale: float | None,
    span: Tensor | None = None,
    share: ShareFunction | None = None,
    steered: Tensor | None = None,
    moved: tuple[Tensor, Tensor] | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    rows, heads, queries, size = query.shape
    keys = key.float().repeat_interleave(heads // key.shape[1], 1).transpose(-1, -2)
    factor = size**-0.5 if scale is None else scale
    scores = query.float() @ keys * factor
    if moved is not None:
        scores = torch.where(moved[1][:, None, None], moved[0].float() @ keys * factor, scores)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        additive = mask.dtype != torch.bool
        scores = scores + mask.float() if additive else scores.masked_fill(~mask, -torch.inf)
    if sinks is not None:
        column = sinks.float().reshape(1, -1, 1, 1).expand(rows, heads, queries, 1)
        weights = torch.cat([scores, column], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    if span is None:
        return weights, None
    inside = span[:, None, None]
    pi = (weights * inside).sum(-1)
    if share is None:
        return weights, pi
    w = torch.where((pi > 0) & (pi < 1), share(pi), pi)
    if steered is not None:
        w = torch.where(steered, w, pi)
    up = torch.where(pi > 0, w / pi.clamp(min=1e-30), torch.ones_like(pi))
    down = torch.where(pi < 1, (1 - w) / (1 - pi).clamp(min=1e-30), torch.ones_like(pi))
    return weights * torch.where(inside, up[..., None], down[..., None]), pi
