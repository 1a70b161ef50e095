"""Guidance: the model with the persona and the model without it, as one distribution.

    log p = log p₀ + α (log p₁ - log p₀)        p₀ without the persona, α = 1 is off

This module knows log-probabilities. It knows no rows and no models.
"""

from __future__ import annotations

import torch
from torch import Tensor


def guide(with_persona: Tensor, without: Tensor, strength: Tensor | float) -> Tensor:
    """The joint log-probabilities, not normalised.

    Args:
        with_persona: log p₁, (…, vocabulary).
        without: log p₀, of the same shape.
        strength: α, or one for each row, (B, 1).
    """
    joint = without + strength * (with_persona - without)
    # A token that both rule out stays ruled out: the difference of two -inf is NaN.
    return joint.masked_fill(with_persona.isneginf() & without.isneginf(), -torch.inf)
