"""Prompt share: how much attention a reply's tokens give to the system prompt.

For one query of one head, with softmax weights a_j over the keys it may see,

    π = Σ a_j over the keys j of the span,

in float32. The queries that count are those that produce the reply: the last token of the
prompt (it produces the first token of the reply) and then each token fed back. Where a head
has an attention sink, the sink stays in the denominator. Where a sliding window has left the
span behind, π is 0.

Two attention functions enter transformers under names of their own, without touching any
model: `holdfast` is transformers' own fused attention, and `holdfast-eager` the model's own
plain one (for soft-capping and sinks). A model is switched to one of them while the engine, or
`hold`, runs it. Both record π where a `Recorder` is active in this thread, and neither changes
anything by it, so measuring cannot change a reply. Where the model is called with `holdfast=`
(a `SteeredPass`), both steer. π is then the share under the control, and beside it is recorded
what plain attention would have given the same query.

This module knows tensors. It knows no tokens, no text and no batches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from holdfast.control.attention import gather_columns
from holdfast.control.kernels import (
    additive_mask,
    apply_weights,
    attend,
    attention_scores,
    in_float32,
)
from holdfast.control.reference_attention import apply_mask, reference_weights
from holdfast.control.steered_pass import SteeredPass, layer_of
from holdfast.control.switch import EAGER, FUSED
from holdfast.core.errors import ControlError

# What models add to attention beyond a mask, by the names they pass it under.
_ADDITIONS = ("position_bias", "softcap", "s_aux", "sinks")


class Recorder:
    """Collects π of each row's last query, layer by layer, during one forward pass.

    It serves passes whose rows and columns stay where they are.

    Args:
        starts: the first column of each row's spans, (spans, B).
        ends: the columns after them; equal to the first where a row has none.
        plain: also record plain attention's π where a control is active, which costs a
            second set of weights.
    """

    def __init__(self, starts: Tensor, ends: Tensor, plain: bool = True) -> None:
        self.starts, self.ends, self.plain = starts, ends, plain
        first = starts.amin(0)
        columns = first[:, None] + torch.arange(int((ends - first).amax()), device=first.device)
        self.columns = columns  # of all spans of a row, (B, n)
        self.inside = self._within(columns)
        self.layers: dict[int, Tensor] = {}
        self._keys: dict[int, Tensor] = {}

    def begin(self, columns: int) -> None:
        """Begin a pass whose queries see up to so many columns."""
        self.spans = self._within(torch.arange(columns, device=self.starts.device)[None])
        self.places = self.columns.clamp(max=columns - 1)

    def sees(self, key: Tensor, mask: Tensor | None) -> bool:
        """Whether `record_spans` takes a layer: its keys are all columns, its mask all heads'."""
        shared = mask is None or mask.shape[1] == 1
        return shared and key.shape[2] == self.spans.shape[-1]

    def _within(self, columns: Tensor) -> Tensor:
        """1 where a column (B or 1, n) belongs to a row's span: (spans, B, n)."""
        starts, ends = self.starts[..., None], self.ends[..., None]
        return ((columns >= starts) & (columns < ends)).float()

    def record(self, layer: int, weights: Tensor, plain: Tensor | None = None) -> None:
        """Record a layer's π.

        Args:
            layer: its number.
            weights: of the last queries, (B, H, Lk).
            plain: the same without the control; None where there is none.
        """
        spans = self.spans[:, :, : weights.shape[-1]].to(weights.device).movedim(0, -1)
        share = weights.float() @ spans  # (B, H, spans)
        plain_share = share if plain is None else plain.float() @ spans
        self.layers[layer] = torch.stack([share, plain_share]).movedim(-1, 1)

    def record_spans(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        lse: Tensor,
        mask: Tensor | None,
        scale: float | None,
    ) -> None:
        """Record a layer's π from the log-sum-exp of its plain attention.

        The spans' keys are gathered once, and then used in every pass.

        Args:
            layer: its number.
            query: one to a row, (B, H, 1, D).
            key: of all columns, (B, Hkv, Lk, D).
            lse: the log-sum-exp over all keys, (B, H, 1).
            mask: additive, (B or 1, 1, 1, Lk); None where all keys are seen.
            scale: what scores are multiplied by; None for 1/√D.
        """
        places = self.places
        if layer not in self._keys:
            self._keys[layer] = in_float32(gather_columns(key, places))
        score = attention_scores(query, self._keys[layer], scale)
        if mask is not None:
            score += mask.expand(len(places), 1, 1, -1).gather(3, places[:, None, None])
        share = (score - lse[..., None]).exp()[:, :, 0] @ self.inside.movedim(0, -1)
        self.layers[layer] = torch.stack([share, share]).movedim(-1, 1)

    def result(self) -> Tensor:
        """π as (2, spans, B, layers, H): under the control, then under plain attention.

        Starts over: the next pass is recorded anew.
        """
        layers = [self.layers[i].to(self.spans.device) for i in sorted(self.layers)]
        self.layers = {}
        heads = max(layer.shape[-1] for layer in layers)
        padded = [torch.nn.functional.pad(x, (0, heads - x.shape[-1])) for x in layers]
        return torch.stack(padded, dim=3)


_recorder: ContextVar[Recorder | None] = ContextVar("holdfast_recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Record π in this thread while the block runs (nothing for None)."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def fused(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' `sdpa` attention, steered and recorded; the signature is transformers'."""
    steering: SteeredPass | None = kwargs.pop("holdfast", None)
    recorder, layer = _recorder.get(), layer_of(module)
    if steering is not None:
        steering.layers.append(layer)
        _refuse_additions(module, kwargs)
    by_weights = steering is None or steering.prefers_weights(layer, key.shape[2])
    if by_weights and _is_single(query) and _is_plain(module, kwargs):
        output = _one_query(module, query, key, value, attention_mask, scaling, steering, recorder)
        return output, None
    acts = steering is not None and steering.covers(layer)
    single = query.device.type == "cpu" and query.shape[2] == 1 and _is_plain(module, kwargs)
    if single and not acts and (recorder is None or recorder.sees(key, attention_mask)):
        mask = additive_mask(attention_mask, query)
        output, lse = attend(query, key, value, mask, scaling)
        if recorder is not None:
            recorder.record_spans(layer, query, key, lse, mask, scaling)
        return output.transpose(1, 2), None
    if recorder is not None:
        plain = weights = _last_weights(query, key, attention_mask, scaling)
        if steering is not None and acts:
            weights = steering.weights(module, query, key, attention_mask, scaling, slice(-1, None))
        recorder.record(layer, weights[:, :, 0], plain[:, :, 0])
    if steering is not None and acts:
        merged = steering.attention(module, query, key, value, attention_mask, scaling)
        return merged.transpose(1, 2).contiguous(), None
    if query.device.type == "cpu" and key.shape[1] < query.shape[1] and _is_plain(module, kwargs):
        # On a CPU the fused kernel takes grouped heads, with a mask too: no keys are repeated.
        causal = attention_mask is None and query.shape[2] > 1
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, 0.0, causal, scale=scaling, enable_gqa=True
        )
        return output.transpose(1, 2).contiguous(), None
    result: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **kwargs
    )
    return result


def _is_plain(module: torch.nn.Module, options: dict[str, Any]) -> bool:
    """True for causal self-attention with nothing added to the scores."""
    added = options.get("position_bias") is not None or options.get("is_causal") is not None
    return not added and bool(getattr(module, "is_causal", True))


def _is_single(query: Tensor) -> bool:
    """True for one query to a row on a CPU, whose matrix of scores is a row's keys and no more."""
    exact = query.dtype in (torch.float32, torch.float64)
    return query.shape[2] == 1 and query.device.type == "cpu" and exact


def _one_query(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    steering: SteeredPass | None,
    recorder: Recorder | None,
) -> Tensor:
    """One query's attention, (B, 1, H, D), by weights that serve the recorder too."""
    layer, plain = layer_of(module), None
    if steering is None or not steering.covers(layer):
        weights = apply_mask(attention_scores(query, key, scaling), mask).softmax(-1)
    else:
        score, weights = steering.one_query(module, query, key, mask, scaling)
        if recorder is not None and recorder.plain:
            plain = apply_mask(score, mask).softmax(-1)[:, :, 0]
    if recorder is not None:
        recorder.record(layer, weights[:, :, 0], plain)
    return apply_weights(weights.to(value.dtype), value).transpose(1, 2)


def eager(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The model's own plain attention, steered and recorded; the signature is transformers'."""
    steering: SteeredPass | None = kwargs.pop("holdfast", None)
    recorder, plain, layer = _recorder.get(), None, layer_of(module)
    if steering is not None:
        steering.layers.append(layer)
    if steering is not None and steering.covers(layer):
        added = {"softcap": kwargs.pop("softcap", None), "sinks": kwargs.pop("s_aux", None)}
        _refuse_additions(module, kwargs)
        scaling = kwargs.get("scaling")
        weights = steering.weights(module, query, key, attention_mask, scaling, **added)
        output = apply_weights(weights.to(value.dtype), value).transpose(1, 2).contiguous()
        if recorder is not None:
            plain = _last_weights(query, key, attention_mask, scaling, **added)[:, :, 0]
    else:
        own: Any = sys.modules[type(module).__module__].eager_attention_forward
        output, weights = own(module, query, key, value, attention_mask, **kwargs)
    if recorder is not None:
        recorder.record(layer, weights[:, :, -1], plain)
    return output, weights


def _last_weights(
    query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None, **added: Any
) -> Tensor:
    """Plain attention's weights of the last query, (B, H, 1, Lk)."""
    row = None if mask is None else mask[:, :, -1:, : key.shape[2]]
    return reference_weights(query[:, :, -1:], key, row, scaling, **added)[0]


def _refuse_additions(module: torch.nn.Module, options: dict[str, Any]) -> None:
    """Refuse what is added to the scores and that the two parts do not know."""
    added = [name for name in _ADDITIONS if options.get(name) is not None]
    added += ["dropout"] if options.get("dropout") else []
    if added:
        raise ControlError(
            f"{type(module).__name__} adds {', '.join(added)} to its attention, which attention "
            "controls do not compute exactly: use window or reminder."
        )


def fused_mask(**arguments: Any) -> Tensor | None:
    """transformers' boolean mask, in which each query at least sees itself.

    No token changes by it, since a causal query sees itself anyway. It keeps padding from
    attending to nothing, which is NaN in some kernels.
    """
    mask: Tensor | None = sdpa_mask(**arguments)
    queries, keys = arguments["q_length"], arguments["kv_length"]
    if mask is None or queries == 1:
        return mask
    offset = arguments.get("q_offset", 0) - arguments.get("kv_offset", 0)
    own = torch.arange(queries, device=mask.device)[:, None] + offset
    seen: Tensor = mask | (own == torch.arange(keys, device=mask.device))
    return seen


AttentionInterface.register(FUSED, fused)
AttentionMaskInterface.register(FUSED, fused_mask)
AttentionInterface.register(EAGER, eager)
AttentionMaskInterface.register(EAGER, eager_mask)
