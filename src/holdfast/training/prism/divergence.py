"""How far a student's next tokens are from its teacher's, where the answers are.

    T² · mean over tokens of KL( softmax(teacher / T) ‖ softmax(student / T) )

over the whole vocabulary or over the teacher's top tokens, renormalised.

This module knows logits and token ids. It knows no personas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from holdfast.models.local.gate import pad_rows


def logits(model: torch.nn.Module, rows: Sequence[tuple[Sequence[int], int]]) -> Tensor:
    """Logits that predict the last n tokens of each row (ids, n), row after row: (tokens, V).

    They are in the model's number format, and computed from the first answer on, not for prompts.
    """
    device = next(model.parameters()).device
    ids, mask = (one.to(device) for one in pad_rows([row for row, _ in rows]))
    first = min(len(row) - n - 1 for row, n in rows)
    positions = torch.arange(first, ids.shape[1], device=device)
    out = model(
        input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=positions
    ).logits
    parts = [
        out[i, len(row) - n - 1 - first : len(row) - 1 - first] for i, (row, n) in enumerate(rows)
    ]
    return torch.cat(parts)


class TeacherTargets(NamedTuple):
    """What the student learns from: the teacher's logits, of its top tokens or of all."""

    logits: Tensor
    """Logits (tokens, top), or (tokens, V)."""
    tokens: Tensor | None
    """Their tokens (tokens, top); None for all in order."""
    mass: float
    """Mean probability that the teacher gives to them."""

    @classmethod
    def of(cls, logits: Tensor, top: int) -> TeacherTargets:
        """The top logits of each row; all where `top` is 0."""
        if not top or top >= logits.shape[-1]:
            return cls(logits, None, 1.0)
        best = logits.topk(top, dim=-1)
        with torch.no_grad():
            values = best.values.float()
            share = (values.logsumexp(-1) - logits.float().logsumexp(-1)).exp()
        return cls(best.values, best.indices, float(share.mean()))


def divergence(targets: TeacherTargets, student: Tensor, temperature: float) -> Tensor:
    """T² times the mean over tokens of KL(teacher ‖ student); `student` has logits (tokens, V)."""
    if targets.tokens is not None:
        student = student.gather(-1, targets.tokens)
    p, q = ((x.float() / temperature).log_softmax(-1) for x in (targets.logits, student))
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)
