"""vLLM's CPU attention with held rows: what is registered in place of `CPU_ATTN`.

Every row goes through vLLM's own kernel. Then the held rows of a batch, if any, are computed
again under their control and their output is replaced; a batch without one is not touched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm import _custom_ops as ops
from vllm import envs
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
from holdfast.models.vllm.persona_mass import KernelRows, PersonaMass
from holdfast.models.vllm.rotary import VllmRotary
from holdfast.models.vllm.row_table import table_of


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
        self._kernel = CpuKernel(self)
        self._mass = PersonaMass(self.block_size, self._kernel)
        self._layout: BlockLayout | None = None
        self._last: HeldRows | None = None
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
        table = table_of(self.vllm_config)
        steered = table.rows if table is not None else {}
        rows = step_rows(steered, common_attn_metadata, self.block_size) if steered else []
        if rows and table is not None:
            parts = self.layout, self._mass, self._rotary, table.shares
            metadata.holdfast = HeldRows(rows, self._last, *parts)
        self._last = metadata.holdfast
        return metadata

    @property
    def layout(self) -> BlockLayout:
        """Of the cache's blocks; measured once."""
        if self._layout is None:
            size = self.block_size, self.head_dim
            self._layout = BlockLayout(*size, self.dtype, self._kernel.write)
        return self._layout


class CpuKernel:
    """vLLM's operations on the blocks of one builder."""

    def __init__(self, builder: CPUAttentionMetadataBuilder) -> None:
        self.builder = builder

    def write(self, key: Tensor, value: Tensor, cache: Tensor, slots: Tensor) -> None:
        """Write keys and values (n, Hkv, D) at their slots of a cache."""
        ops.cpu_attn_reshape_and_cache(key, value, *_halves(cache), slots, self.builder.isa)

    def plan(self, starts: Tensor, lengths: Tensor) -> Tensor:
        """The kernel's division of a step's work."""
        of = self.builder
        plan: Tensor = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=len(lengths),
            num_heads=of.num_heads,
            num_kv_heads=of.num_kv_heads,
            head_dim=of.head_dim,
            seq_lens=lengths,
            dtype=of.dtype,
            query_start_loc=starts,
            causal=True,
            sliding_window_size=of.window_size,
            isa=of.isa,
            enable_kv_split=envs.VLLM_CPU_ATTN_SPLIT_KV,
        )
        return plan

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, rows: KernelRows, scale: float
    ) -> Tensor:
        """Causal attention of (queries, H, D) to one cache's keys and another's values."""
        output = torch.empty_like(query)
        ops.cpu_attention_with_kv_cache(
            query=query,
            key_cache=_halves(keys)[0],
            value_cache=_halves(values)[1],
            output=output,
            query_start_loc=rows.starts,
            seq_lens=rows.lengths,
            scale=scale,
            causal=True,
            alibi_slopes=None,
            sliding_window=self.builder.window_size,
            block_table=rows.blocks,
            softcap=0,
            scheduler_metadata=rows.plan,
            s_aux=None,
        )
        return output


def _halves(cache: Tensor) -> tuple[Tensor, Tensor]:
    """A cache's keys and its values, as vLLM's operations take them."""
    blocks, heads, tokens, _ = cache.shape
    keys, values = cache.view(blocks, heads, 2 * tokens, -1).chunk(2, dim=2)
    return keys, values


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
