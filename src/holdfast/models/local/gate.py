"""When to switch the persona on: a small network on what leaves layer 0 at the prompt's end.

    p(on | x) = σ(MLP((h(x) - mean) / spread))        h(x): the last prompt token after layer 0

The features depend on the prompt alone, never on an answer, and an adapter that begins at layer 1
does not change them.

This module knows vectors, and one layer of a model. `gate_training` trains gates.
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
from holdfast.core.folder import disk_errors

NAME = "gate.safetensors"
THRESHOLD = 0.5
ROWS = 64  # prompts in one pass


def find_layers_name(model: nn.Module, name: str = "the model") -> str:
    """Return the name of the list of layers in the model's decoder, "layers" for most.

    Raises `ModelError` for a model that has no one list of layers with a norm behind it.
    """
    return _find_layers(model, name)[0]


def first_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a view of the model's decoder that ends after layer 0, without the final norm.

    `model` is a causal language model, or its decoder alone. Raises as `find_layers_name`.
    """
    layers, norms = _find_layers(model, name)
    decoder: Any = _find_decoder(model)
    view = copy.copy(decoder)
    view._modules = {
        **decoder._modules,
        layers: nn.ModuleList([getattr(decoder, layers)[0]]),
        **{norm: nn.Identity() for norm in norms},
    }
    return view  # type: ignore[no-any-return]


def _find_decoder(model: nn.Module) -> nn.Module:
    return getattr(model, "base_model", model)


def _find_layers(model: nn.Module, name: str) -> tuple[str, list[str]]:
    """The names of the list of layers, and of what follows it and is a norm ("norm", "ln_f")."""
    parts = list(_find_decoder(model).named_children())
    lists = [i for i, (_, part) in enumerate(parts) if isinstance(part, nn.ModuleList)]
    behind = [part for part, _ in parts[lists[0] + 1 :]] if len(lists) == 1 else []
    norms = [part for part in behind if "norm" in part or part.startswith("ln")]
    if not norms:
        raise ModelError(
            f"{name} ({type(model).__name__}) has no one list of layers with a norm behind it, and "
            "a gate reads what leaves the first of them: use a model that has."
        )
    return parts[lists[0]][0], norms


def pad_rows(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pad rows of token ids on the right; return ids and mask, both (rows, longest)."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    return ids, mask


def compute_features(
    model: nn.Module, prompts: Sequence[Sequence[int]], name: str = "the model"
) -> Tensor:
    """Run layer 0 and return h(x) of every prompt, (prompts, width), in float32 on the CPU.

    Args:
        model: a model whose decoder is a list of layers.
        prompts: token ids.
        name: the model's name, for errors.
    """
    view = first_layer(model, name)
    device = next(model.parameters()).device
    states = []
    with torch.inference_mode():
        for start in range(0, len(prompts), ROWS):
            some = prompts[start : start + ROWS]
            ids, mask = (one.to(device) for one in pad_rows(some))
            out = view(input_ids=ids, attention_mask=mask, use_cache=False)
            states.append(out.last_hidden_state[torch.arange(len(some)), mask.sum(1) - 1].float())
    return torch.cat(states).cpu()


@dataclass(frozen=True)
class Gate:
    """The trained network."""

    mean: Tensor
    """Mean of the training features, (width,)."""
    spread: Tensor
    """Their standard deviation, (width,)."""
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Weight and bias of each layer, the first layer first."""

    def probabilities(self, h: Tensor) -> Tensor:
        """Return p(on) for features (rows, width), as (rows,).

        Raises `ModelError` where the width is another model's.
        """
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
        """Write gate.safetensors with `about` as its metadata; return its path."""
        tensors = {"mean": self.mean, "spread": self.spread}
        for i, (weight, bias) in enumerate(self.layers):
            tensors |= {f"{i}.weight": weight, f"{i}.bias": bias}
        path = folder / NAME
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        with disk_errors(path):
            save_file(contiguous, path, {"holdfast": json.dumps(about)})
        return path


def read_gate(folder: Path) -> Gate:
    """Read the gate in a folder. Raises `ModelError` where there is none."""
    try:
        with safe_open(folder / NAME, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        count = sum(name.endswith(".weight") for name in tensors)
        layers = tuple((tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(count))
        return Gate(tensors["mean"], tensors["spread"], layers)
    except Exception as error:
        # safetensors has an exception of its own for other files.
        raise ModelError(f"there is no gate in {folder} ({NAME}).") from error
