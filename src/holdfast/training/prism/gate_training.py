"""Train the gate that decides from a model's states whether the persona helps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.core.errors import ModelError
from holdfast.models.local.gate import Gate

WIDTHS = (128, 64)
EPOCHS = 60  # times that every row is seen
RATE = 1e-3


def train_gate(h: Tensor, labels: Sequence[bool], *, seed: int = 0) -> Gate:
    """Train a gate, with weights for the two classes that make them count alike.

    Args:
        h: The features (rows, width).
        labels: Whether the persona won each row.
        seed: Decides the first weights, the dropout and the order of rows.

    Raises:
        ModelError: There is one class only, or the loss is not finite.
    """
    targets = torch.tensor(labels, dtype=torch.float32)
    on = int(targets.sum())
    if on in (0, len(labels)):
        which = "none" if on == 0 else "all"
        raise ModelError(f"a gate needs queries of both kinds, and {which} of them were won.")
    torch.manual_seed(seed)
    mean, spread = h.mean(0), h.std(0).clamp(min=1e-6)
    sizes = (h.shape[1], *WIDTHS, 1)
    linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    parts: list[nn.Module] = [linear[0]]
    for one in linear[1:]:
        parts += [nn.GELU(), nn.Dropout(0.1), one]
    network = nn.Sequential(*parts)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    weight = torch.tensor((len(labels) - on) / on)
    x = (h - mean) / spread
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for some in np.array_split(rng.permutation(len(labels)), max(1, len(labels) // 32)):
            at = torch.from_numpy(some)
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(x[at])[:, 0], targets[at], pos_weight=weight
            )
            if not bool(loss.isfinite()):
                raise ModelError("the gate's loss is not finite: look at the model's states.")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    layers = tuple((one.weight.detach().clone(), one.bias.detach().clone()) for one in linear)
    return Gate(mean, spread, layers)


def folds(groups: Sequence[Any], count: int, seed: int) -> list[np.ndarray[Any, Any]]:
    """The rows that each fold holds out; all rows of a group are in the same fold."""
    names = np.random.default_rng(seed).permutation(sorted(set(groups)))
    parts = np.array_split(names, min(count, len(names)))
    return [np.flatnonzero(np.isin(np.asarray(groups), part)) for part in parts]
