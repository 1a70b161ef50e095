"""Prompt share: how much attention a reply's tokens give to the system prompt.

For one query of one head, with softmax weights a_j over the keys it may see,

    π = Σ a_j over the keys j of the span,

in float32. The queries counted are those that produce the reply: the last token
of the prompt (it produces the first token of the reply) and then each token fed
back. Where a head has an attention sink the sink stays in the denominator, and
where a sliding window has left the span behind π is 0.

Two attention functions enter transformers under names of their own, for good
and without touching any model: `holdfast` is transformers' own fused attention,
and `holdfast-eager` the model's own plain one (for soft-capping and sinks). A
model is switched to one of them while the engine, or `hold`, runs it. Both note π
where a `Recorder` is active in this thread, and neither computes anything else anew,
so measuring cannot change a reply. Where the model is called with `holdfast=` (a
`steering.Pass`) both put the pass's control in place; π is then what the control made
of it, and beside it stands what plain attention would have given the same query.

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

from holdfast.control.attention import masked, plain_weights
from holdfast.control.kernels import applied, scores
from holdfast.control.steering import Pass, layer_of
from holdfast.control.switch import EAGER, FUSED
from holdfast.core.errors import ControlError

# What models add to attention beyond a mask, by the names they pass it under.
_ODD = ("position_bias", "softcap", "s_aux", "sinks")


class Recorder:
    """Collects π of each row's last query, layer by layer, during one forward pass.

    `spans` is (spans, rows, columns): 1 where a column's key belongs to a row's span. `before`
    says that plain attention's π is wanted under a control, too.
    """

    def __init__(self, spans: Tensor, before: bool = True) -> None:
        self.spans, self.before = spans, before
        self.layers: dict[int, Tensor] = {}

    def note(self, layer: int, weights: Tensor, plain: Tensor | None = None) -> None:
        """Note a layer's weights (rows, heads, columns) of the last queries.

        `plain` are those without the control, where there is one.
        """
        spans = self.spans[:, :, : weights.shape[-1]].to(weights.device).movedim(0, -1)
        own = weights.float() @ spans  # (rows, heads, spans)
        bare = own if plain is None else plain.float() @ spans
        self.layers[layer] = torch.stack([own, bare]).movedim(-1, 1)

    def result(self) -> Tensor:
        """π as (2, spans, rows, layers, heads), on the spans' device; forgets what it holds.

        First what came out, then what plain attention would have given.
        """
        layers = [self.layers[i].to(self.spans.device) for i in sorted(self.layers)]
        self.layers = {}
        heads = max(layer.shape[-1] for layer in layers)
        padded = [torch.nn.functional.pad(x, (0, heads - x.shape[-1])) for x in layers]
        return torch.stack(padded, dim=3)


_recorder: ContextVar[Recorder | None] = ContextVar("holdfast_recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Note π in this thread while the block runs (nothing for None)."""
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
    """transformers' `sdpa` attention, which notes π where a recorder is active."""
    held: Pass | None = kwargs.pop("holdfast", None)
    recorder = _recorder.get()
    if held is not None:
        held.met.append(layer_of(module))
        _refuse_odd(module, kwargs)
    whole = held is None or held.weighs(layer_of(module), key.shape[2])
    if whole and _single(query) and _plain(module, kwargs):
        return _met(module, query, key, value, attention_mask, scaling, held, recorder), None
    if recorder is not None:
        plain = _last_weights(query, key, attention_mask, scaling)
        acting = held is not None and held.acts(layer_of(module))
        weights = plain
        if held is not None and acting:
            weights = held.weights(module, query, key, attention_mask, scaling, last=True)
        recorder.note(layer_of(module), weights[:, :, 0], plain[:, :, 0])
    if held is not None and held.acts(layer_of(module)):
        merged = held.attention(module, query, key, value, attention_mask, scaling)
        return merged.transpose(1, 2).contiguous(), None
    if query.device.type == "cpu" and key.shape[1] < query.shape[1] and _plain(module, kwargs):
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


def _plain(module: torch.nn.Module, options: dict[str, Any]) -> bool:
    """True for causal self-attention with nothing added to the scores."""
    added = options.get("position_bias") is not None or options.get("is_causal") is not None
    return not added and bool(getattr(module, "is_causal", True))


def _single(query: Tensor) -> bool:
    """True for one query to a row on a CPU, whose matrix of scores is a row's keys and no more."""
    exact = query.dtype in (torch.float32, torch.float64)
    return query.shape[2] == 1 and query.device.type == "cpu" and exact


def _met(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    held: Pass | None,
    recorder: Recorder | None,
) -> Tensor:
    """One query's attention, (rows, 1, heads, size), by weights that are also what is noted."""
    layer = layer_of(module)
    if held is None or not held.acts(layer):
        weights = masked(scores(query, key, scaling), mask).softmax(-1)
        plain = None
    else:
        score, weights = held.single(module, query, key, mask, scaling)
        wanted = recorder is not None and recorder.before
        plain = masked(score, mask).softmax(-1)[:, :, 0] if wanted else None
    if recorder is not None:
        recorder.note(layer, weights[:, :, 0], plain)
    return applied(weights.to(value.dtype), value).transpose(1, 2)


def eager(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The model's own plain attention, whose weights are noted where a recorder is active."""
    held: Pass | None = kwargs.pop("holdfast", None)
    recorder, plain = _recorder.get(), None
    if held is not None:
        held.met.append(layer_of(module))
    if held is not None and held.acts(layer_of(module)):
        odd = {"softcap": kwargs.pop("softcap", None), "sinks": kwargs.pop("s_aux", None)}
        _refuse_odd(module, kwargs)
        scaling = kwargs.get("scaling")
        weights = held.weights(module, query, key, attention_mask, scaling, **odd)
        output = applied(weights.to(value.dtype), value).transpose(1, 2).contiguous()
        if recorder is not None:
            plain = _last_weights(query, key, attention_mask, scaling, **odd)[:, :, 0]
    else:
        own: Any = sys.modules[type(module).__module__].eager_attention_forward
        output, weights = own(module, query, key, value, attention_mask, **kwargs)
    if recorder is not None:
        recorder.note(layer_of(module), weights[:, :, -1], plain)
    return output, weights


def _last_weights(
    query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None, **odd: Any
) -> Tensor:
    """Plain attention's weights of the last query, (rows, heads, 1, keys)."""
    row = None if mask is None else mask[:, :, -1:, : key.shape[2]]
    return plain_weights(query[:, :, -1:], key, row, scaling, **odd)[0]


def _refuse_odd(module: torch.nn.Module, options: dict[str, Any]) -> None:
    """Refuse what is added to the scores and that the two parts do not know."""
    found = [name for name in _ODD if options.get(name) is not None]
    found += ["dropout"] if options.get("dropout") else []
    if found:
        raise ControlError(
            f"{type(module).__name__} adds {', '.join(found)} to its attention, which attention "
            "controls do not compute exactly: use window or reminder."
        )


def fused_mask(**arguments: Any) -> Tensor | None:
    """transformers' boolean mask, in which each query at least sees itself.

    That changes no token, since a causal query sees itself anyway. It keeps padding from
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
