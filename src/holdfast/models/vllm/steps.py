"""What the attention backends share: the held rows of each step, and what no control knows.

This module knows vLLM's metadata. It knows no kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from vllm.config import get_layers_from_vllm_config
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backend import AttentionType

from holdfast.core.errors import ControlError
from holdfast.models.vllm.held_rows import HeldRows, Layout, step_rows
from holdfast.models.vllm.persona_mass import PersonaMass
from holdfast.models.vllm.rotary import VllmRotary
from holdfast.models.vllm.row_table import table_of


class Steps:
    """The held rows of one builder's steps.

    Args:
        vllm_config: vLLM's configuration.
        layers: names of the builder's layers, which are numbered here.
        tokens: of a block.
        layout: makes the layout of its blocks; called with the first held row.
        mass: the persona's share; None where the kernel returns its log-sum-exp.
    """

    def __init__(
        self,
        vllm_config: Any,
        layers: Sequence[str],
        tokens: int,
        layout: Callable[[], Layout],
        mass: PersonaMass | None,
    ) -> None:
        self._config, self._tokens = vllm_config, tokens
        self._make_layout, self._mass = layout, mass
        self._rotary = VllmRotary()
        self._last: HeldRows | None = None
        for name, layer in get_layers_from_vllm_config(vllm_config, Attention, layers).items():
            layer.layer_idx = extract_layer_index(name)

    @cached_property
    def _layout(self) -> Layout:
        return self._make_layout()

    def next(self, common: Any) -> HeldRows | None:
        """The held rows of the next step, from its metadata; None where there are none."""
        table, last = table_of(self._config), self._last
        self._last = None
        if table is not None and table.rows:
            rows = step_rows(table.rows, common, self._tokens)
            if rows:
                parts = self._layout, self._mass, self._rotary, table.shares
                self._last = HeldRows(rows, last, *parts)
        return self._last


def refuse_additions(attention: Any, other: bool) -> None:
    """Refuse scores that the two parts do not know; `refusals` has said so before.

    Args:
        attention: vLLM's implementation of an attention.
        other: whether it does something besides that its backend knows of.
    """
    added = attention.logits_soft_cap or attention.alibi_slopes is not None
    if (
        added
        or other
        or attention.sinks is not None
        or attention.attn_type != AttentionType.DECODER
    ):
        raise ControlError("this model's attention has additions that no control knows.")
