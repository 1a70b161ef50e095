"""A batch under way: rows join between decoding steps, and leave when they have ended.

Rows lie flush right in one block of keys and values (`holdfast.cache`). Those that join
are prefilled in groups with about as many new tokens each, where a row with fewer
encodes a few of its cached tokens again; the last token of a prompt is fed with the
tokens that the others have drawn, so that a prompt which is kept joins without a pass of
its own. A prompt longer than what is there moves the others to the right. A row that has
ended leaves, and its keys and values go to the prefix store. Positions, masks and
uniforms are a row's own, so that who else is there changes nothing but the last bits of a
floating-point sum.

A row under guidance has a shadow, the same chat without the persona, in the same batch:

    log p = log p₀ + α (log p₁ - log p₀)

is what is drawn from, so that both go on with the same token.

This module knows no text, and not where a row's cached prefix came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from holdfast.control.observe import Recorder, recording
from holdfast.control.steering import Pass, Steering, moved, refuse_unreached
from holdfast.core.backend import Sampling
from holdfast.core.errors import ControlError, ModelError
from holdfast.models.engine import sampling as draws
from holdfast.models.engine.cache import BatchCache
from holdfast.models.engine.decoder import mask
from holdfast.models.engine.loaded import LoadedModel
from holdfast.models.engine.row import Logprob, Row

SLACK = 64  # columns that no row uses, from which on moving all rows is worth it


class Batch:
    """Rows that are decoded together; none at first.

    `join` and then `advance` and `pick` in turn, or `run` for all of it. Only rows whose
    cache can be padded may join others (`Row.reuses`).
    """

    def __init__(self, loaded: LoadedModel, ends: frozenset[int] = frozenset()) -> None:
        self.loaded, self.ends = loaded, ends
        self.device = loaded.device
        self.rows: list[Row] = []
        self.past: Any = None
        self.cache: BatchCache | None = None
        self.width = 0  # columns up to the end of the prompts that joined last
        self.tokens: Tensor | None = None  # to be fed: drawn last, or a prompt's last
        self.recorder: Recorder | None = None
        self.steering: Steering | None = None
        self.logits: Tensor | None = None
        self.marks: Tensor | None = None

    @property
    def running(self) -> int:
        """Rows that have not ended."""
        return sum(row.stop is None for row in self.rows)

    def run(self) -> None:
        """A token for each row at a time until all have ended; `ModelError` for bad logits."""
        while self.advance():
            self.pick()
            if any(row.stop == "error" for row in self.rows):
                raise unsound(self.loaded.name)

    # Who is there

    def join(self, rows: Sequence[Row]) -> None:
        """Prefill rows, but for their last token, beside those that are there."""
        if self.rows and self.running < len(self.rows):
            self._leave()
        held = len(self.rows)
        if held:
            self._make_room(rows)
        else:
            self._begin(rows)
        for row in rows:
            row.pad = self.width - len(row.ids)
        self.rows = [*self.rows, *rows]
        try:
            self._lay()
            self._prefill(held)
            self._settle()
        except BaseException:
            self._without(held)
            raise
        last = torch.tensor([row.ids[-1] for row in rows], device=self.device)
        self.tokens = last if self.tokens is None else torch.cat([self.tokens, last])

    def _begin(self, rows: Sequence[Row]) -> None:
        self.width = max(len(row.ids) for row in rows)
        if rows[0].reuses and self.loaded.cache is not None:
            self.past = self.cache = self.loaded.cache
            self.cache.begin(len(rows), self.width + _room(rows))
        else:
            self.past, self.cache = DynamicCache(config=self.loaded.model.config), None

    def _make_room(self, rows: Sequence[Row]) -> None:
        """Move the rows that are there to the right of where the longest new prompt begins."""
        assert self.cache is not None and all(row.reuses for row in rows)
        short = max(len(row.ids) for row in rows) - 1 - self.cache.frame.column
        right = max(0, short)
        columns = self.cache.frame.column + right + _room(rows)
        self.cache.grow(len(self.rows) + len(rows), columns)
        self._shift(right)
        self.width = self.cache.frame.column + 1

    def _shift(self, by: int) -> None:
        """Move all rows `by` columns to the right; positions in rows stay what they are."""
        if by and self.cache is not None:
            self.cache.shift(len(self.rows), by)
            for row in self.rows:
                row.pad += by

    def _without(self, held: int) -> None:
        """As before rows beyond the first `held` joined; nothing of them may reach the next."""
        if self.cache is not None:
            self.cache.clear(range(held, len(self.rows)))
            self.cache.frame.column = self.width - 1
        self.rows = self.rows[:held]
        if self.rows:
            self._lay()
            self._settle()

    def _leave(self) -> None:
        """Let rows that have ended go, and the tokens that they drew.

        Their places are filled with the last rows: only as many rows are copied as places
        are filled.
        """
        for i, row in enumerate(self.rows):
            if row.stop == "error" and self.cache is not None:
                self.cache.clear([i])
            elif row.stop is not None:
                self._keep(row)
        running = self.running
        order = list(range(running))
        free = [i for i in order if self.rows[i].stop is not None]
        late = [i for i in range(running, len(self.rows)) if self.rows[i].stop is None]
        pairs = list(zip(late, free, strict=True))
        for source, target in pairs:
            order[target] = source
        if self.cache is not None:
            self.cache.move(pairs)
        self.rows = [self.rows[i] for i in order]
        slack = min((row.pad for row in self.rows), default=0)
        if self.cache is not None and slack >= max(SLACK, self.cache.frame.column // 4):
            self._shift(-slack)
        if self.tokens is not None:
            self.tokens = self.tokens[order] if order else None

    def _lay(self) -> None:
        """What follows from which rows are where: columns."""
        self.pads = torch.tensor([row.pad for row in self.rows], device=self.device)
        self._mark()

    def _settle(self) -> None:
        """What follows from which rows are where: guided pairs, samplings and steering."""
        at = {id(row): i for i, row in enumerate(self.rows)}
        pairs = [(i, at[id(row.shadow)]) for i, row in enumerate(self.rows) if row.shadow]
        self.pairs = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
        strengths = [row.request.guide.strength for row in self.rows if row.request.guide]
        self.strengths = torch.tensor(strengths)[:, None]
        self.alike: dict[Sampling, list[int]] = {}
        for i, row in enumerate(self.rows):
            self.alike.setdefault(row.sampling, []).append(i)
        self.steering = self._held(self.rows)

    def _held(self, rows: Sequence[Row]) -> Steering | None:
        """The steering of rows, in the batch's columns."""
        held = [row.request.held and moved(row.request.held, row.pad) for row in rows]
        if not any(held):
            return None
        anchored = any(one is not None and one.control.anchor for one in held)
        rotary = self.loaded.rotary if anchored else None
        if isinstance(rotary, str):
            raise ControlError(rotary)
        return Steering(held, rotary, self.device)

    # A step

    def pick(self) -> None:
        """Draw a token for every row; rows whose logits are not finite end as "error"."""
        assert self.logits is not None
        logits = self._guided(self.logits)
        last = [min(row.steps, row.limit - 1) for row in self.rows]
        uniforms = [row.uniforms[step] for row, step in zip(self.rows, last, strict=True)]
        tokens, sound = self._drawn(logits, torch.tensor(uniforms, dtype=torch.float64))
        self._note_logprobs(logits, tokens)
        shadows = {id(row.shadow) for row in self.rows if row.shadow}
        for row, token, fine in zip(self.rows, tokens.tolist(), sound.tolist(), strict=True):
            if id(row) in shadows or row.stop is not None:
                continue
            if fine:
                row.take(token, self.ends)
            else:
                row.stop = "error"
            if row.shadow:
                row.shadow.steps, row.shadow.stop = row.steps, row.stop
        self.tokens = tokens.to(self.device)

    def _drawn(self, logits: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and whether they can be trusted, each row drawn as its sampling says."""
        if self.device.type != "mps":  # which has no float64
            u = u.to(self.device)
        if len(self.alike) == 1:
            return draws.draw(logits, u, next(iter(self.alike)))
        tokens = torch.zeros(len(self.rows), dtype=torch.long)
        sound = torch.zeros(len(self.rows), dtype=torch.bool)
        for sampling, rows in self.alike.items():
            drawn, fine = draws.draw(logits[rows], u[rows], sampling)
            tokens[rows], sound[rows] = drawn.cpu(), fine.cpu()
        return tokens, sound

    def _guided(self, logits: Tensor) -> Tensor:
        """Logits (rows, vocabulary) in which guided rows and their shadows have the joint ones."""
        if not self.pairs.numel():
            return logits
        whole, bare = (part.to(logits.device) for part in self.pairs)
        with_, without = (logits[rows].float().log_softmax(-1) for rows in (whole, bare))
        joint = without + self.strengths.to(logits.device) * (with_ - without)
        # What both rule out stays ruled out: the difference of two -inf is no number.
        joint = joint.masked_fill(with_.isneginf() & without.isneginf(), -torch.inf)
        guided = logits.float()
        guided[whole] = guided[bare] = joint
        return guided

    def _note_logprobs(self, logits: Tensor, tokens: Tensor) -> None:
        """What rows that want to know are told of the tokens just drawn."""
        for i, row in enumerate(self.rows):
            wanted = row.request.logprobs
            if wanted is None or row.stop is not None:
                continue
            logs = logits[i].float().log_softmax(-1)
            values, ids = logs.topk(min(wanted, len(logs)))
            token = int(tokens[i])
            top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
            row.logprobs.append(Logprob(token, float(logs[token]), top))

    def advance(self) -> bool:
        """Feed the tokens; rows that have ended leave where that is worth a copy.

        False where none is left.
        """
        running = self.running
        if not running or (self.cache is not None and running * 8 <= len(self.rows) * 7):
            self._leave()
            if not running:
                self.logits = None
                return False
            self._lay()
            self._settle()
        assert self.tokens is not None
        column = self.cache.frame.column if self.cache else self.past.get_seq_length()
        self.logits = self._forward(self.tokens[:, None], 0, len(self.rows), column)
        self.tokens = None
        return True

    def _prefill(self, top: int) -> None:
        """Keys and values of all but the last prompt token of rows from `top` on."""
        rows, until = self.rows[top:], self.width - 1
        ids = torch.zeros(len(rows), until, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, row.pad :] = torch.from_numpy(row.ids[:-1])
        ids = ids.to(self.device)
        if self.cache is None:
            self.steering = self._held(rows)
            if until:
                self._forward(ids, 0, len(rows), 0)
            return
        for first, last in pairwise(_groups([row.new - 1 for row in rows])):
            wide = rows[last - 1].new - 1
            for i in range(first, last):
                row = rows[i]
                row.cached = max(0, len(row.ids) - 1 - wide)
                if row.layers is not None and row.cached:
                    self.cache.put(top + i, row.pad, row.layers, row.cached)
                row.layers = None
            if wide:
                self._chunks(ids[first:last, until - wide :], top + first)
        self.cache.frame.column = until

    def _chunks(self, ids: Tensor, top: int) -> None:
        """Prefill rows from `top` on, a bounded number of tokens at a time."""
        budget, wide = self.loaded.prefill_tokens, ids.shape[1]
        height, until = max(1, budget // wide), self.width - 1
        for first in range(0, len(ids), height):
            some = ids[first : first + height]
            upper, lower = top + first, top + first + len(some)
            self.steering = self._held(self.rows[upper:lower])
            for start in range(0, wide, budget):
                part = some[:, start : start + budget]
                self._forward(part, upper, lower, until - wide + start)

    def _forward(self, ids: Tensor, top: int, bottom: int, column: int) -> Tensor:
        """Run the model on rows [top, bottom), columns from `column` on; the last logits."""
        end, rows = column + ids.shape[1], self.rows[top:bottom]
        if self.cache is not None:
            frame = self.cache.frame
            frame.top, frame.bottom, frame.column = top, bottom, column
        columns = torch.arange(end, device=self.device)
        pads = self.pads[top:bottom, None]
        positions = (columns[column:] - pads).clamp_(min=0)
        if self.loaded.context is not None:  # rows that have ended run on beside the others
            positions.clamp_(max=self.loaded.context - 1)
        own = columns >= pads if any(row.pad for row in rows) else None
        recorder = self.recorder if end >= self.width else None
        if recorder is not None:
            recorder.spans = self._spans(columns, top, bottom)
        held = self.steering.at(column, end - column) if self.steering is not None else None
        chosen = False
        for name, adapter in self.loaded.adapters.items():
            on = [row.request.adapter == name for row in rows]
            chosen = chosen or any(on)
            adapter.choose(on)
        with recording(recorder):
            decoder = None if chosen or self.cache is None else self.loaded.decoder
            if decoder is not None:
                seen = mask(own, column, columns, decoder.dtype)
                logits = decoder(ids, positions, self.cache, seen, held)
            else:
                logits = self._called(ids, positions, own, held)
        refuse_unreached(held, self.loaded.name)
        if self.cache is not None:
            self.cache.frame.column = end
        if recorder is not None:
            # π of the pass, (rows, 2, spans, layers, heads)
            for row, share in zip(rows, recorder.result().movedim(2, 0), strict=True):
                if row.shares is not None and row.stop is None:
                    row.shares.append(share)
        return logits

    def _called(
        self, ids: Tensor, positions: Tensor, own: Tensor | None, held: Pass | None
    ) -> Tensor:
        """The logits of the model's own forward pass, given what it takes."""
        offered = {"position_ids": positions, "logits_to_keep": 1}
        arguments: dict[str, Any] = {k: v for k, v in offered.items() if k in self.loaded.takes}
        if own is not None:
            arguments["attention_mask"] = own
        if held is not None:
            arguments["holdfast"] = held
        output = self.loaded.model(
            input_ids=ids, past_key_values=self.past, use_cache=True, **arguments
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _mark(self) -> None:
        """Where the spans of the rows that are measured are; a recorder where there are any."""
        self.recorder = None
        if self.loaded.no_share is not None:
            return
        marks = []  # by row: where each kind of span starts, and where it ends
        for row in self.rows:
            spans = row.request.spans if row.request.measure else None
            if spans:
                row.shares = [] if row.shares is None else row.shares
            marks.append(
                [[row.pad + at for at in ends] for ends in zip(*spans, strict=True)]
                if spans
                else [[0, 0], [0, 0]]
            )
        if any(row.shares is not None for row in self.rows):
            self.marks = torch.tensor(marks, device=self.device).permute(1, 2, 0)
            before = any(row.request.before for row in self.rows if row.shares is not None)
            self.recorder = Recorder(self.marks, before)

    def _spans(self, columns: Tensor, top: int, bottom: int) -> Tensor:
        """1 where a column belongs to a row's span: (spans, rows, columns)."""
        assert self.marks is not None
        starts, ends = self.marks[:, :, top:bottom, None]
        inside: Tensor = (columns >= starts) & (columns < ends)
        return inside.float()

    def _keep(self, row: Row) -> None:
        """Hand a row's keys and values to the store (its last token's were never computed)."""
        if self.cache is None or not row.request.keep:
            return
        fed = row.reply if row.stop == "stop" and row.steps > len(row.reply) else row.reply[:-1]
        ids = np.concatenate([row.ids, np.asarray(fed, dtype=np.int64)])
        if self.loaded.store.holds(row.request.state, ids):
            return
        index = self.rows.index(row)
        layers = self.cache.take(index, row.pad, len(ids))
        self.loaded.store.keep(row.request.state, ids, layers)


def unsound(name: str) -> ModelError:
    """What to say of logits that nothing can be drawn from."""
    return ModelError(
        f"{name} gives logits that are not finite (NaN or infinity): its weights are damaged, or"
        " its dtype is too narrow (try --dtype float32)."
    )


def _room(rows: Sequence[Row]) -> int:
    """Columns that rows will need after their prompts, as far as is worth holding ready."""
    return min(64, max(row.limit for row in rows))


def _groups(new: Sequence[int]) -> list[int]:
    """Bounds of runs of rows (sorted by new tokens) worth prefilling together.

    A row joins while the run's first row would encode at most half as much again, or
    while so little is encoded in all that a pass of its own would cost more. Rows with
    nothing to encode need no pass, and are a run.
    """
    bounds = [0]
    for i, count in enumerate(new):
        first = new[bounds[-1]]
        waste = (count - first) * (i - bounds[-1])
        if (count and not first) or (count > first * 3 // 2 and waste > 256):
            bounds.append(i)
    return [*bounds, len(new)]
