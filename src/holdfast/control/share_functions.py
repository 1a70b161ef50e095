"""Share functions: what becomes of the persona's share π of attention.

A share function maps π to another share w. It keeps 0 and 1, so where a query sees the persona
alone, or not at all, nothing changes. Ratios inside the persona and inside the rest stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.control import parse
from holdfast.core.errors import ControlError, suggestion

# π (B, H, Lq) to w of the same shape, which is 0 where π is 0 and 1 where it is 1.
ShareFunction = Callable[[Tensor], Tensor]
# The same where w also depends on the share of the rest that earlier turns leave.
TurnFunction = Callable[[Tensor, Tensor], Tensor]
_TINY = torch.finfo(torch.float32).tiny  # the smallest share with all its bits


def _multiply_odds(pi: Tensor, odds: Tensor | float) -> Tensor:
    """The share whose odds π / (1 - π) are `odds` times as high; π itself, bit for bit, at 1."""
    share = pi / (pi + (1 - pi) / odds)  # odds as a divisor: high ones do not overflow
    return torch.where(torch.as_tensor(odds, device=pi.device) == 1, pi, share)


@dataclass(frozen=True)
class SplitSoftmax:
    """w = π^k, 0 ≤ k ≤ 1; k = 1 is off (Li et al. 2402.10962, eq. in section 6)."""

    k: float | Tensor
    """The exponent; (B, 1, 1) for one in each row."""

    def __call__(self, pi: Tensor) -> Tensor:
        """w for π, both (B, H, Lq)."""
        # At 0 the power has no finite slope, and the gradient would be NaN.
        return torch.where(pi > _TINY, pi.clamp(min=_TINY) ** self.k, pi)


@dataclass(frozen=True)
class Boost:
    """w = Mπ / (Mπ + 1 - π), M ≥ 1; M = 1 is off (InstABoost 2506.13734)."""

    m: float | Tensor
    """What odds are multiplied by; (B, 1, 1) for one in each row."""

    def __call__(self, pi: Tensor) -> Tensor:
        """w for π, both (B, H, Lq)."""
        return _multiply_odds(pi, self.m)


@dataclass(frozen=True)
class Spotlight:
    """Odds times τ / mean where a query's mean of π over heads is below τ (2505.12025).

    τ = 0 is off. SpotLight's own code also averages over queries. Here each query has its own
    mean, so that a prompt in chunks gives the same as the whole.
    """

    tau: float | Tensor
    """The mean share to reach; (B, 1, 1) for one in each row."""

    def __call__(self, pi: Tensor) -> Tensor:
        """w for π, both (B, H, Lq)."""
        mean = pi.mean(1, keepdim=True)
        low = (mean < self.tau) & (mean > 0)
        odds = torch.where(low, self.tau / mean.clamp(min=_TINY), torch.ones_like(mean))
        return _multiply_odds(pi, odds)


@dataclass(frozen=True)
class Restore:
    """w = max(π, ρ π₀), 0 ≤ ρ ≤ 1, with π₀ the persona's share if there were no earlier turns.

    Of what a query gives to keys outside of the persona, let c be the part that does not go to
    earlier turns. Leaving these out divides the odds of the persona by c:

        π₀ = π / (π + (1 - π) c)

    So no table has to be measured: each query says itself what its head gives on the empty
    history. In the first turn c is 1 and nothing changes; ρ = 0 is off. Where w - π is taken
    from, the model's own earlier replies or all other keys, `reference_attention` does.
    """

    rho: float | Tensor
    """The part of π₀ to keep; (B, 1, 1) for one in each row."""

    def __call__(self, pi: Tensor, without_earlier: Tensor) -> Tensor:
        """w for π and c, all (B, H, Lq)."""
        odds = 1 / without_earlier.clamp(min=_TINY)
        return torch.maximum(pi, self.rho * _multiply_odds(pi, odds))


_FUNCTIONS: dict[str, Callable[[float | Tensor], ShareFunction | Restore]] = {
    "split-softmax": SplitSoftmax,
    "boost": Boost,
    "spotlight": Spotlight,
    "restore": Restore,
}


def share_function(kind: str, strength: float | Tensor) -> ShareFunction | Restore:
    """The share function of a name.

    Args:
        kind: "split-softmax", "boost", "spotlight" or "restore".
        strength: k, M, τ or ρ; (B, 1, 1) for one in each row.

    Raises:
        ControlError: there is no function of that name.
    """
    if kind not in _FUNCTIONS:
        raise ControlError(f"there is no share function `{kind}`: {suggestion(kind, _FUNCTIONS)}")
    return _FUNCTIONS[kind](strength)


def parse_share(text: str) -> ShareFunction | None:
    """The share function of a control's text, such as "split-softmax:0.7"; None for "none"."""
    control = parse(text)
    part = control.share
    if control.anchor or control.rewrites or control.guidance:
        raise ControlError(f"`{text}` is more than a share function: use split-softmax:0.7, say.")
    if part is not None and (part.layers or part.heads):
        raise ControlError(f"`{text}` names layers or heads, which one attention does not know.")
    share = None if part is None else share_function(part.kind, part.strength)
    if isinstance(share, Restore):
        raise ControlError(f"`{text}` depends on turns, which one attention does not know.")
    return share
