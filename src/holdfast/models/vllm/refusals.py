"""What the plugin does not hold, each with the sentence that says so.

Everything here is read from vLLM's configuration, so that a request is refused before the engine
has it. This module knows controls and configurations. It knows no requests.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from holdfast.control.steering import out_of_range
from holdfast.core.control import Control

# Attention of these has been compared with Holdfast's own engine, token by token.
ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM")
MORE_ARCHITECTURES = "HOLDFAST_VLLM_ARCHITECTURES"
_CACHES = ("auto", "float32", "float16", "bfloat16")
_HEAD_SIZE = 128  # beyond it FlashAttention has kernels that take other arguments
_CHANGING = ("dynamic", "longrope")  # rotary frequencies that depend on the length


def why_not(control: Control, config: Any) -> str | None:
    """Why a server cannot apply a control exactly, or None where it can.

    Args:
        control: the control.
        config: vLLM's configuration (`VllmConfig`).
    """
    if control.rewrites or control.prism is not None:
        return (
            f"`{control.text}` changes the chat or the adapter, which vLLM does not see: put"
            " Holdfast's gateway in front of it."
        )
    if control.guidance is not None:
        return f"`{control.text}` needs a second row for each, which vLLM does not have."
    if not control.steers:
        return None
    why = _why_not_attention(config) or _why_not_parallel(control, config)
    why = why or out_of_range(control, config.model_config.hf_text_config)
    if why is None and control.anchor:
        why = _why_not_anchor(config)
    return None if why is None else f"`{control.text}` cannot be applied by this server: {why}."


def _why_not_attention(config: Any) -> str | None:
    model, text = config.model_config, config.model_config.hf_text_config
    device = config.device_config.device_type
    if device not in ("cpu", "cuda") or torch.version.hip:
        return f"the plugin has backends for CPUs and CUDA, and none for {_name_platform(device)}"
    if device == "cuda":
        # Which one vLLM chooses by itself depends on the GPU, and is not known here.
        backend = config.attention_config.backend
        if backend is None or backend.name != "FLASH_ATTN":
            return (
                "on CUDA it holds in FlashAttention: start it with --attention-backend FLASH_ATTN"
            )
        if model.get_head_size() > _HEAD_SIZE:
            return f"its heads have more than {_HEAD_SIZE} dimensions"
    if model.use_mla:
        return "its model has latent attention (MLA), whose keys are not kept apart"
    if config.cache_config.cache_dtype not in _CACHES:
        return (
            f"its cache is {config.cache_config.cache_dtype}; start it with --kv-cache-dtype auto"
        )
    architectures = (*ARCHITECTURES, *os.environ.get(MORE_ARCHITECTURES, "").split(","))
    if not set(model.architectures) & set(architectures):
        return (
            f"{', '.join(model.architectures)} has not been compared with Holdfast's own engine"
            " (to try it all the same, start the server with"
            f" {MORE_ARCHITECTURES} set to that name)"
        )
    window = model.get_sliding_window()
    if window is not None and window < model.max_model_len:
        return (
            f"a sliding window of {window} tokens leaves the persona; start it with --max-model-len"
            f" {window}"
        )
    if getattr(text, "attn_logit_softcapping", None):
        return "its model bounds its attention scores (soft-capping)"
    return None


def _name_platform(device: str) -> str:
    return "ROCm" if torch.version.hip else device


def _why_not_parallel(control: Control, config: Any) -> str | None:
    parallel = config.parallel_config
    if config.speculative_config is not None:
        return "it decodes speculatively, and vLLM then loads no plugin that knows requests"
    if parallel.pipeline_parallel_size > 1 or parallel.enable_dbo:
        return "layers or batches are split over several steps (pipelines, dual batch overlap)"
    if parallel.decode_context_parallel_size > 1 or parallel.prefill_context_parallel_size > 1:
        return "each of its GPUs sees a part of the keys (context parallelism)"
    if parallel.tensor_parallel_size > 1:
        heads = any(part.heads for part in control.attention)
        if heads or (control.share and control.share.kind == "spotlight"):
            return "heads are split over GPUs, and this control looks at particular heads or at all"
    return None


def _why_not_anchor(config: Any) -> str | None:
    model = config.model_config
    rope = getattr(model.hf_text_config, "rope_parameters", None) or {}
    kind = str(rope.get("rope_type", "default"))
    if kind in _CHANGING:
        return f"its rotary frequencies change with length ({kind})"
    if model.uses_mrope:
        return "its positions have three parts (pictures)"
    return None
