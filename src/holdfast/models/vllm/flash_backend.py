"""vLLM's FlashAttention with held rows: what is registered in place of `FLASH_ATTN`, for CUDA.

A step without a held row is vLLM's own, untouched. In a step with one, its kernel is called once
for all rows as vLLM calls it, and asked for its log-sum-exp, from which the persona's share
follows. Then the output of the held rows is replaced.

A graph of a whole step would replay kernels and not this code. So vLLM is told that this
attention is in no graph, and falls back to graphs of the pieces between attentions, for all steps.

This has not been run on a GPU: tests put plain torch in place of the kernels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.v1.attention.backend import AttentionCGSupport
from vllm.v1.attention.backends import flash_attn
from vllm.v1.attention.backends.flash_attn import (
    FlashAttentionBackend,
    FlashAttentionImpl,
    FlashAttentionMetadataBuilder,
)

from holdfast.models.vllm.block_layout import SplitLayout
from holdfast.models.vllm.held_rows import HeldRows
from holdfast.models.vllm.steps import Steps, refuse_additions


class FlashBackend(FlashAttentionBackend):
    """vLLM's FlashAttention with held rows."""

    @staticmethod
    def get_impl_cls() -> type[FlashAttention]:
        """The attention."""
        return FlashAttention

    @staticmethod
    def get_builder_cls() -> type[FlashBuilder]:
        """What prepares a step."""
        return FlashBuilder


class FlashBuilder(FlashAttentionMetadataBuilder):
    """Adds a step's held rows to vLLM's metadata."""

    _cudagraph_support = AttentionCGSupport.NEVER
    supports_update_block_table = False  # held rows have their own blocks

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Number the layers."""
        super().__init__(*args, **kwargs)
        tokens = self.block_size
        self._steps = Steps(
            self.vllm_config, self.layer_names, tokens, lambda: SplitLayout(tokens), None
        )

    def build(
        self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False
    ) -> Any:
        """vLLM's metadata, with `holdfast`: the held rows, or None."""
        metadata = super().build(common_prefix_len, common_attn_metadata, fast_build)
        metadata.holdfast = self._steps.next(common_attn_metadata)
        return metadata


class FlashAttention(FlashAttentionImpl):
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
        held_rows: HeldRows | None = getattr(attn_metadata, "holdfast", None)
        if held_rows is None:
            parts = layer, query, key, value, kv_cache, attn_metadata, output
            plain: Tensor = super().forward(*parts, *args, **kwargs)
            return plain
        fused = any(scale is not None for scale in (*args, *kwargs.values()))
        quantized = fused or self.kv_cache_dtype.startswith("fp8")
        other = attn_metadata.causal is not True or self.fa4_hd256
        refuse_additions(self, quantized or other)
        lse = self._attend(query, kv_cache, attn_metadata, output)
        held_rows.attend(layer, self.scale, query, kv_cache, output, lse)
        return output

    def _attend(self, query: Tensor, kv_cache: Tensor, metadata: Any, output: Tensor) -> Tensor:
        """Attention of all rows, into the output; its log-sum-exp, (queries, H)."""
        count = metadata.num_actual_tokens
        # As in vLLM's own `forward`, which asks for no log-sum-exp.
        keys, values = kv_cache.transpose(1, 2).split(self.head_size, dim=-1)
        _, lse = flash_attn.flash_attn_varlen_func(
            q=query[:count],
            k=flash_attn.canonicalize_singleton_dim_strides(keys),
            v=flash_attn.canonicalize_singleton_dim_strides(values),
            out=output.view(query.shape)[:count],
            cu_seqlens_q=metadata.query_start_loc,
            max_seqlen_q=metadata.max_query_len,
            seqused_k=metadata.seq_lens,
            max_seqlen_k=metadata.max_seq_len,
            softmax_scale=self.scale,
            causal=True,
            window_size=list(self.sliding_window),
            block_table=metadata.block_table,
            scheduler_metadata=metadata.scheduler_metadata,
            fa_version=self.vllm_flash_attn_version,
            num_splits=metadata.max_num_splits,
            return_softmax_lse=True,
        )
        by_query: Tensor = lse.transpose(0, 1)  # FlashAttention has heads first
        return by_query
