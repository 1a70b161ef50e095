"""A stock LoRA that acts on some rows of a batch and leaves the others as they are.

    y = W x + s B (A x)        in the rows that are chosen, y = W x in the others

with s = α / r. The files are PEFT's (`adapter_config.json`, `adapter_model.safetensors`), so peft
and servers that take LoRA read them too. Here forward hooks add the matrices, and only while some
row is chosen. The adapters that we train leave layer 0 alone, so the gate, which reads what layer
0 returns, sees the same with and without them.

This module knows one adapter and modules. It does not know who chooses the rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from holdfast.core.errors import ModelError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# What changes the product, or how much of it is added.
_VARIANTS = (
    "use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "layer_replication",
    "rank_pattern", "alpha_pattern",
)  # fmt: skip


@dataclass(frozen=True)
class Lora:
    """An adapter's matrices and scale."""

    matrices: Mapping[str, tuple[Tensor, Tensor]]
    """A (r, inputs) and B (outputs, r) of each module, by the module's name."""
    scale: float
    """s = α / r."""


def read_lora(folder: Path) -> Lora:
    """Read a LoRA that PEFT saved.

    Raises `ModelError` where a file is missing, or the adapter is no plain LoRA.
    """
    try:
        config = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ModelError(f"there is no adapter in {folder} ({CONFIG}, {WEIGHTS}).") from error
    pairs = {name.removesuffix(_A) for name in tensors if name.endswith(_A)}
    names = {f"{pair}{part}" for pair in pairs for part in (_A, _B)}
    # Biases and embeddings have tensors of other names.
    variants = [name for name in _VARIANTS if config.get(name)] + sorted(names ^ tensors.keys())[:3]
    if config.get("peft_type") != "LORA" or variants:
        raise ModelError(
            f"the adapter in {folder} is no plain LoRA "
            f"({', '.join(variants) or config.get('peft_type')}): merge it into the model."
        )
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)  # PEFT's own defaults
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    matrices = {
        pair.removeprefix(_PREFIX): (tensors[f"{pair}{_A}"], tensors[f"{pair}{_B}"])
        for pair in sorted(pairs)
    }
    return Lora(matrices, scale)


class RowLora:
    """A LoRA on a model's modules that acts on chosen rows; on none at first."""

    def __init__(self, model: nn.Module, lora: Lora, name: str = "the model") -> None:
        self._chosen, self._whole = torch.zeros(0, dtype=torch.long), False
        self._hooks: list[RemovableHandle] = []
        self._adders: list[tuple[nn.Module, Any]] = []  # a module and its hook
        dtype = next(model.parameters()).dtype
        modules = dict(model.named_modules())
        for path, (a, b) in lora.matrices.items():
            module = modules.get(path)
            if not isinstance(module, nn.Linear) or module.weight.shape != (len(b), a.shape[1]):
                raise ModelError(
                    f"the adapter was not made for {name}: its {path} is "
                    f"{len(b)} by {a.shape[1]}, and the model's is "
                    f"{' by '.join(map(str, getattr(module, 'weight', torch.zeros(0)).shape))}."
                )
            self._adders.append((module, self._make_hook(a.to(dtype), (lora.scale * b).to(dtype))))

    def choose(self, rows: Sequence[bool]) -> None:
        """Choose the rows of the next passes that are adapted; with none the model is as it was."""
        at = [i for i, on in enumerate(rows) if on]
        if not at:
            self.remove()
            return
        self._whole, self._chosen = len(at) == len(rows), torch.tensor(at, dtype=torch.long)
        if not self._hooks:
            self._hooks = [module.register_forward_hook(add) for module, add in self._adders]

    def remove(self) -> None:
        """Remove the hooks; the model is as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _make_hook(self, a: Tensor, b: Tensor) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            nonlocal a, b
            x = inputs[0]
            a, b = a.to(x.device), b.to(x.device)  # a model may be spread over several devices
            if self._whole:
                return output + F.linear(F.linear(x, a), b)
            at = self._chosen.to(x.device)
            return output.index_add(0, at, F.linear(F.linear(x[at], a), b))

        return add
