"""vLLM's CPU attention with held rows: what is registered in place of `CPU_ATTN`.

Every row goes through vLLM's own kernel. Then the held rows of a batch, if any, are computed
again under their control and their output is replaced; a batch without one is not touched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm import _custom_ops as ops
from vllm.config import get_layers_from_vllm_config
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backend import AttentionType
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadataBuilder,
)

from holdfast.core.errors import ControlError
from holdfast.models.vllm.block_layout import BlockLayout
from holdfast.models.vllm.held_rows import HeldRows, step_rows
from holdfast.models.vllm.rotary import VllmRotary
from holdfast.models.vllm.row_table import rows_of


class CpuBackend(CPUAttentionBackend):
    """vLLM's CPU backend with held rows."""

    @staticmethod
    def get_impl_cls() -> type[CpuAttention]:
        """The attention."""
        return CpuAttention

    @staticmethod
    def get_builder_cls() -> type[CpuBuilder]:
        """What prepares a step."""
        return CpuBuilder


class CpuBuilder(CPUAttentionMetadataBuilder):
    """Adds a step's held rows to vLLM's metadata."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Number the layers."""
        super().__init__(*args, **kwargs)
        self._layout: BlockLayout | None = None
        self._rotary = VllmRotary()
        layers = get_layers_from_vllm_config(self.vllm_config, Attention, self.layer_names)
        for name, layer in layers.items():
            layer.layer_idx = extract_layer_index(name)

    def build(
        self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False
    ) -> Any:
        """vLLM's metadata, with `holdfast`: the held rows, or None."""
        metadata = super().build(common_prefix_len, common_attn_metadata, fast_build)
        metadata.holdfast = None
        held = rows_of(self.vllm_config)
        rows = step_rows(held, common_attn_metadata, self.block_size) if held else []
        if rows:
            metadata.holdfast = HeldRows(rows, self.layout, self._rotary)
        return metadata

    @property
    def layout(self) -> BlockLayout:
        """Of the cache's blocks; measured once."""
        if self._layout is None:

            def write(key: Tensor, value: Tensor, cache: Tensor) -> None:
                keys, values = cache.view(1, 1, 2 * self.block_size, -1).chunk(2, dim=2)
                slots = torch.arange(len(key))
                ops.cpu_attn_reshape_and_cache(key, value, keys, values, slots, self.isa)

            self._layout = BlockLayout(self.block_size, self.head_dim, self.dtype, write)
        return self._layout


class CpuAttention(CPUAttentionBackendImpl):
    """vLLM's attention, and then that of the held rows."""

    def forward(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kv_cache: Tensor,
        attn_metadata: Any,
        output: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """The signature is vLLM's."""
        super().forward(layer, query, key, value, kv_cache, attn_metadata, output, *args, **kwargs)
        held: HeldRows | None = getattr(attn_metadata, "holdfast", None)
        if held is not None:
            self._refuse_additions()
            held.attend(layer, self.scale, query, kv_cache, output)
        return output

    def _refuse_additions(self) -> None:
        """Refuse scores that the two parts do not know; `refusals` has said so before."""
        added = self.logits_soft_cap or self.alibi_slopes is not None or self.sinks is not None
        if added or self.is_fp8_kv_cache or self.attn_type != AttentionType.DECODER:
            raise ControlError("this model's attention has additions that no control knows.")
