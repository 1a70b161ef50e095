"""The layers of a Llama-like model, walked without the calls of its modules.

    h = h + W_o · attention(rotated W_q n, rotated W_k n, W_v n),   n = norm(h)
    h = h + W_down · (act(W_gate n) * W_up n),                     n = norm(h)

A small model, or a batch of few rows, spends much of a pass in Python: modules call modules,
build masks again and look for hooks. Here one loop applies the same operations to the same
weights, with attention through `observe.fused_attention`, which measures and steers it. Tests
compare this quick path with the model's own `forward`, which runs wherever `make_decoder` returns
None: another family, a sliding window, quantized or adapted layers, hooks, a model spread over
devices. In bfloat16 on a CPU that multiplies it, products run on reordered weights (`packed`), with
the queries, keys and values of a layer in one, and with what follows a product done inside it.

This module knows weights and tensors. It knows no rows and no batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, silu
from transformers.activations import SiLUActivation

from holdfast.control.observe import fused_attention
from holdfast.control.steered_pass import SteeredPass
from holdfast.models.engine.packed import PackedProduct, PackedWeights, can_pack

# Families whose layers compute exactly the equations above.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


class _Linear(NamedTuple):
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Norm(NamedTuple):
    """x / √(Σx² / n + ε) · w  as  x / √(Σx² + n ε) · √n w: `floor` is n ε, `scale` √n w."""

    scale: Tensor
    floor: Tensor


class _LayerWeights(NamedTuple):
    """One layer's weights. `heads` are the norms of each head's queries and keys."""

    attention: Any
    before: _Norm
    qkv: tuple[_Linear, _Linear, _Linear] | PackedProduct
    out: _Linear | PackedProduct
    heads: tuple[_Norm, _Norm] | None
    after: _Norm
    gate: _Linear | PackedProduct
    up: _Linear | PackedProduct
    down: _Linear | PackedProduct
    act: Callable[[Tensor], Tensor]


class Decoder:
    """A model's forward pass; `make_decoder` makes one.

    Args:
        model: the model. The weights are its own, or reordered copies.
        packs: where these are kept; None to run on the model's own.
    """

    def __init__(self, model: Any, packs: PackedWeights | None = None) -> None:
        inner = model.model
        self.table: Tensor = inner.embed_tokens.weight
        self.rotary = inner.rotary_emb
        self.norm = _read_norm(inner.norm)
        self.head = _read_weights(model.lm_head) if packs is None else packs.product(model.lm_head)
        attention = inner.layers[0].self_attn
        self.size: int = attention.head_dim
        rows = (one.weight.shape[0] for one in (attention.q_proj, attention.k_proj))
        self.query_heads, self.key_heads = (count // self.size for count in rows)
        self.layers = [_read_layer(layer, packs) for layer in inner.layers]
        self.dtype = self.table.dtype

    def __call__(
        self,
        ids: Tensor,
        positions: Tensor,
        cache: Any,
        mask: Tensor | None,
        steering: SteeredPass | None,
    ) -> Tensor:
        """Logits (rows, vocabulary) of the last of `ids` (rows, queries) at `positions`.

        `cache` is written as transformers would. `mask` is boolean or additive, (rows, 1,
        queries, columns); without one queries see what is causal, from the first column on.
        """
        x = embedding(ids, self.table)
        cos, sin = self.rotary(x, positions)
        half = cos.shape[-1] // 2
        # A rotated half is added with its sign in the sine: (-b, a) · s = (b, a) · (-s, s).
        cos, sin = cos[:, None], torch.cat([-sin[..., :half], sin[..., half:]], -1)[:, None]
        for layer, layer_cache in zip(self.layers, cache.layers, strict=True):
            both, v = self._heads(layer, _normalise(x, layer.before))
            both = (both * cos).addcmul_(both.roll(half, -1), sin)
            q, k = both.split([self.query_heads, self.key_heads], 1)
            k, v = layer_cache.update(k, v)
            output, _ = fused_attention(
                layer.attention, q, k, v, mask, scaling=layer.attention.scaling, holdfast=steering
            )
            x = _add_product(x, layer.out, output.flatten(2))
            n = _normalise(x, layer.after)
            if isinstance(layer.gate, PackedProduct) and isinstance(layer.up, PackedProduct):
                n = layer.up.then(n, "mul", layer.gate(n, "swish"))
            else:
                n = layer.act(layer.gate(n)).mul_(layer.up(n))
            x = _add_product(x, layer.down, n)
        return self.head(_normalise(x[:, -1], self.norm))

    def _heads(self, layer: _LayerWeights, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys together, and values, each (rows, heads, tokens, size)."""
        shape, first = (*x.shape[:2], -1, self.size), self.query_heads
        if isinstance(layer.qkv, PackedProduct):
            states = layer.qkv(x).view(shape)
            both, v = states.split([first + self.key_heads, self.key_heads], 2)
            if layer.heads is None:
                return both.transpose(1, 2), v.transpose(1, 2)
            q, k = both.split([first, self.key_heads], 2)
        else:
            q, k, v = (one(x).view(shape) for one in layer.qkv)
        if layer.heads is not None:
            q, k = _normalise(q, layer.heads[0]), _normalise(k, layer.heads[1])
        return torch.cat([q.transpose(1, 2), k.transpose(1, 2)], 1), v.transpose(1, 2)


def _add_product(x: Tensor, product: _Linear | PackedProduct, other: Tensor) -> Tensor:
    """`x` plus a product of `other`."""
    if isinstance(product, PackedProduct):
        return product.then(other, "add", x)
    return x.add_(product(other))


def make_mask(
    own: Tensor | None, column: int, columns: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """The mask of the queries from `column` on over `columns`, (rows, 1, queries, columns).

    `own` (rows, columns) is False at padding; None where there is none. Each
    query sees itself, padding too: attention to nothing is NaN in some kernels.
    """
    queries = columns[column:, None]
    if len(queries) == 1:
        if own is None:
            return None
        # Added to scores it is one operation in each layer, and not two.
        hidden = torch.zeros(own.shape, dtype=dtype, device=own.device)
        return hidden.masked_fill_(~own, -torch.inf)[:, None, None]
    if own is None and not column:
        return None
    visible = columns <= queries
    if own is not None:
        visible = (visible & own[:, None]) | (columns == queries)
    return visible[..., None, :, :]


def _normalise(x: Tensor, norm: _Norm) -> Tensor:
    """Root mean square norm, in float32 as in transformers."""
    wide = x.float()
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return (wide * torch.addcmul(norm.floor, length, length).rsqrt_()).mul_(norm.scale).to(x.dtype)


def _read_norm(module: Any) -> _Norm:
    weight = module.weight.float()
    return _Norm(
        weight * len(weight) ** 0.5, weight.new_tensor(len(weight) * module.variance_epsilon)
    )


def _read_weights(layer: nn.Linear) -> _Linear:
    return _Linear(layer.weight, layer.bias)


def _read_layer(layer: Any, packs: PackedWeights | None) -> _LayerWeights:
    attention, mlp = layer.self_attn, layer.mlp
    heads = None
    if hasattr(attention, "q_norm"):
        heads = _read_norm(attention.q_norm), _read_norm(attention.k_norm)
    three = (attention.q_proj, attention.k_proj, attention.v_proj)
    make = _read_weights if packs is None else packs.product
    return _LayerWeights(
        attention,
        _read_norm(layer.input_layernorm),
        _read_three(*three) if packs is None else packs.product(*three),
        make(attention.o_proj),
        heads,
        _read_norm(layer.post_attention_layernorm),
        make(mlp.gate_proj),
        make(mlp.up_proj),
        make(mlp.down_proj),
        silu if isinstance(mlp.act_fn, SiLUActivation) else mlp.act_fn,
    )


def _read_three(q: nn.Linear, k: nn.Linear, v: nn.Linear) -> tuple[_Linear, _Linear, _Linear]:
    return _read_weights(q), _read_weights(k), _read_weights(v)


def make_decoder(model: Any, packs: PackedWeights | None = None) -> Decoder | None:
    """The model's decoder, or None where its own forward pass has to be called.

    Args:
        model: a causal language model of transformers.
        packs: where reordered weights are kept; they are used where `can_pack` says so.
    """
    config: Any = model.config
    family = type(model).__module__.rpartition(".modeling_")[2]
    if family not in FAMILIES or not type(model).__name__.endswith("ForCausalLM"):
        return None
    kinds = getattr(config, "layer_types", None) or []
    if 2 * len(model.model.rotary_emb.inv_freq) != model.model.layers[0].self_attn.head_dim:
        return None  # part of a head only is rotated
    window = None if kinds else getattr(config, "sliding_window", None)
    if window is not None or any(kind != "full_attention" for kind in kinds):
        return None
    devices = {weight.device for weight in model.parameters()}
    if len(devices) > 1 or not all(_runs_own_forward(module) for module in model.modules()):
        return None
    swish = all(isinstance(layer.mlp.act_fn, SiLUActivation) for layer in model.model.layers)
    packs = packs if swish and can_pack(model.parameters()) else None
    return Decoder(model, packs)


def _runs_own_forward(module: nn.Module) -> bool:
    """Whether a call of the module is its class's own `forward` and nothing more."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    if any(hooks) or "forward" in vars(module) or hasattr(module, "_hf_hook"):
        return False
    ours = type(module).__module__.startswith(("torch.nn.", "transformers."))
    linear = type(module) is nn.Linear or not isinstance(module, nn.Linear)
    plain = all(type(one) is nn.Parameter for one in module.parameters(recurse=False))
    return ours and linear and plain and not module.training
