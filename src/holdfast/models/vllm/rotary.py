"""vLLM's rotary embedding, and how a query is turned back by it.

What `control.rotary` does for transformers: a rotated query is turned by R(-Δ), in float32, from
the frequencies that the layer's own embedding has. An attention scaling in them (YaRN's) is
divided out. That a layer rotates by its embedding, and by nothing else, is measured: the layer's
attention module is run for one token at two positions, up to its attention, and the queries and
keys at one must be those at the other, turned.

This module knows tensors and vLLM's modules. It knows no spans and no turns.
"""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.control.rotary import EARLY, LATE, nearly_equal
from holdfast.control.switch import layer_of
from holdfast.core.errors import ControlError
from holdfast.models.vllm.plugin import OWNER


class VllmRotary:
    """The rotary embeddings of a model's layers, each checked at its first use."""

    def __init__(self) -> None:
        self._waves: dict[int, tuple[Tensor, Tensor]] = {}
        self._checked: set[int] = set()
        self._last: dict[int, tuple[weakref.ref[Tensor], Tensor, Tensor]] = {}

    def turn_back(self, module: nn.Module, query: Tensor, shift: Tensor) -> Tensor:
        """Turn rotated queries back, as if they stood `shift` positions earlier.

        Args:
            module: vLLM's attention layer.
            query: (B, H, Lq, D).
            shift: positions, (B, Lq) of integers.

        Raises:
            ControlError: the layer does not rotate as its embedding says.
        """
        rotary = _find_embedding(module)
        if layer_of(module) not in self._checked:
            self._check(module, rotary, query.dtype)
            self._checked.add(layer_of(module))
        return self._turn(rotary, query, shift)

    def _turn(self, rotary: Any, query: Tensor, shift: Tensor) -> Tensor:
        cos, sin = self._cos_and_sin(rotary, shift)
        width: int = rotary.rotary_dim
        states = query[..., :width].float()
        if rotary.is_neox_style:
            first, second = states.chunk(2, -1)
        else:
            first, second = states[..., ::2], states[..., 1::2]
        # By the opposite angle.
        halves = (first * cos + second * sin, second * cos - first * sin)
        if rotary.is_neox_style:
            back = torch.cat(halves, -1)
        else:
            back = torch.stack(halves, -1).flatten(-2)
        return torch.cat((back.to(query.dtype), query[..., width:]), -1)

    def _cos_and_sin(self, rotary: Any, shift: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin (B, 1, Lq, width / 2) for `shift`; once for a pass, not for each layer."""
        last = self._last.get(id(rotary))
        if last is not None and last[0]() is shift:
            return last[1], last[2]
        if id(rotary) not in self._waves:
            # The embedding's own buffer is in the model's dtype.
            cos, sin = rotary._compute_cos_sin_cache().float().chunk(2, -1)
            scale = cos[0, 0]  # the cosine of position 0 is 1, times the attention scaling
            self._waves[id(rotary)] = cos / scale, sin / scale
        cos, sin = (wave.to(shift.device)[shift][:, None] for wave in self._waves[id(rotary)])
        self._last[id(rotary)] = weakref.ref(shift), cos, sin
        return cos, sin

    def _check(self, layer: nn.Module, rotary: Any, dtype: torch.dtype) -> None:
        """Compare queries and keys of a token at two positions."""
        late, early = (_compute_states(layer, position, dtype) for position in (LATE, EARLY))
        for one, other in zip(late, early, strict=True):
            shift = torch.full((1, 1), LATE - EARLY, device=one.device)
            if not nearly_equal(self._turn(rotary, one, shift), other):
                raise ControlError(
                    f"layer {layer_of(layer)} does not turn its queries and keys by its rotary"
                    " embedding alone, so anchor would not be exact: use reminder."
                )


def _find_owner(layer: nn.Module) -> Any:
    """The module that an attention layer belongs to."""
    owner: Any = getattr(layer, OWNER, None)
    return None if owner is None else owner()


def _find_embedding(layer: nn.Module) -> Any:
    rotary: Any = getattr(_find_owner(layer), "rotary_emb", None)
    if rotary is None or not hasattr(rotary, "_compute_cos_sin_cache"):
        raise ControlError(
            f"layer {layer_of(layer)} has no rotary embedding that anchor knows: use reminder."
        )
    return rotary


class _AttentionReached(Exception):
    """The attention was reached, with these queries and keys."""


class _AttentionProbe(nn.Module):
    """Stands in for a layer's attention."""

    def forward(self, query: Tensor, key: Tensor, *_: Any, **__: Any) -> Tensor:
        """End the pass with what it was given."""
        raise _AttentionReached(query, key)


def _compute_states(layer: nn.Module, position: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A token's rotated queries and keys at a position, (1, heads, 1, size) each."""
    owner, like = _find_owner(layer), next(_find_owner(layer).parameters())
    name = next(name for name, part in owner.named_children() if part is layer)
    size: Any = layer.head_size
    takes = inspect.signature(owner.forward).parameters
    width = owner.hidden_size
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, width, generator=generator).to(like.device, dtype)
    positions = torch.tensor([position], device=like.device)
    if not {"positions", "hidden_states"} <= set(takes):
        raise ControlError(f"{type(owner).__name__} takes other arguments than anchor knows.")
    owner._modules[name] = _AttentionProbe()
    try:
        owner(positions=positions, hidden_states=hidden)
    except _AttentionReached as reached:
        query, key = (states.view(1, 1, -1, size).transpose(1, 2) for states in reached.args)
        return query, key
    finally:
        owner._modules[name] = layer
    raise ControlError(f"{type(owner).__name__} does not call its attention.")
