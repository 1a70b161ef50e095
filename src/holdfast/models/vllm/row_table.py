"""Which rows of vLLM's batch are held, and how: the worker's side of a request.

vLLM's attention metadata name neither requests nor their arguments. What does know both is a
logits processor, vLLM's own extension point: it is told of every request that enters, leaves or
moves in the batch. `RowTable` is one that changes no logits and keeps the steering of each row.
vLLM has two model runners with an interface each; it serves both.

This module knows vLLM's batch. `admission` wrote what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor, process_dict_updates
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as RunnerV2Processor

from holdfast.control.steering import RowSteering
from holdfast.core.control import parse
from holdfast.models.vllm.prompt_share import HeldRow, ShareStore, measure_of

ROW = "holdfast_row"  # the argument that `admission` leaves for the worker

WORKER = "holdfast.models.vllm.row_table.ShareWorker"  # vLLM's `worker_extension_cls`

# By id of the worker's configuration, which attention and runner share.
_tables: dict[int, RowTable] = {}


class RowTable(LogitsProcessor, RunnerV2Processor):
    """Keeps each row's steering, and the shares of those that are measured."""

    def __init__(self, vllm_config: Any, *_: Any) -> None:
        """Start with no row; vLLM makes one table for each model runner."""
        self.rows: dict[int, HeldRow] = {}
        self.shares = ShareStore()
        _tables[id(vllm_config)] = self

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Accept all: `admission` refuses, where the prompt is known too."""

    def is_argmax_invariant(self) -> bool:
        """No logits change."""
        return True

    def apply(self, logits: torch.Tensor, *_: Any) -> torch.Tensor:
        """Return the logits as they are."""
        return logits

    def update_state(self, batch_update: Any) -> None:
        """Follow the first runner's batch, whose rows move."""
        process_dict_updates(self.rows, batch_update, lambda params, *_: read_row(params))

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Follow the second runner's table of requests, whose places stay; change no logits."""
        row = read_row(sampling_params)
        self.rows.pop(req_idx, None)
        if row is not None:
            self.rows[req_idx] = row
        return False


def table_of(vllm_config: Any) -> RowTable | None:
    """The table of a worker's batch."""
    return _tables.get(id(vllm_config))


class ShareWorker:
    """What vLLM adds to its workers (`worker_extension_cls`): shares are fetched by it."""

    vllm_config: Any

    def holdfast_shares(self, replies: Sequence[tuple[int, int, int]]) -> list[Any]:
        """`ShareStore.take` of each (number, first, count)."""
        table = table_of(self.vllm_config)
        return [] if table is None else [table.shares.take(*reply) for reply in replies]


def read_row(params: Any) -> HeldRow | None:
    """A request's row from its sampling parameters; None where nothing is held or measured."""
    row: Mapping[str, Any] | None = (params.extra_args or {}).get(ROW)
    if row is None:
        return None
    content, message = _read_columns(row["content"]), _read_columns(row["message"])
    steering = RowSteering(
        parse(row["control"]), content, message, tuple(row["turns"]), tuple(row["replies"])
    )
    return HeldRow(steering, measure_of(row.get("measure")))


def _read_columns(values: Sequence[int]) -> tuple[int, int]:
    start, end = values
    return start, end
