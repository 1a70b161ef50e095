"""One step of vLLM's batch: the attention of its held rows, by the shared `SteeredPass`.

vLLM's kernel has computed the plain attention o of every row. The persona's share π of it comes
from `PersonaMass`, or where the kernel returns its log-sum-exp l, from that: π = exp(l_P - l).
The persona itself is short: its keys are gathered, once for a row that decodes, and give o_P and
l_P. With w the share under the control, what the row gets is

    w·o_P + (1 - w)·(o - π·o_P) / (1 - π)

Where the persona gains, o counts for less than before, so its rounding does too. Where it loses
much, as it may under anchor, or where the share depends on turns, all keys are gathered.

Rows that decode one token are one pass; the rows of prompts are a pass each, since their queries
differ in number. Columns are places in the prompt, so rows lie left-aligned beside each other and
what is past a row's end is masked.

This module knows blocks and passes. It knows no requests; `row_table` says which rows are held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.control.attention import gather_columns
from holdfast.control.kernels import apply_weights, attend, attention_scores, in_float32
from holdfast.control.steered_pass import SteeredPass, start_pass
from holdfast.control.steering import Steering
from holdfast.control.switch import AttentionCall, layer_of
from holdfast.models.vllm.block_layout import BlockLayout, SplitLayout
from holdfast.models.vllm.persona_mass import MassStep, PersonaMass, StepRow, spread, stack_blocks
from holdfast.models.vllm.prompt_share import HeldRow, MeasuredRows, ShareStore
from holdfast.models.vllm.rotary import VllmRotary

# So many times may the plain output's rounding grow.
_GROWTH = {torch.float32: 64.0, torch.float64: 64.0}
_GROWTH_16_BITS = 4.0
_EVEN = 32
_TINY = torch.finfo(torch.float32).tiny

Layout = BlockLayout | SplitLayout
Mass = Callable[[Tensor], tuple[Tensor, Tensor]]
"""π and 1 - π of a group's queries, (B, H, Lq) each, from the persona's log-sum-exp."""


class HeldRows:
    """The held rows of one step.

    Args:
        rows: them, in the step's order; at least one.
        before: those of the step before, whose persona's keys are used again.
        layout: of the blocks.
        mass: the persona's share of the plain attention; None where the kernel returns its
            log-sum-exp.
        rotary: turns queries back.
        shares: where the shares of measured rows go.
    """

    def __init__(
        self,
        rows: Sequence[StepRow],
        before: HeldRows | None,
        layout: Layout,
        mass: PersonaMass | None,
        rotary: VllmRotary,
        shares: ShareStore,
    ) -> None:
        self.layout, self.shares = layout, shares
        groups = [_Group.of(some, layout.tokens, rotary) for some in _split_by_pass(rows)]
        self.groups = [group for group in groups if group is not None]
        with_mass = [group for group in self.groups if not group.restores]
        measured_rows = [row for row in rows if row.measure and row.length >= row.measure.prompt]
        self.plain = [row for row in measured_rows if mass and not row.steering.control.steers]
        by_keys = [row for row in measured_rows if not mass or row.steering.control.steers]
        self.by_keys = _make_measured_rows(by_keys, layout.tokens, rotary) if by_keys else None
        together = [row for group in with_mass for row in group.rows] + self.plain
        together.sort(key=lambda row: row.start)
        self.mass = MassStep(mass, together) if mass and together else None
        places: dict[int, int] = {}
        end = 0
        for row in together:
            places[row.start] = end
            end += row.queries
        last = [places[row.start] + row.queries - 1 for row in self.plain]
        self.plain_places = torch.tensor(last, dtype=torch.long)
        for group in with_mass:
            parts = [(places[row.start], row.queries) for row in group.rows]
            group.mass_places = spread(parts)
            group.reuse(before.groups if before is not None else [])

    def attend(
        self,
        layer: nn.Module,
        scale: float,
        query: Tensor,
        cache: Tensor,
        output: Tensor,
        lse: Tensor | None = None,
    ) -> None:
        """Replace the held rows' output of a layer.

        Args:
            layer: vLLM's attention layer, with its number as `layer_idx`.
            scale: what scores are multiplied by.
            query: (all queries, H, D).
            cache: the layer's blocks.
            output: vLLM's own, (all queries, H, D), written in place.
            lse: its log-sum-exp, (all queries, H), where the kernel returns it.
        """
        covering = [group for group in self.groups if group.steered_pass.covers(layer_of(layer))]
        masses = None
        if self.mass and (self.plain or any(not group.restores for group in covering)):
            masses = self.mass.masses(query, cache, scale)
        for group in covering:
            own, plain = group.take(query), group.take(output.view(query.shape))
            mass = None if group.restores else group.mass(masses, lse)
            out = None
            if mass is not None:
                out = group.by_mass(layer, scale, own, plain, mass, cache, self.layout)
            if out is None:
                out = group.by_keys(layer, scale, own, *self.layout.gather(cache, group.blocks))
            flat = out.transpose(1, 2).reshape(-1, *query.shape[1:])
            output.view(query.shape)[group.places] = flat.to(output.dtype)
        if self.plain and masses is not None:
            # (B, spans, H), the same before as after.
            shares = masses[self.plain_places][..., 2:].transpose(-1, -2)
            for row, share in zip(self.plain, shares, strict=True):
                assert row.measure is not None
                both = share.expand(2, -1, -1)
                self.shares.add(row.measure.number, row.length - 1, layer_of(layer), both)
        if self.by_keys is not None:
            self.by_keys.record(layer, scale, query, cache, self.layout, self.shares)


class _Group:
    """Rows that one pass computes.

    Args:
        rows: them, each with as many queries.
        steered_pass: the pass.
        tokens: of a block.
    """

    def __init__(self, rows: Sequence[StepRow], steered_pass: SteeredPass, tokens: int) -> None:
        self.rows, self.steered_pass, self.tokens = rows, steered_pass, tokens
        self.most = max(row.length for row in rows)
        self.restores = any(_restores(row) for row in rows)
        device = steered_pass.steering.device
        self.places = spread([(row.start, row.queries) for row in rows], device)
        """The rows' queries among the step's."""
        self.mass_places: slice | Tensor = slice(0, 0)
        """The same among those of the step's rows with a mass."""
        count = -(-self.most // tokens)
        self.blocks = stack_blocks(rows, count)
        self.persona: dict[int, tuple[Tensor, Tensor]] = {}
        """The persona's keys and values by layer, (B, Hkv, n, D)."""
        self.all_steered = bool(steered_pass.steered.all())
        steering = steered_pass.steering
        # The fused kernel takes half the time for numbers of keys that are multiples of this.
        place = torch.arange(-(-steering.longest // _EVEN) * _EVEN, device=device)
        self._columns = steering.starts[:, None] + place
        hidden = self._columns >= steering.ends[:, None]
        mask = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, -torch.inf)
        self._mask = mask[:, None, None]

    @staticmethod
    def of(rows: Sequence[StepRow], tokens: int, rotary: VllmRotary) -> _Group | None:
        """The group of some rows; None where no query of them is steered."""
        queries, most = rows[0].queries, max(row.length for row in rows)
        anchored = any(row.steering.control.anchor for row in rows)
        device = rows[0].blocks.device
        steering = Steering([row.steering for row in rows], rotary if anchored else None, device)
        steered_pass = start_pass(steering, most - queries, queries)
        return None if steered_pass is None else _Group(rows, steered_pass, tokens)

    def reuse(self, groups: Sequence[_Group]) -> None:
        """Take over the persona's keys from a group of the same rows in the same blocks."""
        for group in groups:
            pairs = zip(self.rows, group.rows, strict=False)
            same = len(self.rows) == len(group.rows) and all(
                own.steering is other.steering for own, other in pairs
            )
            same = same and self.steered_pass.queries == group.steered_pass.queries == 1
            if same and torch.equal(self._persona_blocks(), group._persona_blocks()):
                self.persona = group.persona

    def take(self, states: Tensor) -> Tensor:
        """The rows' part of (all queries, H, …), as (B, H, Lq, …)."""
        return self.rows_first(states[self.places])

    def rows_first(self, states: Tensor) -> Tensor:
        """(B · Lq, H, …) as (B, H, Lq, …)."""
        return states.view(len(self.rows), -1, *states.shape[1:]).transpose(1, 2)

    def mass(self, masses: Tensor | None, lse: Tensor | None) -> Mass | None:
        """The persona's part of the plain attention, from what the step's kernel has said."""
        if lse is not None:
            total = self.take(lse)  # (B, H, Lq)

            def within(persona: Tensor) -> tuple[Tensor, Tensor]:
                log = (persona - total).clamp(max=0.0)
                return log.exp(), -log.expm1()

            return within
        if masses is None:
            return None
        pi, rest = self.rows_first(masses[self.mass_places][..., :2]).unbind(-1)
        return lambda _: (pi, rest)

    def by_mass(
        self,
        layer: nn.Module,
        scale: float,
        query: Tensor,
        plain: Tensor,
        mass: Mass,
        cache: Tensor,
        layout: Layout,
    ) -> Tensor | None:
        """The rows' attention (B, H, Lq, D) from the plain one and its mass.

        None where that would lose too many digits.
        """
        number, steered_pass = layer_of(layer), self.steered_pass
        key, value = self._persona_keys(number, cache, layout)
        near = steered_pass.anchored_query(layer, query, number)
        before, lse = self._attend(query, key, value, scale)
        pi, rest = mass(lse)
        after, share_after = before, pi
        if near is not None:
            after, lse_near = self._attend(near, key, value, scale)
            mass_near = pi * (lse_near - lse).clamp(max=80.0).exp()
            share_after = mass_near / (mass_near + rest).clamp(min=_TINY)
        share = steered_pass.share(number)
        w = share_after if share is None else share(share_after)
        # The plain output's factor. A query that sees nothing but the persona keeps nothing of it.
        keeps = torch.where(rest > 0, (1 - w) / rest.clamp(min=_TINY), 0.0)
        if not self.all_steered:
            keeps, w = (torch.where(steered_pass.steered, x, y) for x, y in ((keeps, 1.0), (w, pi)))
        if near is not None and bool(keeps.amax() > _GROWTH.get(query.dtype, _GROWTH_16_BITS)):
            return None
        out = in_float32(plain) * keeps[..., None]
        if near is None:
            return out.addcmul_(in_float32(before), (w - keeps * pi)[..., None])
        out.addcmul_(in_float32(after), w[..., None])
        return out.addcmul_(in_float32(before), (keeps * pi)[..., None], value=-1)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Attention to the persona alone, and its log-sum-exp."""
        if query.shape[2] > 1:
            return attend(query, key, value, self._mask.to(query.dtype), scale)
        score = attention_scores(query, key, scale) + self._mask
        return apply_weights(score.softmax(-1), value), score.logsumexp(-1)

    def by_keys(
        self, layer: nn.Module, scale: float, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        """The rows' attention (B, H, Lq, D) from all keys."""
        key, value = key[:, :, : self.most], value[:, :, : self.most]
        steered_pass, mask = self.steered_pass, self._padding(query)
        exact = query.dtype == torch.float32 and steered_pass.queries == 1
        if exact and steered_pass.prefers_weights(layer_of(layer), self.most):
            return apply_weights(steered_pass.one_query(layer, query, key, mask, scale)[1], value)
        return steered_pass.attention(AttentionCall(layer, query, key, value, mask, scale))

    def _padding(self, like: Tensor) -> Tensor | None:
        """Additive, of the keys past a row's end, (B, 1, 1, keys); None where there are none."""
        lengths = [row.length for row in self.rows]
        if len(set(lengths)) == 1:
            return None
        ends = torch.tensor(lengths, device=like.device)[:, None, None, None]
        hidden = torch.arange(self.most, device=like.device) >= ends
        return like.new_zeros(hidden.shape).masked_fill_(hidden, -torch.inf)

    def _persona_blocks(self) -> Tensor:
        """The blocks that hold any row's persona, (B, n)."""
        start, end = self._persona_columns()
        return self.blocks[:, start // self.tokens : -(-end // self.tokens)]

    def _persona_columns(self) -> tuple[int, int]:
        spans = [row.steering.span for row in self.rows]
        return min(start for start, _ in spans), max(end for _, end in spans)

    def _persona_keys(self, layer: int, cache: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """The persona's keys and values, (B, Hkv, n, D), for one query in float32."""
        if layer not in self.persona:
            first = self._persona_columns()[0] // self.tokens * self.tokens
            parts = layout.gather(cache, self._persona_blocks())
            places = (self._columns - first).clamp(max=parts[0].shape[2] - 1)
            key, value = (gather_columns(part, places) for part in parts)
            if self.steered_pass.queries == 1:
                key, value = in_float32(key), in_float32(value)
            self.persona[layer] = key, value
        return self.persona[layer]


def _split_by_pass(rows: Sequence[StepRow]) -> list[list[StepRow]]:
    """The steered rows by the pass that computes them: those that decode are one or two."""
    steered_rows = [row for row in rows if row.steering.control.steers]
    by_mass = [row for row in steered_rows if _decodes(row) and not _restores(row)]
    by_turns = [row for row in steered_rows if _decodes(row) and _restores(row)]
    prompts = [[row] for row in steered_rows if not _decodes(row)]
    return [*prompts, *filter(None, (by_mass, by_turns))]


def _decodes(row: StepRow) -> bool:
    """Whether a row's query is past all columns that its control is about."""
    steering = row.steering
    after = max(steering.message[1], steering.content[1], *steering.turns, *steering.replies)
    return row.queries == 1 and row.length > after


def _make_measured_rows(rows: Sequence[StepRow], tokens: int, rotary: VllmRotary) -> MeasuredRows:
    """Rows under a control whose share is measured at their last query."""
    count = -(-max(row.length for row in rows) // tokens)
    parts = [(row.steering, row.measure, row.last, row.length) for row in rows if row.measure]
    return MeasuredRows(parts, stack_blocks(rows, count), rotary)


def _restores(row: StepRow) -> bool:
    """Whether a row's share depends on its turns."""
    share = row.steering.control.share
    return share is not None and share.kind == "restore"


def step_rows(rows_in_table: Mapping[int, HeldRow], common: Any, tokens: int) -> list[StepRow]:
    """The held rows of a step."""
    starts = common.query_start_loc_cpu.tolist()
    lengths = common.seq_lens.tolist()
    places = range(common.num_reqs) if common.req_idx is None else common.req_idx.tolist()
    rows = []
    for i, place in enumerate(places[: common.num_reqs]):
        row = rows_in_table.get(place)
        queries = starts[i + 1] - starts[i]
        if row is not None and queries > 0:
            blocks = common.block_table_tensor[i, : -(-lengths[i] // tokens)]
            rows.append(StepRow(row.steering, starts[i], queries, lengths[i], blocks, row.measure))
    return rows
