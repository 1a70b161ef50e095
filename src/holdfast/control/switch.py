"""Which attention function a model runs with while Holdfast observes or steers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

FUSED = "holdfast"
EAGER = "holdfast-eager"
HELD_CONFIGS: set[int] = set()
"""Configurations of models inside a `hold` block, by id: a configuration chooses the attention."""


def attention_for(model: PreTrainedModel) -> tuple[str | None, str | None]:
    """The attention to run a model with, or None and the sentence that says why not."""
    current = str(model.config._attn_implementation)
    name = type(model).__name__
    if not getattr(model, "_supports_attention_backend", False):
        return None, f"{name} does not let its attention be observed"
    config = model.config.get_text_config(decoder=True)
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    sinks = any(key.rsplit(".", 1)[-1] == "sinks" for key, _ in model.named_parameters())
    if current in ("eager", EAGER) or ((capped or sinks) and current in ("sdpa", FUSED)):
        return EAGER, None
    if current in ("sdpa", FUSED):
        return FUSED, None
    return None, f"the attention `{current}` cannot be observed: load the model with `sdpa`"


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
    configs = [part.config for part in model.modules() if isinstance(part, PreTrainedModel)]
    before = [(config, config._attn_implementation) for config in configs]
    model.set_attn_implementation(attention)
    try:
        yield
    finally:
        for config, own in before:
            # Not through the public name, which hands it on to the configurations inside.
            config._attn_implementation_internal = own
