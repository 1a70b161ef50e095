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
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadataBuilder,
)

from holdfast.models.vllm.block_layout import BlockLayout
from holdfast.models.vllm.held_rows import HeldRows
from holdfast.models.vllm.persona_mass import KernelRows, PersonaMass
from holdfast.models.vllm.steps import Steps, refuse_additions


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
        kernel, tokens = CpuKernel(self), self.block_size

        def layout() -> BlockLayout:
            return BlockLayout(tokens, self.head_dim, self.dtype, kernel.write)

        mass = PersonaMass(tokens, kernel)
        self._steps = Steps(self.vllm_config, self.layer_names, tokens, layout, mass)

    def build(
        self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False
    ) -> Any:
        """vLLM's metadata, with `holdfast`: the held rows, or None."""
        metadata = super().build(common_prefix_len, common_attn_metadata, fast_build)
        metadata.holdfast = self._steps.next(common_attn_metadata)
        return metadata


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
        held_rows: HeldRows | None = getattr(attn_metadata, "holdfast", None)
        if held_rows is not None:
            refuse_additions(self, self.is_fp8_kv_cache)
            held_rows.attend(layer, self.scale, query, kv_cache, output)
        return output
