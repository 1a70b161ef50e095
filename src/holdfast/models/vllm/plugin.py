"""What vLLM loads by the entry point `vllm.general_plugins`, in each of its processes.

Three things are put in place. vLLM's own attention backends are replaced by subclasses of
theirs, through its registry. The processing of a request's inputs, on the side that faces users,
also admits the request's control. And when a model is built, each attention remembers the module
that it belongs to, by a hook of torch, since that module has the rotary embedding.

This module knows where vLLM can be extended. It knows no tensors.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

_PACKAGE = "holdfast.models.vllm"
OWNER = "holdfast_owner"  # an attention's attribute: a weak reference to what it is part of
_registrations: list[str] = []


def register() -> None:
    """Put the plugin in place; once in a process."""
    if _registrations:
        return
    _registrations.append("registered")
    from vllm.model_executor.layers.attention import Attention
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend
    from vllm.v1.engine.input_processor import InputProcessor

    from holdfast.models.vllm.admission import Admission

    register_backend(AttentionBackendEnum.CPU_ATTN, f"{_PACKAGE}.cpu_backend.CpuBackend")
    if current_platform.is_cuda():
        register_backend(AttentionBackendEnum.FLASH_ATTN, f"{_PACKAGE}.flash_backend.FlashBackend")

    def remember(owner: nn.Module, name: str, part: nn.Module | None) -> None:
        if isinstance(part, Attention):
            setattr(part, OWNER, weakref.ref(owner))

    register_module_module_registration_hook(remember)
    _admit(InputProcessor, Admission)


def _admit(processor: Any, admission: Any) -> None:
    """Let a request's inputs be processed, then its control admitted."""
    start, process = processor.__init__, processor.process_inputs

    @functools.wraps(start)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        self.holdfast = admission(self.vllm_config, lambda: self.tokenizer)

    @functools.wraps(process)
    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = process(self, *args, **kwargs)
        self.holdfast.admit(request)
        return request

    processor.__init__, processor.process_inputs = init, process_inputs
