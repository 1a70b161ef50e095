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
from transformers.masking_utils import sdpa_mask

from holdfast.control.kernels import (
    additive_mask,
    apply_weights,
    attend,
    attend_only,
    attention_scores,
)
from holdfast.control.recorder import Recorder
from holdfast.control.reference_attention import apply_mask, reference_weights
from holdfast.control.steered_pass import SteeredPass
from holdfast.control.switch import EAGER, FUSED, AttentionCall
from holdfast.core.errors import ControlError

# What models add to attention beyond a mask, by the names they pass it under.
_ADDITIONS = ("position_bias", "softcap", "s_aux", "sinks")

_recorder: ContextVar[Recorder | None] = ContextVar("holdfast_recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Record π in this thread while the block runs (nothing for None)."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def fused_attention(
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
    call = AttentionCall(module, query, key, value, attention_mask, scaling)
    recorder, layer = _recorder.get(), call.layer
    if steering is not None:
        _refuse_additions(module, kwargs)
        steering = _enter(steering, layer, query.shape[2])
    is_plain = _is_plain(module, kwargs)
    if is_plain and query.shape[2] == 1:
        if _is_exact_on_cpu(query) and (
            steering is None or steering.prefers_weights(layer, key.shape[2])
        ):
            return _one_query_by_weights(call, steering, recorder), None
        parts = _one_query_in_parts(call, steering, recorder)
        if parts is not None:
            return parts.transpose(1, 2).contiguous(), None
    if recorder is not None:
        plain = weights = _last_weights(call)
        if steering is not None:
            weights = steering.weights(call, slice(-1, None))
        recorder.record(layer, weights[:, :, 0], plain[:, :, 0])
    if steering is not None:
        return steering.attention(call).transpose(1, 2).contiguous(), None
    if is_plain and query.device.type == "cpu" and key.shape[1] < query.shape[1]:
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
    """True for causal self-attention with nothing added to the scores, and no dropout."""
    has_additions = options.get("position_bias") is not None or options.get("is_causal") is not None
    has_additions = has_additions or bool(options.get("dropout"))
    return not has_additions and bool(getattr(module, "is_causal", True))


def _is_exact_on_cpu(query: Tensor) -> bool:
    """True where a single query is sooner attended to by its weights than by the fused kernel."""
    return query.device.type == "cpu" and query.dtype in (torch.float32, torch.float64)


def _enter(steering: SteeredPass, layer: int, queries: int) -> SteeredPass | None:
    """The pass as a layer's attention gets it; None for a layer that no control changes."""
    steering = steering.enter(layer, queries)
    return steering if steering.covers(layer) else None


def _one_query_by_weights(
    call: AttentionCall, steering: SteeredPass | None, recorder: Recorder | None
) -> Tensor:
    """One query's attention, (B, 1, H, D), by weights that serve the recorder too."""
    module, query, key, value, mask, scale = call
    plain = None
    if steering is None:
        weights = apply_mask(attention_scores(query, key, scale), mask).softmax(-1)
    else:
        score, weights = steering.one_query(module, query, key, mask, scale)
        if recorder is not None and recorder.plain:
            plain = apply_mask(score, mask).softmax(-1)[:, :, 0]
    if recorder is not None:
        recorder.record(call.layer, weights[:, :, 0], plain)
    return apply_weights(weights.to(value.dtype), value).transpose(1, 2)


def _one_query_in_parts(
    call: AttentionCall, steering: SteeredPass | None, recorder: Recorder | None
) -> Tensor | None:
    """One query's attention, (B, H, 1, D), by kernels whose log-sum-exps serve the recorder.

    None where the recorder needs whole weights, or another kernel is as good.
    """
    module, query, key, value, mask, scale = call
    if recorder is not None and not recorder.sees(key, mask):
        return None
    if steering is not None:
        if recorder is None or not recorder.knows(steering.steering):
            return None
        near = steering.anchored_query(module, query, call.layer)
        merge = steering.merge(call, near)
        recorder.record_merge(call, near, merge)
        return merge.output
    if query.device.type != "cpu":
        return None
    additive = additive_mask(mask, query)
    if recorder is None:
        return attend_only(query, key, value, additive, scale)
    output, lse = attend(query, key, value, additive, scale)
    recorder.record_spans(call, lse)
    return output


def eager_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The model's own plain attention, steered and recorded; the signature is transformers'."""
    steering: SteeredPass | None = kwargs.pop("holdfast", None)
    call = AttentionCall(module, query, key, value, attention_mask, kwargs.get("scaling"))
    recorder, layer = _recorder.get(), call.layer
    if steering is not None:
        steering = _enter(steering, layer, query.shape[2])
    extras: dict[str, Any] = {"softcap": kwargs.get("softcap"), "sinks": kwargs.get("s_aux")}
    if steering is not None:
        others = {name: one for name, one in kwargs.items() if name not in ("softcap", "s_aux")}
        _refuse_additions(module, others)
        weights = steering.weights(call, **extras)
        output = apply_weights(weights.to(value.dtype), value).transpose(1, 2).contiguous()
    else:
        own: Any = sys.modules[type(module).__module__].eager_attention_forward
        output, weights = own(module, query, key, value, attention_mask, **kwargs)
    if recorder is not None:  # what the model itself returns may leave its sinks out
        plain = _last_weights(call, **extras)[:, :, 0]
        recorder.record(layer, plain if steering is None else weights[:, :, -1], plain)
    return output, weights


def _last_weights(call: AttentionCall, **extras: Any) -> Tensor:
    """Plain attention's weights of the last query, (B, H, 1, Lk)."""
    row = None if call.mask is None else call.mask[:, :, -1:, : call.key.shape[2]]
    return reference_weights(call.query[:, :, -1:], call.key, row, call.scale, **extras)[0]


def _refuse_additions(module: torch.nn.Module, options: dict[str, Any]) -> None:
    """Refuse what is added to the scores and that the two parts do not know."""
    additions = [name for name in _ADDITIONS if options.get(name) is not None]
    additions += ["dropout"] if options.get("dropout") else []
    if additions:
        raise ControlError(
            f"{type(module).__name__} adds {', '.join(additions)} to its attention, which "
            "attention controls do not compute exactly: use window or reminder."
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
    visible: Tensor = mask | (own == torch.arange(keys, device=mask.device))
    return visible


def plain_mask(dtype: torch.dtype = torch.float32, **arguments: Any) -> Tensor | None:
    """The same as what is added to scores, which the models' own plain attention takes."""
    mask = fused_mask(**{**arguments, "allow_is_causal_skip": False})
    if mask is None:
        return None
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, torch.finfo(dtype).min
    )


AttentionInterface.register(FUSED, fused_attention)
AttentionMaskInterface.register(FUSED, fused_mask)
AttentionInterface.register(EAGER, eager_attention)
AttentionMaskInterface.register(EAGER, plain_mask)
