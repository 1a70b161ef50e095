"""Which attention function a model runs with while Holdfast observes or steers it."""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from holdfast.core.errors import ControlError

FUSED = "holdfast"
EAGER = "holdfast-eager"
HELD_CONFIGS: set[int] = set()
"""Configurations of models inside a `hold` block, by id: a configuration chooses the attention."""
_lock = threading.Lock()
_NAMES = re.compile(r"_attn_implementation (?:not )?in \(")


def attention_for(model: PreTrainedModel) -> tuple[str | None, str | None]:
    """The attention to run a model with, or None and the sentence that says why not."""
    current = str(model.config._attn_implementation)
    name = type(model).__name__
    if not getattr(model, "_supports_attention_backend", False):
        return None, f"{name} does not let its attention be observed"
    if any(_knows_names(type(part).__module__) for part in _parts(model)):
        return None, f"{name} reads some keys only, and which ones depends on its attention's name"
    layers = DynamicCache(config=model.config).layers
    if any(type(layer).__module__ != CacheLayerMixin.__module__ for layer in layers):
        return None, f"{name} keeps keys that stand for several tokens"
    config = model.config.get_text_config(decoder=True)
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    sinks = any(key.rsplit(".", 1)[-1] == "sinks" for key, _ in model.named_parameters())
    if current in ("eager", EAGER) or ((capped or sinks) and current in ("sdpa", FUSED)):
        return EAGER, None
    if current in ("sdpa", FUSED):
        return FUSED, None
    return None, f"the attention `{current}` cannot be observed: load the model with `sdpa`"


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The part of a model that reads token ids.

    What transformers calls its decoder may be the layer behind it (ModernBERT's).
    """
    decoder: Any = model.get_decoder()
    whole: Any = model.base_model
    return decoder if isinstance(decoder, PreTrainedModel) else whole


class AttentionCall(NamedTuple):
    """What a model gives the attention of one of its layers."""

    module: nn.Module
    """The attention module, which knows its layer."""
    query: Tensor
    """(B, H, Lq, D)."""
    key: Tensor
    """(B, Hkv, Lk, D)."""
    value: Tensor
    """(B, Hkv, Lk, D)."""
    mask: Tensor | None
    """What transformers passes, boolean or additive; None for causal."""
    scale: float | None
    """What scores are multiplied by; None for 1/√D."""

    @property
    def layer(self) -> int:
        """The number of the layer."""
        return layer_of(self.module)


def layer_of(module: nn.Module) -> int:
    """The number of an attention module's layer."""
    layer: Any = module.layer_idx
    return int(layer)


def reads_both_ways(model: PreTrainedModel) -> bool:
    """Whether tokens see what comes after them, as in BERT."""
    return any(getattr(part, "is_causal", True) is False for part in decoder_of(model).modules())


@contextmanager
def use_attention(model: PreTrainedModel, attention: str | None) -> Iterator[None]:
    """Run a model with one of the attentions above; afterwards every part has its own again.

    Args:
        model: any model of transformers; models inside of it are switched too.
        attention: `FUSED`, `EAGER`, or None to leave the model alone.
    """
    if attention is None:
        yield
        return
    before = [(part.config, part.config._attn_implementation) for part in _parts(model)]
    model.set_attn_implementation(attention)
    try:
        yield
    finally:
        for config, own in before:
            # Not through the public name, which hands it on to the configurations inside.
            config._attn_implementation_internal = own


def _parts(model: PreTrainedModel) -> list[PreTrainedModel]:
    return [part for part in model.modules() if isinstance(part, PreTrainedModel)]


@cache
def _knows_names(module: str) -> bool:
    """Whether a model's code hides keys under some names of attention alone, as DeepSeek V3.2's.

    Under another name it would leave that to the attention, and see all keys.
    """
    try:
        return bool(_NAMES.search(inspect.getsource(sys.modules[module])))
    except OSError:  # a class that was made without a file
        return False


def unreached_error(name: str) -> ControlError:
    """The error for a model whose attention does not get the pass."""
    return ControlError(
        f"{name} does not hand arguments on to its attention, so it cannot be steered: use window "
        "or reminder."
    )


@contextmanager
def hold_alone(decoder: PreTrainedModel) -> Iterator[None]:
    """Let a model be in one `hold` block at a time, and so models that share a configuration.

    Raises `ControlError` where it is in one.
    """
    key = id(decoder.config)
    with _lock:
        if key in HELD_CONFIGS:
            raise ControlError(
                f"{type(decoder).__name__} is held already (or shares its configuration with a"
                " model that is): leave that block first, or join controls with `+`."
            )
        HELD_CONFIGS.add(key)
    try:
        yield
    finally:
        with _lock:
            HELD_CONFIGS.remove(key)
