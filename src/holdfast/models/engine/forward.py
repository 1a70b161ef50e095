"""One forward pass over some rows and columns of a batch: positions, masks, adapters, shares.

This module knows rows and one model. It knows neither who joins a batch nor how tokens are
drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.control.observe import recording
from holdfast.control.recorder import Recorder
from holdfast.control.steered_pass import SteeredPass, refuse_unreached, start_pass
from holdfast.control.steering import Steering
from holdfast.models.engine.cache import BatchCache
from holdfast.models.engine.decoder import make_mask
from holdfast.models.engine.loaded import LoadedModel
from holdfast.models.engine.request import Row, Span


class Forward:
    """Runs a model on the rows of a batch, as long as these stay where they are.

    Args:
        engine: the model.
        rows: the batch's rows, each with its `pad`.
        past: the cache of transformers that the pass reads and writes.
        prompt_end: the column after the prompts; from its last token on shares are recorded.
    """

    def __init__(
        self, engine: LoadedModel, rows: Sequence[Row], past: Any, prompt_end: int
    ) -> None:
        self.engine, self.rows, self.past, self.prompt_end = engine, rows, past, prompt_end
        self.cache = past if isinstance(past, BatchCache) else None
        self.device = engine.device
        # Rows that have ended run on beside the others, and would change all rows' frequencies.
        bounds = (engine.context, None if self.cache is None else engine.steady_tokens)
        self.bound = min((bound for bound in bounds if bound is not None), default=None)
        self.pads = torch.tensor([row.pad for row in rows], device=self.device)
        self.recorder = self._make_recorder() if engine.no_share is None else None

    def __call__(self, ids: Tensor, top: int, column: int, steering: Steering | None) -> Tensor:
        """The logits (B, vocabulary) after the last of `ids`.

        Args:
            ids: token ids of the rows from `top` on, (B, tokens).
            top: the first of the batch's rows that takes part.
            column: where the tokens go.
            steering: of these rows.
        """
        end, bottom = column + ids.shape[1], top + len(ids)
        rows = self.rows[top:bottom]
        if self.cache is not None:
            self.cache.write_at(top, bottom, column, ids.shape[1])
        columns = torch.arange(end, device=self.device)
        pads = self.pads[top:bottom, None]
        positions = (columns[column:] - pads).clamp_(min=0)
        if self.bound is not None:
            positions.clamp_(max=self.bound - 1)
        own = columns >= pads if any(row.pad for row in rows) else None
        recorder = self.recorder if end >= self.prompt_end else None
        if recorder is not None:
            recorder.begin(end)  # such passes have a query of every row
        steered_pass = start_pass(steering, column, end - column) if steering is not None else None
        adapted = self._switch_adapters(rows)
        with recording(recorder):
            decoder = None if adapted or self.cache is None else self.engine.decoder
            if decoder is not None:
                visible = make_mask(own, column, columns, decoder.dtype)
                logits = decoder(ids, positions, self.cache, visible, steered_pass)
            else:
                logits = self._call_model(ids, positions, own, steered_pass)
        refuse_unreached(steered_pass, self.engine.name)
        if self.cache is not None:
            self.cache.region.column = end
        if recorder is not None:
            # π of the pass, (B, 2, spans, layers, H)
            for row, share in zip(rows, recorder.result().movedim(2, 0), strict=True):
                if row.shares is not None and row.stop is None:
                    row.shares.append(share)
        return logits

    def _switch_adapters(self, rows: Sequence[Row]) -> bool:
        """Switch every adapter on in its rows; whether any is."""
        adapted = False
        for name, adapter in self.engine.adapters.items():
            on = [row.request.adapter == name for row in rows]
            adapted = adapted or any(on)
            adapter.choose(on)
        return adapted

    def _call_model(
        self, ids: Tensor, positions: Tensor, own: Tensor | None, steered_pass: SteeredPass | None
    ) -> Tensor:
        """The logits of the model's own forward pass."""
        optional = {"position_ids": positions, "logits_to_keep": 1}
        arguments: dict[str, Any] = {
            k: v for k, v in optional.items() if k in self.engine.optional_arguments
        }
        if own is not None:
            arguments["attention_mask"] = own
        if steered_pass is not None:
            arguments["holdfast"] = steered_pass
        output = self.engine.model(
            input_ids=ids, past_key_values=self.past, use_cache=True, **arguments
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _make_recorder(self) -> Recorder | None:
        """Make what records the shares of rows; None where none is measured."""
        measured_rows = [row for row in self.rows if row.shares is not None]
        if not measured_rows:
            return None
        spans = torch.tensor([_find_spans(row) for row in self.rows], device=self.device)
        starts, ends = spans.permute(2, 1, 0)  # (spans, B) each
        return Recorder(starts, ends, any(row.request.plain_share for row in measured_rows))


def _find_spans(row: Row) -> list[Span]:
    """The columns of each span of a row; empty ones where its share is not measured."""
    if row.shares is None or row.request.spans is None:
        return [(0, 0), (0, 0)]
    return [(row.pad + start, row.pad + end) for start, end in row.request.spans]
