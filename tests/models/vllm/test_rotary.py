"""vLLM's rotary embedding turned back, on stand-ins of its modules."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.core.errors import ControlError
from holdfast.models.vllm.plugin import OWNER
from holdfast.models.vllm.rotary import VllmRotary

HEADS, SIZE, WIDTH = 2, 16, 12


class Embedding(nn.Module):
    """Rotates the first dimensions, as vLLM's embeddings do."""

    def __init__(self, neox: bool, scale: float) -> None:
        super().__init__()
        self.rotary_dim, self.is_neox_style, self.scale = WIDTH, neox, scale

    def _compute_cos_sin_cache(self) -> Tensor:
        frequencies = 1 / 10 ** (torch.arange(0, WIDTH, 2) / WIDTH)
        angles = torch.arange(64)[:, None] * frequencies
        return torch.cat((angles.cos(), angles.sin()), -1) * self.scale

    def rotate(self, positions: Tensor, states: Tensor) -> Tensor:
        """States (tokens, heads, size)."""
        cos, sin = (x[:, None] for x in self._compute_cos_sin_cache()[positions].chunk(2, -1))
        part, rest = states[..., :WIDTH], states[..., WIDTH:]
        first, second = (
            part.chunk(2, -1) if self.is_neox_style else part.unflatten(-1, (-1, 2)).unbind(-1)
        )
        both = first * cos - second * sin, second * cos + first * sin
        out = torch.cat(both, -1) if self.is_neox_style else torch.stack(both, -1).flatten(-2)
        return torch.cat((out, rest), -1)


class Layer(nn.Module):
    """An attention layer."""

    layer_idx, head_size = 0, SIZE


class Owner(nn.Module):
    """What has an embedding and an attention."""

    def __init__(self, neox: bool, scale: float, extra: float = 0.0) -> None:
        super().__init__()
        self.hidden_size, self.extra = HEADS * SIZE, extra
        self.rotary_emb = Embedding(neox, scale)
        self.project = nn.Linear(HEADS * SIZE, HEADS * SIZE)
        self.attn: Any = Layer()
        setattr(self.attn, OWNER, weakref.ref(self))

    def forward(self, positions: Tensor, hidden_states: Tensor) -> Tensor:
        states = self.project(hidden_states).view(-1, HEADS, SIZE)
        states = self.rotary_emb.rotate(positions, states) + self.extra * positions[:, None, None]
        out: Tensor = self.attn(states.flatten(1), states.flatten(1), states.flatten(1))
        return out


@pytest.mark.parametrize("neox", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1.3])
@torch.no_grad()
def test_a_query_is_turned_back_to_an_earlier_position(neox: bool, scale: float) -> None:
    owner = Owner(neox, scale)
    states = torch.randn(3, HEADS, SIZE)
    at, shift = torch.tensor([20, 31, 40]), torch.tensor([[5, 0, 33]])
    late, early = (owner.rotary_emb.rotate(p, states) for p in (at, at - shift[0]))
    back = VllmRotary().turn_back(owner.attn, late.transpose(0, 1)[None], shift)
    torch.testing.assert_close(back[0].transpose(0, 1), early, atol=1e-5, rtol=1e-5)
    assert isinstance(owner.attn, Layer)  # the check put it back


@torch.no_grad()
def test_a_layer_that_adds_positions_otherwise_is_refused() -> None:
    owner = Owner(True, 1.0, extra=0.1)
    with pytest.raises(ControlError, match="alone"):
        VllmRotary().turn_back(owner.attn, torch.randn(1, HEADS, 1, SIZE), torch.tensor([[4]]))


@torch.no_grad()
def test_a_layer_is_checked_in_the_dtype_of_its_queries() -> None:
    # vLLM's linear layers read another dtype's memory without a word.
    owner = Owner(True, 1.0)
    owner.project.bfloat16()
    dtypes = []
    owner.project.register_forward_pre_hook(lambda _, inputs: dtypes.append(inputs[0].dtype))
    query = torch.randn(1, HEADS, 1, SIZE).bfloat16()
    VllmRotary().turn_back(owner.attn, query, torch.tensor([[4]]))
    assert set(dtypes) == {torch.bfloat16}


@torch.no_grad()
def test_a_layer_that_gives_no_numbers_is_refused() -> None:
    owner = Owner(True, 1.0, extra=float("nan"))
    with pytest.raises(ControlError, match="alone"):
        VllmRotary().turn_back(owner.attn, torch.randn(1, HEADS, 1, SIZE), torch.tensor([[4]]))


def test_a_layer_without_an_embedding_is_refused() -> None:
    with pytest.raises(ControlError, match="no rotary embedding"):
        VllmRotary().turn_back(Layer(), torch.randn(1, HEADS, 1, SIZE), torch.tensor([[4]]))
