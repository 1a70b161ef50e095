"""When to switch the persona on: a small network on what leaves layer 0 at the prompt's end.

    p(on | x) = σ(MLP((h(x) - mean) / spread))        h(x): the last prompt token after layer 0

The features see the prompt alone, never an answer, and are the same with and without an
adapter that begins at layer 1. Classes are weighted, since wins are rare; what is held out is
held out by persona, so that what is measured is queries of a persona never seen.

This module knows vectors and labels, and one layer of a Llama-like model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from holdfast.core.errors import ModelError

NAME = "gate.safetensors"
THRESHOLD = 0.5


def first_layer(model: nn.Module, name: str = "the model") -> nn.Module:
    """The model's decoder cut after layer 0, the same weights and no norm behind it.

    Raises `ModelError` for a model that is not built like a Llama.
    """
    decoder: Any = getattr(model, "model", None)
    parts = getattr(decoder, "_modules", {})
    if not {"embed_tokens", "layers", "norm"} <= parts.keys():
        raise ModelError(
            f"{name} ({type(model).__name__}) is not built like a Llama, and a gate reads what "
            "leaves such a model's layer 0."
        )
    view = copy.copy(decoder)
    view._modules = {**parts, "layers": nn.ModuleList([parts["layers"][0]]), "norm": nn.Identity()}
    return view  # type: ignore[no-any-return]


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of token ids, filled up on the right, and which of them are there: (rows, longest)."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    return ids, mask


def features(
    model: nn.Module, prompts: Sequence[Sequence[int]], name: str = "the model", rows: int = 64
) -> Tensor:
    """h(x) of every prompt, (prompts, width) in float32; one layer's work."""
    view = first_layer(model, name)
    device = next(model.parameters()).device
    found = []
    with torch.inference_mode():
        for start in range(0, len(prompts), rows):
            some = prompts[start : start + rows]
            ids, mask = (one.to(device) for one in padded(some))
            out = view(input_ids=ids, attention_mask=mask, use_cache=False)
            found.append(out.last_hidden_state[torch.arange(len(some)), mask.sum(1) - 1].float())
    return torch.cat(found).cpu()


@dataclass(frozen=True)
class Gate:
    """The trained network: `layers` are weights and biases, first to last."""

    mean: Tensor
    spread: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]

    def chances(self, h: Tensor) -> Tensor:
        """p(on) of every row of features, (rows,). Raises `ModelError` for another width."""
        if h.shape[-1] != len(self.mean):
            raise ModelError(
                f"the gate reads {len(self.mean)} numbers and the model has {h.shape[-1]}: it was "
                "trained on another model."
            )
        x = (h - self.mean) / self.spread
        for i, (weight, bias) in enumerate(self.layers):
            x = nn.functional.linear(nn.functional.gelu(x) if i else x, weight, bias)
        return x[..., 0].sigmoid()

    def save(self, folder: Path, **about: object) -> Path:
        """Write gate.safetensors, with what is said of it as metadata."""
        tensors = {"mean": self.mean, "spread": self.spread}
        for i, (weight, bias) in enumerate(self.layers):
            tensors |= {f"{i}.weight": weight, f"{i}.bias": bias}
        path = folder / NAME
        held = {name: one.contiguous() for name, one in tensors.items()}
        save_file(held, path, {"holdfast": json.dumps(about)})
        return path


def read(folder: Path) -> Gate:
    """The gate in a folder. Raises `ModelError` where there is none."""
    try:
        with safe_open(folder / NAME, "pt") as held:
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except Exception as error:
        # safetensors has an exception of its own for a file that is none.
        raise ModelError(f"there is no gate in {folder} ({error}).") from error
    count = sum(name.endswith(".weight") for name in tensors)
    layers = tuple((tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(count))
    return Gate(tensors["mean"], tensors["spread"], layers)
