"""How much memory the largest step of a training takes, measured on the model where it can be.

    what the process holds: libraries and weights (on a GPU: what torch has allocated)
    + of what learns: gradients and Adam's two averages, and a LoRA's own weights
    + of each token: what autograd keeps for the backward pass, counted in a forward pass
    + of each token that is scored: the numbers around its logits

A LoRA on a model that is not in float32 keeps a copy of every linear layer's input in float32,
which is counted by the layers' sizes. Fragments, and what libraries take for a moment, cannot be
counted: `SLACK` stands for them.

This module knows models. It knows no tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch.autograd.graph import saved_tensors_hooks

from holdfast.models.local.backend import LocalBackend

SLACK = 1.4
"""Times what is counted beyond the memory held before. Measured in 24 steps of PerMix with a LoRA
on SmolLM2-135M, two cores: a peak of 4.83 GB, 1.26 of it held before, for 2.61 counted."""
_FLOAT = 4  # bytes
_LONGEST = 256  # tokens of the row in which activations are counted


def step_memory(
    backend: LocalBackend,
    *,
    rank: int,
    rows: int,
    tokens: int,
    scored_tokens: int,
    scored_bytes: int,
    checkpointed: bool = False,
) -> float:
    """Bytes at the peak of a step.

    Args:
        backend: The model.
        rank: Rank of the LoRA that learns; 0 where all weights do.
        rows: Rows that are in memory together.
        tokens: Tokens of a row.
        scored_tokens: Tokens whose logits are in memory together, of all rows.
        scored_bytes: What each of them takes.
        checkpointed: Whether a layer's activations are computed again for the backward pass.
    """
    model: Any = backend.engine.model
    itemsize = model.dtype.itemsize
    learn = lora_parameters(model, rank) if rank else model.num_parameters()
    # Gradients in the weights' format, two averages in float32; a LoRA is in float32 itself.
    state = learn * (4 * _FLOAT if rank else itemsize + 2 * _FLOAT)
    per_token = _kept_bytes(model, rank, min(tokens, _LONGEST))
    if checkpointed:
        config = model.config.get_text_config()
        layers = config.num_hidden_layers
        per_token = per_token / layers + config.hidden_size * layers * itemsize
    return memory_now(backend) + SLACK * (
        state + rows * tokens * per_token + scored_tokens * scored_bytes
    )


def lora_parameters(model: torch.nn.Module, rank: int) -> int:
    """Parameters of a LoRA on all linear layers but the last."""
    return sum(rank * (one.in_features + one.out_features) for one in _linear_layers(model))


def _linear_layers(model: torch.nn.Module) -> Iterator[torch.nn.Linear]:
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not name.endswith("lm_head"):
            yield module


def memory_now(backend: LocalBackend) -> int:
    """Bytes that the process holds; on a GPU those that torch has allocated."""
    device = backend.engine.device
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def _kept_bytes(model: Any, rank: int, tokens: int) -> float:
    """Bytes that autograd keeps for each token of a row, in the layers below the head."""
    copies = bool(rank) and model.dtype != torch.float32
    decoder = model.base_model
    ids = torch.ones(1, tokens, dtype=torch.long, device=model.device)
    embeddings = model.get_input_embeddings()(ids)
    with _learning(model, not copies), torch.enable_grad(), _count_storages() as sizes:
        # The embedding is detached: only what follows it is counted.
        decoder(inputs_embeds=embeddings.detach().requires_grad_(), use_cache=False)
    weights = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    own = sum(size for place, size in sizes.items() if place not in weights) / tokens
    lora = sum((one.in_features + rank) * _FLOAT for one in _linear_layers(model)) if copies else 0
    return float(own + lora)


@contextmanager
def _learning(model: torch.nn.Module, value: bool) -> Iterator[None]:
    """All parameters learn, or none; afterwards those that did before."""
    before = [(one, one.requires_grad) for one in model.parameters()]
    try:
        model.requires_grad_(value)
        yield
    finally:
        for one, learns in before:
            one.requires_grad_(learns)


@contextmanager
def _count_storages() -> Iterator[dict[int, int]]:
    """The bytes of every storage that autograd keeps, by its place."""
    sizes: dict[int, int] = {}
    tensors: list[torch.Tensor] = []  # so that no place is given out again meanwhile

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        # A node that keeps its own output would never be freed, nor would the weights.
        tensors.append(tensor.detach())
        return tensors[-1]

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
